//! How far a reader is in one lane.
//!
//! Every sequence from `base` on has exactly one of these states:
//!
//! ```text
//! base ... cursor ... read ... known ... end of the lane
//!   settled  | handed out   | not handed out yet
//! ```
//!
//! Between `cursor` and `known` each has a slot, except those in a gap: ranges that were lost before they could be handed out, of which
//! only sums are kept. `read` is before `known` after [`Progress::rewind`].

use std::collections::VecDeque;

/// What became of an entry that was handed out: 0 nothing yet, else see [`super::account`].
pub(super) type Slot = u16;
pub(super) const PENDING: Slot = 0;
/// As many handed out entries may wait behind one that is not settled, per lane.
pub(super) const MAX_IN_HAND: usize = 1 << 16;

/// How often each fate occurs.
pub(super) type Tally = Vec<(Slot, u64)>;

pub(super) fn add(tally: &mut Tally, slot: Slot, count: u64) {
    match tally.iter_mut().find(|(s, _)| *s == slot) {
        Some((_, sum)) => *sum += count,
        None => tally.push((slot, count)),
    }
}

/// Sequences behind the cursor that will never be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) fates: Tally,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    base: u64,
    cursor: u64,
    read: u64,
    known: u64,
    slots: VecDeque<Slot>,
    /// In order; all end at `known` or before.
    gaps: VecDeque<Gap>,
}

impl Progress {
    pub(super) fn new(base: u64) -> Self {
        Self { base, cursor: base, read: base, known: base, ..Self::default() }
    }

    /// As it was saved. What makes no sense is left out.
    pub(super) fn restored(base: u64, cursor: u64, gaps: Vec<Gap>) -> Self {
        let mut progress = Self { base: base.min(cursor), ..Self::new(cursor) };
        for gap in gaps {
            let slots = gap.first.checked_sub(progress.known).map(|more| progress.slots.len() as u64 + more);
            let sum = gap.fates.iter().map(|(_, count)| count).sum();
            if slots.is_none_or(|slots| slots > MAX_IN_HAND as u64) || gap.end.checked_sub(gap.first) != Some(sum) {
                break;
            }
            progress.slots.resize(slots.unwrap_or_default() as usize, PENDING);
            progress.known = gap.end;
            progress.gaps.push_back(gap);
        }
        progress
    }

    /// First sequence that counts for this reader.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// All before it are settled.
    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// What was lost behind the cursor.
    pub(super) const fn gaps(&self) -> &VecDeque<Gap> {
        &self.gaps
    }

    /// End of what was handed out or lost.
    pub(super) const fn known(&self) -> u64 {
        self.known
    }

    /// The next one to hand out.
    pub(super) fn position(&mut self) -> u64 {
        while self.read < self.known {
            match self.slot(self.read) {
                Ok(slot) if self.slots[slot] == PENDING => break,
                Ok(_) => self.read += 1,
                Err(gap) => self.read = self.gaps[gap].end,
            }
        }
        self.read
    }

    /// Too many are handed out and not settled.
    pub(super) fn is_full(&self) -> bool {
        self.read == self.known && self.slots.len() >= MAX_IN_HAND
    }

    /// The one at [`Self::position`] is handed out.
    pub(super) fn hand_out(&mut self) {
        if self.read == self.known {
            self.slots.push_back(PENDING);
            self.known += 1;
        }
        self.read += 1;
    }

    /// All that is not settled is handed out once more.
    pub(super) const fn rewind(&mut self) {
        self.read = self.cursor;
    }

    /// Settles one that was handed out; `count` gets what the cursor passes by. False where it was settled before or not handed out.
    pub(super) fn settle(&mut self, sequence: u64, fate: Slot, count: impl FnMut(Slot, u64)) -> bool {
        if sequence < self.cursor || sequence >= self.known {
            return false;
        }
        let Ok(slot) = self.slot(sequence) else { return false };
        if self.slots[slot] != PENDING {
            return false;
        }
        self.slots[slot] = fate;
        if slot == 0 {
            self.advance(count);
        }
        true
    }

    /// All before `end` that were not handed out (after a rewind: again) and are not settled are lost. Returns how many that were.
    pub(super) fn lose(&mut self, end: u64, fate: Slot, mut count: impl FnMut(Slot, u64)) -> u64 {
        if self.cursor == self.known && end > self.known {
            let lost = end - self.known;
            (self.cursor, self.read, self.known) = (end, end, end);
            count(fate, lost);
            return lost;
        }
        let mut lost = 0;
        while self.position() < end.min(self.known) {
            let slot = self.slot(self.read).expect("the position is in no gap");
            self.slots[slot] = fate;
            self.read += 1;
            lost += 1;
        }
        if end > self.known {
            let more = end - self.known;
            lost += more;
            match self.gaps.back_mut().filter(|gap| gap.end == self.known) {
                Some(gap) => {
                    gap.end = end;
                    add(&mut gap.fates, fate, more);
                }
                None => self.gaps.push_back(Gap { first: self.known, end, fates: vec![(fate, more)] }),
            }
            self.known = end;
            self.read = end;
        }
        self.advance(count);
        lost
    }

    /// What is settled behind the cursor.
    pub(super) fn ahead(&self, mut count: impl FnMut(Slot, u64)) {
        self.slots.iter().filter(|&&slot| slot != PENDING).for_each(|&slot| count(slot, 1));
        self.gaps.iter().flat_map(|gap| &gap.fates).for_each(|&(slot, sum)| count(slot, sum));
    }

    fn advance(&mut self, mut count: impl FnMut(Slot, u64)) {
        loop {
            if let Some(gap) = self.gaps.pop_front_if(|gap| gap.first == self.cursor) {
                self.cursor = gap.end;
                gap.fates.into_iter().for_each(|(slot, sum)| count(slot, sum));
            } else if let Some(slot) = self.slots.pop_front_if(|slot| *slot != PENDING) {
                self.cursor += 1;
                count(slot, 1);
            } else {
                break;
            }
        }
        self.read = self.read.max(self.cursor);
    }

    /// The slot of this sequence, which is from the cursor on and known, or the gap in which it is.
    fn slot(&self, sequence: u64) -> Result<usize, usize> {
        let mut slot = sequence - self.cursor;
        for (i, gap) in self.gaps.iter().enumerate() {
            if sequence < gap.first {
                break;
            }
            if sequence < gap.end {
                return Err(i);
            }
            slot -= gap.end - gap.first;
        }
        Ok(slot as usize)
    }
}
