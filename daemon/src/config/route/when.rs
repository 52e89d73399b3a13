//! `routes.when`: a table whose keys are the name of an attribute and, behind it, how to compare.

use std::{collections::BTreeMap, fmt};

use config::{Value, ValueKind};

use super::{
    super::{
        problem::Report,
        table::{FromValue as _, Leaf, describe},
        values::EventName,
    },
    pattern::{Globs, Regexes},
    vocabulary::{Attribute, Kind, Vocabulary},
};
use crate::event::{Severity, schema::Type};

/// `routes.when`: all of these must hold; none: always.
///
/// A key is the name of an attribute of the record or its resource ("process.user.name"), where `linux.kernel_module.` may be left out
/// ("outcome"), or one of `event`, `severity`, `module` (linux.kernel_module.name), `signature` (linux.kernel_module.signature.state) and
/// `taints` (linux.kernel_module.taints.names); and behind it, how to compare:
///
/// | key | holds where the value |
/// |---|---|
/// | `NAME = x`, `NAME = [x, y]` | is x; is one of them |
/// | `NAME_glob`, `NAME_regex` | matches one of these, as a whole; anywhere |
/// | `NAME_min`, `NAME_max` | is a number, or a severity, of at least, at most that |
/// | `NAME_any`, `NAME_all` | is a list with one of these, with all of these in it |
/// | `NAME_present = true` | is there |
/// | `NAME_not`, `NAME_not_glob`, `NAME_not_regex`, `NAME_present = false` | does the contrary: also where the attribute is not there |
///
/// A list matches where one of its items does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When(pub Vec<Condition>);

/// What an attribute must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which one.
    pub attribute: Attribute,
    /// It must not be that.
    pub negated: bool,
    /// What it must be.
    pub test: Test,
}

/// What a value can be tested for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// One of these strings, which are sorted.
    Text(Vec<Box<str>>),
    /// One of these numbers, or severities.
    Int(Vec<i64>),
    /// One of these truths.
    Bool(Vec<bool>),
    /// All of these strings are in the list.
    All(Vec<Box<str>>),
    /// A glob matches.
    Glob(Globs),
    /// A regular expression matches.
    Regex(Regexes),
    /// It is no less.
    AtLeast(i64),
    /// It is no more.
    AtMost(i64),
    /// It is there.
    Present,
}

/// How to compare: what stands behind the name of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    Is,
    Not,
    Any,
    All,
    Glob,
    NotGlob,
    Regex,
    NotRegex,
    Min,
    Max,
    Present,
}

impl Operator {
    /// Longer ones before those that they end with.
    const SUFFIXES: [(&str, Self); 10] = [
        ("_not_glob", Self::NotGlob),
        ("_not_regex", Self::NotRegex),
        ("_not", Self::Not),
        ("_any", Self::Any),
        ("_all", Self::All),
        ("_glob", Self::Glob),
        ("_regex", Self::Regex),
        ("_min", Self::Min),
        ("_max", Self::Max),
        ("_present", Self::Present),
    ];

    fn suffix(self) -> &'static str {
        Self::SUFFIXES.iter().find(|(_, operator)| *operator == self).map_or("", |(suffix, _)| suffix)
    }

    /// Those that make sense for such values.
    const fn of(kind: Kind) -> &'static [Self] {
        use Operator::{All, Any, Glob, Is, Max, Min, Not, NotGlob, NotRegex, Present, Regex};
        match kind {
            Kind::Event => &[Is, Not, Glob, NotGlob, Regex, NotRegex],
            Kind::Severity => &[Is, Not, Min, Max],
            Kind::Attribute(Type::Text | Type::Word(_)) => &[Is, Not, Glob, NotGlob, Regex, NotRegex, Present],
            Kind::Attribute(Type::Texts | Type::Taints) => {
                &[Is, Not, Any, All, Glob, NotGlob, Regex, NotRegex, Present]
            }
            Kind::Attribute(Type::Int) => &[Is, Not, Min, Max, Present],
            Kind::Attribute(Type::Bool) => &[Is, Not, Present],
            Kind::Attribute(Type::Maps) => &[Present],
        }
    }
}

/// What is wrong, and what would be right.
type Wrong = (String, String);

