//! Which record goes where, and what is changed on the way.
//!
//! [`RoutingTable::decide`] is a pure function of the record and the routes. A sink's worker has a [`Router`], which decides for this sink
//! alone, makes the changes, and remembers what `rate_limit` and `dedupe` count. The routes are arranged by event names (`index`), so that a
//! record costs what the routes for its event cost.

mod condition;
mod edit;
mod explain;
mod index;
mod limit;
mod redact;
mod rewrite;
pub mod template;
#[cfg(test)]
mod tests;
pub mod trial;

use std::sync::Arc;

pub use self::explain::{Change, Explainer, Explanation, Failed, RouteExplained, SinkExplained, Why};
use self::{
    edit::{Combined, Edits},
    index::Index,
    limit::Limits,
};
use crate::{
    config::{Condition, Config, Match, Route, SecretError},
    event::{DropReason, Severity},
    record::Record,
};

/// The routes of a configuration, compiled.
#[derive(Debug)]
pub struct RoutingTable {
    r#match: Match,
    routes: Vec<Compiled>,
    index: Index,
}

#[derive(Debug)]
struct Compiled {
    name: Arc<str>,
    conditions: Vec<Arc<Condition>>,
    to: Vec<Arc<str>>,
    severity: Option<Severity>,
}

/// A record on its way to a sink, as the routes without their limits have it.
#[derive(Debug)]
pub struct Destination<'t> {
    /// The sink's name.
    pub sink: &'t str,
    /// The matching routes that lead to it, as positions in the configuration, in their order.
    pub routes: Vec<usize>,
    table: &'t RoutingTable,
}

impl Destination<'_> {
    /// The severity that the routes give it: the first that is said.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.routes.iter().find_map(|&route| self.table.routes[route].severity)
    }
}

impl RoutingTable {
    /// All routes of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::of(config.routing.r#match, &config.routes.iter().collect::<Vec<_>>())
    }

    fn of(r#match: Match, routes: &[&Route]) -> Self {
        let compiled = |route: &&Route| Compiled {
            name: route.name.as_str().into(),
            conditions: route.when.0.iter().cloned().map(Arc::new).collect(),
            to: route.to.iter().map(|sink| sink.as_str().into()).collect(),
            severity: route.severity,
        };
        let routes: Vec<_> = routes.iter().map(compiled).collect();
        let index = Index::new(&routes.iter().map(|route| route.conditions.clone()).collect::<Vec<_>>());
        Self { r#match, routes, index }
    }

    /// The positions of the routes that apply to the record, in their order.
    fn applying<'a>(&'a self, resource: &'a [u8], record: &Record<'a>) -> impl Iterator<Item = usize> + 'a {
        let most = match self.r#match {
            Match::All => usize::MAX,
            Match::First => 1,
        };
        self.index.matching(resource, record).take(most)
    }

    /// Where the record goes: every sink once, in the order of the routes.
    #[must_use]
    pub fn decide<'t>(&'t self, resource: &[u8], record: &Record<'_>) -> Vec<Destination<'t>> {
        let mut destinations: Vec<Destination<'t>> = Vec::new();
        for route in self.applying(resource, record) {
            for sink in &self.routes[route].to {
                match destinations.iter_mut().find(|d| *d.sink == **sink) {
                    Some(found) if found.routes.last() == Some(&route) => {}
                    Some(found) => found.routes.push(route),
                    None => destinations.push(Destination { sink, routes: vec![route], table: self }),
                }
            }
        }
        destinations
    }

    /// The first route that would bring the record to this sink, were it not for limits.
    #[must_use]
    pub fn first_route(&self, sink: &str, resource: &[u8], record: &Record<'_>) -> Option<&Arc<str>> {
        let routes = self.applying(resource, record).map(|route| &self.routes[route]);
        routes.into_iter().find(|route| route.to.iter().any(|s| **s == *sink)).map(|route| &route.name)
    }
}

/// What becomes of a record at one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'r> {
    /// No route leads it there.
    Nowhere,
    /// It is to be delivered.
    Deliver {
        /// The first of the routes to this sink that let it through.
        route: &'r Arc<str>,
        /// The record with its changes has been appended to `out`; else it goes as it is.
        changed: bool,
    },
    /// All routes that lead it there hold it back.
    HeldBack {
        /// The first of them.
        route: &'r Arc<str>,
        /// Why: [`DropReason::Sampled`], [`DropReason::RateLimited`] or [`DropReason::Duplicate`].
        reason: DropReason,
    },
}

