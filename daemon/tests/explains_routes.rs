//! `kmodtrail route` and `kmodtrail check --tests`, as one types them.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

/// A load, as the file sink writes it.
const LOAD: &str = include_str!("../examples/routing_cost/load.jsonl");

const ROUTES: &str = r#"
[sinks.audit]
type = "file"
path = "DIR/audit"
[sinks.siem]
type = "file"
path = "DIR/siem"
[[routes]]
name = "unloads"
when = { event = "unload" }
to = ["siem"]
[[routes]]
name = "everything"
to = ["audit"]
severity = "ERROR"
[[tests]]
name = "an unload wakes somebody up"
record = { event = "unload" }
expect = ["siem", "audit"]
"#;

fn kmodtrail(folder: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    fs::write(folder.join("input"), input).expect("the test may write files");
    let input = fs::File::open(folder.join("input")).expect("it is there");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmodtrail"));
    command.arg(arguments[0]).arg("--config").arg(folder.join("kmodtrail.toml")).args(&arguments[1..]);
    let Output { status, stdout, stderr } = command.stdin(Stdio::from(input)).output().expect("it can be started");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn etc(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let text = text.replace("DIR", &folder.path().display().to_string());
    fs::write(folder.path().join("kmodtrail.toml"), text).expect("the test may write files");
    folder
}

#[test]
fn a_recorded_event_is_explained_and_what_is_none_is_told_with_its_line() {
    let etc = etc(ROUTES);
    let hostile = LOAD.replace("loaded the module evil", "loaded \\u001b[2J");
    assert_ne!(hostile, LOAD, "the body has it");
    let (status, out, err) = kmodtrail(etc.path(), &["route", "--record", "-"], &format!("{hostile}nonsense\n{LOAD}"));
    assert_eq!(status, Some(1));
    assert!(err.starts_with("-: line 2: this is no OTLP/JSON log request"), "{err}");
    for line in [
        r#"  sink "audit": by "everything", as ERROR (it was WARN)"#,
        r#"  sink "siem": no route leads it there"#,
        r#"  route "unloads" does not take it:"#,
        r#"    event = ["linux.kernel_module.unload"], but it is "linux.kernel_module.load""#,
        r#"  route "everything" takes it to audit"#,
    ] {
        assert_eq!(out.lines().filter(|l| *l == line).count(), 2, "{line}\n{out}");
    }
    assert!(!out.contains('\u{1b}') && out.contains(r"\u{1b}[2J"), "{out}");
    let (status, out, _) = kmodtrail(etc.path(), &["route", "--record", "-", "--json"], LOAD);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert_eq!((status, json["sinks"][0]["routes"][0].as_str()), (Some(0), Some("everything")));
    assert_eq!(json["routes"][0]["because"][0]["found"], "\"linux.kernel_module.load\"");
    let (status, _, err) = kmodtrail(etc.path(), &["route", "--record", "/no/such/file"], "");
    assert!(status == Some(1) && err.contains("/no/such/file: No such file"), "{err}");
}

#[test]
fn a_test_that_fails_makes_the_check_fail_and_says_why() {
    let right = etc(ROUTES);
    let (status, out, err) = kmodtrail(right.path(), &["check", "--tests"], "");
    assert!(status == Some(0) && out.ends_with("OK; sinks: 2, routes: 2, tests passed: 1\n"), "{out}{err}");
    let wrong = etc(&ROUTES.replace("when = { event = \"unload\" }", "when = { event = \"unload\", module = \"x\" }"));
    let (status, _, _) = kmodtrail(wrong.path(), &["check"], "");
    assert_eq!(status, Some(0), "without --tests they are not run");
    let (status, out, err) = kmodtrail(wrong.path(), &["check", "--tests"], "");
    assert!(status == Some(78) && out.ends_with("not OK; tests failed: 1 of 1\n"), "{status:?} {out}");
    assert!(err.starts_with("test \"an unload wakes somebody up\": it does not go to \"siem\"\n"), "{err}");
    assert!(err.contains("    linux.kernel_module.name = [\"x\"], but it is absent\n"), "{err}");
    let (_, out, _) = kmodtrail(wrong.path(), &["check", "--tests", "--json"], "");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert_eq!(
        (json["ok"].as_bool(), json["tests"][0]["failures"][0]["what"].as_str()),
        (Some(false), Some("it does not go to \"siem\""))
    );
}
