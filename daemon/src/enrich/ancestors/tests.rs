use std::os::unix::fs::symlink;

use super::*;
use crate::event::samples;

/// A folder that looks like /proc.
struct Proc(tempfile::TempDir);

impl Proc {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    fn process(&self, pid: u32, comm: &str, flags: u64, start: u64, exe: Option<&str>) -> &Self {
        let folder = self.0.path().join(pid.to_string());
        fs::create_dir_all(&folder).expect("the test may make folders");
        let stat = format!("{pid} ({comm}) S 1 1 1 0 -1 {flags} 9 9 9 9 9 9 9 9 20 0 1 0 {start} 11 12 13");
        fs::write(folder.join("stat"), stat).expect("the test may write");
        let link = folder.join("exe");
        let _absent = fs::remove_file(&link);
        if let Some(exe) = exe {
            symlink(exe, link).expect("the test may make links");
        }
        self
    }

    fn ancestors(&self) -> Ancestors {
        Ancestors { ticks: 100, ..Ancestors::new(self.0.path()) }
    }
}

fn ancestor(pid: u32, comm: &str, start: u64) -> Ancestor {
    Ancestor { id: ProcessId { pid, start }, started: 0, uid: 0, comm: comm.into(), executable: None, arguments: None }
}

/// The ancestors' executables and what is said to be missing.
fn found(ancestors: &mut Ancestors, of: &[Ancestor], now: u64) -> (Vec<Option<String>>, Vec<String>) {
    let mut process = Process { ancestors: of.to_vec(), ..samples::process() };
    let mut missing = vec![];
    ancestors.add_programs(&mut process, now, &mut missing);
    (process.ancestors.iter().map(|a| a.executable.as_ref().map(ToString::to_string)).collect(), missing)
}

fn some(path: &str) -> Option<String> {
    Some(path.to_owned())
}

#[test]
fn the_same_process_gives_its_executable() {
    let proc = Proc::new();
    proc.process(10, "a) (b", 0, 500, Some("/usr/bin/a")).process(1, "systemd", 0, 0, Some("/usr/lib/systemd/systemd"));
    let line = [ancestor(10, "a) (b", 5_009_999_999), ancestor(1, "systemd", 3)];
    let expected = vec![some("/usr/bin/a"), some("/usr/lib/systemd/systemd")];
    assert_eq!(found(&mut proc.ancestors(), &line, 0), (expected, vec![]));
}

#[test]
fn another_process_with_the_same_pid_does_not() {
    let proc = Proc::new();
    proc.process(10, "a", 0, 502, Some("/usr/bin/other"));
    let line = [ancestor(10, "a", 5_000_000_000), ancestor(11, "gone", 5)];
    let missing = "linux.process.parent.executable.path: the process had ended".to_owned();
    assert_eq!(found(&mut proc.ancestors(), &line, 0), (vec![None, None], vec![missing]));
}

#[test]
fn a_process_that_became_another_program_does_not() {
    let proc = Proc::new();
    proc.process(10, "innocent", 0, 500, Some("/usr/bin/innocent"));
    let (executables, missing) = found(&mut proc.ancestors(), &[ancestor(10, "evil", 5_000_000_000)], 0);
    assert_eq!(executables, [None]);
    assert_eq!(missing, ["linux.process.parent.executable.path: the process had become another program"]);
}

#[test]
fn a_kernel_thread_has_none_and_nobody_misses_it() {
    let proc = Proc::new();
    proc.process(2, "kthreadd", 0x0020_8040, 1, None);
    let line = [ancestor(2, "kthreadd", 10_000_000), ancestor(0, "swapper", 0)];
    assert_eq!(found(&mut proc.ancestors(), &line, 0), (vec![None, None], vec![]));
}

#[test]
fn a_repeated_parent_is_not_looked_up_again_for_a_while() {
    let proc = Proc::new();
    let mut ancestors = proc.ancestors();
    let parent = [ancestor(10, "sh", 5_000_000_000)];
    proc.process(10, "sh", 0, 500, Some("/bin/first"));
    assert_eq!(found(&mut ancestors, &parent, 0).0, [some("/bin/first")]);
    proc.process(10, "sh", 0, 500, Some("/bin/second"));
    assert_eq!(found(&mut ancestors, &parent, FRESH - 1).0, [some("/bin/first")]);
    assert_eq!(found(&mut ancestors, &parent, FRESH).0, [some("/bin/second")]);
    // a process of the same pid is not the same parent
    assert_eq!(found(&mut ancestors, &[ancestor(10, "sh", 6_000_000_000)], FRESH).0, [None]);
}

#[test]
fn the_memory_is_bounded() {
    let proc = Proc::new();
    let mut ancestors = proc.ancestors();
    for pid in 1..2000 {
        found(&mut ancestors, &[ancestor(pid, "x", 1)], 0);
    }
    assert_eq!(ancestors.known.len(), MOST.get());
}

#[test]
fn what_is_no_stat_is_no_panic() {
    let whole = b"10 (a b) S 1 1 1 0 -1 4194304 9 9 9 9 9 9 9 9 20 0 1 0 500 11";
    assert_eq!(Stat::parse(whole), Some(Stat { comm: b"a b".to_vec(), kernel_thread: false, start: 500 }));
    for length in 0..whole.len() - 4 {
        assert!(Stat::parse(&whole[..length]).is_none_or(|s| s.start != 500), "{length}");
    }
    for broken in [&b")("[..], b"1 )( S", b"1 (a) S \xff", b"1 (a) S 1 1 1 0 -1 x 9 9 9 9 9 9 9 9 20 0 1 0 500"] {
        assert_eq!(Stat::parse(broken), None, "{}", broken.escape_ascii());
    }
}

#[test]
fn the_real_proc_gives_this_test_itself() {
    let stat = fs::read("/proc/self/stat").expect("there is a /proc");
    let stat = Stat::parse(&stat).expect("it can be read");
    let mut ancestors = Ancestors::new("/proc");
    let start = stat.start * 1_000_000_000 / ancestors.ticks;
    let mut me = ancestor(std::process::id(), "", start);
    me.comm = Text::from_bytes(&stat.comm);
    let exe = std::env::current_exe().expect("this test has an executable");
    assert_eq!(found(&mut ancestors, &[me], 0), (vec![Some(exe.display().to_string())], vec![]));
}

#[test]
fn the_same_process_gives_the_beginning_of_its_arguments() {
    let proc = Proc::new();
    proc.process(10, "sh", 0, 500, Some("/bin/sh"));
    let arguments = |cmdline: &[u8]| {
        fs::write(proc.0.path().join("10/cmdline"), cmdline).expect("the test may write");
        let mut process = Process { ancestors: vec![ancestor(10, "sh", 5_000_000_000)], ..samples::process() };
        proc.ancestors().add_programs(&mut process, 0, &mut vec![]);
        let found = process.ancestors.remove(0).arguments.expect("there is a command line");
        (found.list.iter().map(ToString::to_string).collect::<Vec<_>>(), found.cut)
    };
    assert_eq!(arguments(b"sh\0-c\0modprobe xfs\0"), (vec!["sh".into(), "-c".into(), "modprobe xfs".into()], false));
    let (cut, said) = arguments(&[b'x'; 600]);
    assert_eq!((cut[0].len(), said), (512, true));
}
