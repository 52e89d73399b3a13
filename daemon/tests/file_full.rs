//! A file that can't grow: what RLIMIT_FSIZE refuses, a full disk refuses too, after the same partial write.
//!
//! The limit holds for the whole process, so this is the only test in it.

use std::{fs, os::fd::AsRawFd as _, path::Path};

use kmodtrail::sink::{Appended, file::FileSink};
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigHandler, Signal, signal},
    },
};

fn limit(bytes: Option<u64>) {
    // SAFETY: to ignore a signal installs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.expect("a signal can be ignored");
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("the limit can be read");
    setrlimit(Resource::RLIMIT_FSIZE, bytes.unwrap_or(hard), hard).expect("the soft limit can be set");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("the file can be read")
}

/// How many bytes of `lines` arrived as whole lines.
fn append(sink: &mut FileSink, lines: &str) -> usize {
    match sink.append(lines.as_bytes()) {
        Appended::Delivered => lines.len(),
        Appended::Retry { whole, why } => {
            assert_eq!(why.raw_os_error(), Some(nix::libc::EFBIG), "{why}");
            whole
        }
    }
}

#[test]
fn no_line_is_lost_torn_or_written_twice() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("events.jsonl");
    let lines: String = (0..50).map(|i| format!("{{\"line\":{i},\"text\":\"{}\"}}\n", "x".repeat(i))).collect();
    let mut sink = FileSink::open(&path, 0o640).expect("it can be made");
    let mut sent = 0;
    // room comes byte by byte, and stops at every place in a line
    for room in 0..=lines.len() as u64 {
        limit(Some(room));
        sent += append(&mut sink, &lines[sent..]);
        let now = text(&path);
        assert_eq!(now, lines[..sent], "only whole lines are in the file, in order");
    }
    limit(None);
    assert_eq!(text(&path), lines);

    // where a line can't be cut off again, it is finished before anything else
    let memory = memfd_create("events", MFdFlags::MFD_ALLOW_SEALING).expect("a file in memory can be made");
    fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).expect("it can be sealed");
    let path = Path::new("/proc/self/fd").join(memory.as_raw_fd().to_string());
    let mut sink = FileSink::open(&path, 0o640).expect("it can be opened");
    let mut sent = 0;
    for room in 0..=lines.len() as u64 {
        limit(Some(room));
        sent += append(&mut sink, &lines[sent..]);
        assert_eq!(text(&path), lines[..room as usize], "every byte is there once");
        assert!(lines[..sent].is_empty() || lines[..sent].ends_with('\n'), "only whole lines count: {sent}");
    }
    limit(None);
    assert_eq!(sent, lines.len());
}
