//! What a process leaves to the one after it, so that nothing is told twice and nothing is left out, whenever it is killed.
//!
//! Memory that systemd keeps (memfd_create(2)) says how far the rings have been read, and has the kernel's records of what was still
//! open then. There are three places for that, of which one counts. Each batch goes like this:
//!
//! 1. records are read and become events, which get their sequences in the spool;
//! 2. [`Handover::prepare`] writes the state after the batch into the next place, with the events' ids and sequences;
//! 3. the spool writes the events;
//! 4. [`Handover::confirm`] makes that place the one that counts, and the rings' memory is given back.
//!
//! Whoever comes after a kill between 2 and 4 asks the spool which of the sequences it has: with all of them the batch is done. Else the
//! batch is made once more from the state before it, and those events are left out that the spool has. That is noted in the third place
//! before anything else is done, so that it can be killed at any point, too.

use std::{
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
        stat::fstat,
    },
    unistd::ftruncate,
};
use serde::{Deserialize, Serialize};

use crate::spool::LANES;

/// "kmodtrail" and the version of what follows, so that another version's state is not taken for ours.
const MAGIC: u64 = u64::from_be_bytes(*b"kmodtrl\x01");
/// Bytes of a place: far more than 50 helpers (MAX_KMOD_CONCURRENT) and their requesters are in the middle of. What is not used takes no memory.
const PLACE: usize = 4 << 20;
/// How many there are.
const PLACES: usize = 3;
/// Bytes before the first place.
const HEADER: usize = 4096;
/// Words of the header.
mod word {
    pub(super) const MAGIC: usize = 0;
    /// Number of the place that counts.
    pub(super) const COUNTS: usize = 1;
    /// When it was looked at last, CLOCK_BOOTTIME.
    pub(super) const ALIVE: usize = 2;
    /// Where the number of bytes and the checksum of the first place are; those of the others follow.
    pub(super) const PLACES: usize = 3;
}

/// One attempt, or more, that a thread is in the middle of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    /// The kernel's records of it so far, see [`append`].
    #[serde(with = "serde_bytes")]
    pub(super) records: Vec<u8>,
    /// Which attempts of it are open: a load, an unload, a request, a helper. Time may have ended the others.
    pub(super) attempts: [bool; 4],
    /// Another generation tells it.
    pub(super) theirs: bool,
    /// The records about the read and the verification were told before the end.
    pub(super) evidence_told: bool,
    /// How many loads of the helper that it waits for began, ended, succeeded.
    pub(super) loads: [u32; 3],
}

/// An event of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// A hash of its id.
    pub(super) id: u64,
    /// Its lane of the spool.
    pub(super) lane: usize,
    /// Its sequence in the lane.
    pub(super) sequence: u64,
    /// It is about lost records: of this CPU and kind.
    pub(super) lost: Option<(u32, u16)>,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// One more with each.
    pub(super) batch: u64,
    /// What began then, CLOCK_BOOTTIME, and later is told: as the first process has decided that has read it.
    pub(super) since: u64,
    /// How far the rings have been read, critical first.
    pub(super) positions: [u64; 2],
    /// The kernel's taints, as far as they were told.
    pub(super) taints: Option<u64>,
    /// How many lost records were told: CPU, kind, number.
    pub(super) lost: Vec<(u32, u16, u64)>,
    /// What threads are in the middle of.
    pub(super) open: Vec<Open>,
    /// Records that were read and that nothing has been made of yet, see [`append`].
    #[serde(with = "serde_bytes")]
    pub(super) waiting: Vec<u8>,
    /// Hashes of the ids of events that the spool has from an earlier process, and that may be made once more.
    pub(super) had: Vec<u64>,
    /// Values of settings, as they were told: by the path of their files, `None` where there was none.
    pub(super) settings: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// Events of the batch that led here.
    pub(super) told: Vec<Told>,
}

/// Records behind their lengths, one behind the other.
pub(super) fn append(records: &mut Vec<u8>, record: &[u8]) {
    // no record has 4 GiB
    records.extend_from_slice(&(record.len() as u32).to_ne_bytes());
    records.extend_from_slice(record);
}

/// The records that [`append`] has put there; ends where one is not whole.
pub(super) fn split(mut records: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = records.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
        records = rest;
        Some(record)
    })
}

/// The memory.
#[derive(Debug)]
pub(super) struct Handover {
    fd: OwnedFd,
    memory: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for Handover {}

const BYTES: NonZeroUsize = NonZeroUsize::new(HEADER + PLACES * PLACE).expect("it is not zero");

impl Handover {
    /// An empty one.
    pub(super) fn new() -> nix::Result<Self> {
        let fd = memfd_create("kmodtrail handover", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&fd, BYTES.get() as i64)?;
        let handover = Self::map(fd)?;
        handover.word(word::MAGIC).store(MAGIC, Ordering::Release);
        Ok(handover)
    }

    /// One that another process has made.
    pub(super) fn adopt(fd: OwnedFd) -> nix::Result<Self> {
        // a file that is too short would kill us where we look behind its end
        if fstat(&fd)?.st_size != BYTES.get() as i64 {
            return Err(Errno::EPROTO);
        }
        let handover = Self::map(fd)?;
        if handover.word(word::MAGIC).load(Ordering::Acquire) == MAGIC { Ok(handover) } else { Err(Errno::EPROTO) }
    }