pub(super) fn read(leaves: Vec<Leaf>, vocabulary: Vocabulary<'_>, report: &Report) -> When {
    let mut when = Vec::new();
    let mut places = BTreeMap::new();
    for Leaf { name, key, place, value } in leaves {
        let found = split(&name, vocabulary).and_then(|(attribute, kind, operator)| {
            let condition = condition(attribute, kind, operator, &value)?;
            match places.insert((condition.attribute.clone(), operator), key.clone()) {
                Some(other) => Err((format!("{other} says it already"), "one of the two".to_owned())),
                None => Ok(condition),
            }
        });
        match found {
            Ok(condition) => match contradiction(&when, &condition) {
                Some(other) => {
                    let what = format!("it can never hold together with {other}");
                    report.error(&place, &key, what, "what can be true");
                }
                None => when.push(condition),
            },
            Err((what, allowed)) => report.error(&place, &key, what, allowed),
        }
    }
    When(when)
}

/// The attribute and the operator that a key is made of.
fn split(key: &str, vocabulary: Vocabulary<'_>) -> Result<(Attribute, Kind, Operator), Wrong> {
    const ALLOWED: &str =
        "the name of an attribute, with _not, _glob, ... behind it (config/kmodtrail.toml explains them)";
    let suffix = Operator::SUFFIXES.iter().find_map(|(suffix, operator)| Some((key.strip_suffix(suffix)?, *operator)));
    let (name, operator) = suffix.filter(|_| vocabulary.find(key).is_none()).unwrap_or((key, Operator::Is));
    let Some((attribute, kind)) = vocabulary.find(name) else {
        let (stem, end) = key.rsplit_once('_').unwrap_or((key, ""));
        return Err(match vocabulary.find(stem) {
            Some((_, kind)) => (format!("nothing can be compared with \"_{end}\""), operators(stem, kind)),
            None => (vocabulary.unknown(name), ALLOWED.to_owned()),
        });
    };
    if Operator::of(kind).contains(&operator) {
        return Ok((attribute, kind, operator));
    }
    let what = format!("{} is {}, which can't be compared like that", attribute.name(), kind.describe());
    Err((what, operators(name, kind)))
}

/// The keys that an attribute can have.
fn operators(name: &str, kind: Kind) -> String {
    let keys = Operator::of(kind).iter().map(|operator| format!("{name}{}", operator.suffix()));
    keys.collect::<Vec<_>>().join(", ")
}

fn condition(attribute: Attribute, kind: Kind, operator: Operator, value: &Value) -> Result<Condition, Wrong> {
    let strings = |one: &dyn Fn(&str) -> Result<Box<str>, String>| {
        items(value, &|item| match &item.kind {
            ValueKind::String(text) => one(text),
            other => Err(format!("it is {}", describe(other))),
        })
    };
    let texts = || strings(&|text| kind.text(text));
    let patterns = || strings(&|text| if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.into()) });
    let owned = |patterns: Vec<Box<str>>| patterns.into_iter().map(String::from).collect::<Vec<_>>();
    let numbers = || items(value, &|item| number(kind, item));
    let test = match operator {
        Operator::Present => truth(value).map(|_| Test::Present),
        Operator::Min => number(kind, value).map(Test::AtLeast),
        Operator::Max => number(kind, value).map(Test::AtMost),
        Operator::All => texts().map(Test::All),
        Operator::Glob | Operator::NotGlob => patterns().and_then(|p| Globs::new(owned(p))).map(Test::Glob),
        Operator::Regex | Operator::NotRegex => patterns().and_then(|p| Regexes::new(owned(p))).map(Test::Regex),
        Operator::Is | Operator::Not | Operator::Any => match kind {
            Kind::Severity | Kind::Attribute(Type::Int) => numbers().map(Test::Int),
            Kind::Attribute(Type::Bool) => items(value, &truth).map(Test::Bool),
            _ => texts().map(|mut texts| {
                texts.sort_unstable();
                Test::Text(texts)
            }),
        },
    };
    let negated = match operator {
        Operator::Not | Operator::NotGlob | Operator::NotRegex => true,
        Operator::Present => matches!(value.kind, ValueKind::Boolean(false)),
        _ => false,
    };
    let test = test.map_err(|what| (what, allowed(operator, kind)))?;
    Ok(Condition { attribute, negated, test })
}

/// One value, or an array of them.
fn items<T>(value: &Value, one: &dyn Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    let ValueKind::Array(items) = &value.kind else { return Ok(vec![one(value)?]) };
    if items.is_empty() {
        return Err("it is empty".to_owned());
    }
    let item = |(i, value)| one(value).map_err(|e| format!("item {}: {e}", i + 1));
    items.iter().enumerate().map(item).collect()
}

