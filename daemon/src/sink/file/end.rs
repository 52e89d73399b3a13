//! Where the last whole message of a file ends, and what stands behind it.
//!
//! A process that is killed in the middle of a write, or a power loss, leaves a piece of a message at the end. It never counted as
//! delivered: its record comes again, whole. So the piece is cut off where it is surely ours; nothing else ever is.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
};

use serde::de::IgnoredAny;

use crate::sink::frames::{Framing, PREFIX};

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a whole message.
    Whole,
    /// With a line that is whole, or is not ours, and has no newline.
    Unended,
    /// With a piece of one of our messages, or with NULs, as a power loss may leave them. What is whole ends here.
    Torn(u64),
}

/// No message is longer: a record has a few KiB.
const LONGEST: u64 = 16 << 20;
const BLOCK: usize = 64 << 10;
/// Key of the only field of an `ExportLogsServiceRequest`: number 1, with a length.
const RESOURCE_LOGS: u8 = 1 << 3 | 2;

/// Looks at the end of a file of this length. Messages begin at `known`; what is before is known to be whole.
///
/// # Errors
/// Where it can't be read, or holds something else than such messages ([`ErrorKind::InvalidData`]).
pub(super) fn find(file: &File, framing: Framing, known: u64, length: u64) -> io::Result<End> {
    match framing {
        Framing::Lines { opening } => line(file, opening, length),
        Framing::Lengths => message(file, known, length),
    }
}

fn line(file: &File, opening: &str, length: u64) -> io::Result<End> {
    let Some(tail) = tail(file, length)? else { return Ok(End::Unended) };
    let opening = opening.as_bytes();
    let nul = tail.iter().all(|&byte| byte == 0);
    let ours = tail.starts_with(&opening[..opening.len().min(tail.len())]);
    Ok(if tail.is_empty() {
        End::Whole
    } else if nul || ours && serde_json::from_slice::<IgnoredAny>(&tail).is_err() {
        End::Torn(length - tail.len() as u64)
    } else {
        End::Unended
    })
}

/// What stands behind the last newline; `None` where that is longer than any line of ours.
fn tail(file: &File, length: u64) -> io::Result<Option<Vec<u8>>> {
    let mut block = vec![0; BLOCK];
    let mut begin = length;
    while begin > 0 {
        if length - begin > LONGEST {
            return Ok(None);
        }
        let end = begin;
        begin = end.saturating_sub(BLOCK as u64);
        block.truncate((end - begin) as usize);
        file.read_exact_at(&mut block, begin)?;
        if let Some(newline) = block.iter().rposition(|&byte| byte == b'\n') {
            begin += newline as u64 + 1;
            break;
        }
    }
    let mut tail = vec![0; (length - begin) as usize];
    file.read_exact_at(&mut tail, begin)?;
    Ok(Some(tail))
}

/// Goes from length to length.
fn message(file: &File, known: u64, length: u64) -> io::Result<End> {
    let mut window = Window { file, begin: 0, block: Vec::new() };
    let mut at = known;
    while at < length {
        let left = length - at;
        match Start::of(window.look(at, left)?, left) {
            Start::Whole(size) => at += size,
            Start::Piece => return Ok(End::Torn(at)),
            Start::Foreign if is_nul(file, at, left)? => return Ok(End::Torn(at)),
            Start::Foreign => {
                let what = format!("what stands at byte {at} is no otlp_proto message of this daemon");
                return Err(io::Error::new(ErrorKind::InvalidData, what));
            }
        }
    }
    Ok(End::Whole)
}

/// A block of a file.
struct Window<'f> {
    file: &'f File,
    begin: u64,
    block: Vec<u8>,
}

impl Window<'_> {
    /// Enough of what stands there to tell a message by: length, key, and the length of the field.
    fn look(&mut self, at: u64, left: u64) -> io::Result<&[u8]> {
        let enough = left.min(PREFIX as u64 + 1 + 5);
        if at < self.begin || at + enough > self.begin + self.block.len() as u64 {
            self.block.resize(left.min(BLOCK as u64) as usize, 0);
            self.file.read_exact_at(&mut self.block, at)?;
            self.begin = at;
        }
        let offset = (at - self.begin) as usize;
        Ok(&self.block[offset..offset + enough as usize])
    }
}

