//! What becomes of the attributes of a record on its way to a sink.

use std::collections::HashMap;

use super::redact::Redaction;
use crate::{
    config::{Globs, Route, SecretError},
    event::{Severity, schema},
};

/// What becomes of one attribute.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// It is taken away.
    Drop,
    /// Something else stands in its place.
    Redact(Redaction),
}

/// What a route does to records.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) severity: Option<Severity>,
    by_name: HashMap<&'static str, Edit>,
    redacts: bool,
    /// Names to drop that the schema does not know.
    unknown: Option<Globs>,
}

impl Edits {
    /// # Errors
    /// Where the key of a hash can't be read.
    pub(super) fn new(route: &Route) -> Result<Self, SecretError> {
        let mut by_name = HashMap::new();
        if let Some(redact) = &route.redact {
            if let Some(key) = &redact.key {
                let hash = Redaction::hash(&key.reveal()?);
                by_name.extend(redact.hash.iter().map(|&name| (name, Edit::Redact(hash.clone()))));
            }
            by_name.extend(redact.mask.iter().map(|&name| (name, Edit::Redact(Redaction::Mask))));
        }
        let dropped = route.drop_attributes.as_ref();
        by_name.extend(dropped.into_iter().flat_map(|drop| &drop.names).map(|&name| (name, Edit::Drop)));
        let unknown = dropped.map(|drop| drop.globs.clone()).filter(|globs| !globs.patterns().is_empty());
        Ok(Self { severity: route.severity, by_name, redacts: route.redact.is_some(), unknown })
    }

    /// It does nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.severity.is_none() && !self.touches_attributes()
    }

    fn touches_attributes(&self) -> bool {
        !self.by_name.is_empty() || self.unknown.is_some()
    }

    fn of(&self, name: &str) -> Option<&Edit> {
        let dropped = |globs: &Globs| schema::of_record(name).is_none() && globs.matches(name);
        self.by_name.get(name).or_else(|| self.unknown.as_ref().filter(|g| dropped(g)).map(|_| &Edit::Drop))
    }
}

/// What all the routes that bring a record to a sink do to it, in their order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Combined<'e, 'r>(pub(super) &'r [&'e Edits]);

impl<'e> Combined<'e, '_> {
    /// The first one that is said.
    pub(super) fn severity(self) -> Option<Severity> {
        self.0.iter().find_map(|edits| edits.severity)
    }

    pub(super) fn touch_attributes(self) -> bool {
        self.0.iter().any(|edits| edits.touches_attributes())
    }

    /// Something is hidden, which the body may tell too.
    pub(super) fn redact(self) -> bool {
        self.0.iter().any(|edits| edits.redacts)
    }

    /// Of several the one that leaves least.
    pub(super) fn of(self, name: &str) -> Option<&'e Edit> {
        let left = |edit: &&Edit| match edit {
            Edit::Drop => 0,
            Edit::Redact(Redaction::Mask) => 1,
            Edit::Redact(Redaction::Hash(_)) => 2,
        };
        self.0.iter().filter_map(|edits| edits.of(name)).min_by_key(left)
    }
}
