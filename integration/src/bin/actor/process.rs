//! What is about processes: becoming another one, many of them, and asking the kernel for what it lacks.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    time::ClockId,
    unistd::{ForkResult, Gid, Pid, Uid, fork, getppid, setgroups, setresgid, setresuid},
};

use crate::report::{nanoseconds, operation_with};

/// The user and group called nobody and nogroup.
const NOBODY: u32 = 65534;

/// Replaces this process; returns only if that fails.
pub(crate) fn become_command(command: &[OsString]) -> Result<ExitCode> {
    let [program, arguments @ ..] = command else { anyhow::bail!("no command") };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("running {}", program.display()))
}

/// From user 0 to another one the kernel drops all capabilities, as nothing asked to keep them.
pub(crate) fn drop_capabilities_and_run(command: &[OsString]) -> Result<ExitCode> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[]).context("setgroups")?;
    setresgid(group, group, group).context("setresgid")?;
    setresuid(user, user, user).context("setresuid")?;
    nix::sys::prctl::set_no_new_privs().context("PR_SET_NO_NEW_PRIVS")?;
    become_command(command)
}

/// Root that lacks a capability in its bounding set does not get it back by exec: capabilities(7).
pub(crate) fn run_without(capability: u32, command: &[OsString]) -> Result<ExitCode> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) })
        .with_context(|| format!("dropping capability {capability}"))?;
    become_command(command)
}

pub(crate) fn in_a_thread(act: impl FnOnce() -> Result<ExitCode> + Send + 'static) -> Result<ExitCode> {
    let thread = thread::Builder::new().name("a-thread".to_owned()).spawn(act).context("starting a thread")?;
    thread.join().map_err(|_| anyhow::anyhow!("the thread panicked"))?
}

/// The report is the grandchild's; this process ends before it acts.
pub(crate) fn as_an_orphan(act: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    for _ in 0..2 {
        // SAFETY: this process has one thread.
        if let ForkResult::Parent { .. } = unsafe { fork() }.context("fork")? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let init = Pid::from_raw(1);
    while getppid() != init {
        thread::sleep(Duration::from_millis(5));
    }
    act()
}

pub(crate) fn request(number: u32, family: i32) -> Result<ExitCode> {
    Ok(operation_with(|more| {
        let (mut opened, mut last) = (0_u32, Errno::UnknownErrno);
        let cpu = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        for _ in 0..number {
            // SAFETY: no memory is handed over.
            match Errno::result(unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }) {
                Ok(socket) => {
                    opened += 1;
                    // SAFETY: the descriptor is new and ours.
                    unsafe { libc::close(socket) };
                }
                Err(errno) => last = errno,
            }
        }
        // No module is the expected answer (EAFNOSUPPORT): reported, but not as a failure of the operation.
        more.insert("opened".into(), opened.into());
        more.insert("refusal".into(), format!("{last:?}").into());
        more.insert("cpu_ns".into(), (nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID) - cpu).into());
        Ok(i64::from(number))
    }))
}

pub(crate) fn exec(number: u32, path: &Path, arguments: &[OsString]) -> Result<ExitCode> {
    Ok(operation_with(|more| {
        let mut failures = 0_u32;
        for _ in 0..number {
            let status = Command::new(path).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
            failures += u32::from(!status.is_ok_and(|status| status.success()));
        }
        more.insert("failures".into(), failures.into());
        if failures == 0 { Ok(i64::from(number)) } else { Err(Errno::ECHILD) }
    }))
}
