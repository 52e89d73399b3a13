//! Which attributes there are, and of which type: what those who name attributes in a configuration are held to.
//!
//! It says what config/registry/ and OpenTelemetry's registry say; tests hold the three together.

use std::sync::LazyLock;

use super::{Taints, names};

/// The type of an attribute's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A string.
    Text,
    /// An integer.
    Int,
    /// A truth.
    Bool,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// Strings.
    Texts,
    /// Names of taint flags.
    Taints,
    /// Several maps.
    Maps,
}

use Type::{Int, Text, Texts};

/// `log.record.uid`: the same on every try to deliver a record.
pub const UID: &str = opentelemetry_semantic_conventions::attribute::LOG_RECORD_UID;

/// OpenTelemetry's, of records.
pub(super) const OPENTELEMETRY: &[(&str, Type)] = &[
    ("container.id", Text),
    ("container.image.id", Text),
    ("container.image.name", Text),
    ("container.image.repo_digests", Texts),
    ("container.image.tags", Texts),
    ("container.name", Text),
    ("container.runtime.name", Text),
    ("error.type", Text),
    ("file.inode", Text),
    ("file.mode", Text),
    ("file.modified", Text),
    ("file.owner.id", Text),
    ("file.path", Text),
    ("file.size", Int),
    ("k8s.container.name", Text),
    ("k8s.namespace.name", Text),
    ("k8s.pod.name", Text),
    ("k8s.pod.uid", Text),
    ("log.record.uid", Text),
    ("os.version", Text),
    ("process.command_args", Texts),
    ("process.creation.time", Text),
    ("process.executable.name", Text),
    ("process.executable.path", Text),
    ("process.parent_pid", Int),
    ("process.pid", Int),
    ("process.real_user.id", Int),
    ("process.real_user.name", Text),
    ("process.session_leader.pid", Int),
    ("process.user.id", Int),
    ("process.user.name", Text),
    ("process.vpid", Int),
    ("process.working_directory", Text),
    ("service.version", Text),
    ("thread.id", Int),
    ("thread.name", Text),
];

/// Those of the resource that the daemon finds out itself. They are all strings, as those are that a configuration adds.
pub const OF_RESOURCE: &[&str] = &[
    "host.name",
    "host.id",
    "host.arch",
    "os.type",
    "os.version",
    "service.name",
    "service.version",
    "service.instance.id",
];

/// What the names of those that tell of a process begin with.
const OF_PROCESSES: [&str; 8] =
    ["process.", "thread.", "linux.process.", "linux.container.", "container.", "k8s.", "kmodtrail.k8s.", "systemd."];

/// An attribute of a process, and what it is called where it is the requester's.
struct Twin {
    of_process: &'static str,
    of_requester: &'static str,
    r#type: Type,
}

/// Every attribute of a process has one.
static TWINS: LazyLock<Vec<Twin>> = LazyLock::new(|| {
    let of_processes = names::ALL.iter().chain(OPENTELEMETRY).filter(|(name, _)| tells_of_a_process(name));
    let mut twins: Vec<_> = of_processes
        .map(|&(of_process, r#type)| {
            let of_requester = format!("{}.{of_process}", names::REQUESTER).leak();
            Twin { of_process, of_requester, r#type }
        })
        .collect();
    twins.sort_unstable_by_key(|twin| twin.of_process);
    twins
});

/// Whether the attribute of that name tells of a process.
#[must_use]
pub fn tells_of_a_process(name: &str) -> bool {
    OF_PROCESSES.iter().any(|prefix| name.starts_with(prefix))
}

/// What an attribute of a process is called where it is the requester's: the same name below `linux.kernel_module.requester`.
pub(super) fn of_requester(of_process: &str) -> Option<&'static str> {
    let at = TWINS.binary_search_by_key(&of_process, |twin| twin.of_process).ok()?;
    Some(TWINS[at].of_requester)
}

/// The attribute of that name, and the requester's of the same kind: who hides what a process is hides it of both.
pub fn with_requester(name: &'static str) -> impl Iterator<Item = &'static str> {
    std::iter::once(name).chain(of_requester(name))
}

/// Every attribute that a record can have, and its type.
pub fn of_records() -> impl Iterator<Item = (&'static str, Type)> {
    let of_requesters = TWINS.iter().map(|twin| (twin.of_requester, twin.r#type));
    names::ALL.iter().chain(OPENTELEMETRY).copied().chain(of_requesters)
}

/// The type of the attribute of records that has this name.
#[must_use]
pub fn of_record(name: &str) -> Option<Type> {
    of_records().find(|(n, _)| *n == name).map(|(_, r#type)| r#type)
}

impl Type {
    /// The values that it is limited to.
    #[must_use]
    pub fn words(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Word(words) => Some(words.to_vec()),
            Self::Taints => Some(Taints(u64::MAX).known().map(|taint| taint.name).collect()),
            Self::Text | Self::Int | Self::Bool | Self::Texts | Self::Maps => None,
        }
    }

    /// What it is, for the reader of an error.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Text | Self::Word(_) => "a string",
            Self::Int => "a number",
            Self::Bool => "a truth value",
            Self::Texts | Self::Taints => "a list of strings",
            Self::Maps => "a list of tables",
        }
    }
}
