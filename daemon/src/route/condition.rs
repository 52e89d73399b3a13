//! Whether a condition holds for a value.

use crate::{
    config::{Attribute, Condition, Test},
    event::Severity,
    record::{Record, Value, resource_attributes},
};

impl Condition {
    /// Whether it holds where the attribute has this value, or is not there.
    #[must_use]
    pub fn holds(&self, value: Option<Value<'_>>) -> bool {
        value.is_some_and(|value| self.test.holds(value)) != self.negated
    }
}

impl Test {
    fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Present, _) => true,
            (Self::All(texts), Value::Array(items)) => {
                texts.iter().all(|text| items.into_iter().any(|item| item == Value::String(text)))
            }
            (_, Value::Array(items)) => items.into_iter().any(|item| self.holds(item)),
            (Self::Text(texts), Value::String(text)) => texts.binary_search_by(|t| (**t).cmp(text)).is_ok(),
            (Self::Int(numbers), Value::Int(number)) => numbers.contains(&number),
            (Self::Bool(truths), Value::Bool(truth)) => truths.contains(&truth),
            (Self::Glob(globs), Value::String(text)) => globs.matches(text),
            (Self::Regex(regexes), Value::String(text)) => regexes.matches(text),
            (Self::AtLeast(least), Value::Int(number)) => number >= *least,
            (Self::AtMost(most), Value::Int(number)) => number <= *most,
            // a type that the attribute does not have by the registry
            _ => false,
        }
    }
}

/// What the attribute is in this record, or else in its resource.
pub(super) fn find<'a>(attribute: &Attribute, resource: &'a [u8], record: &Record<'a>) -> Option<Value<'a>> {
    match attribute {
        Attribute::Event => Some(Value::String(record.event_name)),
        Attribute::Severity => severity(record),
        Attribute::Named(name) => record.get(name).or_else(|| resource_attributes(resource).get(name)),
    }
}

/// The number of the severity that kmodtrail uses for it: one between two of them counts as the lower one, and below DEBUG is 1.
pub(super) fn severity<'a>(record: &Record<'_>) -> Option<Value<'a>> {
    let number = match record.severity {
        0 => return None,
        number => Severity::at_most(number.into()).map_or(1, |severity| severity as i64),
    };
    Some(Value::Int(number))
}