    fn map(fd: OwnedFd) -> nix::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new shared mapping, of a file that has as many bytes.
        let memory = unsafe { mmap(None, BYTES, protection, MapFlags::MAP_SHARED, &fd, 0)? };
        Ok(Self { fd, memory: memory.cast() })
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < HEADER / 8);
        // SAFETY: inside the header, aligned, and everybody uses it as an atomic word.
        unsafe { self.memory.cast::<AtomicU64>().add(index).as_ref() }
    }

    fn place(&self, number: usize) -> &[u8] {
        // SAFETY: inside the mapping; only `place_mut` writes there, which wants `self` for its own.
        unsafe { std::slice::from_raw_parts(self.memory.add(HEADER + number % PLACES * PLACE).as_ptr(), PLACE) }
    }

    fn place_mut(&mut self, number: usize) -> &mut [u8] {
        // SAFETY: inside the mapping, and nobody else looks at it: another process has it only after this one.
        unsafe { std::slice::from_raw_parts_mut(self.memory.add(HEADER + number % PLACES * PLACE).as_ptr(), PLACE) }
    }

    fn counts(&self) -> usize {
        self.word(word::COUNTS).load(Ordering::Acquire) as usize % PLACES
    }

    /// Writes the state after a batch. It counts from [`Self::confirm`] on.
    pub(super) fn prepare(&mut self, state: &State) {
        self.write((self.counts() + 1) % PLACES, state);
    }

    /// The spool has the batch.
    pub(super) fn confirm(&self) {
        let next = (self.counts() + 1) % PLACES;
        if self.word(word::PLACES + 2 * next).load(Ordering::Acquire) != 0 {
            self.word(word::COUNTS).store(next as u64, Ordering::Release);
        }
    }

    fn write(&mut self, number: usize, state: &State) {
        let at = word::PLACES + 2 * number;
        // it is not whole while it is written
        self.word(at).store(0, Ordering::Release);
        let mut written = postcard::to_slice(state, self.place_mut(number)).map(|bytes| of(bytes));
        if written.is_err() {
            tracing::warn!(
                "what modules are being loaded just now does not fit into the memory for the next process: if this one is killed now, only their ends are told"
            );
            let rest = State { open: Vec::new(), waiting: Vec::new(), ..state.clone() };
            written = postcard::to_slice(&rest, self.place_mut(number)).map(|bytes| of(bytes));
        }
        // else it stays as one that is not whole: the one before counts
        if let Ok((bytes, checksum)) = written {
            self.word(at + 1).store(checksum, Ordering::Release);
            self.word(at).store(bytes, Ordering::Release);
        }
    }

    fn read(&self, number: usize) -> Option<State> {
        let at = word::PLACES + 2 * number;
        let bytes = self.word(at).load(Ordering::Acquire) as usize;
        let bytes = self.place(number).get(..bytes).filter(|bytes| !bytes.is_empty())?;
        if of(bytes).1 != self.word(at + 1).load(Ordering::Acquire) {
            return None;
        }
        postcard::from_bytes(bytes).ok()
    }

    /// See [`State::since`]; `None`: nobody has read it so far.
    pub(super) fn since(&self) -> Option<u64> {
        self.read(self.counts()).map(|state| state.since)
    }

    /// Where the process before came to; `ends`: the sequences that the lanes of the spool give next. `None` where it came to nothing.
    pub(super) fn take_over(&mut self, ends: &[u64; LANES]) -> Option<State> {
        let counts = self.counts();
        let before = self.read(counts);
        let mut state = before.clone().unwrap_or_default();
        state.told.clear();
        if let Some(mut after) = self.read((counts + 1) % PLACES).filter(|after| after.batch == state.batch + 1) {
            let (had, missing): (Vec<_>, Vec<_>) = std::mem::take(&mut after.told)
                .into_iter()
                .partition(|told| ends.get(told.lane).is_some_and(|end| told.sequence < *end));
            if missing.is_empty() {
                state = after;
            } else {
                state.had.extend(had.iter().map(|told| told.id));
                for (cpu, kind) in had.iter().filter_map(|told| told.lost) {
                    let of = |entry: &&(u32, u16, u64)| (entry.0, entry.1) == (cpu, kind);
                    state.lost.retain(|entry| !of(&entry));
                    state.lost.extend(after.lost.iter().find(of));
                }
            }
        } else {
            before?;
        }
        state.batch += 2;
        let third = (counts + 2) % PLACES;
        self.write(third, &state);
        if self.word(word::PLACES + 2 * third).load(Ordering::Acquire) != 0 {
            self.word(word::COUNTS).store(third as u64, Ordering::Release);
        }
        Some(state)
    }

    /// Somebody is there.
    pub(super) fn alive(&self, boot: u64) {
        self.word(word::ALIVE).store(boot, Ordering::Relaxed);
    }

    /// When somebody was there last, CLOCK_BOOTTIME.
    pub(super) fn last_alive(&self) -> u64 {
        self.word(word::ALIVE).load(Ordering::Relaxed)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Number of bytes, and their checksum.
fn of(bytes: &[u8]) -> (u64, u64) {
    (bytes.len() as u64, crc32c::crc32c(bytes).into())
}

impl Drop for Handover {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, which ends with this value.
        let _ = unsafe { munmap(self.memory.cast(), BYTES.get()) };
    }
}

#[cfg(test)]
mod tests;
