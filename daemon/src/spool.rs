//! The durable queue between what happened and who wants to know.
//!
//! # What is promised
//! - **Order.** A reader gets the entries in the order in which they were pushed. Only what could not be written at once may come later:
//!   because the disk failed for its lane alone, or because bulk was held back.
//! - **At least once.** What [`Writer::commit`] has returned for is handed out to every reader until the reader has settled it, unless
//!   it is dropped by the rules below. What was settled after the account was saved last is handed out again after a crash.
//! - **Nothing is lost silently.** For each reader, at any moment and over restarts: seen = delivered + pending + dropped by (route,
//!   event, reason) + routed nowhere. `seen` comes from the sequences of the lanes, `pending` from the cursors, the rest is counted: an
//!   entry that got lost on the way would show as a difference ([`Ledger::balanced`]). What the spool itself lost is told once by
//!   [`Spool::take_losses`].
//! - **kill -9** of the process loses nothing that `commit` has returned for, whatever the policy: it is in the kernel's page cache.
//! - **Loss of power** loses, by [`Durability`]:
//!   - `Always`: nothing that `commit` has returned for. No reader sees an entry before it is durable.
//!   - `Interval(d)`: what was committed or settled in the last `d`, and in the time that a sync takes.
//!   - `None`: whatever the kernel had not written yet (some 30 seconds, as vm.dirty_expire_centisecs says), also accounts.
//!
//!   What was lost and had been counted as seen when an account was saved is told as `damaged`, the rest is as if it had never been.
//! - **A damaged entry** costs that entry only: entries have CRCs, headers and accounts are there twice, and the next whole entry is
//!   found wherever it is. As sequences are dense the number of entries lost is exact. A place that the disk can't read costs its
//!   sector, after ten tries.
//! - **A failing disk** loses nothing: what can't be written stays in the writer's memory until it can. After a failed fsync(2) nothing is
//!   known of what was written: its segment is not written any more, and what was not durable is written once more into another.
//! - **Bounded.** The files of the spool never have more than [`Options::max_size`] bytes together. Memory: what was pushed and can't be
//!   written, and per reader a window of 128 KiB in each lane and two bytes for each entry that it has in its hands.
//!
//! # How
//! An entry is opaque bytes, in one of [`LANES`] lanes: lane 0 is what is dropped first. A lane is a chain of segment files with a dense
//! sequence of entries; no sequence is used twice. Beside it each entry has a stamp, its place in the order of all lanes, by which
//! readers merge them. The module `format` says what the files look like.
//!
//! When there is no room ([`Options::max_size`], or the disk is full) segments go that every reader has settled. Then, by [`WhenFull`],
//! the oldest segment of the lowest lane that has one; or bulk is kept out, and [`Writer::takes_bulk`] says so. A lane may so keep one
//! segment even where higher lanes fill all the rest.
//!
//! Each reader has an account: a cursor per lane, all before which is settled, and the sums. It is saved with them in one file, and so
//! always consistent with them.

mod account;
mod catalog;
mod disk;
mod durability;
mod format;
mod progress;
mod reader;
mod recover;
mod rewrite;
mod room;
mod scan;
mod shared;
mod status;
mod store;
mod tail;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;

pub use self::{
    account::{DropKey, Dropped, Fate, Ledger, OTHER, Reason, UNKNOWN},
    format::{MAX_CONTEXT, MAX_PAYLOAD},
    reader::{Chunk, Entry, Reader},
    room::Classify,
    status::{Loss, Status},
    writer::{CommitError, TooLarge, Writer},
};
use self::{
    disk::{Disk, Folder},
    shared::Shared,
};

/// How many lanes there are.
pub const LANES: usize = 6;

/// A class of entries with the same fate when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Lane(u8);

impl Lane {
    /// From the one that is dropped first to the one that is dropped last.
    pub const ALL: [Self; LANES] = [Self(0), Self(1), Self(2), Self(3), Self(4), Self(5)];
    /// Those of events that may come in floods.
    pub const BULK: [Self; 3] = [Self(0), Self(1), Self(2)];

    /// The lane with this number, below [`LANES`].
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < LANES { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its events may come in floods.
    #[must_use]
    pub fn is_bulk(self) -> bool {
        Self::BULK.contains(&self)
    }
}

/// Which entry it is. No other has the same as long as there is the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its lane.
    pub lane: Lane,
    /// Its place in the lane.
    pub sequence: u64,
}

/// What outlives a loss of power. The promises are at the top of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Everything that was committed: each commit waits for the disk.
    Always,
    /// Everything but the last so long: a thread syncs.
    Interval(Duration),
    /// What the kernel happens to have written.
    None,
}

impl Durability {
    /// For what is rare and must not be lost: at once, or not at all.
    const fn or_none(self) -> Self {
        match self {
            Self::Always | Self::Interval(_) => Self::Always,
            Self::None => Self::None,
        }
    }
}

