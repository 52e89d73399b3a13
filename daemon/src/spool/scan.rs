//! Reads the entries of a segment one after the other, and finds the next whole one behind damage.

use std::{io, sync::Arc};

use super::{
    disk::Store,
    format::{self, ENTRY, MAX_PAYLOAD, Whole},
};

/// Most that is read at once, bytes. An entry always fits.
pub(super) const WINDOW: usize = 128 << 10;
/// Least that is read at once where there is so much.
const LEAST_WINDOW: usize = 4 << 10;
/// So often the disk may say no to the same place before what can't be read there counts as damaged.
pub(super) const TRIES: u8 = 10;
/// What can be read is read in pieces of this size then.
const SECTOR: u64 = 4096;

const _: () = assert!(WINDOW >= ENTRY + MAX_PAYLOAD);

/// A place in a segment.
#[derive(Debug)]
pub(super) struct Scan {
    file: Arc<dyn Store>,
    seal: u32,
    /// Holds bytes of the file up to `filled`; those before `begin` are done with.
    buffer: Vec<u8>,
    begin: usize,
    filled: usize,
    /// Where in the file `begin` is.
    offset: u64,
    /// No entry from here on has a lower sequence.
    expected: u64,
    failures: u8,
    tries: u8,
}

/// What stands at a place.
enum Look {
    Entry(Whole, usize),
    NoEntry,
    /// The file has no more.
    End,
}

impl Scan {
    /// `offset` is where the first entry begins, `expected` its sequence. A disk that can't read a place is asked `tries` times.
    pub(super) fn new(file: Arc<dyn Store>, seal: u32, offset: u64, expected: u64, tries: u8) -> Self {
        Self { file, seal, buffer: Vec::new(), begin: 0, filled: 0, offset, expected, failures: 0, tries }
    }

    /// Goes on with another segment; the memory stays.
    pub(super) fn restart(&mut self, file: Arc<dyn Store>, seal: u32, offset: u64, expected: u64) {
        let (buffer, tries) = (std::mem::take(&mut self.buffer), self.tries);
        *self = Self { buffer, ..Self::new(file, seal, offset, expected, tries) };
    }

    /// Where the entry behind the one that was found last begins, bytes.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Sequence of the entry that should come next.
    pub(super) const fn expected(&self) -> u64 {
        self.expected
    }

    /// Bytes of memory.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Payload of the entry that was found last.
    pub(super) fn payload(&self, whole: &Whole) -> &[u8] {
        &self.buffer[whole.payload.clone()]
    }

    /// The next whole entry with a sequence below `end`, among the first `size` bytes of the file. Where its sequence is not the one
    /// behind that of the last, those between are damaged.
    ///
    /// # Errors
    /// Where the disk can't read, for the first few times: what can't be read at all is skipped.
    pub(super) fn next(&mut self, size: u64, end: u64) -> io::Result<Option<Whole>> {
        while self.expected < end {
            match self.look(size)? {
                Look::Entry(whole, bytes) if (self.expected..end).contains(&whole.sequence) => {
                    self.skip(bytes);
                    self.expected = whole.sequence + 1;
                    return Ok(Some(whole));
                }
                Look::Entry(..) | Look::NoEntry => self.skip(1),
                Look::End => return Ok(None),
            }
        }
        Ok(None)
    }

    fn skip(&mut self, bytes: usize) {
        self.begin += bytes;
        self.offset += bytes as u64;
    }

    fn look(&mut self, size: u64) -> io::Result<Look> {
        if !self.fill(ENTRY, size)? {
            return Ok(Look::End);
        }
        let head = &self.buffer[self.begin..self.filled];
        let Some(bytes) = format::entry_size(head) else { return Ok(Look::NoEntry) };
        // where it is damaged, most of what looks like a length is not worth reading so far
        if format::u64_at(head, 8) < self.expected || !self.fill(bytes, size)? {
            return Ok(Look::NoEntry);
        }
        let entry = &self.buffer[self.begin..self.begin + bytes];
        Ok(match format::check_entry(entry, self.seal) {
            Some(Whole { sequence, stamp, payload }) => {
                let payload = payload.start + self.begin..payload.end + self.begin;
                Look::Entry(Whole { sequence, stamp, payload }, bytes)
            }
            None => Look::NoEntry,
        })
    }

    /// Sees to it that so many bytes are there from `begin` on. False where the file has not so many.
    fn fill(&mut self, bytes: usize, size: u64) -> io::Result<bool> {
        if self.filled - self.begin >= bytes {
            return Ok(true);
        }
        let available = usize::try_from(size.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        if available < bytes {
            return Ok(false);
        }
        self.buffer.copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.begin = 0;
        let window = available.clamp(LEAST_WINDOW, WINDOW).next_power_of_two();
        if self.buffer.len() < window {
            self.buffer.resize(window, 0);
        }
        let most = self.buffer.len().min(available);
        while self.filled < bytes {
            let at = self.offset + self.filled as u64;
            let read = match self.file.read(&mut self.buffer[self.filled..most], at) {
                Ok(read) => read,
                Err(e) => {
                    self.failures += 1;
                    if self.failures < self.tries {
                        return Err(e);
                    }
                    self.read_what_can_be_read(most, at)
                }
            };
            self.failures = 0;
            if read == 0 {
                return Ok(false);
            }
            self.filled += read;
        }
        Ok(true)
    }

    /// Reads sector by sector; those that can't be read are zeros, in which no entry begins.
    fn read_what_can_be_read(&mut self, most: usize, at: u64) -> usize {
        let end = at + (most - self.filled) as u64;
        let mut from = at;
        while from < end {
            let to = ((from / SECTOR + 1) * SECTOR).min(end);
            let place = |offset: u64| self.filled + (offset - at) as usize;
            let sector = &mut self.buffer[place(from)..place(to)];
            sector.fill(0);
            if format::read_full(&*self.file, sector, from).is_err() {
                sector.fill(0);
            }
            from = to;
        }
        most - self.filled
    }
}
