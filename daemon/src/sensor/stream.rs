//! The kernel's records, in the order of their time, become events.

use std::io;

use kmodtrail_abi::{KINDS, Kind};

use super::{
    assemble::Assembler,
    capture::Capture,
    clock::Clock,
    cutover::{Border, Cutover},
    fact::Fact,
    frame::Context,
    handover::{self, Open},
};
use crate::event::{Event, KernelTaints, Taints};

/// Memory that is kept for records; a burst may need more for a moment.
const KEPT_BYTES: usize = 128 << 10;
/// For so long a write of a setting is kept, nanoseconds: longer than user space looks at what it has changed.
const MOMENT: u64 = 3_000_000_000;
/// How often waiting attempts are looked at, nanoseconds.
const TICK: u64 = 1_000_000_000;

/// Copies of records: a ring's memory is given back as soon as it is read, and two rings are merged.
#[derive(Debug)]
pub(super) struct Stream {
    bytes: Vec<u8>,
    /// Time, position, length.
    records: Vec<(u64, usize, usize)>,
    assembler: Assembler,
    last_tick: u64,
    /// Up to this time threads' facts have been assembled without what the bulk ring had of them.
    assembled_without_bulk: u64,
    /// Facts of loads that came after that, and were of no use any more: by [`Kind`].
    late: [u64; KINDS],
    capture: Option<Capture>,
    /// Writes of settings of a moment ago: what they have changed is only known in a moment. Kept where a process may go on after this one.
    writes: Option<Vec<(u64, Vec<u8>)>>,
}

impl Stream {
    pub(super) fn new(context: Context, clock: Clock) -> Self {
        Self {
            bytes: Vec::new(),
            records: Vec::new(),
            assembler: Assembler::new(context),
            last_tick: clock.boot(),
            assembled_without_bulk: 0,
            late: [0; KINDS],
            capture: None,
            writes: None,
        }
    }

    /// From here on every record is written there, too.
    pub(super) fn capture(&mut self, capture: Capture) {
        self.capture = Some(capture);
    }

    /// Only what began then is told.
    pub(super) const fn set_cutover(&mut self, cutover: Cutover) {
        self.assembler.set_cutover(cutover);
    }

    /// What it tells.
    pub(super) const fn cutover(&self) -> Cutover {
        self.assembler.cutover()
    }

    /// Threads that are in the middle of something that is told.
    pub(super) fn busy(&self) -> impl Iterator<Item = u32> {
        self.assembler.busy()
    }

    /// The times of what waits.
    pub(super) fn times(&self) -> impl Iterator<Item = u64> {
        self.records.iter().map(|&(time, ..)| time)
    }

    /// Nothing waits, and no thread is in the middle of anything.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && self.assembler.is_idle()
    }

    /// From here on [`Self::open`] says what threads are in the middle of.
    pub(super) fn keep_open(&mut self) {
        self.assembler.keep_open();
        self.writes = Some(Vec::new());
    }

    /// The kernel's records of what threads are in the middle of.
    pub(super) fn open(&self) -> Vec<Open> {
        self.assembler.open()
    }

    /// Records of which not everything has been made yet, each behind its length.
    pub(super) fn waiting(&mut self, clock: Clock) -> Vec<u8> {
        let mut waiting = Vec::new();
        if let Some(writes) = &mut self.writes {
            writes.retain(|(time, _)| clock.boot().saturating_sub(*time) < MOMENT);
            writes.iter().for_each(|(_, record)| handover::append(&mut waiting, record));
        }
        for &(_, at, length) in &self.records {
            handover::append(&mut waiting, self.bytes.get(at..at + length).unwrap_or_default());
        }
        waiting
    }

    /// The kernel's taints, as far as they were told.
    pub(super) const fn taints(&self) -> Option<Taints> {
        self.assembler.taints()
    }

    /// Goes on where [`Self::open`], [`Self::waiting`] and [`Self::taints`] were.
    pub(super) fn resume(&mut self, taints: Option<Taints>, open: &[Open], waiting: &[u8], clock: Clock) {
        self.assembler.resume(taints, open, clock);
        for record in handover::split(waiting) {
            self.push(record);
        }
    }

    /// Takes a record; gives its time. What is too short to have one is no record.
    pub(super) fn push(&mut self, record: &[u8]) -> Option<u64> {
        // Head::time
        let time = record.get(24..32).and_then(|b| b.try_into().ok()).map(u64::from_ne_bytes)?;
        self.records.push((time, self.bytes.len(), record.len()));
        self.bytes.extend_from_slice(record);
        Some(time)
    }

    /// The kernel had these taints when everything up to now was still in the rings: gives what no record told.
    pub(super) fn untold_taints(&mut self, taints: Taints) -> Option<KernelTaints> {
        self.assembler.untold_taints(taints)
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Makes events of what is not newer than `until`, in order of time, and keeps the rest.
    pub(super) fn drain(&mut self, until: u64, border: &mut Border, clock: Clock, events: &mut Vec<Event>) {
        self.records.sort_unstable_by_key(|&(time, at, _)| (time, at));
        let ready = self.records.partition_point(|&(time, ..)| time <= until);
        let mut kept = Vec::new();
        let mut keep = Vec::new();
        for (i, &(time, at, length)) in self.records.iter().enumerate() {
            let Some(record) = self.bytes.get(at..at + length) else { continue };
            if i >= ready {
                keep.push((time, kept.len(), length));
                kept.extend_from_slice(record);
                continue;
            }
            if let Some(capture) = &mut self.capture {
                capture.write(record);
            }
            match Fact::parse(record) {
                Some(fact) if time <= self.assembled_without_bulk && is_detail(fact.kind) => {
                    self.late[fact.kind as usize] += 1;
                }
                Some(fact) => {
                    if let Some(writes) = self.writes.as_mut().filter(|_| fact.kind == Kind::SettingWrite) {
                        writes.push((time, record.to_vec()));
                    }
                    self.assembler.take(&fact, at..at + length, border, clock, events);
                }
                None => {}
            }
        }
        self.assembler.keep(&self.bytes);
        if keep.is_empty() {
            self.records.clear();
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        } else {
            (self.records, self.bytes) = (keep, kept);
        }
        if clock.boot().saturating_sub(self.last_tick) >= TICK {
            self.last_tick = clock.boot();
            self.assembler.tick(clock, events);
        }
    }

    /// The bulk ring was not read before the last [`Self::drain`] up to `until`.
    pub(super) fn without_bulk(&mut self, until: u64) {
        self.assembled_without_bulk = until;
    }

    /// Kinds and numbers of facts that came too late to be of use, since the last call.
    pub(super) fn take_late(&mut self) -> impl Iterator<Item = (Kind, u64)> {
        let late = std::mem::replace(&mut self.late, [0; KINDS]);
        Kind::ALL.into_iter().map(move |kind| (kind, late[kind as usize])).filter(|&(_, count)| count > 0)
    }

    /// Appends what is still open.
    pub(super) fn end_all(&mut self, clock: Clock, events: &mut Vec<Event>) {
        self.assembler.finish(clock, events);
    }

    /// Writes the recording to its end, where there is one.
    pub(super) fn finish_capture(&mut self) -> io::Result<()> {
        self.capture.as_mut().map_or(Ok(()), Capture::finish)
    }
}

/// What the bulk ring has of a load: it says nothing without the load.
const fn is_detail(kind: Kind) -> bool {
    matches!(kind, Kind::ReadFile | Kind::PostReadFile | Kind::LoadData)
}
