//! What the files look like. All numbers are little endian.
//!
//! A **segment** is named `LANE-FIRST-NUMBER.segment`: its lane, the sequence of its first entry, and a number that no other file in the
//! folder has. It begins with a header; a damaged one would cost the whole segment, so there are two copies of each of its parts:
//!
//! | bytes | |
//! |---|---|
//! | 64 | the fixed part, see [`Header`] |
//! | 64 | the same again |
//! | n | the context |
//! | n | the same again |
//!
//! Entries follow one after the other, and their sequences are dense:
//!
//! | bytes | |
//! |---|---|
//! | 4 | CRC-32C of all that follows, XOR the seal of the segment |
//! | 4 | length of the payload |
//! | 8 | sequence in the lane |
//! | 8 | stamp: place in the order of all lanes |
//! | n | payload |
//!
//! The entries of a segment end where the next segment of the lane begins (`FIRST`), in the last one with the last entry that is whole.
//! What stands behind is no part of the spool: half an entry that a crash left, or what was in a file that is used again. The seal (the
//! salt in the header XOR the CRC-32C of the context) is why nothing of that can be taken for an entry of another lane or with another
//! context, nor the payload of an entry, which somebody else may have chosen, for an entry.
//!
//! A **reader's account** is named `NAME.reader`; [`super::store`] says what is in it. `lock` holds the pid of the process whose spool it is. What is
//! named `NUMBER.spare` or `rewrite` counts only for the process that has the spool open.

use std::{fmt::Write as _, io, ops::Range};

use super::{LANES, Lane, disk::Store};

/// Of what this version writes. It reads all from 1 on.
pub(super) const VERSION: u32 = 1;
/// Largest payload, bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;
/// Largest context, bytes.
pub const MAX_CONTEXT: usize = 64 << 10;
/// Bytes of an entry without its payload.
pub(super) const ENTRY: usize = 24;
/// Name of a segment that is written once more, until it is complete.
pub(super) const REWRITE: &str = "rewrite";
const MAGIC: [u8; 8] = *b"kmtspool";
/// Bytes of one copy of the fixed part of a header.
const FIXED: usize = 64;

pub(super) fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

/// Which segment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentId {
    pub(super) lane: Lane,
    /// Sequence of its first entry.
    pub(super) first: u64,
    /// Of two that begin with the same entry the one with the higher number counts.
    pub(super) number: u64,
}

impl SegmentId {
    pub(super) fn name(self) -> String {
        format!("{}-{:020}-{:010}.segment", self.lane.0, self.first, self.number)
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".segment")?.split('-').map(str::parse::<u64>);
        let (lane, first, number) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let lane = u8::try_from(lane).ok().and_then(Lane::new)?;
        let id = Self { lane, first, number };
        (id.name() == name).then_some(id)
    }
}

/// File name of what was the segment of this number, and may be another one's next.
pub(super) fn spare_name(number: u64) -> String {
    format!("{number:010}.spare")
}

/// It holds nothing that counts.
pub(super) fn is_leftover(name: &str) -> bool {
    name == REWRITE || name.strip_suffix(".spare").is_some_and(|number| number.parse::<u64>().is_ok())
}

/// File name of the account of this reader.
pub(super) fn account_name(reader: &str) -> String {
    let mut name = String::with_capacity(reader.len() + 8);
    for byte in reader.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            _ => write!(name, "%{byte:02x}").expect("a String takes everything"),
        }
    }
    name + ".reader"
}

/// Name of the reader whose account has this file name.
pub(super) fn reader_of(name: &str) -> Option<String> {
    let mut rest = name.strip_suffix(".reader")?.as_bytes();
    let mut reader = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            reader.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        reader.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(reader).ok().filter(|reader| account_name(reader) == name)
}

/// Beginning of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: SegmentId,
    /// A random number.
    pub(super) salt: u32,
    /// No entry in it has a lower one.
    pub(super) stamp: u64,
    /// What the owner says of all its records together.
    pub(super) context: Vec<u8>,
}

/// Why a header can't be used.
#[derive(Debug)]
pub(super) enum BadHeader {
    /// The file can't be read.
    Io(io::Error),
    /// Both copies are damaged, or it is another segment's.
    Damaged,
    /// A newer version of kmodtrail wrote it.
    Newer(u32),
}

impl Header {
    /// What the CRC of each entry is XORed with.
    pub(super) fn seal(&self) -> u32 {
        seal(self.salt, &self.context)
    }

