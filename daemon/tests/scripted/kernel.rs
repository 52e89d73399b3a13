//! A kernel's side whose events come from the test, for tests of the daemon's loop.

use std::{
    fs,
    io::{PipeReader, PipeWriter, Read as _, Write as _, pipe},
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kmodtrail::{
    config,
    event::{Coverage, Event, Lost, Origin, Request, Text, Timestamps, Verdict, What},
    run::{Pipeline, RunError, Watch, serve},
    sensor::Totals,
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[derive(Debug, Default)]
struct Shared {
    ready: Mutex<Vec<Event>>,
    reads: AtomicU64,
    commits: AtomicU64,
}

struct Scripted {
    shared: Arc<Shared>,
    rings: [PipeReader; 2],
    sequence: u64,
}

fn origin(cpu: u32, sequence: u64) -> Origin {
    Origin { boot_id: "boot".into(), epoch: 1, cpu, sequence }
}

const NOW: Timestamps = Timestamps { wall: 1, boot: 1, observed: 1 };

impl Watch for Scripted {
    fn coverage(&self) -> Coverage {
        Coverage { hooks: vec![] }
    }
    fn own_origin(&mut self) -> Origin {
        self.sequence += 1;
        origin(u32::MAX, self.sequence)
    }
    fn now(&self) -> Timestamps {
        NOW
    }
    fn kernel_release(&self) -> Text {
        "6.1.0-test".into()
    }
    fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.rings[0].as_fd(), self.rings[1].as_fd()]
    }
    fn read(&mut self, _bulk: bool, events: &mut Vec<Event>) -> bool {
        for ring in &mut self.rings {
            let _until_empty = ring.read_to_end(&mut vec![]);
        }
        events.append(&mut self.shared.ready.lock().expect("nobody panicked"));
        self.shared.reads.fetch_add(1, SeqCst);
        false
    }
    fn commit(&mut self) {
        self.shared.commits.fetch_add(1, SeqCst);
    }
    fn finish(&mut self, _last: bool, events: &mut Vec<Event>) {
        self.read(true, events);
    }
    fn totals(&self) -> Totals {
        Totals { kernel_records: 100, lost: 3 }
    }
}

/// Which ring wakes the loop up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ring {
    Critical,
    Bulk,
    /// None: it comes with the next tick.
    Neither,
}

/// A daemon that runs in a thread, and its one file.
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    wake: [PipeWriter; 2],
    thread: JoinHandle<Result<(), RunError>>,
    sent: u64,
}

/// A configuration with everything in `folder`, one file "events.jsonl", and `more`.
pub(crate) fn configuration(folder: &Path, more: &str) -> String {
    format!(
        "[spool]\npath = \"DIR/spool\"\n[dead_letters]\npath = \"DIR/dead-letters.jsonl\"\n[status]\nsocket = \"DIR/status.sock\"\n\
         [sinks.audit]\ntype = \"file\"\npath = \"DIR/events.jsonl\"\n[[routes]]\nname = \"everything\"\nto = [\"audit\"]\n{more}"
    )
    .replace("DIR", &folder.display().to_string())
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        fs::write(folder.path().join("kmodtrail.toml"), configuration(folder.path(), "")).expect("the test may write");
        Self::start_in(folder)
    }

    /// Another process's daemon on what an earlier one left; kmodtrail.toml is there.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        let file = folder.path().join("kmodtrail.toml");
        let (config, _) = config::load(&file).unwrap_or_else(|e| panic!("{e}"));
        let pipeline = Pipeline::open(config, "6.1.0-test", None).unwrap_or_else(|e| panic!("{e}"));
        let [(a, to_a), (b, to_b)] = [pipe(), pipe()].map(|p| p.expect("a pipe can be made"));
        for ring in [&a, &b] {
            fcntl(ring, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe need not block");
        }
        let shared = Arc::new(Shared::default());
        let scripted = Scripted { shared: Arc::clone(&shared), rings: [a, b], sequence: 0 };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let reload = Box::new(move || config::load(&file));
            runtime.expect("a runtime can be made").block_on(serve(scripted, pipeline, reload))
        });
        Self { folder, shared, wake: [to_a, to_b], thread, sent: 0 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An event that the kernel has from now on.
    pub(crate) fn send(&mut self, what: What, ring: Ring) {
        self.sent += 1;
        let origin = origin(0, self.sent);
        let event = Event::of_daemon(NOW, origin, what);
        self.shared.ready.lock().expect("nobody panicked").push(event);
        let written = match ring {
            Ring::Critical => self.wake[0].write_all(b"x"),
            Ring::Bulk => self.wake[1].write_all(b"x"),
            Ring::Neither => Ok(()),
        };
        written.expect("the loop reads it");
    }

    pub(crate) fn reads(&self) -> u64 {
        self.shared.reads.load(SeqCst)
    }

    pub(crate) fn commits(&self) -> u64 {
        self.shared.commits.load(SeqCst)
    }

    /// What it ended with.
    pub(crate) fn end(self) -> (tempfile::TempDir, Result<(), RunError>) {
        signal(Signal::SIGTERM);
        (self.folder, self.thread.join().expect("it does not panic"))
    }
}

pub(crate) fn signal(signal: Signal) {
    kill(Pid::this(), signal).expect("a process may signal itself");
}

pub(crate) fn request(alias: &str) -> What {
    What::Request(Request { alias: alias.into(), verdict: Verdict::Allowed })
}

pub(crate) fn lost() -> What {
    What::Lost(Lost { event: "linux.kernel_module.read", record: "read", count: 1 })
}

/// Waits for it, and fails after a time that no healthy run needs.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "it did not happen within 20 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bodies of the records in a file, in order; every line must be whole.
pub(crate) fn bodies(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let body = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let body = &json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["body"]["stringValue"];
        body.as_str().unwrap_or_else(|| panic!("no body: {line}")).to_owned()
    };
    text.split_inclusive('\n').filter(|l| l.ends_with('\n')).map(body).collect()
}
