//! What a route lets through: `sample`, `dedupe`, `rate_limit`.
//!
//! Time is the records' own, so that records that waited in the spool are counted as they happened.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash as _, Hasher},
    num::NonZeroUsize,
};

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use super::condition;
use crate::{
    config::{Attribute, Ratio, Route},
    event::DropReason,
    record::{Record, Value},
};

/// Values of the attributes that records are counted by: so many sets of them are remembered.
const KEYS: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not 0");
/// The longest key that is shown, in bytes.
const LONGEST_KEY: usize = 256;
/// How often it is told what a sample has held back, in nanoseconds.
const SAMPLED_INTERVAL: u64 = 60_000_000_000;

/// The limits of a route and what they remember.
#[derive(Debug)]
pub(super) struct Limits {
    sample: Option<(Ratio, Tally)>,
    dedupe: Option<Counter>,
    rate: Option<Counter>,
}

/// How many records were held back, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: u64,
    /// Time of the first of them, nanoseconds since the epoch of Unix.
    pub(super) since: u64,
}

/// What was held back of one kind: reason, key, how many.
pub(super) type Summary = (DropReason, String, Tally);

/// Counts records by the values of some attributes.
#[derive(Debug)]
struct Counter {
    reason: DropReason,
    by: Vec<Attribute>,
    /// Nanoseconds.
    interval: u64,
    /// So many pass in an interval.
    most: u64,
    hash: RandomState,
    windows: LruCache<u64, Window>,
    /// Of keys that have been forgotten.
    forgotten: Tally,
    /// Nothing is held back: there is nothing to look for.
    quiet: bool,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Window {
    begin: u64,
    passed: u64,
    /// Hash of the id of the first record of the window: read again, it is not a second one.
    first: u64,
    held: Tally,
    /// The key, where something is held back.
    text: Box<str>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        if self.count == 0 {
            self.since = other.since;
        }
        self.count += other.count;
    }

    /// What it has had for as long as `interval`, which begins anew.
    fn due(&mut self, now: u64, interval: u64) -> Option<Self> {
        (self.count > 0 && now.abs_diff(self.since) >= interval).then(|| std::mem::take(self))
    }
}

fn time(record: &Record<'_>) -> u64 {
    if record.time == 0 { record.observed } else { record.time }
}

/// Whether the part that is kept has this record, or all records of its trace.
pub(super) fn sampled(ratio: Ratio, record: &Record<'_>) -> bool {
    let identity = if record.trace_id.is_empty() { record.uid().as_bytes() } else { record.trace_id };
    let hash: [u8; 32] = Sha256::digest(identity).into();
    u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes")) <= ratio.threshold()
}

impl Limits {
    pub(super) fn new(route: &Route) -> Self {
        let nanoseconds = |interval: std::time::Duration| interval.as_nanos().try_into().unwrap_or(u64::MAX);
        let dedupe = route.dedupe.as_ref().map(|d| (DropReason::Duplicate, &d.by, d.interval, 1));
        let rate = route.rate_limit.as_ref().map(|r| (DropReason::RateLimited, &r.by, r.interval, r.count.get()));
        let counter = |(reason, by, interval, most): (_, &Vec<Attribute>, _, _)| Counter {
            reason,
            by: by.clone(),
            interval: nanoseconds(interval),
            most,
            hash: RandomState::new(),
            windows: LruCache::new(KEYS),
            forgotten: Tally::default(),
            quiet: true,
        };
        Self {
            sample: route.sample.map(|ratio| (ratio, Tally::default())),
            dedupe: dedupe.map(counter),
            rate: rate.map(counter),
        }
    }

    /// Lets the record through and remembers it, or says why not.
    pub(super) fn admit(&mut self, resource: &[u8], record: &Record<'_>) -> Result<(), DropReason> {
        if self.sample.as_ref().is_some_and(|(ratio, _)| !sampled(*ratio, record)) {
            return Err(DropReason::Sampled);
        }
        // what one of them holds back the other has not seen
        let mut counters = [&mut self.dedupe, &mut self.rate].map(|c| c.as_mut().map(|c| (c.key(resource, record), c)));
        for (key, counter) in counters.iter_mut().flatten() {
            counter.look(*key, record)?;
        }
        for (key, counter) in counters.iter_mut().flatten() {
            counter.count(*key);
        }
        Ok(())
    }

