//! Globs and regular expressions: compiled once, in time and memory that what they look at can't drive up.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::{RegexSet, RegexSetBuilder};

/// A compiled expression is no larger: `a{1000}{1000}` is refused, not tried.
const LARGEST_PROGRAM: usize = 1 << 20;
/// What a regular expression remembers between texts, for each thread.
const LARGEST_CACHE: usize = 256 << 10;

/// Globs, of which one matches: `*` is any text, that with slashes too, `?` any character, `[a-z]` one of these, `{a,b}` one or the other.
#[derive(Clone, Default)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

/// Regular expressions in the syntax of the crate `regex`, of which one matches anywhere in the text: linear in its length.
#[derive(Clone)]
pub struct Regexes {
    patterns: Vec<String>,
    set: RegexSet,
}

impl Globs {
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn new(patterns: Vec<String>) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            let glob = GlobBuilder::new(pattern).backslash_escape(true).build();
            set.add(glob.map_err(|e| format!("{pattern:?} is no glob: {}", e.kind()))?);
        }
        let set = set.build().map_err(|e| e.to_string())?;
        Ok(Self { patterns, set })
    }

    /// One of them matches the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.set.is_match(text)
    }

    /// As they were written.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

impl Regexes {
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn new(patterns: Vec<String>) -> Result<Self, String> {
        let set = |patterns: &[String]| {
            RegexSetBuilder::new(patterns).size_limit(LARGEST_PROGRAM).dfa_size_limit(LARGEST_CACHE).build()
        };
        for pattern in &patterns {
            set(std::slice::from_ref(pattern))
                .map_err(|e| format!("{pattern:?} is no regular expression: {}", one_line(&e)))?;
        }
        let set = set(&patterns).map_err(|e| one_line(&e))?;
        Ok(Self { patterns, set })
    }

    /// One of them matches somewhere in the text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.set.is_match(text)
    }

    /// As they were written.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

/// The crate draws an arrow under the mistake; its last line says what it is.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl fmt::Debug for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}
impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}
impl Eq for Globs {}

impl fmt::Debug for Regexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}
impl PartialEq for Regexes {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}
impl Eq for Regexes {}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(pattern: &str) -> Globs {
        Globs::new(vec![pattern.to_owned()]).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_glob_is_about_the_whole_text_with_all_that_can_be_in_it() {
        for (pattern, yes, no) in [
            ("/tmp/*", &["/tmp/a.ko", "/tmp/a/b.ko", "/tmp/", "/tmp/\n\u{1b}ä"][..], &["/tmp", "x/tmp/a", "/tmpx"][..]),
            ("*.ko", &["a.ko", "/a/b.ko", ".ko", "a\n.ko"], &["a.ko.xz", "a.ko/", "ko"]),
            ("nf_?", &["nf_a", "nf_/"], &["nf_", "nf_ab"]),
            ("{fs,net}-[0-9]*", &["fs-1", "net-16-proto"], &["fs-x", "fs,net-1"]),
            ("*", &["", "a", "a/b\n"], &[]),
            (r"a\*b", &["a*b"], &["axb", r"a\*b"]),
            ("**/x", &["x", "a/x", "a/b/x"], &["ax"]),
        ] {
            let globs = globs(pattern);
            for text in yes {
                assert!(globs.matches(text), "{pattern} {text:?}");
            }
            for text in no {
                assert!(!globs.matches(text), "{pattern} {text:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_said_in_one_line() {
        for pattern in ["[a", "{a", "[z-a]", "a\\"] {
            let error = Globs::new(vec!["ok*".to_owned(), pattern.to_owned()]).expect_err(pattern);
            assert!(error.contains(&format!("{pattern:?} is no glob: ")) && !error.contains('\n'), "{error}");
        }
        for (pattern, why) in
            [("(a", "unclosed group"), ("a{1000}{1000}", "size limit"), ("(?=a)", "look-around"), ("\\q", "escape")]
        {
            let error = Regexes::new(vec!["ok".to_owned(), pattern.to_owned()]).expect_err(pattern);
            assert!(error.contains(&format!("{pattern:?} is no regular expression: ")), "{error}");
            assert!(error.contains(why) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn regular_expressions_match_anywhere_and_know_letters_of_all_languages() {
        let regexes = |pattern: &str| Regexes::new(vec![pattern.to_owned()]).unwrap_or_else(|e| panic!("{e}"));
        assert!(regexes("b").matches("abc") && !regexes("^b").matches("abc"));
        assert!(regexes(r"(?i)^GRÖSSE\d+$").matches("größse12") || regexes(r"(?i)^grÖ\w\d+$").matches("GRöß12"));
        assert!(regexes(r"^\w+$").matches("модуль"));
    }
}
