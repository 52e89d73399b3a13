//! Hands the entries out to one sink.

use std::{io, ops::Range, sync::Arc};

use tokio::sync::watch;

use super::{
    Fate, LANES, Lane, Position, Reason,
    catalog::View,
    format::{BadHeader, Header, SegmentId, Whole},
    scan::{Scan, TRIES},
    shared::{Cell, Shared},
    store::Kept,
};

/// An entry that was handed out.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which one it is.
    pub position: Position,
    /// What the writer's context was. The same for many: `Arc::ptr_eq` mostly tells so.
    pub context: Arc<[u8]>,
    /// Where its payload is in the buffer of the chunk.
    pub range: Range<usize>,
}

/// Entries in the order in which they were pushed.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// All payloads, one after the other.
    pub buffer: Vec<u8>,
    /// What is where.
    pub entries: Vec<Entry>,
}

impl Chunk {
    /// Payload of an entry of this chunk.
    #[must_use]
    pub fn payload(&self, entry: &Entry) -> &[u8] {
        &self.buffer[entry.range.clone()]
    }

    /// Forgets the entries, and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.entries.clear();
    }
}

/// A segment of which something was read.
#[derive(Debug)]
struct Open {
    id: SegmentId,
    scan: Scan,
    context: Arc<[u8]>,
}

#[derive(Debug, Default)]
struct ReaderLane {
    open: Option<Open>,
    /// The entry that comes next, and its stamp.
    head: Option<Whole>,
    /// How often in a row the header could not be read.
    failures: u8,
}

/// Reads a spool for one sink, and keeps its account. Dropping it leaves the account as it was saved last.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    lanes: [ReaderLane; LANES],
    committed: watch::Receiver<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.cell.detach();
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, cell: Arc<Cell>) -> Self {
        let committed = shared.committed.subscribe();
        Self { shared, cell, lanes: Default::default(), committed }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cell.name
    }

    /// Waits until there is something to read. Where too many entries are handed out and not settled it waits for ever: settle some, and
    /// ask again.
    pub async fn readable(&mut self) {
        loop {
            self.committed.mark_unchanged();
            if self.is_readable() {
                return;
            }
            if self.committed.changed().await.is_err() {
                // the sender is in `shared`: it lives as long as this reader
                std::future::pending::<()>().await;
            }
        }
    }

    fn is_readable(&self) -> bool {
        let ends = self.shared.catalog().published();
        let mut kept = self.cell.lock();
        let lanes = &mut kept.account.lanes;
        lanes.iter_mut().zip(ends).any(|(progress, end)| progress.position() < end && !progress.is_full())
    }

    /// Appends whole entries to `chunk`, in the order in which they were pushed, until it has `max_bytes` of them (one at least, where
    /// there is one). Returns how many; nothing where all was read.
    ///
    /// # Errors
    /// Where the disk can't read. Try again later: it has ten tries, then what can't be read is lost.
    pub fn read(&mut self, chunk: &mut Chunk, max_bytes: usize) -> io::Result<usize> {
        let Self { shared, cell, lanes, .. } = self;
        let mut kept = cell.lock();
        let (ends, passed) = {
            let catalog = shared.catalog();
            let kept = &*kept;
            // a segment can be deleted now: the sooner it is said, the sooner its file is used again
            let passed = |&lane: &Lane| {
                let at = lane.index();
                catalog
                    .oldest_end(lane)
                    .is_some_and(|end| kept.safe()[at] < end && end <= kept.account.lanes[at].cursor())
            };
            (catalog.published(), Lane::ALL.iter().any(passed))
        };
        if passed {
            // where it fails the segment stays, and whoever saves the account at intervals is told
            let _: io::Result<()> = save(shared, cell, &mut kept);
        }
        let mut views = [None; LANES];
        let mut stamps = [u64::MAX; LANES];
        for lane in Lane::ALL {
            let at = lane.index();
            stamps[at] = lanes[at].advance(lane, shared, &mut kept, ends[at], &mut views[at])?;
        }
        let (begin, first) = (chunk.buffer.len(), chunk.entries.len());
        loop {
            let (at, stamp) =
                stamps.iter().enumerate().min_by_key(|(_, stamp)| **stamp).map_or((0, u64::MAX), |(a, s)| (a, *s));
            if stamp == u64::MAX {
                break;
            }
            let lane = Lane::ALL[at];
            lanes[at].hand_out(lane, &mut kept, chunk);
            match lanes[at].advance(lane, shared, &mut kept, ends[at], &mut views[at]) {
                Ok(stamp) => stamps[at] = stamp,
                // the next call meets it again
                Err(_) => break,
            }
            if chunk.buffer.len() - begin >= max_bytes {
                break;
            }
        }
        Ok(chunk.entries.len() - first)
    }

    /// Says what became of an entry. Once for each; in any order.
    pub fn settle(&mut self, position: Position, fate: &Fate) {
        self.cell.lock().account.settle(position, fate);
    }

    /// Saves the account, where it has changed. By [`super::Durability::Always`] it is durable then.
    ///
    /// # Errors
    /// Where it can't be written. The one that was saved last counts then.
    pub fn save(&mut self) -> io::Result<()> {
        save(&self.shared, &self.cell, &mut self.cell.lock())
    }

    /// Bytes of memory for reading, without what [`Chunk`] has.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.lanes.iter().filter_map(|lane| lane.open.as_ref()).map(|open| open.scan.capacity()).sum()
    }

    /// Begins again with the first entry that is not settled.
    pub fn rewind(&mut self) {
        self.cell.lock().account.rewind();
        self.lanes = Default::default();
    }
}

