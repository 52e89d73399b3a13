//! Why a record goes where it goes.

use serde::Serialize;

use super::{Destination, RoutingTable, condition, limit};
use crate::{
    config::{Attribute, Condition, Config, Match, Route},
    event::{Severity, schema},
    record::{Record, Value},
};

/// Explains what the routes of a configuration do. It counts nothing: of `rate_limit` and `dedupe` it says only that they are there.
#[derive(Debug)]
pub struct Explainer<'c> {
    config: &'c Config,
    table: RoutingTable,
}

/// What becomes of a record, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Every sink of the configuration.
    pub sinks: Vec<SinkExplained>,
    /// Every route.
    pub routes: Vec<RouteExplained>,
}

/// What becomes of a record at one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkExplained {
    /// Its name.
    pub sink: String,
    /// The routes that bring the record there; none: it does not go there.
    pub routes: Vec<String>,
    /// `sample` lets none of them bring it.
    pub sampled_out: bool,
    /// `rate_limit` or `dedupe` of each of them can hold it back.
    pub limited: bool,
    /// The severity it has there.
    pub severity: Option<&'static str>,
    /// What is changed.
    pub changes: Vec<Change>,
}

/// One change to a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The severity that it had itself.
    SeverityWas(&'static str),
    /// An attribute is taken away.
    Dropped(String),
    /// Its HMAC stands in its place.
    Hashed(String),
    /// It is hidden.
    Masked(String),
}

/// Whether a route takes a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteExplained {
    /// Its name.
    pub route: String,
    /// The sinks it leads to.
    pub to: Vec<String>,
    /// Whether it does, and why not.
    #[serde(flatten)]
    pub why: Why,
}

/// Why a route takes a record or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "because")]
pub enum Why {
    /// All its conditions hold.
    Takes,
    /// Some of its conditions don't.
    Fails(Vec<Failed>),
    /// The route of this name takes the record before it (`match = "first"`).
    ComesTooLate(String),
}

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The condition, as a configuration has it.
    pub condition: String,
    /// What the record has: a value as JSON has it, or "absent".
    pub found: String,
}

impl<'c> Explainer<'c> {
    /// For a configuration.
    #[must_use]
    pub fn new(config: &'c Config) -> Self {
        Self { config, table: RoutingTable::new(config) }
    }

    /// What becomes of this record.
    #[must_use]
    pub fn explain(&self, resource: &[u8], record: &Record<'_>) -> Explanation {
        let mut first = None;
        let routes = self.config.routes.iter().map(|route| {
            let failed: Vec<_> = route.when.0.iter().filter_map(|c| failed(c, resource, record)).collect();
            let why = match (&first, failed.is_empty()) {
                (_, false) => Why::Fails(failed),
                (Some(first), true) if self.config.routing.r#match == Match::First => {
                    Why::ComesTooLate(String::clone(first))
                }
                (_, true) => {
                    first.get_or_insert_with(|| route.name.clone());
                    Why::Takes
                }
            };
            RouteExplained { route: route.name.clone(), to: route.to.clone(), why }
        });
        let routes = routes.collect();
        let decided = self.table.decide(resource, record);
        let sinks = self.config.sinks.iter().map(|sink| {
            let found = decided.iter().find(|destination| destination.sink == sink.name);
            let routes = found.into_iter().flat_map(|d| &d.routes).map(|&i| &self.config.routes[i]).collect::<Vec<_>>();
            let severity = found.and_then(Destination::severity);
            of_sink(&sink.name, &routes, severity, record)
        });
        Explanation { sinks: sinks.collect(), routes }
    }
}

fn of_sink(sink: &str, routes: &[&Route], severity: Option<Severity>, record: &Record<'_>) -> SinkExplained {
    let sampled_out = |route: &&&Route| route.sample.is_some_and(|ratio| !limit::sampled(ratio, record));
    let limited = |route: &&Route| route.rate_limit.is_some() || route.dedupe.is_some();
    let kept: Vec<_> = routes.iter().filter(|route| !sampled_out(route)).copied().collect();
    let own = severity_of(record);
    SinkExplained {
        sink: sink.to_owned(),
        routes: routes.iter().map(|route| route.name.clone()).collect(),
        sampled_out: !routes.is_empty() && kept.is_empty(),
        limited: !kept.is_empty() && kept.iter().all(limited),
        severity: (!routes.is_empty()).then(|| severity.or(own)).flatten().map(Severity::text),
        changes: changes(routes, severity.zip(own).filter(|(new, own)| new != own).map(|(_, own)| own), record),
    }
}

fn severity_of(record: &Record<'_>) -> Option<Severity> {
    Severity::at_most(record.severity.into())
}

/// What the routes change of what the record has.
fn changes(routes: &[&Route], severity_was: Option<Severity>, record: &Record<'_>) -> Vec<Change> {
    let drops = |name: &str| {
        let mut all = routes.iter().filter_map(|route| route.drop_attributes.as_ref());
        all.any(|d| d.names.contains(name) || (schema::of_record(name).is_none() && d.globs.matches(name)))
    };
    let redacts = |name: &str, of: fn(&crate::config::Redact) -> &std::collections::BTreeSet<&'static str>| {
        routes.iter().filter_map(|route| route.redact.as_ref()).any(|redact| of(redact).contains(name))
    };
    let of_attribute = |name: &str| {
        let name_owned = name.to_owned();
        match name {
            _ if drops(name) => Some(Change::Dropped(name_owned)),
            _ if redacts(name, |r| &r.mask) => Some(Change::Masked(name_owned)),
            _ if redacts(name, |r| &r.hash) => Some(Change::Hashed(name_owned)),
            _ => None,
        }
    };
    let severity = severity_was.map(|was| Change::SeverityWas(was.text()));
    severity.into_iter().chain(record.attributes().filter_map(|(name, _)| of_attribute(name))).collect()
}

fn failed(condition: &Condition, resource: &[u8], record: &Record<'_>) -> Option<Failed> {
    let value = condition::find(&condition.attribute, resource, record);
    (!condition.holds(value)).then(|| Failed {
        condition: condition.to_string(),
        found: match value {
            None => "absent".to_owned(),
            Some(value) => json(&condition.attribute, value),
        },
    })
}

/// A value as JSON has it.
fn json(attribute: &Attribute, value: Value<'_>) -> String {
    let items = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    match (attribute, value) {
        (Attribute::Severity, Value::Int(number)) => {
            Severity::at_most(number).map_or("\"TRACE\"".to_owned(), |severity| format!("{:?}", severity.text()))
        }
        (_, Value::Empty) => "null".to_owned(),
        (_, Value::String(text)) => serde_json::Value::from(text).to_string(),
        (_, Value::Bool(truth)) => truth.to_string(),
        (_, Value::Int(int)) => int.to_string(),
        (_, Value::Double(double)) => serde_json::Value::from(double).to_string(),
        (_, Value::Bytes(bytes)) => format!("{bytes:?}"),
        (_, Value::Array(list)) => format!("[{}]", items(&mut list.into_iter().map(|v| json(attribute, v)))),
        (_, Value::Map(map)) => {
            format!("{{{}}}", items(&mut map.map(|(name, v)| format!("{name:?}: {}", json(attribute, v)))))
        }
    }
}

/// A value for a person, in a key of what is counted: a string as it is.
pub(super) fn shown(attribute: &Attribute, value: Option<Value<'_>>) -> String {
    match (attribute, value) {
        (_, None) => String::new(),
        (_, Some(Value::String(text))) => text.to_owned(),
        (_, Some(value)) => json(attribute, value),
    }
}
