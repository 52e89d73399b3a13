//! The programs. They report facts; what facts mean is decided in user space.
//!
//! Rules that every kernel's verifier has taught (5.10 to 7.x):
//! - The write position lives in the record, which is map memory, and is read back through a mask: [`record::Record`].
//! - A length that a helper gets is bounded by a comparison and then masked in assembly: [`kernel::bounded`].
//! - Nothing is zeroed before a probe read: the helper clears what it can't fill, and a memset is a loop over bytes.
//! - Members that lie side by side are read in one go; user space checks that they do.
//! - Only kprobes and kretprobes: they run with preemption off, so that per-CPU scratch space and counters belong to one record
//!   at a time. No map is written by a system call while they are attached (that would make the kernel skip them).
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unreachable_pub, reason = "the loader finds the programs by their symbols")]

mod identity;
mod inflight;
mod kernel;
mod load;
mod module;
mod path;
mod read;
mod record;
mod request;
mod setting;
mod syscall;
mod taint;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // nothing here can panic: the verifier refuses a program in which this loop can be reached
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
