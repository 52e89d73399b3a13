//! What one generation of programs says: from its rings to events, and what is left of that for the next process.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use super::{
    BULK_BYTES, NO_CPU,
    clock::Clock,
    counters::lost_as,
    cutover::{Border, Cutover},
    frame::Context,
    generation::Generation,
    handover::{State, Told},
    ring::Ring,
    stream::Stream,
};
use crate::{
    event::{Adopted, Event, Lost, Origin, Taints, What},
    spool::{LANES, Position},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) generation: Generation,
    pub(super) stream: Stream,
    /// What was left for the next process last.
    state: State,
    /// It counts: all that led there is safe.
    confirmed: bool,
    /// What an earlier process has told already, of what is made once more.
    had: HashSet<u64>,
}

/// Takes records until there are none, or about `most` bytes are taken: then the last one's time is given.
fn fill(stream: &mut Stream, ring: &mut Ring, most: usize) -> Option<u64> {
    let mut taken = 0;
    while let Some(record) = ring.next() {
        let time = stream.push(record);
        taken += record.len();
        if taken >= most && time.is_some() {
            return time;
        }
    }
    None
}

impl Feed {
    pub(super) fn new(generation: Generation, context: Context, cutover: Cutover, clock: Clock) -> Self {
        let mut stream = Stream::new(context, clock);
        stream.set_cutover(cutover);
        if generation.handover.is_some() {
            stream.keep_open();
        }
        Self { generation, stream, state: State::default(), confirmed: true, had: HashSet::new() }
    }

    /// Goes on where the process before was; `ends`: the sequences that the spool's lanes give next. `None`: nobody has read it so far.
    pub(super) fn resume(&mut self, ends: &[u64; LANES], clock: Clock) -> Option<Adopted> {
        let handover = self.generation.handover.as_mut()?;
        let unread_for = clock.boot().saturating_sub(handover.last_alive());
        let state = handover.take_over(ends)?;
        self.generation.critical.seek(state.positions[0]);
        self.generation.bulk.seek(state.positions[1]);
        self.generation.counters.told(&state.lost);
        self.stream.resume(state.taints.map(Taints), &state.open, &state.waiting, clock);
        self.had = state.had.iter().copied().collect();
        self.state = state;
        let waiting = self.generation.critical.waiting() + self.generation.bulk.waiting();
        Some(Adopted { unread_for, waiting })
    }

    /// Takes what is in the rings. Gives the time of the last record where more of the bulk ring is left.
    pub(super) fn fill(&mut self, bulk: bool) -> Option<u64> {
        // The critical ring is read first: whatever a thread had put into the bulk ring before a record that is found here is found
        // there. What is newer than this moment, or than what was left in the bulk ring, may lack its other half and waits.
        fill(&mut self.stream, &mut self.generation.critical, usize::MAX);
        bulk.then(|| fill(&mut self.stream, &mut self.generation.bulk, BULK_BYTES)).flatten()
    }

    /// Makes events of what is not newer than `until`.
    pub(super) fn drain(&mut self, until: u64, bulk: bool, border: &mut Border, clock: Clock, events: &mut Vec<Event>) {
        let first = events.len();
        if !bulk {
            self.stream.without_bulk(until);
        }
        self.stream.drain(until, border, clock, events);
        self.leave_out_told(events, first);
    }

    /// What a full ring cost.
    pub(super) fn tell_lost(&mut self, boot_id: &Arc<str>, clock: Clock, events: &mut Vec<Event>) {
        let first = events.len();
        let time = clock.timestamps(clock.boot());
        let epoch = self.generation.about.epoch;
        self.generation.counters.newly_lost(|cpu, kind, count, all| {
            let (event, record) = lost_as(kind);
            // the number of all that were lost so far makes the id: told once, it is the same on every try
            let sequence = (kind as u64) << 48 | all;
            let origin = Origin { boot_id: Arc::clone(boot_id), epoch, cpu, sequence };
            events.push(Event::of_daemon(time, origin, What::Lost(Lost { event, record, count })));
        });
        self.leave_out_told(events, first);
    }

    /// An earlier process has told some of the events from `first` on.
    fn leave_out_told(&mut self, events: &mut Vec<Event>, first: usize) {
        if !self.had.is_empty() {
            let _ = events.extract_if(first.., |event| self.had.remove(&event.key())).count();
        }
    }

    /// See [`super::Sensor::prepare`].
    pub(super) fn prepare(&mut self, events: &[Event], positions: &[Position], clock: Clock) {
        let Some(handover) = &mut self.generation.handover else { return };
        let epoch = self.generation.about.epoch;
        let events = events.iter().zip(positions);
        let own = events.filter(|(event, _)| event.origin.epoch == epoch && event.origin.cpu != NO_CPU);
        let told = own.map(|(event, position)| Told {
            id: event.key(),
            lane: position.lane.index(),
            sequence: position.sequence,
            lost: matches!(event.what, What::Lost(_)).then(|| (event.origin.cpu, (event.origin.sequence >> 48) as u16)),
        });
        // what is not safe yet belongs to this batch, too
        let before = std::mem::take(&mut self.state);
        let (batch, mut all) =
            if self.confirmed { (before.batch + 1, Vec::new()) } else { (before.batch, before.told) };
        all.extend(told);
        self.confirmed = false;
        self.state = State {
            batch,
            since: self.stream.cutover().since,
            positions: [self.generation.critical.position(), self.generation.bulk.position()],
            taints: self.stream.taints().map(|taints| taints.0),
            lost: self.generation.counters.all_told().collect(),
            open: self.stream.open(),
            waiting: self.stream.waiting(clock),
            had: self.had.iter().copied().collect(),
            settings: before.settings,
            told: all,
        };
        handover.prepare(&self.state);
    }

    /// All events that it has given are safe: the rings' memory is given back.
    pub(super) fn commit(&mut self) {
        if let Some(handover) = &self.generation.handover {
            handover.confirm();
            self.confirmed = true;
        }
        self.generation.critical.give_back();
        self.generation.bulk.give_back();
    }

    /// See [`super::Sensor::is_behind`].
    pub(super) fn is_behind(&self) -> bool {
        self.generation.critical.is_behind() || self.generation.bulk.is_behind()
    }

    /// Nothing more will come of it: it waits for no end.
    pub(super) fn is_idle(&self) -> bool {
        self.stream.is_idle()
    }

    pub(super) fn alive(&self, clock: Clock) {
        if let Some(handover) = &self.generation.handover {
            handover.alive(clock.boot());
        }
    }

    pub(super) fn settings(&self) -> &[(PathBuf, Option<Vec<u8>>)] {
        &self.state.settings
    }

    pub(super) fn set_settings(&mut self, values: Vec<(PathBuf, Option<Vec<u8>>)>) {
        self.state.settings = values;
    }
}
