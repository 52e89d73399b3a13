//! What stands in the place of a value that a sink must not see.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Revealed;

/// How it is made.
#[derive(Clone)]
pub(super) enum Redaction {
    /// The same for the same value and key, and nobody without the key can tell which value it was.
    Hash(Box<Hmac<Sha256>>),
    /// The same for every value.
    Mask,
}

impl fmt::Debug for Redaction {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hash(_) => "Hash",
            Self::Mask => "Mask",
        })
    }
}

/// Every JSON reader keeps integers of so many bits as they are.
const JSON_INTEGER: u64 = (1 << 53) - 1;

impl Redaction {
    pub(super) fn hash(key: &Revealed) -> Self {
        let hmac = Hmac::new_from_slice(key.expose().as_bytes()).expect("HMAC takes a key of any length");
        Self::Hash(Box::new(hmac))
    }

    /// In the place of a string.
    pub(super) fn text(&self, text: &str) -> String {
        match self {
            Self::Mask => "***".to_owned(),
            Self::Hash(hmac) => const_hex::encode(of(hmac, text.as_bytes())),
        }
    }

    /// In the place of a number: another one, so that whoever keeps the attribute as a number can go on doing so.
    pub(super) fn int(&self, number: i64) -> i64 {
        match self {
            Self::Mask => -1,
            Self::Hash(hmac) => {
                let hash = of(hmac, number.to_string().as_bytes());
                let first = hash.first_chunk().expect("a hash has 32 bytes");
                (u64::from_be_bytes(*first) & JSON_INTEGER).cast_signed()
            }
        }
    }
}

fn of(hmac: &Hmac<Sha256>, text: &[u8]) -> [u8; 32] {
    let mut hmac = hmac.clone();
    hmac.update(text);
    hmac.finalize().into_bytes().into()
}

/// Values that are hidden, and what stands in their place.
#[derive(Debug, Default)]
pub(super) struct Hidden(Vec<(String, String)>);

impl Hidden {
    pub(super) fn push(&mut self, old: String, new: String) {
        if !old.trim().is_empty() && !self.0.iter().any(|(known, _)| *known == old) {
            self.0.push((old, new));
            // of two that begin at one place the longer one is meant
            self.0.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        }
    }

    /// The text with all of them replaced where they stand as words of their own; `None` where it has none of them.
    pub(super) fn replace(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let (mut copied, mut at) = (0, 0);
        while let Some(c) = text[at..].chars().next() {
            match self.0.iter().find(|(old, _)| text[at..].starts_with(&**old) && is_word(text, at, at + old.len())) {
                Some((old, new)) => {
                    out += &text[copied..at];
                    out += new;
                    at += old.len();
                    copied = at;
                }
                None => at += c.len_utf8(),
            }
        }
        (copied > 0).then(|| out + &text[copied..])
    }
}

/// No letter or digit of a longer word stands before or behind it.
fn is_word(text: &str, begin: usize, end: usize) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let inside = |at: usize| letter(text[..at].chars().next_back()) && letter(text[at..].chars().next());
    !inside(begin) && !inside(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn hash(key: &str) -> Redaction {
        let file = tempfile::NamedTempFile::new().expect("the test may make files");
        std::fs::write(file.path(), key).expect("the test may write files");
        Redaction::hash(&Secret::File(file.path().to_owned()).reveal().unwrap_or_else(|e| panic!("{e}")))
    }

    #[test]
    fn a_hash_is_hmac_sha_256_of_the_text() {
        // RFC 4231, test case 2
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hash("Jefe").text("what do ya want for nothing?"), expected);
        assert_ne!(hash("other").text("what do ya want for nothing?"), expected);
        let (a, b) = (hash("Jefe").int(1000), hash("Jefe").int(1001));
        assert!(a != b && a == hash("Jefe").int(1000) && (0..=JSON_INTEGER.cast_signed()).contains(&a), "{a} {b}");
    }

    #[test]
    fn the_key_is_never_shown() {
        assert_eq!(format!("{:?}", hash("Jefe")), "Hash");
    }

    #[test]
    fn hidden_values_are_replaced_as_words_of_their_own() {
        let mut hidden = Hidden::default();
        for (old, new) in
            [("ali", "A"), ("alice", "B"), ("/tmp/x.ko", "C"), ("42", "D"), ("", "E"), (" ", "F"), ("ü", "G")]
        {
            hidden.push(old.to_owned(), new.to_owned());
        }
        let replaced = |text| hidden.replace(text);
        assert_eq!(replaced("insmod[42] (alice) from /tmp/x.ko").as_deref(), Some("insmod[D] (B) from C"));
        assert_eq!(replaced("alice2 malice ali_ 420 /tmp/x.ko2 über"), None);
        assert_eq!(replaced("alice").as_deref(), Some("B"));
        assert_eq!(replaced("ali,alice,ü").as_deref(), Some("A,B,G"));
        assert_eq!(replaced(""), None);
    }
}