/// How many records a route has held back from a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// The route.
    pub route: Arc<str>,
    /// The values of the attributes by which it counts, with commas between them; "(others)" for those that were more than it
    /// remembers; empty where it counts by none.
    pub key: String,
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub count: u64,
    /// Time of the first of them, nanoseconds since the epoch of Unix.
    pub since: u64,
}

/// The routes as one sink needs them, with what their limits remember. Where the sink's records are read again from an earlier
/// place in the spool on, a new one must be made: those that it let through count.
#[derive(Debug)]
pub struct Router {
    table: RoutingTable,
    /// For each route of the table; `None` for one that does not lead here.
    ways: Vec<Option<Way>>,
    applying: Vec<usize>,
}

/// What a route does to the records that it brings here.
#[derive(Debug)]
struct Way {
    edits: Edits,
    limits: Limits,
}

impl Router {
    /// The routes to the sink of that name.
    ///
    /// # Errors
    /// Where the key that something is to be hashed with can't be read.
    pub fn new(config: &Config, sink: &str) -> Result<Self, SecretError> {
        let leads = |route: &Route| route.to.iter().any(|name| name == sink);
        let r#match = config.routing.r#match;
        // where the first that matches takes a record, routes to other sinks count
        let routes: Vec<_> = config.routes.iter().filter(|r| r#match == Match::First || leads(r)).collect();
        let way = |route: &&Route| {
            leads(route).then(|| Ok(Way { edits: Edits::new(route)?, limits: Limits::new(route) })).transpose()
        };
        let ways = routes.iter().map(way).collect::<Result<_, _>>()?;
        Ok(Self { table: RoutingTable::of(r#match, &routes), ways, applying: Vec::new() })
    }

    /// Decides about a record, and appends it to `out` where it is changed.
    pub fn route(&mut self, resource: &[u8], record: &Record<'_>, out: &mut Vec<u8>) -> Decision<'_> {
        self.applying.clear();
        self.applying.extend(self.table.applying(resource, record).filter(|&route| self.ways[route].is_some()));
        let mut held_back = None;
        for &route in &self.applying {
            let Some(way) = &mut self.ways[route] else { continue };
            match way.limits.admit(resource, record) {
                Ok(()) => {
                    let changed = self.change(record, out);
                    return Decision::Deliver { route: &self.table.routes[route].name, changed };
                }
                Err(reason) => held_back = held_back.or(Some((route, reason))),
            }
        }
        let Some((route, reason)) = held_back else { return Decision::Nowhere };
        if let Some(way) = &mut self.ways[route] {
            way.limits.hold_back(reason, resource, record);
        }
        Decision::HeldBack { route: &self.table.routes[route].name, reason }
    }

    /// Makes the changes of all routes that apply.
    fn change(&self, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
        let all = self.applying.iter().filter_map(|&route| Some(&self.ways[route].as_ref()?.edits));
        let mut edits = all.filter(|edits| !edits.is_empty()).peekable();
        if edits.peek().is_none() {
            return false;
        }
        let begin = out.len();
        match rewrite::rewrite(record, Combined(&edits.collect::<Vec<_>>()), out) {
            Ok(changed) => changed,
            // it could be read so far that it was routed; what can't be read can't be changed, and is not lost for it
            Err(_) => {
                out.truncate(begin);
                false
            }
        }
    }

    /// What was held back in intervals that are over at `now` (nanoseconds since the epoch of Unix), and was not told before. With
    /// `u64::MAX` all of it.
    pub fn summaries(&mut self, now: u64) -> Vec<HeldBack> {
        let mut all = Vec::new();
        for (route, way) in self.table.routes.iter().zip(&mut self.ways) {
            let Some(way) = way else { continue };
            all.extend(way.limits.summaries(now).into_iter().map(|(reason, key, tally)| HeldBack {
                route: Arc::clone(&route.name),
                key,
                reason,
                count: tally.count,
                since: tally.since,
            }));
        }
        all
    }
}
