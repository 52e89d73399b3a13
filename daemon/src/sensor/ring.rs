//! A ring buffer of the kernel (BPF_MAP_TYPE_RINGBUF), read without giving its memory back: that is done when what was read is safe.
//!
//! kernel/bpf/ringbuf.c: a page whose first word is how far user space has read, a page whose first word is how far there are records,
//! and the data, mapped twice in a row, so that every record is in one piece. Mapping them needs no capability, only the descriptor.

use std::{
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
    unistd::{SysconfVar, sysconf},
};

/// A record is being written: BPF_RINGBUF_BUSY_BIT, include/uapi/linux/bpf.h.
const BUSY: u32 = 1 << 31;
/// Nothing is in it: BPF_RINGBUF_DISCARD_BIT.
const DISCARDED: u32 = 1 << 30;
/// BPF_RINGBUF_HDR_SZ
const HEADER: u64 = 8;

#[derive(Debug)]
struct Mapping {
    memory: NonNull<u8>,
    bytes: NonZeroUsize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, offset: usize, bytes: usize, protection: ProtFlags) -> nix::Result<Self> {
        let bytes = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let offset = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
        // SAFETY: a new shared mapping that nothing else refers to; the kernel checks its length against the map's.
        let memory = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, fd, offset)? };
        Ok(Self { memory: memory.cast(), bytes })
    }

    /// The position at its beginning.
    fn position(&self) -> &AtomicU64 {
        // SAFETY: the mapping is a page or more, aligned to one, lives as long as `self`, and the kernel's accesses of this word are atomic.
        unsafe { self.memory.cast().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which ends with this value.
        let _ = unsafe { munmap(self.memory.cast(), self.bytes.get()) };
    }
}

/// A reader of a ring buffer. There is one.
#[derive(Debug)]
pub(super) struct Ring {
    fd: OwnedFd,
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    /// Bytes of the data, a power of two.
    size: u64,
    /// How far it has been read.
    position: u64,
}

