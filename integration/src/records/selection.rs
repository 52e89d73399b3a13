//! Choosing records, and saying what was expected of them.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Record, Records};

/// Some of the records, and in words which ones.
#[derive(Clone, Debug)]
pub(crate) struct Selection<'a> {
    all: &'a Records,
    chosen: Vec<&'a Record>,
    description: String,
}

impl<'a> Selection<'a> {
    pub(super) fn new(all: &'a Records) -> Self {
        Self { all, chosen: all.iter().collect(), description: "record".to_owned() }
    }

    /// Those of one event.
    pub(crate) fn of(self, event: &str) -> Self {
        self.that(event, |record| record.event == event)
    }

    /// Those whose attribute has this value.
    pub(crate) fn with(self, attribute: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.that(&format!("with {attribute}={value}"), |record| record.get(attribute) == Some(&value))
    }

    /// Those that have the attribute, whatever its value.
    pub(crate) fn having(self, attribute: &str) -> Self {
        self.that(&format!("having {attribute}"), |record| record.get(attribute).is_some())
    }

    /// Those that lack the attribute.
    pub(crate) fn without(self, attribute: &str) -> Self {
        self.that(&format!("without {attribute}"), |record| record.get(attribute).is_none())
    }

    /// Those of the same trace as a record: of the same load.
    pub(crate) fn in_trace_of(self, record: &Record) -> Self {
        self.that(&format!("of the trace {}", record.trace_id), |other| other.trace_id == record.trace_id)
    }

    /// Those for which something holds; `description` says what, for the message of a failure.
    pub(crate) fn that(mut self, description: &str, holds: impl Fn(&Record) -> bool) -> Self {
        self.chosen.retain(|record| holds(record));
        self.description.push(' ');
        self.description.push_str(description);
        self
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Record> {
        self.chosen.iter().copied()
    }

    /// The only one.
    ///
    /// # Errors
    /// When it is not exactly one, with all records.
    pub(crate) fn one(self) -> Result<&'a Record> {
        self.count(1)?.first().copied().context("counted one")
    }

    /// Exactly `number` of them.
    ///
    /// # Errors
    /// When they are more or fewer, with all records.
    pub(crate) fn count(self, number: usize) -> Result<Vec<&'a Record>> {
        self.expect(&format!("exactly {number}"), |found| found == number)
    }

    /// At least `number` of them.
    ///
    /// # Errors
    /// When they are fewer, with all records.
    pub(crate) fn at_least(self, number: usize) -> Result<Vec<&'a Record>> {
        self.expect(&format!("at least {number}"), |found| found >= number)
    }

    /// None at all.
    ///
    /// # Errors
    /// When there is one, with all records.
    pub(crate) fn none(self) -> Result<()> {
        self.expect("no", |found| found == 0).map(drop)
    }

    fn expect(self, number: &str, holds: impl FnOnce(usize) -> bool) -> Result<Vec<&'a Record>> {
        if holds(self.chosen.len()) {
            return Ok(self.chosen);
        }
        let all = self.all.to_string();
        bail!("expected {number} {}, found {} among these records:\n{all}", self.description, self.chosen.len())
    }
}