    pub(super) fn size(context: usize) -> u64 {
        (2 * (FIXED + context)) as u64
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut fixed = [0; FIXED];
        let mut put = |at: usize, bytes: &[u8]| fixed[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        // the CRC is at 8; these two are where they are in every version
        put(12, &VERSION.to_le_bytes());
        put(16, &u32::from(self.id.lane.0).to_le_bytes());
        put(20, &self.salt.to_le_bytes());
        put(24, &self.id.number.to_le_bytes());
        put(32, &self.id.first.to_le_bytes());
        put(40, &self.stamp.to_le_bytes());
        put(48, &(self.context.len() as u32).to_le_bytes());
        put(52, &crc(&self.context).to_le_bytes());
        let sum = crc(&fixed[12..]);
        fixed[8..12].copy_from_slice(&sum.to_le_bytes());
        [&fixed[..], &fixed, &self.context, &self.context].concat()
    }

    /// Reads the header of this segment; `id` is what its name says.
    pub(super) fn read(file: &dyn Store, id: SegmentId) -> Result<Self, BadHeader> {
        let mut both = [0; 2 * FIXED];
        let filled = read_full(file, &mut both, 0).map_err(BadHeader::Io)?;
        let copies = both[..filled].chunks_exact(FIXED);
        let good = |copy: &&[u8]| copy[..8] == MAGIC && crc(&copy[12..]) == u32_at(copy, 8);
        let fixed = copies.into_iter().find(good).ok_or(BadHeader::Damaged)?;
        let version = u32_at(fixed, 12);
        if version > VERSION {
            return Err(BadHeader::Newer(version));
        }
        if version == 0 {
            return Err(BadHeader::Damaged);
        }
        let said = (u64::from(u32_at(fixed, 16)), u64_at(fixed, 32), u64_at(fixed, 24));
        let size = u32_at(fixed, 48) as usize;
        if said != (u64::from(id.lane.0), id.first, id.number) || size > MAX_CONTEXT {
            return Err(BadHeader::Damaged);
        }
        let mut contexts = vec![0; 2 * size];
        let filled = read_full(file, &mut contexts, both.len() as u64).map_err(BadHeader::Io)?;
        let good = |context: &[u8]| crc(context) == u32_at(fixed, 52);
        let context = if size == 0 {
            Vec::new()
        } else {
            contexts[..filled].chunks_exact(size).find(|c| good(c)).ok_or(BadHeader::Damaged)?.to_vec()
        };
        Ok(Self { id, salt: u32_at(fixed, 20), stamp: u64_at(fixed, 40), context })
    }
}

/// What belongs to a segment with this salt and context.
pub(super) fn seal(salt: u32, context: &[u8]) -> u32 {
    salt ^ crc(context)
}

/// Reads until the buffer is full or the file ends, and says how much it was.
pub(super) fn read_full(file: &dyn Store, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Appends an entry to `bytes`.
pub(super) fn encode_entry(bytes: &mut Vec<u8>, seal: u32, sequence: u64, stamp: u64, payload: &[u8]) {
    let begin = bytes.len();
    let mut head = [0; ENTRY];
    head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[8..16].copy_from_slice(&sequence.to_le_bytes());
    head[16..24].copy_from_slice(&stamp.to_le_bytes());
    bytes.reserve(ENTRY + payload.len());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(payload);
    let sum = crc(&bytes[begin + 4..]) ^ seal;
    bytes[begin..begin + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Bytes of the entry that begins here, as far as its length can be believed.
pub(super) fn entry_size(bytes: &[u8]) -> Option<usize> {
    let length = u32_at(bytes.get(..ENTRY)?, 4) as usize;
    (length <= MAX_PAYLOAD).then_some(ENTRY + length)
}

/// An entry that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) sequence: u64,
    pub(super) stamp: u64,
    /// Where its payload is, counted from the beginning of the bytes in which it was found.
    pub(super) payload: Range<usize>,
}

/// The entry that `bytes` are, where its CRC fits.
pub(super) fn check_entry(bytes: &[u8], seal: u32) -> Option<Whole> {
    (crc(&bytes[4..]) ^ seal == u32_at(bytes, 0)).then(|| Whole {
        sequence: u64_at(bytes, 8),
        stamp: u64_at(bytes, 16),
        payload: ENTRY..bytes.len(),
    })
}

const _: () = assert!(LANES <= 10, "a lane is one digit in the name of a segment");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_stand_for_and_nothing_else_is_taken_for_one() {
        let id = SegmentId { lane: Lane::new(3).expect("there are six"), first: 1234, number: 56 };
        assert_eq!(id.name(), "3-00000000000000001234-0000000056.segment");
        assert_eq!(SegmentId::from_name(&id.name()), Some(id));
        for other in ["3-1234-56.segment", "9-00000000000000001234-0000000056.segment", "3-.segment", "segment", "lock"]
        {
            assert_eq!(SegmentId::from_name(other), None, "{other}");
        }
        for reader in ["kafka", "a/../b", "späher", "100%", ""] {
            let name = account_name(reader);
            assert!(!name.contains('/'), "{name}");
            assert_eq!(reader_of(&name).as_deref(), Some(reader));
        }
        for other in ["kafka", "%6b.reader", "%.reader", "%zz.reader", "ä.reader"] {
            assert_eq!(reader_of(other), None, "{other}");
        }
    }
}
