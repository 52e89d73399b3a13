//! What can happen: plain typed data, one enum. No I/O, no wire format, no kernel types.

mod attributes;
mod loaded;
mod module;
mod module_file;
pub(crate) mod names;
mod origin;
mod own;
mod place;
mod process;
#[cfg(test)]
mod registry;
#[cfg(test)]
pub(crate) mod samples;
pub mod schema;
mod sentence;
mod signature;
mod taints;
mod text;

use std::sync::Arc;

pub use attributes::{Attributes, Items, Value};
pub use loaded::{FileChange, Heartbeat, Hidden, Inventory, Setting};
pub use module::{
    File, Helper, KernelTaints, Load, LoadFlags, LoadSource, ModuleFacts, Outcome, Parameters, Read, Refusal, Request,
    Syscall, Unload, UnloadFlags, Verdict, Verify,
};
pub use module_file::{Modinfo, ModuleFile, Package};
pub use origin::{Origin, RecordId, Timestamps, TraceId};
pub use own::{Coverage, DropReason, Dropped, HookState, HookStatus, Lost, Started, Stopped};
pub use place::{Container, Details, Place, Pod, QosClass, Runtime, Workload, WorkloadKind};
pub use process::{Ancestor, Arguments, Cgroup, Namespaces, Process, ProcessId};
pub use signature::{Appended, Signature, SignatureBlock, SignatureState};
pub use taints::{Taint, Taints};
pub use text::Text;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub time: Timestamps,
    /// Which record of the kernel it comes from; what the daemon itself says has an origin of its own making.
    pub origin: Origin,
    /// Shared by all events of one load.
    pub trace: Option<TraceId>,
    /// Who did it, where it was somebody.
    pub process: Option<Arc<Process>>,
    /// What it was.
    pub what: What,
    /// What could not be found out: attribute (or group of attributes) and why, as "name: reason".
    pub missing: Vec<String>,
}

/// What it was.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The kernel asked for a module.
    Request(Request),
    /// The kernel started a program to load one.
    Helper(Helper),
    /// A module's bytes were read.
    Read(Read),
    /// The kernel looked at a module's signature.
    Verify(Verify),
    /// An attempt to load a module ended.
    Load(Box<Load>),
    /// An attempt to unload a module ended.
    Unload(Unload),
    /// The kernel got a taint flag that it did not have.
    Taint(KernelTaints),
    /// A module was loaded without a record of it.
    Inventory(Inventory),
    /// The kernel's lists do not agree about a module.
    Hidden(Hidden),
    /// Something has changed that decides what is loaded, or how.
    Setting(Setting),
    /// The daemon is watching.
    Started(Started),
    /// Which hooks are attached.
    Coverage(Coverage),
    /// The daemon still watches.
    Heartbeat(Heartbeat),
    /// Kernel records were lost.
    Lost(Lost),
    /// Records were not delivered to a sink and never will be.
    Dropped(Dropped),
    /// The daemon has stopped watching.
    Stopped(Stopped),
}

/// OpenTelemetry severities that kmodtrail uses; the number is the SeverityNumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    /// DEBUG
    Debug = 5,
    /// INFO
    Info = 9,
    /// WARN
    Warn = 13,
    /// ERROR
    Error = 17,
    /// FATAL
    Fatal = 21,
}

impl Severity {
    /// The OpenTelemetry SeverityText.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// All of them, the least severe first.
    pub const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The most severe one whose number is no larger; `None` below DEBUG.
    #[must_use]
    pub fn at_most(number: i64) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|severity| *severity as i64 <= number)
    }
}

impl What {
    /// The OpenTelemetry EventName.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "linux.kernel_module.request",
            Self::Helper(_) => "linux.kernel_module.helper",
            Self::Read(_) => "linux.kernel_module.read",
            Self::Verify(_) => "linux.kernel_module.verify",
            Self::Load(_) => "linux.kernel_module.load",
            Self::Unload(_) => "linux.kernel_module.unload",
            Self::Taint(_) => "linux.kernel_module.taint",
            Self::Inventory(_) => "linux.kernel_module.inventory",
            Self::Hidden(_) => "linux.kernel_module.hidden",
            Self::Setting(_) => "linux.kernel_module.setting",
            Self::Started(_) => "kmodtrail.started",
            Self::Coverage(_) => "kmodtrail.coverage",
            Self::Heartbeat(_) => "kmodtrail.heartbeat",
            Self::Lost(_) => "kmodtrail.lost",
            Self::Dropped(_) => "kmodtrail.dropped",
            Self::Stopped(_) => "kmodtrail.stopped",
        }
    }

    /// Every name that [`Self::name`] can give.
    pub const NAMES: [&'static str; 16] = [
        "linux.kernel_module.request",
        "linux.kernel_module.helper",
        "linux.kernel_module.read",
        "linux.kernel_module.verify",
        "linux.kernel_module.load",
        "linux.kernel_module.unload",
        "linux.kernel_module.taint",
        "linux.kernel_module.inventory",
        "linux.kernel_module.hidden",
        "linux.kernel_module.setting",
        "kmodtrail.started",
        "kmodtrail.coverage",
        "kmodtrail.heartbeat",
        "kmodtrail.lost",
        "kmodtrail.dropped",
        "kmodtrail.stopped",
    ];
}

impl Event {
    /// INFO for a valid signed load and for what is ordinary, WARN for what taints, comes from memory, is unsigned or was refused,
    /// ERROR for a module that was loaded with a bad signature.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match &self.what {
            What::Request(r) => r.verdict.severity(),
            What::Read(r) => r.verdict.severity(),
            What::Verify(v) => v.signature.state.severity(),
            What::Load(l) => l.severity(),
            What::Unload(u) => u.severity(),
            What::Taint(_) | What::Setting(_) | What::Lost(_) => Severity::Warn,
            What::Inventory(i) => i.severity(),
            What::Hidden(_) => Severity::Error,
            What::Dropped(d) => d.reason.severity(),
            What::Coverage(c) if c.incomplete() => Severity::Warn,
            What::Helper(_) | What::Started(_) | What::Coverage(_) | What::Heartbeat(_) | What::Stopped(_) => {
                Severity::Info
            }
        }
    }

    /// Anybody can make it happen as often as he likes: what asks for modules, reads them, or is refused because the caller may not.
    #[must_use]
    pub fn may_flood(&self) -> bool {
        match &self.what {
            What::Request(_) | What::Helper(_) | What::Read(_) => true,
            What::Load(load) => matches!(load.outcome, Outcome::Refused(_, Some(Refusal::Capability))),
            What::Unload(unload) => matches!(unload.outcome, Outcome::Refused(_, Some(Refusal::Capability))),
            _ => false,
        }
    }

    /// The log record's body: one English sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        sentence::of(self)
    }

    /// Hands every attribute to `visit`, in a fixed order: those of the process last.
    pub fn attributes(&self, visit: Attributes<'_>) {
        self.attributes_but_process(visit);
        if let Some(process) = &self.process {
            self.process_attributes(process, visit);
        }
    }

    /// Those that say what it was.
    pub fn attributes_but_process(&self, visit: Attributes<'_>) {
        attributes::but_process(self, visit);
    }

    /// Those of `process`: the same for all events of one process on this host.
    pub fn process_attributes(&self, process: &Process, visit: Attributes<'_>) {
        attributes::of_process(process, &self.origin.boot_id, visit);
    }

    /// The deterministic id of the record made of this event: the same on every try to deliver it.
    #[must_use]
    pub fn id(&self) -> RecordId<'_> {
        self.origin.record_id(self.what.name())
    }
}
