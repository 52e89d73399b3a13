//! Bytes of the kernel as text: the one place where it is done.
//!
//! Names, paths and parameters may hold any byte but NUL. What is UTF-8 stays as it is; every other byte becomes a backslash and
//! three octal digits, as `ls -b` and git print it (`\377`). A backslash that stands before three octal digits in the original
//! becomes `\134`, so that [`Text::bytes`] gives back exactly what the kernel had. (Not `\xff`: systemd's own unit names are full
//! of those.)

use std::fmt::{self, Write as _};

/// Text that came from the kernel.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text(String);

impl Text {
    /// Escapes what is not UTF-8.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut out = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid();
            let mut rest = valid;
            while let Some(at) = rest.find('\\') {
                let (before, from) = rest.split_at(at);
                out.push_str(before);
                // an escape can also begin here and end in the bytes that are escaped next: those begin with a backslash, not a digit
                out.push_str(if octal(from.as_bytes()).is_some() { "\\134" } else { "\\" });
                rest = &from[1..];
            }
            out.push_str(rest);
            for byte in chunk.invalid() {
                write!(out, "\\{byte:03o}").expect("writing to a String does not fail");
            }
        }
        Self(out)
    }

    /// The bytes that [`Self::from_bytes`] was given.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let all = self.0.as_bytes();
        let mut out = Vec::with_capacity(all.len());
        let mut at = 0;
        while let Some(&byte) = all.get(at) {
            match octal(&all[at..]) {
                Some(escaped) => {
                    out.push(escaped);
                    at += 4;
                }
                None => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
        out
    }

    /// The escaped text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `\` and three octal digits that make a byte.
fn octal(bytes: &[u8]) -> Option<u8> {
    let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] = bytes else { return None };
    Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(bytes: &[u8], text: &str) {
        let escaped = Text::from_bytes(bytes);
        assert_eq!(escaped.as_str(), text);
        assert_eq!(escaped.bytes(), bytes, "{text}");
    }

    #[test]
    fn what_is_utf8_stays() {
        round_trip(b"/lib/modules/\xc3\xa4.ko", "/lib/modules/ä.ko");
        round_trip(br"/system.slice/we\x2dird.service", r"/system.slice/we\x2dird.service");
        round_trip(b"esc\x1b and\nnewline", "esc\x1b and\nnewline");
    }

    #[test]
    fn what_is_not_utf8_is_escaped() {
        round_trip(b"a\xff\xfeb", r"a\377\376b");
        round_trip(b"\xc3", r"\303");
    }

    #[test]
    fn what_looks_like_an_escape_is_told_apart() {
        round_trip(br"\377", r"\134377");
        round_trip(br"\\377", r"\\134377");
        round_trip(br"\477 \37 \", r"\477 \37 \");
        round_trip(b"\\\xff", r"\\377");
        round_trip(b"\\1\xff", r"\1\377");
    }

    #[test]
    fn every_pair_of_bytes_comes_back() {
        for a in 0..=255u8 {
            for b in 0..=255 {
                let bytes = [b'\\', a, b, b'\\', b'3', b'7', b'7'];
                assert_eq!(Text::from_bytes(&bytes).bytes(), bytes);
            }
        }
    }
}
