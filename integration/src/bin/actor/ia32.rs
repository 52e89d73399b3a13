//! finit_module(2) as a 32-bit program would call it.

use std::{arch::asm, os::fd::AsRawFd as _, path::Path, process::ExitCode, ptr};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;

use crate::{module::open, report::operation};

/// finit_module in arch/x86/entry/syscalls/syscall_32.tbl.
const FINIT_MODULE: u32 = 350;

pub(crate) fn finit(file: &Path) -> Result<ExitCode> {
    let file = open(file)?;
    let descriptor = u32::try_from(file.as_raw_fd()).context("a negative descriptor")?;
    let params = empty_string_below_4_gib()?;
    Ok(operation(|| {
        // SAFETY: the arguments are a descriptor and a page that is never unmapped; the call changes no memory of ours.
        let result = unsafe { system_call(FINIT_MODULE, descriptor, params, 0) };
        if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(i64::from(result)) }
    }))
}

/// A page of zeros where 32 bits reach it: an empty parameter string.
fn empty_string_below_4_gib() -> Result<u32> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, flags, -1, 0) };
    ensure!(page != libc::MAP_FAILED, "mmap(MAP_32BIT): {}", Errno::last());
    u32::try_from(page.addr()).context("the kernel ignored MAP_32BIT")
}

/// # Safety
/// As the system call: the pointers among its arguments must be good for what it does with them.
unsafe fn system_call(number: u32, first: u32, second: u32, third: u32) -> i32 {
    let result: u64;
    // SAFETY: `int 0x80` keeps the stack and all registers but eax (and, before Linux 4.17, r8 to r11). rbx is LLVM's own
    // and can't be an operand: it is exchanged and put back.
    unsafe {
        asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) u64::from(first) => _,
            inlateout("rax") u64::from(number) => result,
            in("rcx") u64::from(second),
            in("rdx") u64::from(third),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The 32-bit result, sign included.
    (result & 0xffff_ffff) as u32 as i32
}
