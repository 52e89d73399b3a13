//! The daemon's loop while its file can't grow. The limit holds for the whole process: this is the only test in it.

#[path = "scripted/kernel.rs"]
mod kernel;

use std::{fs, path::Path};

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

/// The account of a sink on the disk says that so many records were delivered.
fn has_account(spool: &Path, delivered: u64) -> bool {
    let files = fs::read_dir(spool).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut accounts = files.filter(|path| path.extension().is_some_and(|extension| extension == "reader"));
    accounts.any(|path| {
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&format!("\"delivered\":{delivered},"))
    })
}

fn asked(alias: &str) -> String {
    format!("an unknown process made the kernel ask for \"{alias}\"")
}

#[test]
fn what_a_full_file_or_a_full_spool_can_t_take_arrives_afterwards() {
    let mut daemon = Daemon::start();
    let path = daemon.path("events.jsonl");
    until("the start is told", || bodies(&path).len() == 2 && daemon.commits() > 0);
    // else it would come again
    let spool = daemon.path("spool");
    until("the spool knows that it was told", || has_account(&spool, 2));
    let size = fs::metadata(&path).expect("it is there").len();

    // not even the spool can be written: nothing is read
    limit(Some(1));
    let (reads, commits) = (daemon.reads(), daemon.commits());
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
    assert_eq!(daemon.commits(), commits, "what is not in the spool is not committed");
    limit(None);
    until("all of it arrives", || bodies(&path).len() == 5);
    assert_eq!(bodies(&path)[2..4], [asked("first"), asked("second")]);
    until("the spool knows that it arrived", || has_account(&spool, 5));
    until("it is committed", || daemon.commits() > commits);

    // at the end what could not even be put into the spool is said
    limit(Some(1));
    daemon.send(request("third"), Ring::Bulk);
    let (folder, result) = daemon.end();
    match result {
        Err(RunError::Undelivered(lost)) => assert!(lost.to_string().starts_with("2 records"), "{lost}"),
        other => panic!("two records are lost, the request and the stop: {other:?}"),
    }
    limit(None);

    // the file alone can't grow: the spool keeps what it can't take, over a restart
    let path = folder.path().join("events.jsonl");
    let spooled = fs::read_dir(folder.path().join("spool")).expect("it is there").flatten();
    let largest = spooled.filter_map(|e| e.metadata().ok()).map(|m| m.len()).max().unwrap_or(0);
    fs::write(&path, [&vec![b'x'; largest as usize + (64 << 10)][..], b"\n"].concat()).expect("the test may write");
    let filled = fs::metadata(&path).expect("it is there").len();
    limit(Some(filled));
    let mut daemon = Daemon::start_in(folder);
    until("the start is in the spool", || daemon.commits() > 0);
    let commits = daemon.commits();
    daemon.send(request("fourth"), Ring::Critical);
    until("the loop goes on reading", || daemon.commits() > commits);
    let (folder, result) = daemon.end();
    result.expect("all of it is in the spool");
    assert_eq!(fs::metadata(&path).expect("it is there").len(), filled);
    limit(None);
    fs::remove_file(&path).expect("the test may delete");
    let daemon = Daemon::start_in(folder);
    let expected = ["watches the kernel", "hooks are attached", "\"fourth\"", "stopped watching", "watches the kernel"];
    until("what waited arrives", || bodies(&path).len() == 6);
    for (body, expected) in bodies(&path).iter().zip(expected) {
        assert!(body.contains(expected), "{body}: {expected}");
    }
    let (_folder, result) = daemon.end();
    result.expect("it ends well");
}
