//! What is wrong with a configuration, where, and what would be right.

use std::{cell::RefCell, error::Error, fmt};

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The daemon does not start with it.
    Error,
    /// It starts, but somebody should look at it.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// The file, or the environment variable, that says it.
    pub place: String,
    /// The key, with dots; empty where the whole place is meant.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What would be right, or what to do.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.level == Level::Warning {
            f.write_str("warning: ")?;
        }
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; allowed: {}", self.what, self.allowed)
    }
}

/// Everything that is wrong, errors and warnings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for Problems {}

impl Problems {
    /// At least one of them is an error.
    #[must_use]
    pub fn fatal(&self) -> bool {
        self.0.iter().any(|p| p.level == Level::Error)
    }
}

/// Where readers put what they find, so that all of it is reported at once.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Problem>>);

impl Report {
    pub(super) fn error(&self, place: &str, key: &str, what: impl Into<String>, allowed: impl Into<String>) {
        self.push(Level::Error, place, key, what.into(), allowed.into());
    }

    pub(super) fn warning(&self, place: &str, key: &str, what: impl Into<String>, allowed: impl Into<String>) {
        self.push(Level::Warning, place, key, what.into(), allowed.into());
    }

    fn push(&self, level: Level, place: &str, key: &str, what: String, allowed: String) {
        let problem = Problem { level, place: place.to_owned(), key: key.to_owned(), what, allowed };
        let mut all = self.0.borrow_mut();
        if !all.contains(&problem) {
            all.push(problem);
        }
    }

    pub(super) fn into_problems(self) -> Problems {
        Problems(self.0.into_inner())
    }
}

/// "; did you mean \"x\"?" where one of `candidates` is close to `given`, else nothing.
pub(super) fn did_you_mean<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    let near = candidates.into_iter().map(|c| (strsim::jaro_winkler(given, c), c)).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((similarity, candidate)) if similarity > 0.8 => format!("; did you mean \"{candidate}\"?"),
        _ => String::new(),
    }
}
