//! The end of a lane: what waits to be written, and the segment that it is written to.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use super::{
    catalog::{Catalog, Durable, Segment},
    disk::Store,
    format::{self, Header, SegmentId},
    shared::Shared,
};

/// Memory for entries that is kept; a burst may need more for a moment.
const KEPT_CAPACITY: usize = 1 << 20;

/// Entries of one context that are not committed yet.
#[derive(Debug)]
pub(super) struct Batch {
    /// Of the segment that it is written to.
    seal: u32,
    pub(super) context: Arc<[u8]>,
    /// Sequence of the first.
    pub(super) first: u64,
    /// From `begin` on they are not committed.
    bytes: Vec<u8>,
    begin: usize,
    count: u64,
}

impl Batch {
    fn new(salt: u32, context: &Arc<[u8]>, first: u64) -> Self {
        Self {
            seal: format::seal(salt, context),
            context: Arc::clone(context),
            first,
            bytes: Vec::new(),
            begin: 0,
            count: 0,
        }
    }

    /// What is not committed, as it will stand in the segment.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }

    /// Bytes of memory.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes and number of the first whole entries that fit into `room`; at least one if `force`.
    fn piece(&self, room: u64, force: bool) -> (usize, u64) {
        let rest = self.bytes();
        if rest.len() as u64 <= room {
            return (rest.len(), self.count);
        }
        let (mut bytes, mut count) = (0, 0);
        while let Some(entry) = format::entry_size(&rest[bytes..]) {
            if (bytes + entry) as u64 > room && !(force && count == 0) {
                break;
            }
            bytes += entry;
            count += 1;
        }
        (bytes, count)
    }

    /// The first so many are committed.
    pub(super) fn commit(&mut self, bytes: usize, count: u64) {
        self.begin += bytes;
        self.first += count;
        self.count -= count;
        if self.count == 0 {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_CAPACITY);
            self.begin = 0;
        } else if self.begin > self.bytes.len() / 2 {
            self.bytes.drain(..self.begin);
            self.begin = 0;
        }
    }
}

/// The segment that a lane is appended to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) id: SegmentId,
    pub(super) file: Arc<dyn Store>,
    pub(super) salt: u32,
    pub(super) context: Arc<[u8]>,
    /// Where the last committed entry ends, bytes.
    pub(super) length: u64,
    /// Bytes of the file that are accounted for.
    pub(super) size: u64,
    /// It has an entry, and so is in the catalog.
    pub(super) listed: bool,
}

impl Active {
    pub(super) fn recovered(id: SegmentId, file: Arc<dyn Store>, header: &Header, length: u64, size: u64) -> Self {
        let context = Arc::from(&header.context[..]);
        Self { id, file, salt: header.salt, context, length, size, listed: true }
    }

    /// The file may have so many bytes from now on.
    pub(super) fn account_for(&mut self, shared: &Shared, end: u64) {
        if end > self.size {
            let mut catalog = shared.catalog();
            if self.listed {
                catalog.resize(self.id, end);
            } else {
                catalog.other_bytes += end - self.size;
            }
            self.size = end;
        }
    }

    /// It is about to have its first entry.
    pub(super) fn list(&mut self, catalog: &mut Catalog, now: Duration) {
        if !self.listed {
            self.listed = true;
            let header = Header::size(self.context.len());
            let durable = Durable { next: self.id.first, length: header };
            catalog.other_bytes -= self.size;
            catalog.insert(Segment { id: self.id, length: header, size: self.size, written: now, durable });
        }
    }
}

/// The end of a lane.
#[derive(Debug)]
pub(super) struct Tail {
    /// Of the segments of this lane.
    pub(super) salt: u32,
    /// Sequence of the entry that is pushed next.
    next: u64,
    /// By context; the last one stays when it is written.
    pub(super) pending: VecDeque<Batch>,
    pub(super) active: Option<Active>,
}

impl Tail {
    pub(super) fn new(next: u64, active: Option<Active>) -> Self {
        let random = || RandomState::new().build_hasher().finish() as u32;
        let salt = active.as_ref().map_or_else(random, |active| active.salt);
        Self { salt, next, pending: VecDeque::new(), active }
    }

    /// Takes an entry of this context.
    /// Takes an entry; gives its sequence.
    pub(super) fn push(&mut self, context: &Arc<[u8]>, stamp: u64, payload: &[u8]) -> u64 {
        let Self { salt, next, pending, .. } = self;
        let sequence = *next;
        if pending.back().is_none_or(|batch| !Arc::ptr_eq(&batch.context, context)) {
            pending.push_back(Batch::new(*salt, context, *next));
        }
        if let Some(batch) = pending.back_mut() {
            format::encode_entry(&mut batch.bytes, batch.seal, *next, stamp, payload);
            batch.count += 1;
            *next += 1;
        }
        sequence
    }

    /// Sequence of the entry that is pushed next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Entries that are not committed.
    pub(super) fn waiting(&self) -> u64 {
        self.pending.iter().map(|batch| batch.count).sum()
    }

    /// What is written next: the part of the first batch that fits into the segment. Where nothing does the segment is done with.
    pub(super) fn piece(&mut self, segment_size: u64, spare: u64) -> Option<Piece> {
        while self.pending.len() > 1 && self.pending[0].count == 0 {
            self.pending.pop_front();
        }
        let batch = self.pending.front().filter(|batch| batch.count > 0)?;
        if let Some(active) = self.active.as_ref().filter(|active| *active.context == *batch.context) {
            let (bytes, count) = batch.piece(segment_size.saturating_sub(active.length), !active.listed);
            if count > 0 {
                let need = (active.length + bytes as u64).saturating_sub(active.size);
                return Some(Piece { bytes, count, need, begins: false });
            }
        }
        let header = Header::size(batch.context.len());
        let (bytes, count) = batch.piece(segment_size.saturating_sub(header), true);
        Some(Piece { bytes, count, need: (header + bytes as u64).saturating_sub(spare), begins: true })
    }
}

/// What is written at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) bytes: usize,
    pub(super) count: u64,
    /// Bytes by which the spool grows.
    pub(super) need: u64,
    /// It begins a new segment.
    pub(super) begins: bool,
}
