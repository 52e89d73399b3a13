//! Sees to it that the spool stays within its bounds: deletes what all readers have settled, and else drops what is worth least.

use std::sync::{Arc, MutexGuard};

use super::{
    DropKey, Durability, LANES, Lane, Options, Reason, WhenFull, Writer,
    catalog::View,
    format::{self, Header},
    scan::Scan,
    store::Kept,
};

/// Tells what would have become of an entry that no reader has read and none will.
pub trait Classify {
    /// Route and event name by which it is counted for this reader; nothing where it would have been routed nowhere. `context` is what
    /// [`Writer::set_context`] had said when it was pushed.
    fn fate(&self, reader: &str, context: &[u8], payload: &[u8]) -> Option<(Arc<str>, Arc<str>)>;
}

/// What making room came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freed {
    Something,
    Nothing,
    /// Bulk has to wait.
    HeldBack,
}

/// How sure it must be that a reader has settled a segment that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// Whatever happens to the host or to one of the two slots of an account.
    Durably,
    /// Unless the host loses power: it would be told as lost then. For when there is no room.
    Written,
}

/// A file whose entries nobody needs any more, to be written over: its pages and blocks are there already.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) name: String,
    pub(super) size: u64,
}

/// So many files are kept to be used again...
const MAX_SPARES: usize = 4;
/// ...if one was needed in the last so many seconds.
const SPARES_KEPT: u64 = 10;
/// A segment that is not full, and settled, is deleted where it is larger.
const WORTH_DELETING: u64 = 16 << 10;

impl Writer {
    /// To be called every second or so: drops what is too old, and deletes what is settled.
    pub fn tick(&mut self, classify: &dyn Classify) {
        self.rewrite_failed(classify);
        self.measure();
        self.drop_too_old(classify);
        self.reclaim_settled();
        self.reclaim_active(Settled::Durably);
        if self.shared.disk.now().as_secs().saturating_sub(self.begun.as_secs()) > SPARES_KEPT {
            self.remove_spares();
        }
        if !self.takes_bulk && Lane::BULK.into_iter().all(|lane| self.waiting(lane) == 0) {
            self.takes_bulk = Lane::BULK.into_iter().all(|lane| self.shared.catalog().bytes() < self.limit(lane));
        }
    }

    /// Looks how large segments may be: the disk may have less room than the spool may have.
    pub(super) fn measure(&mut self) {
        let max_size = self.shared.options.max_size;
        let bytes = self.shared.catalog().bytes();
        let room = self.shared.disk.free().map_or(max_size, |free| max_size.min(bytes.saturating_add(free)));
        self.segment_size = Options::segment_size(room);
    }

    /// Bytes that the spool may have when something is written to this lane.
    pub(super) fn limit(&self, lane: Lane) -> u64 {
        let max_size = self.shared.options.max_size;
        if self.holds_back(lane) { max_size / 8 * 7 } else { max_size }
    }

    fn holds_back(&self, lane: Lane) -> bool {
        self.shared.options.when_full == WhenFull::BlockBulk && lane.is_bulk()
    }

    /// There is no room within the bounds for what is to be written to this lane.
    pub(super) fn make_room(&mut self, lane: Lane, classify: &dyn Classify) -> Freed {
        if self.remove_spares() || self.reclaim_hard() {
            return Freed::Something;
        }
        if self.holds_back(lane) {
            return Freed::HeldBack;
        }
        if self.drop_oldest(classify).is_some() { Freed::Something } else { Freed::Nothing }
    }

    /// The disk is full. Others may be filling it: of what there is no more bytes are dropped than are to come, which `wanted` counts
    /// down, but for what is left of a segment.
    pub(super) fn make_room_on_disk(&mut self, lane: Lane, classify: &dyn Classify, wanted: &mut u64) -> Freed {
        if self.remove_spares() || self.reclaim_hard() {
            self.remove_spares();
            return Freed::Something;
        }
        if self.holds_back(lane) {
            return Freed::HeldBack;
        }
        if *wanted == 0 {
            return Freed::Nothing;
        }
        let Some(bytes) = self.drop_oldest(classify) else { return Freed::Nothing };
        *wanted = wanted.saturating_sub(bytes);
        self.remove_spares();
        Freed::Something
    }

    /// Deletes what all readers have durably settled.
    pub(super) fn reclaim_settled(&mut self) {
        self.reclaim(Settled::Durably);
    }

    /// Deletes what all readers have settled, after seeing to it that they have said so.
    fn reclaim_hard(&mut self) -> bool {
        if self.reclaim(Settled::Written) || self.reclaim_active(Settled::Written) {
            return true;
        }
        let ends = self.shared.catalog().ends();
        let mut saved = false;
        for cell in &*self.shared.cells() {
            // one that can't be saved settles nothing: its entries stay as long as there is another way
            saved |= cell.lock().save(&ends, self.shared.options.durability).unwrap_or_default();
            self.shared.account_written(cell);
        }
        saved && (self.reclaim(Settled::Written) || self.reclaim_active(Settled::Written))
    }

    /// Before which sequence of each lane all readers have settled everything.
    fn settled(&self, how: Settled) -> [u64; LANES] {
        let always = self.shared.options.durability != Durability::None;
        let mut settled = [u64::MAX; LANES];
        for cell in &*self.shared.cells() {
            let kept = cell.lock();
            let cursors = match how {
                Settled::Durably if always => kept.durable(),
                Settled::Durably => kept.safe(),
                Settled::Written => kept.written(),
            };
            settled = std::array::from_fn(|lane| settled[lane].min(cursors[lane]));
        }
        settled
    }

