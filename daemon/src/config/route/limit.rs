//! How many records a route lets through: `sample`, `rate_limit`, `dedupe`.

use std::{fmt, num::NonZeroU64, time::Duration};

use config::{Value, ValueKind};

use super::{
    super::{
        table::{FromValue, Table, describe},
        values::Span,
    },
    vocabulary::{Attribute, Kind, Vocabulary},
};
use crate::event::schema::Type;

/// `routes.sample`: a part of all records, more than 0 and less than 1. It keeps all records of a trace or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u64);

/// `routes.rate_limit`: how many records in an interval, by the records' own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// `count`: so many, at least 1.
    pub count: NonZeroU64,
    /// `interval`: in that time, "1s" to "1day". It begins with the first record.
    pub interval: Duration,
    /// `by`, default []: attributes. Records in which they have other values are counted apart; for 4096 of them, then the longest unseen
    /// is forgotten.
    pub by: Vec<Attribute>,
}

/// `routes.dedupe`: of several records that are alike only the first one in an interval, by the records' own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// `by`: attributes, at least one. Records are alike where they have the same values; 4096 of them are remembered.
    pub by: Vec<Attribute>,
    /// `interval`: "1s" to "1day".
    pub interval: Duration,
}

impl Ratio {
    /// The numbers, of all that 64 bits can have, that belong to the part are at most this.
    #[must_use]
    pub const fn threshold(self) -> u64 {
        self.0
    }
}

/// 2 to the power of 64.
const WHOLE: f64 = 18_446_744_073_709_551_616.0;

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0 as f64 / WHOLE).fmt(f)
    }
}

impl FromValue for Ratio {
    fn allowed() -> String {
        "a number between 0 and 1, such as 0.1 for every tenth".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.kind {
            ValueKind::Float(ratio) if ratio > 0.0 && ratio < 1.0 => Ok(Self((ratio * WHOLE) as u64)),
            ref other => Err(format!("it is {}", describe(other))),
        }
    }
}

/// Reads `interval`.
fn interval(table: &mut Table<'_>) -> Option<Duration> {
    let place = table.place("interval");
    let Span(interval) = table.required::<Span>("interval")?;
    if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&interval) {
        let what = format!("{} is out of range", humantime::format_duration(interval));
        table.wrong(&place, "interval", what, "\"1s\" to \"1day\"");
    }
    Some(interval)
}

pub(super) fn rate_limit(mut table: Table<'_>, vocabulary: Vocabulary<'_>) -> Option<RateLimit> {
    let count = table.required("count");
    let interval = interval(&mut table);
    let place = table.place("by");
    let names = table.optional("by").unwrap_or_default();
    let by = by(names, &table, &place, vocabulary);
    table.finish();
    Some(RateLimit { count: count?, interval: interval?, by })
}

pub(super) fn dedupe(mut table: Table<'_>, vocabulary: Vocabulary<'_>) -> Option<Dedupe> {
    let interval = interval(&mut table);
    let place = table.place("by");
    let names: Option<Vec<_>> = table.required("by");
    if names.as_ref().is_some_and(Vec::is_empty) {
        let what = "it is empty: nothing makes two records alike";
        table.wrong(&place, "by", what, "names of attributes, at least one");
    }
    let by = by(names.unwrap_or_default(), &table, &place, vocabulary);
    table.finish();
    Some(Dedupe { by, interval: interval? })
}

fn by(names: Vec<String>, table: &Table<'_>, place: &str, vocabulary: Vocabulary<'_>) -> Vec<Attribute> {
    let mut by = Vec::new();
    for name in &names {
        let problem = match vocabulary.require(name) {
            Ok((_, Kind::Attribute(Type::Maps))) => format!("{name} is a list of tables"),
            Ok((attribute, _)) if by.contains(&attribute) => format!("{name} is there twice"),
            Ok((attribute, _)) => {
                by.push(attribute);
                continue;
            }
            Err(what) => what,
        };
        table.wrong(place, "by", problem, "names of attributes, each once");
    }
    by
}
