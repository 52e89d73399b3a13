//! What the kernel's lists say of modules.

use super::{Severity, SignatureState, Taints, Text};

/// `linux.kernel_module.inventory`: a module that was loaded without a record of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Its name.
    pub name: Text,
    /// It was there when the daemon began to watch; else its load was not seen.
    pub before_start: bool,
    /// How many modules were there, where this is one of them.
    pub count: Option<u64>,
    /// Bytes of memory.
    pub size: u64,
    /// How many use it; `None` for one that can't be unloaded.
    pub references: Option<u64>,
    /// MODULE_VERSION.
    pub version: Option<Text>,
    /// srcversion.
    pub srcversion: Option<Text>,
    /// Its taints, where the kernel shows them.
    pub taints: Option<Taints>,
    /// What that says of its signature.
    pub signature: SignatureState,
    /// The file that depmod knows for a module of this name.
    pub path: Option<Text>,
}

impl Inventory {
    pub(super) fn severity(&self) -> Severity {
        let tainted = self.taints.is_some_and(|taints| !taints.is_empty());
        if tainted || !self.before_start { Severity::Warn } else { Severity::Info }
    }
}

/// `linux.kernel_module.hidden`: the kernel's lists do not agree about a module, and nothing has happened that explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Its name.
    pub name: Text,
    /// Where it is.
    pub listed: Vec<&'static str>,
    /// Where it should be, too.
    pub missing: Vec<&'static str>,
}

/// `linux.kernel_module.setting`: something has changed that decides what is loaded, or how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A value of the kernel.
    Value {
        /// The file that shows it.
        path: Text,
        /// What it was; `None`: there was none.
        before: Option<Text>,
        /// What it is.
        after: Option<Text>,
    },
    /// A file of modprobe.d or modules-load.d.
    File {
        /// Which.
        path: Text,
        /// What happened to it.
        change: FileChange,
    },
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// It is new at its place.
    Created,
    /// It was written to.
    Written,
    /// It is no longer at its place.
    Removed,
    /// Its owner, mode or times were changed.
    Attributes,
}

impl FileChange {
    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Written => "written",
            Self::Removed => "removed",
            Self::Attributes => "attributes",
        }
    }
}

/// `kmodtrail.heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Modules that are loaded, by /proc/modules.
    pub modules: u64,
    /// SHA-256 of their names, sorted, each with a newline: hexadecimal.
    pub digest: String,
    /// Events since the start.
    pub events: u64,
    /// Kernel records since the start.
    pub kernel_records: u64,
    /// Kernel records lost since the start.
    pub lost: u64,
}