    /// Deletes segments that are full and settled.
    fn reclaim(&mut self, how: Settled) -> bool {
        let settled = self.settled(how);
        let mut reclaimed = false;
        for lane in Lane::ALL {
            loop {
                let oldest = self.shared.catalog().oldest(lane);
                match oldest.filter(|view| view.end <= settled[lane.index()] && !self.is_active(*view)) {
                    Some(view) => self.delete(view),
                    None => break,
                }
                reclaimed = true;
            }
        }
        reclaimed
    }

    /// Deletes segments that are still written to, where all that is in them is settled.
    fn reclaim_active(&mut self, how: Settled) -> bool {
        let settled = self.settled(how);
        let mut reclaimed = false;
        for lane in Lane::ALL {
            let oldest = self.shared.catalog().oldest(lane);
            let settled = oldest.filter(|view| view.end <= settled[lane.index()] && view.length > WORTH_DELETING);
            if let Some(view) = settled {
                self.delete(view);
                reclaimed = true;
            }
        }
        reclaimed
    }

    fn is_active(&self, view: View) -> bool {
        self.lanes[view.id.lane.index()].active.as_ref().is_some_and(|active| active.id == view.id)
    }

    /// Deletes the oldest segment of a lane, or keeps its file to be used again.
    fn delete(&mut self, view: View) {
        if self.is_active(view) {
            self.close(view.id.lane);
        }
        let (id, size) = {
            let mut catalog = self.shared.catalog();
            let Some(segment) = catalog.remove_oldest(view.id.lane) else { return };
            catalog.other_bytes += segment.size;
            (segment.id, segment.size)
        };
        let spare = format::spare_name(id.number);
        if self.spares.len() < MAX_SPARES && self.shared.disk.rename(&id.name(), &spare).is_ok() {
            self.spares.push(Spare { name: spare, size });
        } else {
            self.shared.remove_file(&id.name(), size);
        }
    }

    fn remove_spares(&mut self) -> bool {
        let some = !self.spares.is_empty();
        for spare in self.spares.drain(..) {
            self.shared.remove_file(&spare.name, spare.size);
        }
        some
    }

    fn drop_too_old(&mut self, classify: &dyn Classify) {
        let now = self.shared.disk.now();
        for lane in Lane::ALL {
            loop {
                let oldest = {
                    let catalog = self.shared.catalog();
                    let old = |written| now.saturating_sub(written) > self.shared.options.max_age;
                    let view = catalog.oldest(lane);
                    view.filter(|view| catalog.get(view.id).is_some_and(|segment| old(segment.written)))
                };
                if !oldest.is_some_and(|view| self.drop_segment(view, Reason::TooOld, classify)) {
                    break;
                }
            }
        }
    }

    /// Drops the oldest segment of the lowest lane that has one, and gives its bytes.
    fn drop_oldest(&mut self, classify: &dyn Classify) -> Option<u64> {
        let oldest = {
            let catalog = self.shared.catalog();
            Lane::ALL.into_iter().find_map(|lane| catalog.oldest(lane))
        };
        let view = oldest?;
        self.drop_segment(view, Reason::SpoolFull, classify).then_some(view.length)
    }

    /// Deletes the oldest segment of a lane, after writing into the accounts what their readers will never read. False where that can't be
    /// written: it would be lost silently should the process be killed now.
    fn drop_segment(&mut self, view: View, reason: Reason, classify: &dyn Classify) -> bool {
        let shared = Arc::clone(&self.shared);
        let cells = shared.cells();
        let mut kept: Vec<_> = cells.iter().map(|cell| (&*cell.name, cell.lock())).collect();
        self.classify(view, reason, &mut kept, classify);
        let ends = shared.catalog().ends();
        let lane = view.id.lane.index();
        // rare enough to wait for the disk: that it was dropped must outlive what is dropped
        let durability = shared.options.durability.or_none();
        let mut saved = true;
        for (name, kept) in &mut kept {
            kept.account.lose(lane, view.end, reason);
            kept.account.set_why(lane, reason);
            if let Err(e) = kept.save(&ends, durability) {
                tracing::error!(reader = name, "can't save what the spool drops: {e}");
                saved = false;
            }
        }
        drop(kept);
        drop(cells);
        if saved {
            self.delete(view);
        }
        saved
    }

    /// Counts the entries of a segment that readers have not read, each by what it is.
    fn classify(
        &self,
        view: View,
        reason: Reason,
        readers: &mut [(&str, MutexGuard<'_, Kept>)],
        classify: &dyn Classify,
    ) {
        let lane = view.id.lane.index();
        let read = |(_, kept): &mut (&str, MutexGuard<'_, Kept>)| kept.account.lanes[lane].position() >= view.end;
        if readers.iter_mut().all(read) {
            return;
        }
        let Ok(file) = self.shared.disk.open(&view.id.name()) else { return };
        let Ok(header) = Header::read(&*file, view.id) else { return };
        let begin = Header::size(header.context.len());
        let mut scan = Scan::new(file, header.seal(), begin, view.id.first, 1);
        while let Ok(Some(whole)) = scan.next(view.length, view.end) {
            for (name, kept) in &mut *readers {
                let account = &mut kept.account;
                account.lose(lane, whole.sequence, reason);
                if account.lanes[lane].position() == whole.sequence {
                    let fate = classify.fate(name, &header.context, scan.payload(&whole));
                    let key = fate.map(|(route, event)| DropKey { route, event, reason });
                    account.lose_as(lane, whole.sequence + 1, key.as_ref());
                }
            }
        }
    }
}
