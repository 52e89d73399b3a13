//! What a route does to the records that it brings to its sinks: `drop_attributes` and `redact`.

use std::collections::BTreeSet;

use super::{
    super::{
        Secret,
        table::{FromValue as _, Table},
    },
    pattern::Globs,
    vocabulary::of_record,
};
use crate::event::schema::{self, Type};

/// `routes.drop_attributes`: attributes that the sinks in `to` do not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropAttributes {
    /// Full names, those that the globs match among them.
    pub names: BTreeSet<&'static str>,
    /// For what a record of another version may have.
    pub globs: Globs,
}

/// `routes.redact`: attributes whose values the sinks in `to` do not get to see. What of a value is in the record's text is replaced
/// there, too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redact {
    /// `hash`, default []: names. A string becomes its HMAC-SHA-256 in hexadecimal digits, a number one of 53 bits: the same for the
    /// same value and key, so that records can still be joined by it.
    pub hash: BTreeSet<&'static str>,
    /// `key`, needed with `hash`: the key of the HMAC.
    pub key: Option<Secret>,
    /// `mask`, default []: names. A string becomes "***", a number -1.
    pub mask: BTreeSet<&'static str>,
}

const UID: &str = "log.record.uid tells a record that comes twice: every sink gets it";

/// Reads `drop_attributes`.
pub(super) fn drop_attributes(table: &mut Table<'_>) -> Option<DropAttributes> {
    const KEY: &str = "drop_attributes";
    let place = table.place(KEY);
    let given: Vec<String> = table.optional(KEY)?;
    let found = dropped(given);
    if let Err(what) = &found {
        let allowed = "names of attributes that records have, or globs of them such as \"process.*\"";
        table.wrong(&place, KEY, what, allowed);
    }
    found.ok()
}

fn dropped(given: Vec<String>) -> Result<DropAttributes, String> {
    if given.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (globs, plain): (Vec<_>, Vec<_>) = given.into_iter().partition(|name| name.contains(['*', '?', '[', '{']));
    let known = |name: &String| of_record(name).map(|(name, _)| name).ok_or_else(|| unknown(name));
    let mut names = with_requesters(plain.iter().map(known))?;
    for glob in &globs {
        let matching = Globs::new(vec![glob.clone()])?;
        let before = names.len();
        let matching = schema::of_records().map(|(name, _)| name).filter(|name| matching.matches(name));
        names.extend(matching.flat_map(schema::with_requester));
        if names.len() == before {
            return Err(format!("{glob:?} matches no attribute of records that is not there already"));
        }
    }
    if names.contains(schema::UID) {
        return Err(UID.to_owned());
    }
    Ok(DropAttributes { names, globs: Globs::new(globs)? })
}

/// Reads `redact`.
pub(super) fn redact(mut table: Table<'_>) -> Redact {
    let [hash, mask] = ["hash", "mask"].map(|key| {
        let (place, there) = (table.place(key), table.peek(key).is_some());
        let given: Vec<String> = table.optional(key).unwrap_or_default();
        let found = with_requesters(given.iter().map(|name| redactable(name)));
        if let Err(what) = &found {
            table.wrong(&place, key, what, "names of attributes of records that are strings or numbers");
        }
        (there, found.unwrap_or_default())
    });
    let ((hashes, hash), (masks, mask)) = (hash, mask);
    let key_place = table.place("key");
    let key: Option<Secret> = table.optional("key");
    if key.is_none() && hashes {
        let what = "it is missing: a hash without a key can be found by trying";
        table.wrong(&key_place, "key", what, Secret::allowed());
    }
    if key.is_some() && !hashes {
        table.wrong(&key_place, "key", "there is nothing to `hash` with it", "a key with names in `hash`, or none");
    }
    if let Some(Err(error)) = key.as_ref().map(Secret::reveal_if_possible) {
        table.wrong(&key_place, "key", format!("the secret {}", error.what), error.allowed);
    }
    if let Some(both) = hash.intersection(&mask).next() {
        let place = table.place("mask");
        table.wrong(&place, "mask", format!("{both} is in `hash`, too"), "each name once");
    }
    if !hashes && !masks {
        let place = table.place("hash");
        table.wrong(&place, "hash", "there is nothing to redact", "names in `hash` or `mask`");
    }
    table.finish();
    Redact { hash, key, mask }
}

fn with_requesters(
    names: impl Iterator<Item = Result<&'static str, String>>,
) -> Result<BTreeSet<&'static str>, String> {
    names.map(|name| name.map(schema::with_requester)).try_fold(BTreeSet::new(), |mut all, names| {
        all.extend(names?);
        Ok(all)
    })
}

fn redactable(given: &str) -> Result<&'static str, String> {
    match of_record(given) {
        None => Err(unknown(given)),
        Some((schema::UID, _)) => Err(UID.to_owned()),
        Some((name, Type::Bool | Type::Maps)) => {
            Err(format!("{name} is neither a string nor a number: drop_attributes takes it away"))
        }
        Some((name, _)) => Ok(name),
    }
}

fn unknown(given: &str) -> String {
    if schema::OF_RESOURCE.contains(&given) {
        return format!("{given} is part of the resource, which is the same for all records of this host");
    }
    super::vocabulary::Vocabulary { resource: &[] }.unknown(given)
}