/// What may begin somewhere.
enum Start {
    /// A message that is there, of so many bytes with its length.
    Whole(u64),
    /// One that is not all there.
    Piece,
    Foreign,
}

impl Start {
    fn of(bytes: &[u8], left: u64) -> Self {
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
            // no message is so long that the first byte of its length is needed
            return if bytes[0] == 0 { Self::Piece } else { Self::Foreign };
        };
        let length = u32::from_be_bytes(*prefix).into();
        let size = PREFIX as u64 + length;
        match begins(rest, length) {
            Some(true) if size <= left => Self::Whole(size),
            Some(true) | None if size > left && length <= LONGEST => Self::Piece,
            _ => Self::Foreign,
        }
    }
}

/// Whether a message of this length begins so: with the field `resource_logs`, which is all of it. `None`: too little is there.
fn begins(bytes: &[u8], length: u64) -> Option<bool> {
    let (&key, rest) = bytes.split_first()?;
    if key != RESOURCE_LOGS {
        return Some(false);
    }
    let mut inner = 0;
    for (i, &byte) in (0..).zip(rest) {
        inner |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some(2 + i + inner == length);
        }
    }
    (rest.len() >= 5).then_some(false)
}

fn is_nul(file: &File, at: u64, left: u64) -> io::Result<bool> {
    if left > LONGEST {
        return Ok(false);
    }
    let mut bytes = vec![0; left as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{config::Encoding, sink::file::tests::samples};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file for the test");
        file.write_all(bytes).expect("the test may write");
        file
    }

    fn end(framing: Framing, bytes: &[u8]) -> io::Result<End> {
        find(&file(bytes), framing, 0, bytes.len() as u64)
    }

    #[test]
    fn wherever_a_message_is_torn_what_is_whole_before_it_is_found() {
        for encoding in [Encoding::OtlpJson, Encoding::Json, Encoding::OtlpProto] {
            let framing = Framing::of(encoding);
            let (bytes, ends) = samples(encoding, 3);
            let file = file(&bytes);
            for length in 0..=bytes.len() {
                let found = find(&file, framing, 0, length as u64);
                let found = found.unwrap_or_else(|e| panic!("{encoding:?}, {length} bytes: {e}"));
                let whole = ends.iter().copied().filter(|&end| end <= length).max().unwrap_or(0);
                let expected = if whole == length {
                    End::Whole
                } else if framing != Framing::Lengths && ends.contains(&(length + 1)) {
                    // only its newline is missing
                    End::Unended
                } else {
                    End::Torn(whole as u64)
                };
                assert_eq!(found, expected, "{encoding:?}, {length} bytes");
            }
        }
    }

    #[test]
    fn what_a_power_loss_leaves_as_nuls_is_torn() {
        for encoding in [Encoding::OtlpJson, Encoding::OtlpProto] {
            let (mut bytes, ends) = samples(encoding, 1);
            for nuls in [1, 4, 5, 4096] {
                bytes.resize(ends[0] + nuls, 0);
                let found = end(Framing::of(encoding), &bytes).expect("it can be read");
                assert_eq!(found, End::Torn(ends[0] as u64), "{encoding:?}");
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_never_torn() {
        let lines = Framing::of(Encoding::OtlpJson);
        let (json, _) = samples(Encoding::Json, 1);
        for text in ["somebody's notes", "{\"other\":", "a\n{\"@timestamp\":\"2", "a\nb"] {
            assert_eq!(end(lines, text.as_bytes()).expect("it can be read"), End::Unended, "{text}");
        }
        // no line of ours is so long, whatever it begins with
        let long = [r#"{"resourceLogs":"#.as_bytes(), &vec![b'x'; LONGEST as usize + 2 * BLOCK]].concat();
        assert_eq!(end(lines, &long).expect("it can be read"), End::Unended);
        for bytes in [&json[..], &json[..3], b"\x00\x00\x00\x01x", b"\x00\x00\x00\x09\x0a\x09", &long] {
            let error = end(Framing::Lengths, bytes).expect_err("it is foreign");
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{bytes:?}: {error}");
        }
    }
}
