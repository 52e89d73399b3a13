//! What the daemon says of itself.

use super::Text;

/// `kmodtrail.started`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Version of the daemon.
    pub version: &'static str,
    /// Release of the kernel.
    pub kernel: Text,
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
