//! Reads a table key by key, so that every wrong or unknown key of it is reported, not only the first.

use std::{collections::BTreeMap, fmt::Display, path::PathBuf};

use config::{Value, ValueKind};

use super::{
    layers::{self, PREFIX},
    problem::{Report, did_you_mean},
};

/// A type that a key can have.
pub(super) trait FromValue: Sized {
    /// What is allowed, for the reader of an error.
    fn allowed() -> String;
    /// The value, or what is wrong with it.
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// A value that is no table, below a table.
pub(super) struct Leaf {
    /// Its name there, with dots.
    pub(super) name: String,
    /// Its key from the root on.
    pub(super) key: String,
    /// The file that says it.
    pub(super) place: String,
    /// What it is.
    pub(super) value: Value,
}

/// A table that is being read.
pub(super) struct Table<'r> {
    path: String,
    place: String,
    entries: BTreeMap<String, Value>,
    known: Vec<&'static str>,
    report: &'r Report,
}

impl<'r> Table<'r> {
    /// `path`: the table's own key with dots; `place`: where it is missing something, if nothing in it tells a better place.
    pub(super) fn new(path: &str, value: Value, place: &str, report: &'r Report) -> Option<Self> {
        let place = layers::origin(&value).unwrap_or_else(|| place.to_owned());
        match value.kind {
            ValueKind::Table(entries) => {
                let entries = entries.into_iter().collect();
                Some(Self { path: path.to_owned(), place, entries, known: vec![], report })
            }
            other => {
                report.error(&place, path, format!("it is {}", describe(&other)), "a table");
                None
            }
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The file, or the name of the environment variable.
    fn place_of(&self, key: &str, value: Option<&Value>) -> String {
        match value.and_then(layers::origin) {
            Some(origin) if origin == layers::ENVIRONMENT => {
                format!("{PREFIX}__{}", self.key(key).replace('.', "__").to_uppercase())
            }
            Some(origin) => origin,
            None => self.place.clone(),
        }
    }

    /// Where the key, or else the table, stands.
    pub(super) fn place(&self, key: &str) -> String {
        self.place_of(key, self.entries.get(key))
    }

    /// Says that the value of `key` is wrong.
    pub(super) fn wrong(&self, place: &str, key: &str, what: impl Into<String>, allowed: impl Into<String>) {
        self.report.error(place, &self.key(key), what, allowed);
    }

    /// Whatever the key has, before it is read.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// Says that somebody should look at `key`.
    pub(super) fn doubtful(&self, place: &str, key: &str, what: impl Into<String>, allowed: impl Into<String>) {
        self.report.warning(place, &self.key(key), what, allowed);
    }

    /// Whatever the key has.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// The key's value; `None` where it is not there or wrong.
    pub(super) fn optional<T: FromValue>(&mut self, key: &'static str) -> Option<T> {
        let value = self.take(key)?;
        match T::from_value(&value) {
            Ok(found) => Some(found),
            Err(what) => {
                self.wrong(&self.place_of(key, Some(&value)), key, what, T::allowed());
                None
            }
        }
    }

    /// As [`Self::optional`], and says so where it is not between `smallest` and `largest`.
    pub(super) fn between<T: FromValue + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        (smallest, largest): (T, T),
    ) -> Option<T> {
        let place = self.place(key);
        let value = self.optional(key)?;
        if value < smallest || value > largest {
            self.wrong(&place, key, format!("{value} is out of range"), format!("{smallest} to {largest}"));
        }
        Some(value)
    }

    /// As [`Self::optional`], and says so where the key is not there.
    pub(super) fn required<T: FromValue>(&mut self, key: &'static str) -> Option<T> {
        if !self.entries.contains_key(key) {
            self.wrong(&self.place, key, "it is missing", T::allowed());
        }
        self.optional(key)
    }

    /// As [`Self::optional`], for a path that must not depend on where the daemon was started.
    pub(super) fn absolute_path(&mut self, key: &'static str) -> Option<PathBuf> {
        let place = self.place(key);
        let path = self.optional::<String>(key).map(PathBuf::from)?;
        if !path.is_absolute() {
            self.wrong(&place, key, format!("{} is relative", path.display()), "an absolute path");
        }
        Some(path)
    }

    /// The table that the key holds.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.take(key)?;
        Table::new(&self.key(key), value, &self.place, self.report)
    }

    /// All entries, as tables, by their names.
    pub(super) fn into_tables(self) -> impl Iterator<Item = (String, Table<'r>)> {
        self.entries.into_iter().filter_map(move |(name, value)| {
            let table = Table::new(&format!("{}.{name}", self.path), value, &self.place, self.report)?;
            Some((name, table))
        })
    }

    /// All entries whose values are right, with their places.
    pub(super) fn values<T: FromValue>(&mut self) -> Vec<(String, String, T)> {
        let mut found = Vec::new();
        for (key, value) in std::mem::take(&mut self.entries) {
            let place = self.place_of(&key, Some(&value));
            match T::from_value(&value) {
                Ok(value) => found.push((key, place, value)),
                Err(what) => self.wrong(&place, &key, what, T::allowed()),
            }
        }
        found
    }

    /// All values below it: inner tables' keys are joined with dots, as attributes' names are.
    pub(super) fn into_leaves(self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for (name, value) in self.entries {
            let key = format!("{}.{name}", self.path);
            if !matches!(value.kind, ValueKind::Table(_)) {
                let place = layers::origin(&value).unwrap_or_else(|| self.place.clone());
                leaves.push(Leaf { name, key, place, value });
            } else if let Some(inner) = Table::new(&key, value, &self.place, self.report) {
                let prefixed = |leaf: Leaf| Leaf { name: format!("{name}.{}", leaf.name), ..leaf };
                leaves.extend(inner.into_leaves().into_iter().map(prefixed));
            }
        }
        leaves
    }

    /// As [`Self::into_leaves`], for values of one type, each with its place between its name and itself.
    pub(super) fn into_flat<T: FromValue>(self) -> Vec<(String, String, T)> {
        let report = self.report;
        let read = |leaf: Leaf| match T::from_value(&leaf.value) {
            Ok(value) => Some((leaf.name, leaf.place, value)),
            Err(what) => {
                report.error(&leaf.place, &leaf.key, what, T::allowed());
                None
            }
        };
        self.into_leaves().into_iter().filter_map(read).collect()
    }

    /// As [`Self::into_flat`], for strings without their places.
    pub(super) fn into_strings(self) -> Vec<(String, String)> {
        self.into_flat().into_iter().map(|(name, _, text)| (name, text)).collect()
    }

    /// Says that what was not asked for is unknown.
    pub(super) fn finish(self) {
        for (key, value) in &self.entries {
            let suggestion = did_you_mean(key, self.known.iter().copied());
            let what = format!("there is no such key{suggestion}");
            self.wrong(&self.place_of(key, Some(value)), key, what, self.known.join(", "));
        }
    }
}

/// "the number 5": what a value is, for the reader of an error.
pub(super) fn describe(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Boolean(v) => format!("the truth value {v}"),
        ValueKind::I64(v) => format!("the number {v}"),
        ValueKind::I128(v) => format!("the number {v}"),
        ValueKind::U64(v) => format!("the number {v}"),
        ValueKind::U128(v) => format!("the number {v}"),
        ValueKind::Float(v) => format!("the number {v}"),
        ValueKind::String(v) => format!("the string {v:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "an array".to_owned(),
    }
}
