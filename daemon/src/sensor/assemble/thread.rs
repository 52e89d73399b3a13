//! What one thread is in the middle of.

use std::ops::Range;

use crate::{
    event::Text,
    sensor::{frame::Frame, handover, load::OpenLoad, threads, unload::OpenUnload, usermode_helper::OpenHelper},
};

#[derive(Debug)]
pub(super) struct OpenRequest {
    pub(super) frame: Frame,
    pub(super) alias: Text,
}

/// The kernel's records of what a thread is in the middle of, as they are kept for a process that comes after this one.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Those of earlier batches, each behind its length.
    pub(super) records: Vec<u8>,
    /// Those of this batch.
    pub(super) new: Vec<Range<usize>>,
}

/// How long an attempt may stay open before it is looked at, nanoseconds.
const PATIENCE: u64 = 2_000_000_000;
/// For so long a thread that runs, or waits for the kernel, may be on its way to the end of a request, nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// So many bytes of records are kept for a thread: far more than a load has. One that asks for modules without end while it loads one
/// has its first ones kept.
const MOST_KEPT: usize = 256 << 10;

impl Kept {
    /// The batch is over, and its bytes will be gone.
    pub(super) fn settle(&mut self, batch: &[u8]) {
        for record in self.new.drain(..) {
            if let Some(record) = batch.get(record)
                && self.records.len() + record.len() <= MOST_KEPT
            {
                handover::append(&mut self.records, record);
            }
        }
    }
}

/// What one thread is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Thread {
    pub(super) kept: Kept,
    /// Another generation tells what it is in the middle of.
    pub(super) theirs: bool,
    pub(super) tgid: u32,
    /// It was in none of these calls when it was looked at; what it did last may still be in the rings.
    pub(super) left: bool,
    pub(super) load: Option<OpenLoad>,
    pub(super) unload: Option<OpenUnload>,
    pub(super) request: Option<OpenRequest>,
    pub(super) helper: Option<OpenHelper>,
}

impl Thread {
    pub(super) fn is_idle(&self) -> bool {
        self.attempts() == [false; 4]
    }

    /// Which are open.
    pub(super) const fn attempts(&self) -> [bool; 4] {
        [self.load.is_some(), self.unload.is_some(), self.request.is_some(), self.helper.is_some()]
    }

    pub(super) fn close_others(&mut self, [load, unload, request, helper]: [bool; 4]) {
        self.load.take_if(|_| !load);
        self.unload.take_if(|_| !unload);
        self.request.take_if(|_| !request);
        self.helper.take_if(|_| !helper);
    }

    /// Which attempts won't be seen to end: they are old, and the thread did something else at this look and at the one before.
    pub(super) fn left_behind(&mut self, tid: u32, now: u64) -> [bool; 4] {
        let due = |began: Option<u64>| began.is_some_and(|began| is_due(began, now));
        let load = due(self.load.as_ref().map(OpenLoad::began));
        let unload = due(self.unload.as_ref().map(OpenUnload::began));
        let in_call = (load || unload) && threads::is_in_call(self.tgid, tid);

        let request = self.request.as_ref().map(|request| request.frame.boot);
        // its requester waits as long as the helper runs, in whatever call it made
        let alone = |helper: &&OpenHelper| !helper.task().is_some_and(threads::exists);
        let helper = self.helper.as_ref().filter(alone).map(OpenHelper::began);
        let oldest = request.into_iter().chain(helper).min().filter(|began| is_due(*began, now));
        let on_its_way = oldest.is_some_and(|began| now - began <= LONGEST && threads::may_wait(self.tgid, tid));

        let [request, helper] = [request, helper].map(|began| due(began) && !on_its_way);
        let left = [load && !in_call, unload && !in_call, request, helper];
        // what it did last may still be in the rings
        if std::mem::replace(&mut self.left, left.contains(&true)) { left } else { [false; 4] }
    }
}

/// It may be looked at.
pub(super) const fn is_due(began: u64, now: u64) -> bool {
    now.saturating_sub(began) > PATIENCE
}
