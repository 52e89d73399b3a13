//! A file that can't grow: what RLIMIT_FSIZE refuses, a full disk refuses too, after the same partial write.
//!
//! The limit holds for the whole process, so this is the only test in it.

#[path = "records/numbered.rs"]
mod numbered;

use std::fs;

use kmodtrail::{
    config::{self, Encoding},
    sink::{Health, Verdict, file::FileSink},
};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal, signal},
};
use numbered::{Numbered, delivered, numbers};

fn limit(bytes: Option<u64>) {
    // SAFETY: to ignore a signal installs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.expect("a signal can be ignored");
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("the limit can be read");
    setrlimit(Resource::RLIMIT_FSIZE, bytes.unwrap_or(hard), hard).expect("the soft limit can be set");
}

#[tokio::test]
async fn no_record_is_lost_torn_or_written_twice() {
    const COUNT: u64 = 10;
    for encoding in [Encoding::OtlpJson, Encoding::OtlpProto, Encoding::Json] {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("events");
        let config = config::FileSink::new(path.clone());
        let mut sink = FileSink::open("audit", &config, encoding, Health::new("audit")).expect("it can be made");
        let mut sent = 0;
        // room comes byte by byte, and stops at every place in a record
        for room in 0.. {
            limit(Some(room));
            let records = Numbered::new(sent..COUNT);
            let verdicts = sink.deliver(&records.outgoing()).await;
            sent += delivered(&verdicts) as u64;
            let now = fs::read(&path).expect("it is there");
            assert_eq!(numbers(encoding, &now), (0..sent).collect::<Vec<_>>(), "only whole records, in order");
            match verdicts.last() {
                Some(Verdict::Retry(trouble)) => assert!(trouble.why.contains("File too large"), "{trouble:?}"),
                _ => break,
            }
        }
        limit(None);
        assert_eq!(sent, COUNT);
    }
}
