//! What a sink is given, and what it says became of it.

use std::{fmt, sync::Arc, time::Duration};

use crate::record::Record;

/// A record on its way out: the routes have made their changes to it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The encoded resource it belongs to ([`crate::record::resource`]); records of one process share it.
    pub resource: &'a Arc<[u8]>,
    /// The record.
    pub record: Record<'a>,
}

/// How much a sink takes at once. A record that is longer than that by itself is still given to it, alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes of them, as they lie in the spool.
    pub bytes: usize,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The far side has said that it has it.
    Delivered,
    /// Not now, or nobody knows: to be tried again, by the same id.
    Retry(Trouble),
    /// It can't be delivered, however often it is tried: it becomes a dead letter.
    Refused(Arc<str>),
}

/// Why a sink does not work now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, in the far side's own words, and what to do.
    pub why: Arc<str>,
    /// The far side said when to try again; else the worker decides.
    pub after: Option<Duration>,
}

impl Trouble {
    /// Without a time.
    #[must_use]
    pub fn new(why: impl fmt::Display) -> Self {
        Self { why: why.to_string().into(), after: None }
    }
}
