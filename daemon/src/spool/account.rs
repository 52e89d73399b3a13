//! What became of the entries, for one reader.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    LANES, Position,
    progress::{Gap, Progress, Slot},
};
pub use crate::event::DropReason as Reason;

/// What dropped entries are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DropKey {
    /// Name of the route; [`UNKNOWN`] where the record could not be read any more, [`OTHER`] where too many are told apart already.
    pub route: Arc<str>,
    /// Name of the event, likewise.
    pub event: Arc<str>,
    /// Why.
    pub reason: Reason,
}

/// Route and event of an entry that could not be read.
pub const UNKNOWN: &str = "unknown";
/// Route and event of entries that are not told apart any more.
pub const OTHER: &str = "other";

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The far side has it.
    Delivered,
    /// No route leads it to this reader.
    RoutedNowhere,
    /// It will never be delivered.
    Dropped(DropKey),
}

/// Entries that were dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// By what they are counted.
    #[serde(flatten)]
    pub key: DropKey,
    /// How many.
    pub count: u64,
}

/// The sums for one reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// The reader.
    pub reader: Arc<str>,
    /// Entries that were committed since the reader is known.
    pub seen: u64,
    /// Entries that the far side has.
    pub delivered: u64,
    /// Entries that wait, in the spool or in the reader's hands.
    pub pending: u64,
    /// Entries that no route leads to this reader.
    pub routed_nowhere: u64,
    /// Entries that will never be delivered.
    pub dropped: Vec<Dropped>,
}

impl Ledger {
    /// Every entry is somewhere.
    #[must_use]
    pub fn balanced(&self) -> bool {
        let dropped: u64 = self.dropped.iter().map(|dropped| dropped.count).sum();
        self.seen == self.delivered + self.pending + self.routed_nowhere + dropped
    }
}

const DELIVERED: Slot = 1;
const NOWHERE: Slot = 2;
/// The first key's.
const DROPPED: Slot = 3;
/// As many keys are told apart.
const MAX_KEYS: usize = 64;
/// Longest names that are told apart, as they are saved.
const MAX_KEY: usize = 128;

#[derive(Debug, Clone)]
struct Counter {
    key: DropKey,
    count: u64,
    /// Lost by the spool, and not told yet.
    untold: u64,
}

