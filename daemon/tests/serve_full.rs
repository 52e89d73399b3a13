//! The daemon's loop while its file can't grow. The limit holds for the whole process: this is the only test in it.

#[path = "scripted/kernel.rs"]
mod kernel;

use std::fs;

use kernel::{Daemon, Ring, bodies, lost, request, until};
use kmodtrail::run::RunError;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal, signal},
};

fn limit(bytes: Option<u64>) {
    // SAFETY: to ignore a signal installs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.expect("a signal can be ignored");
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("the limit can be read");
    setrlimit(Resource::RLIMIT_FSIZE, bytes.unwrap_or(hard), hard).expect("the soft limit can be set");
}

fn asked(alias: &str) -> String {
    format!("an unknown process made the kernel ask for \"{alias}\"")
}

#[test]
fn while_the_file_is_full_nothing_is_read_and_afterwards_nothing_is_lost() {
    let mut daemon = Daemon::start();
    let path = daemon.path("events.jsonl");
    until("the start is told", || bodies(&path).len() == 2);
    let size = fs::metadata(&path).expect("it is there").len();
    let commits = daemon.commits();

    limit(Some(size + 10));
    let reads = daemon.reads();
    daemon.send(request("first"), Ring::Critical);
    until("the loop has seen it", || daemon.reads() > reads);
    // what is left in the ring wakes nobody up: the loop would be busy if it did
    let reads = daemon.reads();
    daemon.send(request("second"), Ring::Critical);
    daemon.send(lost(), Ring::Neither);
    // that something does not happen can only be seen in a time in which it would: two ticks
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(daemon.reads() <= reads + 1, "it goes on reading: {} after {reads}", daemon.reads());
    assert_eq!(fs::metadata(&path).expect("it is there").len(), size, "half a line stays in the file");
    assert_eq!(daemon.commits(), commits, "what is not written is not committed");

    limit(None);
    until("all of it arrives", || bodies(&path).len() == 5);
    assert_eq!(bodies(&path)[2..4], [asked("first"), asked("second")]);
    until("it is committed", || daemon.commits() > commits);

    // at the end what could not be written is said
    let size = fs::metadata(&path).expect("it is there").len();
    limit(Some(size));
    daemon.send(request("third"), Ring::Bulk);
    let (_folder, result) = daemon.end();
    match result {
        Err(RunError::Undelivered { records: 2, sinks }) => assert_eq!(sinks, "audit: 2"),
        other => panic!("two records are lost, the request and the stop: {other:?}"),
    }
    limit(None);
}
