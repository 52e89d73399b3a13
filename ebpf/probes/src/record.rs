//! A record under construction, and the way out of the kernel.
//!
//! It is made in per-CPU scratch space and sent with bpf_ringbuf_output, as a variable length can't be reserved. The position
//! lives in the record itself and is read back through a mask each time: the verifier then knows the same of it at every point,
//! and its loop states meet at once. In a register its range would grow with every step, and the walks alone would take 400,000
//! verified instructions instead of some thousand. The masks never change a value: the parts' budgets are asserted to fit.

use aya_ebpf::{
    helpers::generated as bpf,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use kmodtrail_abi::{ABI, CpuCounters, Head, Identity, KINDS, Kind, POSITION_MASK, SCRATCH, head_flags, section};

use crate::kernel::{bounded, copy, setting};

/// Loads, unloads, verifications, refusals. User space sets the sizes of both.
#[map]
static CRITICAL: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);
/// Requests, helpers, reads, and calls by those who may not load: what can come in floods.
#[map]
static BULK: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);
/// One element per CPU, written by that CPU alone, mapped into user space: no system call is needed to read it.
#[map]
static COUNTERS: Array<CpuCounters> = Array::with_max_entries(1, aya_ebpf::bindings::BPF_F_MMAPABLE);
#[map]
static SCRATCH_SPACE: PerCpuArray<[u8; SCRATCH]> = PerCpuArray::with_max_entries(1, 0);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    Critical,
    Bulk,
}

/// Whether user space is woken: a record that begins something does not, the one that ends it does. (User space also looks by
/// itself every second.)
#[derive(Clone, Copy)]
pub enum Wake {
    No = 1,
    Yes = 2,
}

pub struct Record {
    buffer: *mut u8,
    counters: *mut CpuCounters,
    kind: usize,
}

impl Record {
    /// A record with its head and nothing else.
    #[inline(always)]
    pub unsafe fn begin(kind: Kind) -> Option<Self> {
        unsafe {
            let cpu = bpf::bpf_get_smp_processor_id();
            let counters = COUNTERS.get_ptr_mut(cpu)?;
            let buffer = SCRATCH_SPACE.get_ptr_mut(0)?.cast::<u8>();
            let id = bpf::bpf_get_current_pid_tgid();
            let sequence = (*counters).sequence + 1;
            (*counters).sequence = sequence;
            let head = buffer.cast::<Head>();
            (*head).abi = ABI;
            (*head).kind = kind as u16;
            (*head).flags = 0;
            (*head).epoch = setting!(epoch);
            (*head).sequence = sequence;
            (*head).time = bpf::bpf_ktime_get_boot_ns();
            (*head).cpu = cpu;
            (*head).tgid = (id >> 32) as u32;
            (*head).tid = id as u32;
            (*head).position = size_of::<Head>() as u32;
            for i in 0..4 {
                // volatile: four words that the compiler sees together become a memset, byte by byte
                (&raw mut (*head).args[i]).write_volatile(0);
            }
            Some(Self { buffer, counters, kind: kind as usize })
        }
    }

    /// The record that the program before the tail call was making on this CPU.
    #[inline(always)]
    pub unsafe fn resume() -> Option<Self> {
        unsafe {
            let counters = COUNTERS.get_ptr_mut(bpf::bpf_get_smp_processor_id())?;
            let buffer = SCRATCH_SPACE.get_ptr_mut(0)?.cast::<u8>();
            Some(Self { buffer, counters, kind: (*buffer.cast::<Head>()).kind as usize })
        }
    }

    #[inline(always)]
    pub fn head(&self) -> *mut Head {
        self.buffer.cast()
    }

    /// The identity right behind the head; its place has to be taken first.
    #[inline(always)]
    pub unsafe fn take_identity(&mut self) -> *mut Identity {
        unsafe {
            (*self.head()).flags |= head_flags::IDENTITY;
            self.set_position((size_of::<Head>() + size_of::<Identity>()) as u64);
            self.identity()
        }
    }

    /// Where [`Self::take_identity`] has put it.
    #[inline(always)]
    pub unsafe fn identity(&self) -> *mut Identity {
        unsafe { self.buffer.add(size_of::<Head>()).cast() }
    }

    #[inline(always)]
    pub unsafe fn position(&self) -> u64 {
        unsafe { ((&raw const (*self.head()).position).read_volatile() & POSITION_MASK) as u64 }
    }

    #[inline(always)]
    pub unsafe fn set_position(&mut self, position: u64) {
        unsafe { (&raw mut (*self.head()).position).write_volatile(position as u32) }
    }

    /// Where the next bytes go: at least PIECE of them fit.
    #[inline(always)]
    pub unsafe fn at(&self, position: u64) -> *mut u8 {
        unsafe { self.buffer.add(position as usize) }
    }

    /// Opens a section; whoever did closes it with what this gave.
    #[inline(always)]
    pub unsafe fn open(&mut self) -> u64 {
        unsafe {
            let start = self.position();
            self.set_position(start + 8);
            start
        }
    }

    #[inline(always)]
    pub unsafe fn close(&mut self, start: u64, kind: u16, flags: u16) {
        unsafe {
            let start = start & POSITION_MASK as u64;
            let end = self.position();
            let length = end.wrapping_sub(start + 8);
            self.at(start).cast::<u64>().write(kind as u64 | (flags as u64) << 16 | length << 32);
            self.set_position((end + 7) & !7);
        }
    }

    /// Appends a NUL-terminated string of the kernel, at most `max` bytes with the NUL (at most 4,096). Gives the section's flags.
    #[inline(always)]
    pub unsafe fn append_string(&mut self, from: u64, max: u32, keep_nul: bool) -> u16 {
        unsafe {
            let at = self.position();
            let n = bpf::bpf_probe_read_kernel_str(self.at(at).cast(), max, from as *const _);
            if n <= 0 {
                return section::FAULT;
            }
            let n = bounded!(n as u64, "0x1fff");
            self.set_position(at + if keep_nul { n } else { n - 1 });
            // a string that fills its place may have been longer
            if n == max as u64 { section::CUT } else { 0 }
        }
    }

    /// A section with one string of the kernel; none where there is no string.
    #[inline(always)]
    pub unsafe fn string(&mut self, kind: u16, from: u64, max: u32) {
        unsafe {
            if from == 0 {
                return;
            }
            let start = self.open();
            let flags = self.append_string(from, max, false);
            self.close(start, kind, flags);
        }
    }

    /// One path component: a length byte and the name, whose length the kernel knows.
    #[inline(always)]
    pub unsafe fn component(&mut self, name: u64, length: u64) {
        unsafe {
            let at = self.position();
            let length = length & 0xff;
            self.at(at).write(length as u8);
            copy(self.at(at + 1), length as u32, name);
            self.set_position(at + 1 + length);
        }
    }

    /// Sends it; a ring that is full counts it.
    #[inline(always)]
    pub unsafe fn send(self, ring: Ring, wake: Wake) {
        unsafe {
            let length = self.position();
            let flags = wake as u64;
            let failed = match ring {
                Ring::Critical => {
                    bpf::bpf_ringbuf_output((&raw const CRITICAL).cast_mut().cast(), self.buffer.cast(), length, flags)
                }
                Ring::Bulk => {
                    bpf::bpf_ringbuf_output((&raw const BULK).cast_mut().cast(), self.buffer.cast(), length, flags)
                }
            };
            if failed != 0 && self.kind < KINDS {
                (*self.counters).lost[self.kind] += 1;
            }
        }
    }
}