/// What is saved. Field names are part of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) lanes: Vec<SavedLane>,
    pub(super) delivered: u64,
    pub(super) routed_nowhere: u64,
    /// Gaps refer to them by their index.
    pub(super) dropped: Vec<SavedCount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedLane {
    pub(super) base: u64,
    pub(super) cursor: u64,
    /// End of the lane at that time: what is missing up to here after power was lost is known to be missing.
    pub(super) end: u64,
    /// Why the last entries were dropped.
    pub(super) why: Reason,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gaps: Vec<SavedGap>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedGap {
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) fates: Vec<(Slot, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedCount {
    #[serde(flatten)]
    pub(super) key: DropKey,
    pub(super) count: u64,
}

/// Everything about one reader that outlives it.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) lanes: [Progress; LANES],
    sums: Sums,
    why: [Reason; LANES],
}

/// What the cursors have passed by.
#[derive(Debug, Clone, Default)]
struct Sums {
    delivered: u64,
    routed_nowhere: u64,
    counters: Vec<Counter>,
}

impl Sums {
    fn count(&mut self, slot: Slot, count: u64) {
        match slot {
            DELIVERED => self.delivered += count,
            NOWHERE => self.routed_nowhere += count,
            _ => {
                if let Some(counter) = self.counters.get_mut(usize::from(slot.saturating_sub(DROPPED))) {
                    counter.count += count;
                }
            }
        }
    }

    fn slot(&mut self, key: &DropKey) -> Slot {
        let known = |counters: &[Counter], key: &DropKey| counters.iter().position(|counter| counter.key == *key);
        let at = known(&self.counters, key).unwrap_or_else(|| {
            let long = serde_json::to_vec(key).map_or(true, |saved| saved.len() > MAX_KEY);
            let key = if long || self.counters.len() >= MAX_KEYS { all_others(key.reason) } else { key.clone() };
            known(&self.counters, &key).unwrap_or_else(|| {
                self.counters.push(Counter { key, count: 0, untold: 0 });
                self.counters.len() - 1
            })
        });
        DROPPED + at as Slot
    }
}

fn named(name: &str, reason: Reason) -> DropKey {
    let name = Arc::from(name);
    DropKey { route: Arc::clone(&name), event: name, reason }
}

fn all_others(reason: Reason) -> DropKey {
    named(OTHER, reason)
}

impl Account {
    /// Of a reader that begins there.
    pub(super) fn new(bases: [u64; LANES]) -> Self {
        Self { lanes: bases.map(Progress::new), sums: Sums::default(), why: [Reason::Unknown; LANES] }
    }

    /// As it was saved; also the ends of the lanes at that time.
    pub(super) fn restored(saved: Saved) -> (Self, [u64; LANES]) {
        let mut account = Self::new([0; LANES]);
        let mut ends = [0; LANES];
        account.sums.delivered = saved.delivered;
        account.sums.routed_nowhere = saved.routed_nowhere;
        let counters = saved.dropped.into_iter().map(|SavedCount { key, count }| Counter { key, count, untold: 0 });
        account.sums.counters.extend(counters);
        for (lane, saved) in saved.lanes.into_iter().take(LANES).enumerate() {
            let gaps = saved.gaps.into_iter().map(|SavedGap { first, end, fates }| Gap { first, end, fates });
            account.lanes[lane] = Progress::restored(saved.base, saved.cursor, gaps.collect());
            account.why[lane] = saved.why;
            ends[lane] = saved.end.max(account.lanes[lane].known());
        }
        (account, ends)
    }

    /// What is to be saved, with so many gaps in each lane at most.
    pub(super) fn saved(&self, ends: &[u64; LANES], gaps: usize) -> Saved {
        let lane = |lane: usize| {
            let progress = &self.lanes[lane];
            let gaps = progress.gaps().iter().take(gaps);
            SavedLane {
                base: progress.base(),
                cursor: progress.cursor(),
                end: ends[lane],
                why: self.why[lane],
                gaps: gaps.map(|g| SavedGap { first: g.first, end: g.end, fates: g.fates.clone() }).collect(),
            }
        };
        Saved {
            lanes: (0..LANES).map(lane).collect(),
            delivered: self.sums.delivered,
            routed_nowhere: self.sums.routed_nowhere,
            dropped: self.sums.counters.iter().map(|c| SavedCount { key: c.key.clone(), count: c.count }).collect(),
        }
    }

    /// Everything that is not settled is handed out again.
    pub(super) fn rewind(&mut self) {
        self.lanes.iter_mut().for_each(Progress::rewind);
    }

    pub(super) fn cursors(&self) -> [u64; LANES] {
        self.lanes.each_ref().map(Progress::cursor)
    }

    /// Settles an entry that was handed out. False where it was settled before.
    pub(super) fn settle(&mut self, position: Position, fate: &Fate) -> bool {
        let slot = match fate {
            Fate::Delivered => DELIVERED,
            Fate::RoutedNowhere => NOWHERE,
            Fate::Dropped(key) => self.sums.slot(key),
        };
        let Self { lanes, sums, .. } = self;
        lanes[position.lane.index()].settle(position.sequence, slot, |slot, count| sums.count(slot, count))
    }

    /// All of the lane up to `end` that was not handed out and not settled is lost; nobody can say what it was.
    pub(super) fn lose(&mut self, lane: usize, end: u64, reason: Reason) {
        if self.lanes[lane].position() < end {
            self.lose_as(lane, end, Some(&named(UNKNOWN, reason)));
        }
    }

    /// The next entry of the lane that was not handed out, up to `end`, is lost, or would have been routed nowhere.
    pub(super) fn lose_as(&mut self, lane: usize, end: u64, key: Option<&DropKey>) {
        let slot = key.map_or(NOWHERE, |key| self.sums.slot(key));
        let Self { lanes, sums, .. } = self;
        let lost = lanes[lane].lose(end, slot, |slot, count| sums.count(slot, count));
        if let Some(counter) = slot.checked_sub(DROPPED).and_then(|at| sums.counters.get_mut(usize::from(at))) {
            counter.untold += lost;
        }
    }

    /// Why entries are missing that a reader had in its hands when the process was killed.
    pub(super) const fn why(&self, lane: usize) -> Reason {
        self.why[lane]
    }

    pub(super) const fn set_why(&mut self, lane: usize, reason: Reason) {
        self.why[lane] = reason;
    }

    /// What the spool lost since it was asked for last.
    pub(super) fn take_untold(&mut self) -> impl Iterator<Item = Dropped> {
        let take = |c: &mut Counter| Dropped { key: c.key.clone(), count: std::mem::take(&mut c.untold) };
        self.sums.counters.iter_mut().filter(|c| c.untold > 0).map(take)
    }

    /// Entries that are not settled, where the lanes end there.
    pub(super) fn pending(&self, ends: &[u64; LANES]) -> u64 {
        let mut pending = 0;
        for (progress, end) in self.lanes.iter().zip(ends) {
            pending += end - progress.cursor();
            progress.ahead(|_, count| pending -= count);
        }
        pending
    }

    pub(super) fn ledger(&self, reader: Arc<str>, ends: &[u64; LANES]) -> Ledger {
        let mut sums = self.sums.clone();
        self.lanes.iter().for_each(|progress| progress.ahead(|slot, count| sums.count(slot, count)));
        let dropped = sums.counters.into_iter().filter(|c| c.count > 0);
        Ledger {
            reader,
            seen: self.lanes.iter().zip(ends).map(|(progress, end)| end - progress.base()).sum(),
            delivered: sums.delivered,
            pending: self.pending(ends),
            routed_nowhere: sums.routed_nowhere,
            dropped: dropped.map(|c| Dropped { key: c.key, count: c.count }).collect(),
        }
    }
}