// SAFETY: the mappings belong to this value alone.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a ring buffer of `size` bytes, and reads on where its memory was given back last.
    pub(super) fn map(fd: OwnedFd, size: u32) -> nix::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|page| usize::try_from(page).ok()).ok_or(Errno::EINVAL)?;
        let consumer = Mapping::new(fd.as_fd(), 0, page, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let producer = Mapping::new(fd.as_fd(), page, page + 2 * size as usize, ProtFlags::PROT_READ)?;
        let position = consumer.position().load(Ordering::Acquire);
        Ok(Self { fd, consumer, producer, page, size: u64::from(size), position })
    }

    /// The next record, or `None` where there is none, or it is still being written.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        loop {
            if self.position >= self.producer.position().load(Ordering::Acquire) {
                return None;
            }
            let at = self.page + (self.position & (self.size - 1)) as usize;
            // SAFETY: `at` is in the first copy of the data; records begin at multiples of 8.
            let header = unsafe { self.producer.memory.add(at) };
            // SAFETY: as above; the kernel writes this word atomically, the last one of a record.
            let word = unsafe { header.cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire);
            if word & BUSY != 0 {
                return None;
            }
            let length = u64::from(word & !DISCARDED);
            let next = self.position + (HEADER + length).next_multiple_of(8);
            if next - self.position > self.size {
                // nothing that the kernel writes is like this
                return None;
            }
            self.position = next;
            if word & DISCARDED == 0 {
                // SAFETY: a record that begins in the first copy of the data ends in the second one at the latest. The kernel does not
                // write there again before the memory is given back, which wants `self` for its own.
                return Some(unsafe {
                    std::slice::from_raw_parts(header.add(HEADER as usize).as_ptr(), length as usize)
                });
            }
        }
    }

    /// How far it has been read.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Reads on there: what is before it was read by another process, and may not have been given back.
    pub(super) fn seek(&mut self, position: u64) {
        let (from, to) =
            (self.consumer.position().load(Ordering::Relaxed), self.producer.position().load(Ordering::Acquire));
        self.position = position.clamp(from, to.max(from));
    }

    /// How many records nobody has read.
    pub(super) fn waiting(&mut self) -> u64 {
        let position = self.position;
        let mut count = 0;
        while self.next().is_some() {
            count += 1;
        }
        self.position = position;
        count
    }

    /// A quarter of it was read and not given back.
    pub(super) fn is_behind(&self) -> bool {
        self.position - self.consumer.position().load(Ordering::Relaxed) > self.size / 4
    }

    /// What has been read is safe.
    pub(super) fn give_back(&mut self) {
        self.consumer.position().store(self.position, Ordering::Release);
    }

    /// Readable when there is something to read.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    /// A file that is laid out as the kernel lays out a ring buffer; what the data's second copy shows is written there, too.
    struct Kernel {
        file: File,
        page: u64,
        size: u64,
        written: u64,
    }

    impl Kernel {
        fn new(size: u32) -> (Self, Ring) {
            let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().expect("every system has pages").cast_unsigned();
            let file = File::from(memfd_create("ring", MFdFlags::empty()).expect("it can be made"));
            file.set_len(2 * page + 2 * u64::from(size)).expect("it can grow");
            let ring = Ring::map(file.try_clone().expect("one more").into(), size).expect("it can be mapped");
            (Self { file, page, size: size.into(), written: 0 }, ring)
        }

        fn put(&self, at: u64, bytes: &[u8]) {
            for (i, byte) in (at..).zip(bytes) {
                for copy in [0, self.size] {
                    self.file.write_all_at(&[*byte], 2 * self.page + i % self.size + copy).expect("it can be written");
                }
            }
        }

        fn record(&mut self, flags: u32, bytes: &[u8]) -> u64 {
            let begin = self.written;
            self.put(begin, &(bytes.len() as u32 | flags).to_ne_bytes());
            self.put(begin + HEADER, bytes);
            self.written += (HEADER + bytes.len() as u64).next_multiple_of(8);
            self.file.write_all_at(&self.written.to_ne_bytes(), self.page).expect("it can be written");
            begin
        }

        fn given_back(&self) -> u64 {
            let mut word = [0; 8];
            self.file.read_exact_at(&mut word, 0).expect("it can be read");
            u64::from_ne_bytes(word)
        }
    }

    fn next(ring: &mut Ring) -> Option<Vec<u8>> {
        ring.next().map(<[u8]>::to_vec)
    }

    #[test]
    fn what_was_read_and_not_given_back_is_read_again_by_the_next_reader() {
        let (mut kernel, mut ring) = Kernel::new(4096);
        kernel.record(0, b"one");
        let safe = kernel.record(0, b"two, longer");
        assert_eq!(next(&mut ring).as_deref(), Some(&b"one"[..]));
        ring.give_back();
        assert_eq!(next(&mut ring).as_deref(), Some(&b"two, longer"[..]));
        assert_eq!(kernel.given_back(), safe, "reading gives nothing back");

        let mut other = Ring::map(kernel.file.try_clone().expect("one more").into(), 4096).expect("it can be mapped");
        assert_eq!(other.waiting(), 1);
        assert_eq!(next(&mut other).as_deref(), Some(&b"two, longer"[..]));
        assert_eq!((next(&mut other), other.waiting()), (None, 0));
        other.seek(0);
        assert_eq!(next(&mut other).as_deref(), Some(&b"two, longer"[..]), "what was given back is not there any more");
        other.seek(safe);
        other.seek(u64::MAX);
        assert_eq!(next(&mut other), None, "there is no more than was written");
    }

    #[test]
    fn a_record_that_is_being_written_is_waited_for_and_one_that_was_thrown_away_is_none() {
        let (mut kernel, mut ring) = Kernel::new(4096);
        kernel.record(DISCARDED, b"nobody wants this");
        let busy = kernel.record(BUSY, b"soon");
        kernel.record(0, b"behind it");
        assert_eq!(next(&mut ring), None);
        kernel.put(busy, &4u32.to_ne_bytes());
        assert_eq!(next(&mut ring).as_deref(), Some(&b"soon"[..]));
        assert_eq!(next(&mut ring).as_deref(), Some(&b"behind it"[..]));
    }

    #[test]
    fn records_go_on_over_the_end() {
        let (mut kernel, mut ring) = Kernel::new(4096);
        for round in 0..200u32 {
            let record = vec![round as u8; 100 + round as usize];
            kernel.record(0, &record);
            assert_eq!(next(&mut ring), Some(record), "round {round}");
            ring.give_back();
            assert_eq!(kernel.given_back(), kernel.written);
        }
    }
}
