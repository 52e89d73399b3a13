//! Executables and arguments of the ancestors, from /proc.
//!
//! The kernel's record has an ancestor's pid, start and command name. /proc/PID/exe is believed only where the process there has the
//! same start and the same command name before and after it is read: else the pid is another process's by now, or the process has
//! become another program since.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    num::NonZeroUsize,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use lru::LruCache;

use crate::event::{Ancestor, Arguments, Process, ProcessId, Text};

/// Executables and arguments by process and command name, so that a repeated parent costs nothing.
#[derive(Debug)]
pub(super) struct Ancestors {
    proc: PathBuf,
    /// Clock ticks per second, as /proc counts.
    ticks: u64,
    known: LruCache<(ProcessId, Text), Known>,
}

#[derive(Debug, Clone)]
struct Known {
    /// When it was looked up, CLOCK_BOOTTIME, nanoseconds.
    at: u64,
    program: Result<Option<Program>, &'static str>,
}

/// What a process runs.
#[derive(Debug, Clone)]
struct Program {
    executable: Text,
    arguments: Option<Arguments>,
}

/// Bytes of an ancestor's arguments.
const ARGUMENTS: u64 = 512;

/// A path has at most 4 KiB, arguments [`ARGUMENTS`].
const MOST: NonZeroUsize = NonZeroUsize::new(256).expect("it is not zero");
/// A process that runs another program of the same name keeps its start and its command name: so long it may go unnoticed.
const FRESH: u64 = 10_000_000_000;
const ATTRIBUTE: &str = "linux.process.parent.executable.path";
/// PF_KTHREAD, include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

const ENDED: &str = "the process had ended";
const BECAME_ANOTHER: &str = "the process had become another program";
const FORBIDDEN: &str = "not permitted (CAP_SYS_PTRACE)";
const UNREADABLE: &str = "/proc could not be read";

impl Ancestors {
    pub(super) fn new(proc: impl Into<PathBuf>) -> Self {
        use nix::unistd::{SysconfVar, sysconf};
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|t| u64::try_from(t).ok());
        // USER_HZ is 100 on every architecture that has BTF
        Self { proc: proc.into(), ticks: ticks.filter(|&t| t > 0).unwrap_or(100), known: LruCache::new(MOST) }
    }

    /// Adds what can be found out. `now`: of the event, CLOCK_BOOTTIME. Of the parent it is said where nothing could be found.
    pub(super) fn add_programs(&mut self, process: &mut Process, now: u64, missing: &mut Vec<String>) {
        for (distance, ancestor) in process.ancestors.iter_mut().enumerate() {
            if ancestor.executable.is_some() || ancestor.id.pid == 0 {
                continue;
            }
            match self.program(ancestor, now) {
                Ok(Some(program)) => {
                    ancestor.executable = Some(program.executable);
                    ancestor.arguments = program.arguments;
                }
                Ok(None) => {}
                Err(why) if distance == 0 => missing.push(format!("{ATTRIBUTE}: {why}")),
                Err(_) => {}
            }
        }
    }

    fn program(&mut self, ancestor: &Ancestor, now: u64) -> Result<Option<Program>, &'static str> {
        let key = (ancestor.id, ancestor.comm.clone());
        if let Some(known) = self.known.get(&key).filter(|k| now.abs_diff(k.at) < FRESH) {
            return known.program.clone();
        }
        let program = self.look_up(ancestor);
        self.known.put(key, Known { at: now, program: program.clone() });
        program
    }

    fn look_up(&self, ancestor: &Ancestor) -> Result<Option<Program>, &'static str> {
        let folder = self.proc.join(ancestor.id.pid.to_string());
        if self.check(&folder, ancestor)?.kernel_thread {
            return Ok(None);
        }
        let path = fs::read_link(folder.join("exe")).map_err(|e| reason(&e))?;
        let arguments = arguments(&folder.join("cmdline"));
        self.check(&folder, ancestor)?;
        Ok(Some(Program { executable: Text::from_bytes(path.as_os_str().as_bytes()), arguments }))
    }

    fn check(&self, folder: &Path, ancestor: &Ancestor) -> Result<Stat, &'static str> {
        let bytes = fs::read(folder.join("stat")).map_err(|e| reason(&e))?;
        let stat = Stat::parse(&bytes).ok_or(UNREADABLE)?;
        let expected = u128::from(ancestor.id.start) * u128::from(self.ticks) / 1_000_000_000;
        if u128::from(stat.start).abs_diff(expected) > 1 {
            return Err(ENDED);
        }
        // a kernel thread's name changes with its work, and it has no executable
        if !stat.kernel_thread && stat.comm != ancestor.comm.bytes() { Err(BECAME_ANOTHER) } else { Ok(stat) }
    }
}

/// The beginning of a command line: its file has no length.
fn arguments(path: &Path) -> Option<Arguments> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(ARGUMENTS + 1).read_to_end(&mut bytes)).ok()?;
    let length = bytes.len() as u64;
    bytes.truncate(ARGUMENTS as usize);
    let list = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|&b| b == 0).map(Text::from_bytes).collect();
    Some(Arguments { list, length, cut: length > ARGUMENTS })
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => FORBIDDEN,
        io::ErrorKind::NotFound => ENDED,
        _ if error.raw_os_error() == Some(nix::libc::ESRCH) => ENDED,
        _ => UNREADABLE,
    }
}

/// /proc/PID/stat, proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: Vec<u8>,
    kernel_thread: bool,
    /// Clock ticks since the boot.
    start: u64,
}

impl Stat {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let open = bytes.iter().position(|&b| b == b'(')?;
        // the name may have any character in it, also this one
        let close = bytes.iter().rposition(|&b| b == b')')?;
        let comm = bytes.get(open + 1..close)?.to_vec();
        let rest = str::from_utf8(&bytes[close + 1..]).ok()?;
        // the third field is the first of these; flags is the 9th, starttime the 22nd
        let mut fields = rest.split_ascii_whitespace();
        let flags: u64 = fields.nth(6)?.parse().ok()?;
        let start = fields.nth(12)?.parse().ok()?;
        Some(Self { comm, kernel_thread: flags & KERNEL_THREAD != 0, start })
    }
}

#[cfg(test)]
mod tests;