    /// Counts a record that this route was the first not to let through, and no other did.
    pub(super) fn hold_back(&mut self, reason: DropReason, resource: &[u8], record: &Record<'_>) {
        let one = Tally { count: 1, since: time(record) };
        match (&mut self.sample, &mut self.dedupe, &mut self.rate) {
            (Some((_, tally)), ..) if reason == DropReason::Sampled => tally.add(one),
            (_, Some(counter), _) if reason == counter.reason => counter.hold_back(one, resource, record),
            (.., Some(counter)) if reason == counter.reason => counter.hold_back(one, resource, record),
            _ => {}
        }
    }

    /// What was held back in intervals that are over at `now`, nanoseconds since the epoch of Unix.
    pub(super) fn summaries(&mut self, now: u64) -> Vec<Summary> {
        let mut summaries = Vec::new();
        if let Some((_, tally)) = &mut self.sample {
            let due = tally.due(now, SAMPLED_INTERVAL);
            summaries.extend(due.map(|tally| (DropReason::Sampled, String::new(), tally)));
        }
        for counter in [&mut self.dedupe, &mut self.rate].into_iter().flatten() {
            counter.summaries(now, &mut summaries);
        }
        summaries
    }
}

impl Counter {
    fn key(&self, resource: &[u8], record: &Record<'_>) -> u64 {
        let mut hasher = self.hash.build_hasher();
        for attribute in &self.by {
            hash(condition::find(attribute, resource, record), &mut hasher);
        }
        hasher.finish()
    }

    /// Whether one more may pass.
    fn look(&mut self, key: u64, record: &Record<'_>) -> Result<(), DropReason> {
        let now = time(record);
        let identity = self.hash.hash_one(record.uid());
        let window = match self.windows.get_mut(&key) {
            Some(window) => window,
            None => {
                let new = Window { begin: now, first: identity, ..Window::default() };
                if let Some((_, old)) = self.windows.push(key, new)
                    && old.held.count > 0
                {
                    self.forgotten.add(old.held);
                }
                self.windows.get_mut(&key).expect("it was just put there")
            }
        };
        // a clock that was set back by more begins anew, too
        if now.abs_diff(window.begin) >= self.interval {
            (window.begin, window.passed, window.first) = (now, 0, identity);
        }
        if window.passed >= self.most && window.first != identity {
            return Err(self.reason);
        }
        Ok(())
    }

    /// One more passes.
    fn count(&mut self, key: u64) {
        if let Some(window) = self.windows.get_mut(&key) {
            window.passed += 1;
        }
    }

    fn hold_back(&mut self, one: Tally, resource: &[u8], record: &Record<'_>) {
        self.quiet = false;
        let key = self.key(resource, record);
        let Some(window) = self.windows.get_mut(&key) else { return self.forgotten.add(one) };
        if window.held.count == 0 {
            window.text = text(&self.by, resource, record).into();
        }
        window.held.add(one);
    }

    fn summaries(&mut self, now: u64, out: &mut Vec<Summary>) {
        if self.quiet {
            return;
        }
        let mut left = false;
        for (_, window) in self.windows.iter_mut() {
            if let Some(tally) = window.held.due(now, self.interval) {
                out.push((self.reason, std::mem::take(&mut window.text).into(), tally));
            }
            left |= window.held.count > 0;
        }
        let forgotten = self.forgotten.due(now, self.interval);
        out.extend(forgotten.map(|tally| (self.reason, "(others)".to_owned(), tally)));
        self.quiet = !left && self.forgotten.count == 0;
    }
}

fn hash(value: Option<Value<'_>>, hasher: &mut impl Hasher) {
    match value {
        None | Some(Value::Empty) => 0u8.hash(hasher),
        Some(Value::String(text)) => (1u8, text).hash(hasher),
        Some(Value::Bool(truth)) => (2u8, truth).hash(hasher),
        Some(Value::Int(int)) => (3u8, int).hash(hasher),
        Some(Value::Double(double)) => (4u8, double.to_bits()).hash(hasher),
        Some(Value::Bytes(bytes)) => (5u8, bytes).hash(hasher),
        Some(Value::Array(items)) => {
            6u8.hash(hasher);
            items.into_iter().for_each(|item| hash(Some(item), hasher));
            7u8.hash(hasher);
        }
        // no key is made of maps
        Some(Value::Map(_)) => 8u8.hash(hasher),
    }
}

/// The values, with commas between them.
fn text(by: &[Attribute], resource: &[u8], record: &Record<'_>) -> String {
    let mut text = String::new();
    for (i, attribute) in by.iter().enumerate() {
        text += if i > 0 { ", " } else { "" };
        text += &super::explain::shown(attribute, condition::find(attribute, resource, record));
    }
    text.truncate(text.floor_char_boundary(LONGEST_KEY));
    text
}
