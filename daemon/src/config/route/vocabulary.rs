//! What routes can name: the attributes of records and of their resource, and what is no attribute.

use config::Value;

use super::super::{problem::did_you_mean, table::FromValue as _, values::EventName};
use crate::event::{
    Severity,
    schema::{self, Type},
};

/// What a condition or a limit looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// `event`: the name of the event.
    Event,
    /// `severity`: one of the five that kmodtrail uses; a number between two of them counts as the lower one.
    Severity,
    /// An attribute of the record, or else of its resource, by its full name.
    Named(Box<str>),
}

/// What its values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Severity,
    Attribute(Type),
}

/// Below it names may be written without it.
const PREFIX: &str = "linux.kernel_module.";

/// Names that are shorter still.
const SHORT: [(&str, &str); 3] = [
    ("module", "linux.kernel_module.name"),
    ("signature", "linux.kernel_module.signature.state"),
    ("taints", "linux.kernel_module.taints.names"),
];

/// The names that this configuration knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vocabulary<'c> {
    /// `[resource] attributes`.
    pub(super) resource: &'c [(String, String)],
}

impl Attribute {
    /// Its name, in full.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Event => "event",
            Self::Severity => "severity",
            Self::Named(name) => name,
        }
    }
}

impl Vocabulary<'_> {
    /// The attribute of that name, full or short, and what it is.
    pub(super) fn find(self, given: &str) -> Option<(Attribute, Kind)> {
        match given {
            "event" => return Some((Attribute::Event, Kind::Event)),
            "severity" => return Some((Attribute::Severity, Kind::Severity)),
            _ => {}
        }
        if let Some((name, r#type)) = of_record(given) {
            return Some((Attribute::Named(name.into()), Kind::Attribute(r#type)));
        }
        let of_resource = schema::OF_RESOURCE.contains(&given) || self.resource.iter().any(|(name, _)| name == given);
        of_resource.then(|| (Attribute::Named(given.into()), Kind::Attribute(Type::Text)))
    }

    /// As [`Self::find`], or what is wrong with the name.
    pub(super) fn require(self, given: &str) -> Result<(Attribute, Kind), String> {
        self.find(given).ok_or_else(|| self.unknown(given))
    }

    /// Says that nothing has this name.
    pub(super) fn unknown(self, given: &str) -> String {
        let of_records = || schema::of_records().map(|(name, _)| name);
        let short = of_records().filter_map(|name| name.strip_prefix(PREFIX)).chain(SHORT.map(|(short, _)| short));
        let of_resource =
            self.resource.iter().map(|(name, _)| name.as_str()).chain(schema::OF_RESOURCE.iter().copied());
        let names = of_records().chain(short).chain(of_resource).chain(["event", "severity"]);
        let suggestion = did_you_mean(given, names);
        format!("there is no attribute {given:?}{suggestion}")
    }
}

/// Full name and type of the attribute of records that has this name, full or short.
pub(super) fn of_record(given: &str) -> Option<(&'static str, Type)> {
    let given = SHORT.iter().find(|(short, _)| *short == given).map_or(given, |(_, name)| name);
    let named = |&(name, _): &(&str, Type)| name == given || name.strip_prefix(PREFIX) == Some(given);
    schema::of_records().find(named)
}

/// "out_of_tree_module" or "bit_27".
fn is_taint(word: &str, words: &[&str]) -> bool {
    let number = |text: &str| text.parse().is_ok_and(|bit: u32| bit < 64);
    words.contains(&word) || word.strip_prefix("bit_").is_some_and(number)
}

impl Kind {
    /// What it is, for the reader of an error.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Event => "the name of an event",
            Self::Severity => "a severity",
            Self::Attribute(r#type) => r#type.describe(),
        }
    }

    /// A string that it can have, or one of its items where it is a list; for an event its full name.
    pub(super) fn text(self, text: &str) -> Result<Box<str>, String> {
        match self {
            Self::Event => EventName::from_value(&Value::from(text)).map(|name| name.as_str().into()),
            Self::Attribute(r#type) => match r#type.words() {
                Some(words) if r#type == Type::Taints && is_taint(text, &words) => Ok(text.into()),
                Some(words) if !words.contains(&text) => {
                    let suggestion = did_you_mean(text, words.iter().copied());
                    Err(format!("{text:?} is no value of it{suggestion}; its values are {}", words.join(", ")))
                }
                _ => Ok(text.into()),
            },
            Self::Severity => Ok(text.into()),
        }
    }

    /// The number that stands for it.
    pub(super) fn severity(value: &Value) -> Result<i64, String> {
        Severity::from_value(value).map(|severity| severity as i64)
    }
}
