//! config/examples/: each is right as it is, but for the files of the host that it names.

use super::*;

#[test]
fn every_example_and_the_default_are_right() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let examples = fs::read_dir(config.join("examples")).expect("there are examples").flatten();
    let mut files: Vec<_> = examples.map(|e| e.path()).chain([config.join("kmodtrail.toml")]).collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    let here = folder.path().display().to_string();
    let signed = rcgen::generate_simple_self_signed(["example.com".to_owned()]).expect("a certificate can be made");
    for name in ["collector-ca.pem", "client.pem", "kafka-ca.pem"] {
        fs::write(folder.path().join(name), signed.cert.pem()).expect("the test may write");
    }
    for file in files {
        let text = fs::read_to_string(&file).expect("it can be read");
        let text = text.replace("/var/log/kmodtrail", &here).replace("/etc/kmodtrail", &here);
        let copy = folder.path().join("kmodtrail.toml");
        fs::write(&copy, text).expect("the test may write");
        match load_with(&copy, Some(no_environment())) {
            Ok((_, warnings)) => assert!(warnings.0.is_empty(), "{}: {warnings}", file.display()),
            Err(problems) => panic!("{}: {problems}", file.display()),
        }
    }
}