fn save(shared: &Shared, cell: &Arc<Cell>, kept: &mut Kept) -> io::Result<()> {
    let ends = shared.catalog().ends();
    if kept.save(&ends, shared.options.durability)? {
        shared.account_written(cell);
    }
    Ok(())
}

impl ReaderLane {
    /// Makes the next entry ready, and returns its stamp; the highest number where there is none.
    fn advance(
        &mut self,
        lane: Lane,
        shared: &Shared,
        kept: &mut Kept,
        end: u64,
        view: &mut Option<View>,
    ) -> io::Result<u64> {
        let at = lane.index();
        loop {
            let progress = &mut kept.account.lanes[at];
            let position = progress.position();
            if position >= end || progress.is_full() {
                return Ok(u64::MAX);
            }
            if let Some(head) = &self.head {
                if head.sequence == position {
                    return Ok(head.stamp);
                }
                if head.sequence > position {
                    self.lose(lane, shared, kept, position, head.sequence, Reason::Damaged);
                    continue;
                }
                self.head = None;
            }
            let here = match *view {
                Some(view) if position < view.end => view,
                _ => match shared.catalog().at(lane, position) {
                    Some(here) => *view.insert(here),
                    None => {
                        let why = kept.account.why(at);
                        self.lose(lane, shared, kept, position, end, why);
                        continue;
                    }
                },
            };
            if here.id.first > position {
                // dropped while it was handed out, and handed out again now
                let why = kept.account.why(at);
                self.lose(lane, shared, kept, position, here.id.first, why);
                continue;
            }
            if self.open.as_ref().is_none_or(|open| open.id != here.id) {
                match self.open(here.id, shared) {
                    Ok(()) => {}
                    Err(BadHeader::Io(e)) if e.kind() != io::ErrorKind::NotFound && self.failures < TRIES => {
                        return Err(e);
                    }
                    Err(_) => {
                        self.failures = 0;
                        self.lose(lane, shared, kept, position, here.end, Reason::Damaged);
                        continue;
                    }
                }
            }
            let Some(open) = &mut self.open else { continue };
            self.head = open.scan.next(here.length, here.end)?;
            if self.head.is_none() {
                self.lose(lane, shared, kept, position, here.end, Reason::Damaged);
            }
        }
    }

    fn lose(&self, lane: Lane, shared: &Shared, kept: &mut Kept, from: u64, to: u64, reason: Reason) {
        if reason == Reason::Damaged {
            shared.count_damaged(lane.index(), from, to);
        }
        kept.account.lose(lane.index(), to, reason);
    }

    fn open(&mut self, id: SegmentId, shared: &Shared) -> Result<(), BadHeader> {
        self.failures += 1;
        let file = shared.disk.open(&id.name()).map_err(BadHeader::Io)?;
        let header = Header::read(&*file, id)?;
        let (seal, context) = (header.seal(), header.context);
        self.failures = 0;
        let begin = Header::size(context.len());
        self.open = Some(match self.open.take() {
            Some(Open { mut scan, context: before, .. }) => {
                scan.restart(file, seal, begin, id.first);
                let context = if *before == *context { before } else { Arc::from(context) };
                Open { id, scan, context }
            }
            None => Open { id, scan: Scan::new(file, seal, begin, id.first, TRIES), context: Arc::from(context) },
        });
        Ok(())
    }

    /// Hands out the entry that is ready.
    fn hand_out(&mut self, lane: Lane, kept: &mut Kept, chunk: &mut Chunk) {
        let (Some(head), Some(open)) = (self.head.take(), &self.open) else { return };
        let begin = chunk.buffer.len();
        chunk.buffer.extend_from_slice(open.scan.payload(&head));
        chunk.entries.push(Entry {
            position: Position { lane, sequence: head.sequence },
            context: Arc::clone(&open.context),
            range: begin..chunk.buffer.len(),
        });
        kept.account.lanes[lane.index()].hand_out();
    }
}