fn truth(value: &Value) -> Result<bool, String> {
    match value.kind {
        ValueKind::Boolean(truth) => Ok(truth),
        ref other => Err(format!("it is {}", describe(other))),
    }
}

fn number(kind: Kind, value: &Value) -> Result<i64, String> {
    match (kind, &value.kind) {
        (Kind::Severity, _) => Kind::severity(value),
        (_, ValueKind::I64(number)) => Ok(*number),
        (_, other) => Err(format!("it is {}", describe(other))),
    }
}

/// The values that may stand there, for the reader of an error.
fn allowed(operator: Operator, kind: Kind) -> String {
    let pattern = matches!(operator, Operator::Glob | Operator::NotGlob | Operator::Regex | Operator::NotRegex);
    let (one, several) = match kind {
        Kind::Event if !pattern => return EventName::allowed(),
        Kind::Severity => return Severity::allowed(),
        Kind::Attribute(Type::Int) => ("a whole number", "a whole number, or an array of them"),
        Kind::Attribute(Type::Bool) => ("true or false", "true or false"),
        Kind::Event | Kind::Attribute(_) => ("a string", "a string, or an array of them"),
    };
    let allowed = match operator {
        Operator::Present => "true or false",
        Operator::Min | Operator::Max => one,
        Operator::Glob | Operator::NotGlob => "globs such as \"/tmp/*\"",
        Operator::Regex | Operator::NotRegex => "regular expressions such as \"^nf_\", https://docs.rs/regex#syntax",
        Operator::Is | Operator::Not | Operator::Any | Operator::All => several,
    };
    allowed.to_owned()
}

/// The condition before it that leaves nothing for this one.
fn contradiction<'w>(before: &'w [Condition], new: &Condition) -> Option<&'w Condition> {
    let opposed = |a: &Condition, b: &Condition| match (&a.test, &b.test) {
        (Test::AtLeast(least), Test::AtMost(most)) => least > most,
        (Test::Int(numbers), Test::AtLeast(least)) => !a.negated && numbers.iter().all(|n| n < least),
        (Test::Int(numbers), Test::AtMost(most)) => !a.negated && numbers.iter().all(|n| n > most),
        (Test::Int(some), Test::Int(not)) => !a.negated && b.negated && some.iter().all(|n| not.contains(n)),
        (Test::Text(some), Test::Text(not)) => !a.negated && b.negated && some.iter().all(|t| not.contains(t)),
        (Test::Bool(some), Test::Bool(not)) => !a.negated && b.negated && some.iter().all(|t| not.contains(t)),
        (Test::Present, Test::Present) => false,
        (Test::Present, _) => a.negated && !b.negated,
        _ => false,
    };
    before.iter().find(|old| old.attribute == new.attribute && (opposed(old, new) || opposed(new, old)))
}

impl fmt::Display for Condition {
    /// As a configuration says it, with the attribute's full name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.attribute.name())?;
        let not = if self.negated { "_not" } else { "" };
        let number = |n: &i64| match self.attribute {
            Attribute::Severity => Severity::at_most(*n).map_or_else(|| n.to_string(), |s| format!("{:?}", s.text())),
            _ => n.to_string(),
        };
        match &self.test {
            Test::Text(texts) => write!(f, "{not} = {texts:?}"),
            Test::Int(numbers) => {
                write!(f, "{not} = [{}]", numbers.iter().map(number).collect::<Vec<_>>().join(", "))
            }
            Test::Bool(truths) => write!(f, "{not} = {truths:?}"),
            Test::All(texts) => write!(f, "_all = {texts:?}"),
            Test::Glob(globs) => write!(f, "{not}_glob = {globs:?}"),
            Test::Regex(regexes) => write!(f, "{not}_regex = {regexes:?}"),
            Test::AtLeast(least) => write!(f, "_min = {}", number(least)),
            Test::AtMost(most) => write!(f, "_max = {}", number(most)),
            Test::Present => write!(f, "_present = {}", !self.negated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::schema;

    #[test]
    fn no_attribute_has_a_name_that_ends_like_an_operator() {
        for (name, _) in schema::of_records() {
            assert!(Operator::SUFFIXES.iter().all(|(suffix, _)| !name.ends_with(suffix)), "{name}");
        }
    }
}
