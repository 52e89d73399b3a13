//! The kernel's records, in the order of their time, become events.

use std::io;

use kmodtrail_abi::{KINDS, Kind};

use super::{assemble::Assembler, capture::Capture, clock::Clock, fact::Fact, frame::Context};
use crate::event::{Event, KernelTaints, Taints};

/// Memory that is kept for records; a burst may need more for a moment.
const KEPT_BYTES: usize = 128 << 10;
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
        }
    }

    /// From here on every record is written there, too.
    pub(super) fn capture(&mut self, capture: Capture) {
        self.capture = Some(capture);
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
    pub(super) fn drain(&mut self, until: u64, clock: Clock, events: &mut Vec<Event>) {
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
                Some(fact) => self.assembler.take(&fact, clock, events),
                None => {}
            }
        }
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
    pub(super) fn finish(&mut self, clock: Clock, events: &mut Vec<Event>) -> io::Result<()> {
        self.assembler.finish(clock, events);
        self.capture.as_mut().map_or(Ok(()), Capture::finish)
    }
}

/// What the bulk ring has of a load: it says nothing without the load.
const fn is_detail(kind: Kind) -> bool {
    matches!(kind, Kind::ReadFile | Kind::PostReadFile | Kind::LoadData)
}
