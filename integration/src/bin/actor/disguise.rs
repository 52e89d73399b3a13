//! A process that shows another command line than the one that it was started with.

use std::fs;

use anyhow::{Context as _, Result};

/// What it shows.
const NAME: &str = "kworker/0:1";

/// Writes it over the arguments, where /proc/PID/cmdline reads them, and into the command name.
pub(crate) fn as_a_kernel_thread() -> Result<()> {
    let stat = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc/self/stat")?;
    // arg_start and arg_end are the 48th and the 49th, proc_pid_stat(5); the first here is the third
    let mut address = fields.split_ascii_whitespace().skip(45).map(|field| field.parse::<usize>());
    let mut next = || address.next().context("no arg_start and arg_end")?.context("an odd address");
    let (start, end) = (next()?, next()?);
    let mut shown = NAME.as_bytes().to_vec();
    shown.resize(end - start, 0);
    // SAFETY: the kernel has put the arguments there, above the stack; who reads them again finds NUL-terminated strings, most of them empty.
    unsafe { std::ptr::copy_nonoverlapping(shown.as_ptr(), start as *mut u8, end - start) };
    nix::sys::prctl::set_name(c"kworker/0:1").context("PR_SET_NAME")
}
