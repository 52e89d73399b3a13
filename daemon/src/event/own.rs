//! What the daemon says of itself.

use serde::{Deserialize, Serialize};

use super::{Severity, Text};

/// `kmodtrail.started`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Version of the daemon.
    pub version: &'static str,
    /// Release of the kernel.
    pub kernel: Text,
    /// Where its probes come from.
    pub probes: Probes,
}

/// Where a daemon's probes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probes {
    /// They were attached for it; nobody watched before.
    Attached {
        /// Why those that were attached were of no use.
        refused: Option<String>,
        /// For how long nobody watched, nanoseconds, where the process before has told its end.
        unwatched_for: Option<u64>,
    },
    /// An earlier process has read what they say, and they have watched ever since.
    Adopted(Adopted),
    /// They were attached for it while others, of an earlier process, still watched.
    Replaced(Adopted),
}

impl Probes {
    /// The value of the attribute.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Attached { .. } => "attached",
            Self::Adopted(_) => "adopted",
            Self::Replaced(_) => "replaced",
        }
    }
}

/// What an earlier process has left attached to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// For how long nobody had read what the kernel said, nanoseconds.
    pub unread_for: u64,
    /// How many of the kernel's records waited, lost ones not included.
    pub waiting: u64,
}

/// `kmodtrail.stopped`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub reason: String,
    /// Events since the start.
    pub events: u64,
    /// Kernel records since the start.
    pub kernel_records: u64,
    /// Kernel records lost since the start.
    pub lost: u64,
}

/// `kmodtrail.lost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Of what: an event's name where the record would have become one, else the hook's.
    pub event: &'static str,
    /// Kind of the kernel's record.
    pub record: &'static str,
    /// How many.
    pub count: u64,
}

/// `kmodtrail.dropped`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Name of the sink that does not get them.
    pub sink: String,
    /// Name of the route that would have brought them there, where it is known.
    pub route: Option<String>,
    /// Name of the events, where it is known.
    pub event: Option<String>,
    /// Why.
    pub reason: DropReason,
    /// What they have in common, where the route counts by attributes.
    pub key: Option<String>,
    /// How many.
    pub count: u64,
}

/// Why records are not delivered to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The spool was full: by its policy the oldest of the least severe make room.
    SpoolFull,
    /// They were older than the spool's `max_age`.
    TooOld,
    /// The spool's file was damaged there.
    Damaged,
    /// The sink's far side will never take them: they are dead letters.
    Refused,
    /// The route keeps a part of them only.
    Sampled,
    /// There were more than the route lets through.
    RateLimited,
    /// The route lets one of several alike through.
    Duplicate,
    /// The sink is no longer in the configuration.
    SinkRemoved,
    /// They are gone, and nothing says why.
    #[serde(other)]
    Unknown,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SpoolFull,
        Self::TooOld,
        Self::Damaged,
        Self::Refused,
        Self::Sampled,
        Self::RateLimited,
        Self::Duplicate,
        Self::SinkRemoved,
        Self::Unknown,
    ];

    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::TooOld => "too_old",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Sampled => "sampled",
            Self::RateLimited => "rate_limited",
            Self::Duplicate => "duplicate",
            Self::SinkRemoved => "sink_removed",
            Self::Unknown => "unknown",
        }
    }

    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::SpoolFull => "the spool was full",
            Self::TooOld => "they were too old",
            Self::Damaged => "the spool was damaged there",
            Self::Refused => "it refuses them, they are dead letters",
            Self::Sampled => "the route keeps a part of them only",
            Self::RateLimited => "there were more than the route lets through",
            Self::Duplicate => "the route lets one of several alike through",
            Self::SinkRemoved => "the sink is no longer in the configuration",
            Self::Unknown => "they are gone, and nothing says why",
        }
    }

    /// INFO for what the configuration asks for.
    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::Sampled | Self::RateLimited | Self::Duplicate | Self::SinkRemoved => Severity::Info,
            Self::SpoolFull | Self::TooOld | Self::Damaged | Self::Refused | Self::Unknown => Severity::Warn,
        }
    }
}

/// `kmodtrail.coverage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Every hook of the table.
    pub hooks: Vec<HookStatus>,
}

/// What became of one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookStatus {
    /// The hook's name in the table.
    pub name: &'static str,
    /// What became of it.
    pub state: HookState,
}

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// To this kernel function.
    Attached {
        /// The function.
        symbol: String,
    },
    /// Not attached; this stands in for it.
    Fallback {
        /// Why it is not attached.
        reason: String,
        /// What stands in.
        by: &'static str,
    },
    /// Not attached; its facts are missing.
    Missing {
        /// Why it is not attached.
        reason: String,
        /// What is missing.
        costs: &'static str,
    },
    /// This kernel has nothing to attach it to and needs none.
    NotNeeded {
        /// Why.
        reason: String,
    },
}

impl Coverage {
    /// Something is missing.
    #[must_use]
    pub fn incomplete(&self) -> bool {
        self.hooks.iter().any(|h| matches!(h.state, HookState::Missing { .. }))
    }
}
