//! Is a thread still inside a system call, does it still wait, is a process still there?

use std::fs;

/// Whether the thread may still be in the call that it was seen to begin. A kprobe's record can outlive its return's: then the
/// thread is gone, or outside of the kernel, or in another call.
pub(super) fn is_in_call(tgid: u32, tid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{tgid}/task/{tid}/syscall")) {
        // "running", or the number of the call it sleeps in: Documentation/filesystems/proc.rst, /proc/<pid>/syscall
        Ok(line) => match line.split_whitespace().next().and_then(|n| n.parse::<i64>().ok()) {
            Some(number) => MODULE_CALLS.contains(&number) || number == -1,
            None => true,
        },
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// Whether the thread may still wait for a helper, or be on its way to that or back: it runs, would if it had a processor, or waits for
/// something that no signal ends (call_usermodehelper_exec, kernel/umh.c).
pub(super) fn may_wait(tgid: u32, tid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{tgid}/task/{tid}/stat")) {
        // behind the name, which may have any character: proc(5)
        Ok(line) => line.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['R', 'D'])),
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// Whether there is a process of this number.
pub(super) fn exists(tgid: u32) -> bool {
    fs::exists(format!("/proc/{tgid}")).unwrap_or(true)
}

/// init_module, finit_module, delete_module, native and by the 32-bit entry.
#[cfg(target_arch = "x86_64")]
const MODULE_CALLS: [i64; 6] = [175, 313, 176, 128, 350, 129];
#[cfg(target_arch = "aarch64")]
const MODULE_CALLS: [i64; 6] = [105, 273, 106, 128, 379, 129];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_gone_is_in_no_call_and_does_not_wait() {
        assert!(!is_in_call(0x7fff_fff0, 0x7fff_fff0) && !may_wait(0x7fff_fff0, 0x7fff_fff0));
    }

    #[test]
    fn a_thread_that_runs_may_wait_for_a_helper() {
        // SAFETY: a call without arguments.
        assert!(may_wait(std::process::id(), unsafe { nix::libc::gettid() }.cast_unsigned()));
    }

    #[test]
    fn a_thread_that_sleeps_elsewhere_is_not_in_a_module_call() {
        let (send, wait) = std::sync::mpsc::channel::<()>();
        let (tell, hear) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            // SAFETY: a call without arguments.
            tell.send(unsafe { nix::libc::gettid() }.cast_unsigned()).expect("the test waits");
            let _ = wait.recv();
        });
        let tid = hear.recv().expect("the thread tells");
        while is_in_call(std::process::id(), tid) || may_wait(std::process::id(), tid) {
            std::thread::yield_now(); // "running", until it sleeps in futex
        }
        drop(send);
        sleeper.join().expect("it ends");
    }

    #[test]
    fn processes_that_are_there_and_not() {
        assert!(exists(std::process::id()) && !exists(0x7fff_fff0));
    }
}
