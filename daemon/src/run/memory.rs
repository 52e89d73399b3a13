//! What the start needed and nothing needs again: the daemon is to be as small as what it does all day.

use std::{ffi::c_void, ptr};

use nix::{
    libc::{self, PF_W, PT_LOAD, dl_phdr_info},
    unistd::{SysconfVar, sysconf},
};

/// Memory of so many bytes is given back when it is free: what the C library does as long as it has seen no larger ones.
const LARGE: i32 = 128 << 10;

/// To be called first. The kernel's BTF takes several megabytes at the start, and the C library would take the largest that was ever freed
/// for the size of what it keeps from then on.
pub(super) fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes numbers and touches nothing but the allocator's own settings.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// To be called when the daemon is ready.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches nothing but the allocator's own free memory.
    unsafe {
        libc::malloc_trim(0);
    }
    give_back_program();
}

/// The pages of the program's code and constants; what is used again comes back from the page cache.
fn give_back_program() {
    let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) else { return };
    let mut page = page.cast_unsigned() as usize;
    // SAFETY: the callback has the signature that is asked for, and `page` outlives the call.
    unsafe {
        libc::dl_iterate_phdr(Some(give_back_segments), ptr::from_mut(&mut page).cast());
    }
}

/// Called for the program itself, which comes first, and for no library: others may still write to theirs.
unsafe extern "C" fn give_back_segments(object: *mut dl_phdr_info, _: usize, page: *mut c_void) -> i32 {
    // SAFETY: the C library gives a pointer to what it has filled in, and hands on the one that it was given, to a usize.
    let (object, page) = unsafe { (&*object, *page.cast::<usize>()) };
    for number in 0..usize::from(object.dlpi_phnum) {
        // SAFETY: there are so many headers, and they stay as long as the program.
        let segment = unsafe { &*object.dlpi_phdr.add(number) };
        // what was relocated lies in a segment that is writable for the loader
        if segment.p_type != PT_LOAD || segment.p_flags & PF_W != 0 {
            continue;
        }
        let begin = object.dlpi_addr as usize + segment.p_vaddr as usize;
        let end = (begin + segment.p_memsz as usize) / page * page;
        let begin = begin.next_multiple_of(page);
        // SAFETY: nobody has ever written to these pages: the kernel reads the same bytes from the file when they are touched again.
        unsafe {
            libc::madvise(begin as *mut c_void, end.saturating_sub(begin), libc::MADV_DONTNEED);
        }
    }
    // no more objects
    1
}
