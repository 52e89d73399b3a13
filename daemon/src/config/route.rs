//! `[routing]`, `[[routes]]` and `[[tests]]`: which record goes where.

mod change;
mod conflicts;
mod limit;
mod pattern;
mod test;
#[cfg(test)]
mod tests;
mod vocabulary;
mod when;

use config::ValueKind;

use self::vocabulary::Vocabulary;
pub use self::{
    change::{DropAttributes, Redact},
    limit::{Dedupe, RateLimit, Ratio},
    pattern::{Globs, Regexes},
    test::{RouteTest, TestRecord, TestValue},
    vocabulary::Attribute,
    when::{Condition, Test, When},
};
use super::{problem::Report, table::Table};
use crate::event::Severity;

/// `[routing]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Routing {
    /// `match`, default "all".
    pub r#match: Match,
}

/// `routing.match`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Match {
    /// "all": every route that matches applies.
    #[default]
    All,
    /// "first": only the first route that matches applies.
    First,
}

/// `[[routes]]`
///
/// A sink gets a record once, however many of the matching routes lead to it. Then of `severity` the first that is said decides, and what any
/// of them drops or redacts is dropped and redacted; it is held back by `sample`, `rate_limit` or `dedupe` only where each of these routes
/// holds it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `name`: no two routes have the same.
    pub name: String,
    /// `when`, default: always.
    pub when: When,
    /// `to`: names of sinks, at least one.
    pub to: Vec<String>,
    /// `severity`, default: the record's own. "DEBUG", "INFO", "WARN", "ERROR" or "FATAL", for the sinks in `to`.
    pub severity: Option<Severity>,
    /// `drop_attributes`, default []: names and globs; of an attribute of a process the requester's goes, too. The text of the record stays as it is.
    pub drop_attributes: Option<DropAttributes>,
    /// `redact`, default: nothing. Of an attribute of a process the requester's is redacted, too.
    pub redact: Option<Redact>,
    /// `sample`, default: all. A part of the records, by `log.record.uid`: the same ones on every try.
    pub sample: Option<Ratio>,
    /// `rate_limit`, default: none.
    pub rate_limit: Option<RateLimit>,
    /// `dedupe`, default: none.
    pub dedupe: Option<Dedupe>,
}

/// A route or a test, where it stands, and its key ("routes[0]").
pub(super) struct Found<T> {
    pub(super) place: String,
    pub(super) key: String,
    pub(super) item: T,
}

/// Reads `[routing]`.
pub(super) fn routing(mut table: Table<'_>) -> Routing {
    let routing = Routing { r#match: table.optional("match").unwrap_or_default() };
    table.finish();
    routing
}

/// Reads `[[routes]]`; `resource` are the attributes that this configuration adds.
pub(super) fn routes(
    root: &mut Table<'_>,
    resource: &[(String, String)],
    main: &str,
    report: &Report,
) -> Vec<Found<Route>> {
    list(root, "routes", main, report, |key, table| Some(route(key, table, Vocabulary { resource }, report)))
}

/// Reads `[[tests]]`.
pub(super) fn tests(
    root: &mut Table<'_>,
    resource: &[(String, String)],
    main: &str,
    report: &Report,
) -> Vec<Found<RouteTest>> {
    list(root, "tests", main, report, |_, table| test::read(table, Vocabulary { resource }, report))
}

pub(super) use self::conflicts::between;

fn list<'r, T>(
    root: &mut Table<'_>,
    name: &'static str,
    main: &str,
    report: &'r Report,
    read: impl Fn(&str, Table<'r>) -> Option<T>,
) -> Vec<Found<T>> {
    let Some(ValueKind::Array(items)) = root.take(name).map(|v| v.kind) else { return vec![] };
    let read = |(i, item)| {
        let key = format!("{name}[{i}]");
        let table = Table::new(&key, item, main, report)?;
        let place = table.place("name");
        read(&key, table).map(|item| Found { place, key, item })
    };
    items.into_iter().enumerate().filter_map(read).collect()
}

fn route(key: &str, mut table: Table<'_>, vocabulary: Vocabulary<'_>, report: &Report) -> Route {
    let name: Option<String> = table.required("name");
    let when = table.table("when").map(|t| when::read(t.into_leaves(), vocabulary, report)).unwrap_or_default();
    let to_place = table.place("to");
    let to: Option<Vec<String>> = table.required("to");
    if to.as_ref().is_some_and(Vec::is_empty) {
        table.wrong(&to_place, "to", "it is empty: what this route matches would go nowhere", "names of sinks");
    }
    let severity = table.optional("severity");
    let drop_attributes = change::drop_attributes(&mut table);
    let redact = table.table("redact").map(change::redact);
    let sample = table.optional("sample");
    let rate_limit = table.table("rate_limit").and_then(|t| limit::rate_limit(t, vocabulary));
    let dedupe = table.table("dedupe").and_then(|t| limit::dedupe(t, vocabulary));
    table.finish();
    // a name that is missing has been reported; it must not count as a duplicate
    let name = name.unwrap_or_else(|| key.to_owned());
    Route { name, when, to: to.unwrap_or_default(), severity, drop_attributes, redact, sample, rate_limit, dedupe }
}
