//! The one that appends.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    Durability, LANES, Lane, MAX_CONTEXT, MAX_PAYLOAD, Options, Position,
    catalog::Durable,
    disk::Store,
    durability::Syncer,
    format::{self, Header, SegmentId},
    recover::WriterStart,
    room::{Classify, Freed, Spare},
    shared::{Shared, Trouble},
    tail::{Active, Piece, Tail},
};

/// Nothing of it was taken: it is too large for an entry or a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bytes} bytes are too many for the spool; allowed: up to {MAX_PAYLOAD} for a record and {MAX_CONTEXT} for its context"
)]
pub struct TooLarge {
    /// How many there are.
    pub bytes: usize,
}

/// Something could not be written. It waits in memory, and the next commit tries again.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't write to the spool {}: {source}; {waiting} records wait in memory until it can be written; make room on its disk, or repair it", folder.display()
)]
pub struct CommitError {
    /// The folder.
    pub folder: PathBuf,
    /// Entries that wait.
    pub waiting: u64,
    /// Why.
    pub source: io::Error,
}

/// What a lane's part of a commit came to.
enum Written {
    All,
    /// There is no room for bulk.
    HeldBack,
}

/// The disk, or this user's part of it.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Appends to a spool. There is one. It is to be dropped after the readers: what they save is made durable then, by
/// [`Durability::Interval`].
#[derive(Debug)]
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: [Tail; LANES],
    context: Arc<[u8]>,
    stamp: u64,
    pub(super) takes_bulk: bool,
    pub(super) spares: Vec<Spare>,
    /// A segment that has so many bytes gets no more entries.
    pub(super) segment_size: u64,
    /// Bytes of a segment that is written once more and has not taken its place.
    pub(super) unfinished: u64,
    /// When a segment was begun last.
    pub(super) begun: Duration,
    /// Syncs what is left when it is dropped.
    syncer: Option<Syncer>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, start: WriterStart) -> Self {
        let ends = shared.catalog().ends();
        let mut active = start.active;
        let lanes = std::array::from_fn(|lane| Tail::new(ends[lane], active[lane].take()));
        let begun = shared.disk.now();
        let segment_size = Options::segment_size(shared.options.max_size);
        Self {
            shared,
            lanes,
            context: Arc::default(),
            stamp: start.stamp,
            takes_bulk: true,
            spares: Vec::new(),
            segment_size,
            unfinished: 0,
            begun,
            syncer: None,
        }
    }

    #[cfg(test)]
    pub(super) fn set_salt(&mut self, salt: u32) {
        self.lanes.iter_mut().for_each(|lane| lane.salt = salt);
    }

    /// Starts the thread, where the policy wants one.
    pub(super) fn sync_in_background(&mut self) -> io::Result<()> {
        if let Durability::Interval(interval) = self.shared.options.durability {
            self.syncer = Some(Syncer::start(&self.shared, interval)?);
        }
        Ok(())
    }

    /// What belongs to all entries that are pushed from now on. Readers get it with each of them.
    ///
    /// # Errors
    /// Where it has more than [`MAX_CONTEXT`] bytes.
    pub fn set_context(&mut self, context: &[u8]) -> Result<(), TooLarge> {
        if context.len() > MAX_CONTEXT {
            return Err(TooLarge { bytes: context.len() });
        }
        if *self.context != *context {
            self.context = Arc::from(context);
        }
        Ok(())
    }

    /// Takes an entry; [`Self::commit`] writes it. Gives its position.
    ///
    /// # Errors
    /// Where it has more than [`MAX_PAYLOAD`] bytes.
    pub fn push(&mut self, lane: Lane, payload: &[u8]) -> Result<Position, TooLarge> {
        if payload.len() > MAX_PAYLOAD {
            return Err(TooLarge { bytes: payload.len() });
        }
        let sequence = self.lanes[lane.index()].push(&self.context, self.stamp, payload);
        self.stamp += 1;
        Ok(Position { lane, sequence })
    }

    /// The sequences that the lanes give next.
    #[must_use]
    pub fn ends(&self) -> [u64; LANES] {
        self.lanes.each_ref().map(Tail::next)
    }

    /// Writes all that was pushed, makes it durable as the policy says, and wakes the readers. Bulk that there is no room for waits by
    /// [`super::WhenFull::BlockBulk`]: see [`Self::takes_bulk`].
    ///
    /// # Errors
    /// Where something can't be written: it waits in memory, and the next commit tries again.
    pub fn commit(&mut self, classify: &dyn Classify) -> Result<(), CommitError> {
        self.rewrite_failed(classify);
        let mut result = Ok(());
        let mut wrote = false;
        self.takes_bulk = true;
        for lane in Lane::ALL.into_iter().rev() {
            match self.write(lane, classify, &mut wrote) {
                Ok(Written::All) => {}
                Ok(Written::HeldBack) => self.takes_bulk = false,
                Err(e) => result = result.and(Err(e)),
            }
        }
        if wrote {
            self.shared.catalog().publish();
            self.shared.committed.send_replace(());
        }
        self.report(result)
    }

    /// Bulk may be pushed. While it may not, bulk that was pushed may still wait in memory: only what [`Self::waiting`] does not count is
    /// committed.
    #[must_use]
    pub const fn takes_bulk(&self) -> bool {
        self.takes_bulk
    }

    /// Entries of this lane that were pushed and are not committed.
    #[must_use]
    pub fn waiting(&self, lane: Lane) -> u64 {
        self.lanes[lane.index()].waiting()
    }

    /// Bytes of memory for entries that were pushed.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.lanes.iter().flat_map(|lane| &lane.pending).map(|batch| batch.capacity()).sum()
    }

    fn report(&self, result: io::Result<()>) -> Result<(), CommitError> {
        let failure = |source| CommitError {
            folder: self.shared.folder.clone(),
            waiting: self.lanes.iter().map(Tail::waiting).sum(),
            source,
        };
        let result = result.map_err(failure);
        self.shared.set_trouble(Trouble::Commit, result.as_ref().err().map(ToString::to_string));
        result
    }

    /// Writes what waits in a lane, as much as there is room for.
    fn write(&mut self, lane: Lane, classify: &dyn Classify, wrote: &mut bool) -> io::Result<Written> {
        let mut wanted = None;
        loop {
            let spare = self.spares.last().map_or(0, |spare| spare.size);
            let Some(piece) = self.lanes[lane.index()].piece(self.segment_size, spare) else { return Ok(Written::All) };
            if self.shared.catalog().bytes() + piece.need > self.limit(lane) {
                match self.make_room(lane, classify) {
                    Freed::Something => continue,
                    Freed::Nothing => {
                        return Err(io::Error::new(ErrorKind::StorageFull, "max_size is too small for what must stay"));
                    }
                    Freed::HeldBack => return Ok(Written::HeldBack),
                }
            }
            let need = piece.need;
            match self.write_piece(lane, piece) {
                Ok(()) => {
                    *wrote = true;
                    wanted = None;
                }
                Err(e) if is_full(&e) => match self.make_room_on_disk(lane, classify, wanted.get_or_insert(need)) {
                    Freed::Something => {}
                    Freed::Nothing => return Err(e),
                    Freed::HeldBack => return Ok(Written::HeldBack),
                },
                Err(e) => return Err(e),
            }
        }
    }

    fn write_piece(&mut self, lane: Lane, piece: Piece) -> io::Result<()> {
        if piece.begins {
            self.close(lane);
            self.begin_segment(lane)?;
        }
        let shared = Arc::clone(&self.shared);
        let Tail { pending, active, .. } = &mut self.lanes[lane.index()];
        let (Some(active), Some(batch)) = (active.as_mut(), pending.front_mut()) else { return Ok(()) };
        let end = active.length + piece.bytes as u64;
        active.account_for(&shared, end);
        let bytes = &batch.bytes()[..piece.bytes];
        let written = active.file.write(bytes, active.length);
        if let Err(e) = written {
            // there may be room for it here later, and what is there of it is written over then; after another error the next segment
            // begins with it, and this one ends there
            if !is_full(&e) {
                self.close(lane);
            }
            return Err(e);
        }
        let durable = shared.options.durability == Durability::Always;
        if durable && let Err(e) = active.file.sync() {
            self.close(lane);
            // even where it says that there is no room: nothing is known of what was written
            return Err(io::Error::other(e));
        }
        batch.commit(piece.bytes, piece.count);
        active.length = end;
        let now = shared.disk.now();
        let mut catalog = shared.catalog();
        active.list(&mut catalog, now);
        catalog.append(lane, batch.first, end, now);
        if durable && let Some(segment) = catalog.get_mut(active.id) {
            segment.durable = Durable { next: batch.first, length: end };
        }
        drop(catalog);
        shared.segment_written(active.id, &active.file);
        Ok(())
    }

    /// Begins the segment of the first entry that waits.
    fn begin_segment(&mut self, lane: Lane) -> io::Result<()> {
        self.begun = self.shared.disk.now();
        self.measure();
        self.reclaim_settled();
        let Tail { salt, pending, .. } = &self.lanes[lane.index()];
        let (salt, Some(batch)) = (*salt, pending.front()) else { return Ok(()) };
        let id = SegmentId { lane, first: batch.first, number: self.shared.number() };
        let stamp = format::u64_at(batch.bytes(), 16);
        let context = Arc::clone(&batch.context);
        let header = Header { id, salt, stamp, context: context.to_vec() }.encode();
        let (file, size) = self.new_file(&id.name())?;
        let length = header.len() as u64;
        let mut active = Active { id, file, salt, context, length, size, listed: false };
        active.account_for(&self.shared, length);
        let written = active.file.write(&header, 0).and_then(|()| match self.shared.options.durability {
            Durability::Always => self.shared.disk.sync(),
            Durability::Interval(_) | Durability::None => Ok(()),
        });
        if let Err(e) = written {
            self.shared.remove_file(&id.name(), active.size);
            return Err(e);
        }
        self.shared.written(|unsynced| unsynced.folder = true);
        self.lanes[lane.index()].active = Some(active);
        Ok(())
    }

    /// A file of this name, and its size: where there is one whose entries nobody needs any more, it is that.
    fn new_file(&mut self, name: &str) -> io::Result<(Arc<dyn Store>, u64)> {
        let disk = &self.shared.disk;
        let Some(spare) = self.spares.pop() else { return Ok((disk.create(name)?, 0)) };
        let file = match disk.rename(&spare.name, name) {
            Ok(()) => disk.open(name),
            Err(e) => {
                self.shared.remove_file(&spare.name, spare.size);
                return Err(e);
            }
        };
        if file.is_err() {
            self.shared.remove_file(name, spare.size);
        }
        Ok((file?, spare.size))
    }

    /// Nothing more is appended to the segment of this lane.
    pub(super) fn close(&mut self, lane: Lane) {
        if let Some(active) = self.lanes[lane.index()].active.take()
            && !active.listed
        {
            self.shared.remove_file(&active.id.name(), active.size);
        }
    }
}
