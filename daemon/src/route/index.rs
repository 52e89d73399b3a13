//! The conditions of all routes, arranged so that a record costs what the routes for its event cost, and one look at its attributes.

use std::sync::Arc;

use super::condition;
use crate::{
    config::{Attribute, Condition},
    event::What,
    record::{Record, Value, resource_attributes},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    /// For every event that there is: the routes whose conditions on its name hold.
    events: Vec<(&'static str, Candidates)>,
    /// For what another version may have written: all routes, with all conditions.
    others: Candidates,
}

/// Routes that a record may match.
#[derive(Debug, Default)]
struct Candidates {
    routes: Vec<Candidate>,
    wanted: Wanted,
}

#[derive(Debug)]
struct Candidate {
    /// Its number.
    route: usize,
    /// What is left to be seen.
    conditions: Vec<(Slot, Arc<Condition>)>,
}

/// Where the value that a condition is about is found.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Event,
    Severity,
    Wanted(usize),
}

impl Index {
    /// Of the routes with these conditions; their numbers are their positions.
    pub(super) fn new(routes: &[Vec<Arc<Condition>>]) -> Self {
        let events = What::NAMES.map(|name| (name, Candidates::new(routes, Some(name))));
        Self { events: events.into(), others: Candidates::new(routes, None) }
    }

    /// The numbers of the routes that match the record, in their order.
    pub(super) fn matching<'a>(&'a self, resource: &'a [u8], record: &Record<'a>) -> impl Iterator<Item = usize> + 'a {
        let known = self.events.iter().find(|(name, _)| *name == record.event_name);
        let candidates = known.map_or(&self.others, |(_, candidates)| candidates);
        let found = candidates.wanted.find(resource, record);
        let (event, severity) = (Value::String(record.event_name), condition::severity(record));
        let holds = move |(slot, condition): &(Slot, Arc<Condition>)| {
            condition.holds(match slot {
                Slot::Event => Some(event),
                Slot::Severity => severity,
                Slot::Wanted(at) => found[*at],
            })
        };
        candidates.routes.iter().filter(move |candidate| candidate.conditions.iter().all(&holds)).map(|c| c.route)
    }
}

impl Candidates {
    /// Those for the event of that name, or for one of any name.
    fn new(routes: &[Vec<Arc<Condition>>], event: Option<&str>) -> Self {
        let mut candidates = Self::default();
        for (route, conditions) in routes.iter().enumerate() {
            let (of_event, others): (Vec<_>, Vec<_>) =
                conditions.iter().partition(|c| event.is_some() && c.attribute == Attribute::Event);
            if of_event.iter().all(|c| c.holds(event.map(Value::String))) {
                let slotted =
                    |condition: &Arc<Condition>| (candidates.wanted.slot(&condition.attribute), Arc::clone(condition));
                let conditions = others.into_iter().map(slotted).collect();
                candidates.routes.push(Candidate { route, conditions });
            }
        }
        candidates
    }
}

/// Names of attributes whose values are found in one pass.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    names: Vec<Box<str>>,
    /// Bit by length: most names can be passed over without a look at them.
    lengths: u64,
}

const fn length_bit(length: usize) -> u64 {
    1 << (if length < 63 { length } else { 63 })
}

impl Wanted {
    fn slot(&mut self, attribute: &Attribute) -> Slot {
        match attribute {
            Attribute::Event => Slot::Event,
            Attribute::Severity => Slot::Severity,
            Attribute::Named(name) => {
                let at = self.names.iter().position(|n| n == name).unwrap_or_else(|| {
                    self.names.push(name.clone());
                    self.names.len() - 1
                });
                self.lengths |= length_bit(name.len());
                Slot::Wanted(at)
            }
        }
    }

    #[inline]
    fn position(&self, name: &[u8]) -> Option<usize> {
        if self.lengths & length_bit(name.len()) == 0 {
            return None;
        }
        self.names.iter().position(|n| n.as_bytes() == name)
    }

    /// Their values, in the order of the names: those of the record before those of its resource.
    fn find<'a>(&self, resource: &'a [u8], record: &Record<'a>) -> Vec<Option<Value<'a>>> {
        let mut found = vec![None; self.names.len()];
        let mut missing = found.len();
        for mut attributes in [record.attributes(), resource_attributes(resource)] {
            while missing > 0
                && let Some(pair) = attributes.next_encoded()
            {
                let Some(at) = pair.leading_name().and_then(|name| self.position(name)) else { continue };
                if found[at].is_none()
                    && let Ok((_, value)) = pair.parse()
                {
                    found[at] = Some(value);
                    missing -= 1;
                }
            }
        }
        found
    }
}
