//! What is measured.

/// A program that watches modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Subject {
    /// Ours.
    Kmodtrail,
    /// Debian's, with rules for the system calls about modules.
    Auditd,
    /// Debian's, with three kprobes and a line for each.
    Bpftrace,
}

impl Subject {
    /// All, ours first.
    pub(super) const ALL: [Self; 3] = [Self::Kmodtrail, Self::Auditd, Self::Bpftrace];

    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kmodtrail => "kmodtrail",
            Self::Auditd => "auditd",
            Self::Bpftrace => "bpftrace",
        }
    }

    /// The functions that work.sh calls.
    pub(super) const fn script(self) -> &'static str {
        match self {
            Self::Kmodtrail => include_str!("kmodtrail.sh"),
            Self::Auditd => include_str!("auditd.sh"),
            Self::Bpftrace => include_str!("bpftrace.sh"),
        }
    }

    /// Megabytes of memory that its guest needs; kmodtrail writes some 200 MB about the flood, and of bpftrace's 200 MB of libraries there are two
    /// copies for a moment.
    pub(super) const fn memory(self) -> u32 {
        match self {
            Self::Auditd => 512,
            Self::Kmodtrail => 1024,
            Self::Bpftrace => 1536,
        }
    }
}
