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
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "tests take more of it than the fuzz targets do"))]
pub(crate) mod samples;
pub mod schema;
mod sentence;
mod signature;
mod taints;
mod text;
mod value;

use std::sync::Arc;

pub use loaded::{FileChange, Heartbeat, Hidden, Inventory, Setting};
pub use module::{
    File, Helper, HelperOutcome, KernelTaints, Load, LoadFlags, LoadSource, ModuleFacts, Outcome, Parameters, Read,
    Refusal, Request, Syscall, Unload, UnloadFlags, Verdict, Verify,
};
pub use module_file::{Modinfo, ModuleFile, Package};
pub use origin::{Origin, RecordId, SpanId, Timestamps, TraceId};
pub use own::{Adopted, Coverage, DropReason, Dropped, HookState, HookStatus, Lost, Probes, Started, Stopped};
pub use place::{Container, Details, Place, Pod, QosClass, Runtime, Workload, WorkloadKind};
pub use process::{Ancestor, Arguments, Cgroup, Namespaces, Process, ProcessId};
pub use signature::{Appended, Signature, SignatureBlock, SignatureState};
pub use taints::{Taint, Taints};
pub use text::Text;
pub use value::{Attributes, Items, Value};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub time: Timestamps,
    /// Which record of the kernel it comes from; what the daemon itself says has an origin of its own making.
    pub origin: Origin,
    /// Shared by all events of one load.
    pub trace: Option<TraceId>,
    /// The record of that load that this one belongs to: a load's is the helper's, a helper's is the request's.
    pub parent: Option<SpanId>,
    /// Who did it, where it was somebody.
    pub process: Option<Arc<Process>>,
    /// Whose call made the kernel start that process (or one of its ancestors) to load a module.
    pub requester: Option<Arc<Process>>,
    /// What it was.
    pub what: What,
    /// What could not be found out: attribute (or group of attributes) and why, as "name: reason".
    pub missing: Vec<String>,
}

impl Event {
    /// What the daemon itself has to say: there is no process behind it, and no trace.
    #[must_use]
    pub const fn of_daemon(time: Timestamps, origin: Origin, what: What) -> Self {
        Self { time, origin, trace: None, parent: None, process: None, requester: None, what, missing: Vec::new() }
    }

    /// See [`Origin::key`].
    #[must_use]
    pub fn key(&self) -> u64 {
        self.origin.key(self.what.name())
    }
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
    /// Names of events that others of the same load belong to.
    pub(crate) const REQUEST: &str = "linux.kernel_module.request";
    pub(crate) const HELPER: &str = "linux.kernel_module.helper";
    pub(crate) const LOAD: &str = "linux.kernel_module.load";

    /// The OpenTelemetry EventName.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => Self::REQUEST,
            Self::Helper(_) => Self::HELPER,
            Self::Read(_) => "linux.kernel_module.read",
            Self::Verify(_) => "linux.kernel_module.verify",
            Self::Load(_) => Self::LOAD,
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
        Self::REQUEST,
        Self::HELPER,
        "linux.kernel_module.read",
        "linux.kernel_module.verify",
        Self::LOAD,
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
            What::Helper(h) => h.severity(),
            What::Started(_) | What::Coverage(_) | What::Heartbeat(_) | What::Stopped(_) => Severity::Info,
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
        self.process_attributes(visit);
    }

    /// Those that say what it was.
    pub fn attributes_but_process(&self, visit: Attributes<'_>) {
        attributes::but_process(self, visit);
    }

    /// Those of the process, and of the one behind it: the same for all events of these two on this host.
    pub fn process_attributes(&self, visit: Attributes<'_>) {
        if let Some(process) = &self.process {
            attributes::of_process(process, &self.origin.boot_id, visit);
        }
        if let Some(requester) = &self.requester {
            attributes::of_process(requester, &self.origin.boot_id, &mut |name, value| {
                if let Some(name) = schema::of_requester(name) {
                    visit(name, value);
                }
            });
        }
    }

    /// The deterministic id of the record made of this event: the same on every try to deliver it.
    #[must_use]
    pub fn id(&self) -> RecordId<'_> {
        self.origin.record_id(self.what.name())
    }

    /// The OpenTelemetry SpanId of the record made of this event; none without a trace.
    #[must_use]
    pub fn span_id(&self) -> Option<SpanId> {
        self.trace.map(|_| self.origin.span_id(self.what.name()))
    }
}
