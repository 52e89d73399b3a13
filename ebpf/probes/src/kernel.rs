//! Reading the kernel's memory at offsets that only the running kernel knows.

use aya_ebpf::helpers::generated as bpf;
use kmodtrail_abi::{ABSENT, Offsets, Settings};

#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::UNRESOLVED;
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings::UNRESOLVED;

/// One offset, read where it is needed. The map that holds it is frozen, so that the verifier knows the value and drops dead
/// branches; the read is volatile, so that the compiler does not take the value from above. (All of them at once would not fit on
/// the stack of 512 bytes.)
macro_rules! offset {
    ($field:ident) => {
        core::ptr::read_volatile(&raw const $crate::kernel::OFFSETS.$field)
    };
}
/// One setting, likewise.
macro_rules! setting {
    ($($field:tt)+) => {
        core::ptr::read_volatile(&raw const $crate::kernel::SETTINGS.$($field)+)
    };
}
/// `value & mask` in assembly: the compiler can neither drop it as redundant after a comparison nor move the comparison to another
/// register, so that the bound is on the very register that the helper gets. 6.12 refuses a plain comparison here and there.
macro_rules! bounded {
    ($value:expr, $mask:literal) => {{
        let mut value: u64 = $value;
        core::arch::asm!(concat!("{0} &= ", $mask), inout(reg) value);
        value
    }};
}
pub(crate) use {bounded, offset, setting};

/// Copies `len` bytes of kernel memory; 0, or a negative errno and `to` cleared.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, len: u32, from: u64) -> i64 {
    unsafe { bpf::bpf_probe_read_kernel(to.cast(), len, from as *const _) }
}

/// A value at `base + offset`; all zero where the kernel has no such member or the address is bad.
#[inline(always)]
pub unsafe fn get<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    unsafe {
        if offset == ABSENT {
            return core::mem::zeroed();
        }
        copy(value.as_mut_ptr().cast(), size_of::<T>() as u32, base + offset as u64);
        value.assume_init()
    }
}

/// The same straight into the record, without a detour over the stack. Nothing is written where the member is absent: the caller
/// has cleared it.
#[inline(always)]
pub unsafe fn put<T: Copy>(to: *mut T, base: u64, offset: u32) {
    unsafe {
        if offset != ABSENT {
            copy(to.cast(), size_of::<T>() as u32, base + offset as u64);
        }
    }
}
