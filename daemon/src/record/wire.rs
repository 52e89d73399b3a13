//! Protobuf's wire format, the little of it that is needed to read a message in place and to write one without sizing it first.
//! <https://protobuf.dev/programming-guides/encoding/>

use super::Malformed;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// String, bytes or message.
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// Number and value of the next field; `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let field = match key & 7 {
            VARINT => Field::Varint(self.varint()?),
            FIXED64 => Field::Fixed64(u64::from_le_bytes(*self.array()?)),
            FIXED32 => Field::Fixed32(u32::from_le_bytes(*self.array()?)),
            LENGTH => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return Err(Malformed),
        };
        Ok(Some((key >> 3, field)))
    }

    /// Goes to the first field that [`short`] does not find.
    pub(crate) fn skip_short(&mut self, number: u32) {
        while let Some((_, rest)) = short(self.0, number) {
            self.0 = rest;
        }
    }

    /// What has not been read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(array)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        // most are keys and lengths below 128
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (i, &byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

/// What is in the first field, where that is one of this number (below 16) with fewer than 128 bytes, and what follows it. Most are.
#[inline]
pub(crate) fn short(message: &[u8], number: u32) -> Option<(&[u8], &[u8])> {
    match message {
        [key, length, rest @ ..] if u32::from(*key) == (number << 3 | LENGTH) && *length < 0x80 => {
            rest.split_at_checked(usize::from(*length))
        }
        _ => None,
    }
}

/// A string. Most are ASCII, which is seen sooner.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { str::from_utf8_unchecked(bytes) });
    }
    str::from_utf8(bytes).map_err(|_| Malformed)
}

#[inline]
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) const fn varint_length(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

/// Length of a field of so many bytes, its number (below 16) and length included.
pub(crate) const fn field_length(length: usize) -> usize {
    1 + varint_length(length as u64) + length
}

pub(crate) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, (number << 3 | VARINT).into());
    varint(out, value);
}

pub(crate) fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, (number << 3 | FIXED64).into());
    out.extend_from_slice(&value.to_le_bytes());
}

/// Says that a field of so many bytes follows.
pub(crate) fn put_length(out: &mut Vec<u8>, number: u32, length: usize) {
    varint(out, (number << 3 | LENGTH).into());
    varint(out, length as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_length(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// A field whose length is known when it has been written: most are shorter than 128 bytes, and the rest is moved.
pub(crate) fn put_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, (number << 3 | LENGTH).into());
    out.push(0);
    let begin = out.len();
    write(out);
    let mut length = out.len() - begin;
    let more = varint_length(length as u64) - 1;
    if more > 0 {
        let end = out.len();
        out.resize(end + more, 0);
        out.copy_within(begin..end, begin + more);
    }
    let place = &mut out[begin - 1..begin + more];
    let last = place.len() - 1;
    for byte in &mut place[..last] {
        *byte = length as u8 | 0x80;
        length >>= 7;
    }
    place[last] = length as u8;
}