/// What to do when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Drop the oldest of the lowest lane.
    DropOldest,
    /// Keep bulk out, and an eighth of the room for the other lanes. Where they fill that too the oldest of the lowest lane is dropped.
    BlockBulk,
}

/// The bounds of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of all its files together, at least [`Self::LEAST_SIZE`].
    pub max_size: u64,
    /// An entry may wait so long. Entries are dropped by segments, when the newest of the segment is so old.
    pub max_age: Duration,
    /// What to do when there is no room.
    pub when_full: WhenFull,
    /// What outlives a loss of power.
    pub durability: Durability,
}

impl Options {
    /// Smallest `max_size`, bytes.
    pub const LEAST_SIZE: u64 = 1 << 20;
    const SEGMENT_SIZES: std::ops::RangeInclusive<u64> = (64 << 10)..=(16 << 20);

    /// Bytes that a segment may have where the spool may have so many: small enough that dropping one is no catastrophe.
    fn segment_size(size: u64) -> u64 {
        (size / 16).clamp(*Self::SEGMENT_SIZES.start(), *Self::SEGMENT_SIZES.end())
    }
}

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder or a file in it.
    #[error("can't use the spool {}: {source}; allowed: a folder that this user may make, read and write, for the spool alone", path.display())]
    Folder {
        /// The folder or the file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("the spool {} is in use by {owner}; allowed: one kmodtrail per spool: stop the other one, or give this one a folder of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who has it.
        owner: String,
    },
    /// Its format is not known yet.
    #[error(
        "the spool {} has format {found} in {file}, and this version of kmodtrail knows formats 1 to {known}; allowed: a version of \
         kmodtrail that is at least as new as the one that wrote it, or another folder", path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// A file that has it.
        file: String,
        /// The format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// It would be too small.
    #[error("a spool of {max_size} bytes is too small; allowed: {} bytes or more", Options::LEAST_SIZE)]
    TooSmall {
        /// Bytes wanted.
        max_size: u64,
    },
}

/// Why there is no such reader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderError {
    /// There is one already.
    #[error("the spool has a reader \"{name}\" already; allowed: one at a time")]
    Taken {
        /// Its name.
        name: String,
    },
    /// It can't be the name of a file.
    #[error("\"{name}\" can't be the name of a reader of the spool; allowed: 1 to 64 bytes")]
    Name {
        /// The name.
        name: String,
    },
    /// Its account can't be made or deleted.
    #[error(
        "the account of the reader \"{name}\" of the spool: {source}; allowed: a folder with room for it that this user may write"
    )]
    Account {
        /// The reader.
        name: String,
        /// Why not.
        source: io::Error,
    },
}

/// Where a reader begins that the spool does not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first entry since the spool was opened (or the first that is still there).
    Opening,
    /// With the next entry that is committed.
    Now,
}

/// An open spool. Clones are the same spool.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

impl Spool {
    /// Opens the spool in this folder, or makes it.
    ///
    /// # Errors
    /// Where the folder can't be used, another process has it, or a newer version has written it.
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Writer), OpenError> {
        let disk = Arc::new(Folder::open(folder)?);
        let (spool, mut writer) = Self::open_on(disk, folder, options)?;
        writer.sync_in_background().map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
        Ok((spool, writer))
    }

    /// As [`Self::open`], without a thread that syncs.
    fn open_on(disk: Arc<dyn Disk>, folder: &Path, options: Options) -> Result<(Self, Writer), OpenError> {
        if options.max_size < Options::LEAST_SIZE {
            return Err(OpenError::TooSmall { max_size: options.max_size });
        }
        let recovered = recover::recover(&*disk, folder, options.durability)?;
        let (shared, lanes) = Shared::new(disk, folder, options, recovered);
        let shared = Arc::new(shared);
        if options.durability == Durability::Always {
            // a crash may have left what is not durable, and readers see only what is; what fails is tried again with the next commit
            let _: io::Result<()> = shared.sync();
        }
        let writer = Writer::new(Arc::clone(&shared), lanes);
        Ok((Self { shared }, writer))
    }

    /// The reader of this name. One that the spool knows goes on where its account says.
    ///
    /// # Errors
    /// Where there is one already, or its account can't be made.
    pub fn reader(&self, name: &str, begin: Begin) -> Result<Reader, ReaderError> {
        let cell = self.shared.attach(name, begin)?;
        Ok(Reader::new(Arc::clone(&self.shared), cell))
    }

    /// Names of all readers that have an account.
    #[must_use]
    pub fn readers(&self) -> Vec<Arc<str>> {
        self.shared.cells().iter().map(|cell| Arc::clone(&cell.name)).collect()
    }

    /// Deletes the account of a reader that nobody asks for any more, and returns how many entries it had not settled.
    ///
    /// # Errors
    /// Where the reader is in use, or its file can't be deleted.
    pub fn forget(&self, name: &str) -> Result<u64, ReaderError> {
        self.shared.forget(name)
    }
}

#[cfg(test)]
mod tests;
