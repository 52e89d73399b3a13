//! Which segments there are, and how far they can be read.

use std::{collections::VecDeque, time::Duration};

use super::{LANES, Lane, format::SegmentId};

/// A segment with at least one entry that can be read.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    /// Where its last entry ends, bytes.
    pub(super) length: u64,
    /// Of the file: one that is used again is longer than what is in it.
    pub(super) size: u64,
    /// When something was written to it last.
    pub(super) written: Duration,
    /// What the disk has said to be durable.
    pub(super) durable: Durable,
}

/// How much of a segment outlives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable {
    /// Sequence behind the last entry.
    pub(super) next: u64,
    /// Bytes.
    pub(super) length: u64,
}

/// What a reader needs to know of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) id: SegmentId,
    /// Sequence behind its last entry.
    pub(super) end: u64,
    /// Where its last entry ends, bytes.
    pub(super) length: u64,
}

#[derive(Debug, Default)]
struct Chain {
    /// In the order of their sequences, without overlap: each ends where the next begins.
    segments: VecDeque<Segment>,
    next: u64,
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    lanes: [Chain; LANES],
    published: [u64; LANES],
    /// Bytes of everything else that counts: accounts and files that wait to be used again.
    pub(super) other_bytes: u64,
    segment_bytes: u64,
}

impl Catalog {
    /// Sequences behind the last entry of each lane.
    pub(super) fn ends(&self) -> [u64; LANES] {
        self.lanes.each_ref().map(|chain| chain.next)
    }

    /// Sequences up to which the lanes may be read. What one commit has put into several lanes is published at once, so that it is read in
    /// its order.
    pub(super) const fn published(&self) -> [u64; LANES] {
        self.published
    }

    pub(super) fn publish(&mut self) {
        self.published = self.ends();
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.segment_bytes + self.other_bytes
    }

    /// From the oldest to the newest.
    pub(super) fn segments(&self, lane: Lane) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.lanes[lane.index()].segments.iter()
    }

    /// The first entry that is still there, or that will come.
    pub(super) fn first(&self, lane: Lane) -> u64 {
        let chain = &self.lanes[lane.index()];
        chain.segments.front().map_or(chain.next, |segment| segment.id.first)
    }

    /// End of the oldest segment, where there is another one.
    pub(super) fn oldest_end(&self, lane: Lane) -> Option<u64> {
        self.lanes[lane.index()].segments.get(1).map(|second| second.id.first)
    }

    /// The segment in which this entry is, or else the one behind it.
    pub(super) fn at(&self, lane: Lane, sequence: u64) -> Option<View> {
        let segments = &self.lanes[lane.index()].segments;
        let behind = segments.partition_point(|segment| segment.id.first <= sequence);
        self.view(lane, behind.saturating_sub(1))
    }

    /// The oldest segment.
    pub(super) fn oldest(&self, lane: Lane) -> Option<View> {
        self.view(lane, 0)
    }

    fn view(&self, lane: Lane, index: usize) -> Option<View> {
        let chain = &self.lanes[lane.index()];
        let segment = chain.segments.get(index)?;
        let end = chain.segments.get(index + 1).map_or(chain.next, |next| next.id.first);
        Some(View { id: segment.id, end, length: segment.length })
    }

    pub(super) fn view_of(&self, id: SegmentId) -> Option<View> {
        let index = self.segments(id.lane).position(|segment| segment.id == id)?;
        self.view(id.lane, index)
    }

    pub(super) fn get(&self, id: SegmentId) -> Option<&Segment> {
        self.segments(id.lane).find(|segment| segment.id == id)
    }

    pub(super) fn get_mut(&mut self, id: SegmentId) -> Option<&mut Segment> {
        self.lanes[id.lane.index()].segments.iter_mut().rfind(|segment| segment.id == id)
    }

    /// Adds a segment, and returns those that begin with the same entry: nothing in them counts any more.
    pub(super) fn insert(&mut self, segment: Segment) -> Vec<Segment> {
        let segments = &mut self.lanes[segment.id.lane.index()].segments;
        let at = segments.partition_point(|other| other.id.first < segment.id.first);
        let same = segments.iter().skip(at).take_while(|other| other.id.first == segment.id.first).count();
        let gone: Vec<_> = segments.drain(at..at + same).collect();
        self.segment_bytes += segment.size;
        self.segment_bytes -= gone.iter().map(|segment| segment.size).sum::<u64>();
        segments.insert(at, segment);
        gone
    }

    /// Entries up to `next` can be read, where the last segment is so long.
    pub(super) fn append(&mut self, lane: Lane, next: u64, length: u64, now: Duration) {
        let chain = &mut self.lanes[lane.index()];
        chain.next = next;
        if let Some(segment) = chain.segments.back_mut() {
            segment.length = length;
            segment.written = now;
        }
    }

    /// Its file has this size. Returns the size that it had.
    pub(super) fn resize(&mut self, id: SegmentId, size: u64) -> Option<u64> {
        let segment = self.get_mut(id)?;
        let before = std::mem::replace(&mut segment.size, size);
        self.segment_bytes = self.segment_bytes + size - before;
        Some(before)
    }

    /// No entry of the lane below `next` will come any more.
    pub(super) fn raise(&mut self, lane: Lane, next: u64) {
        let chain = &mut self.lanes[lane.index()];
        chain.next = chain.next.max(next);
    }

    /// Takes the oldest segment out.
    pub(super) fn remove_oldest(&mut self, lane: Lane) -> Option<Segment> {
        let segment = self.lanes[lane.index()].segments.pop_front()?;
        self.segment_bytes -= segment.size;
        Some(segment)
    }
}
