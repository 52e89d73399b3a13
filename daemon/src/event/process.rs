//! Who did it.

use super::{Place, Text};

/// Stable identity of one execution: a pid is used again, together with its start it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Process id (the kernel's tgid), initial PID namespace.
    pub pid: u32,
    /// Start of the process, CLOCK_BOOTTIME, nanoseconds.
    pub start: u64,
}

/// A process as the kernel showed it at the time of the call.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Which.
    pub id: ProcessId,
    /// Start, nanoseconds since the epoch of Unix.
    pub started: u64,
    /// The thread that made the call.
    pub thread_id: u32,
    /// Command name: the kernel's `comm`, set by exec and by the process itself.
    pub comm: Text,
    /// Path of the executable; `None` for a kernel thread, or where it could not be read.
    pub executable: Option<Text>,
    /// The executable is no longer in the file system.
    pub executable_deleted: bool,
    /// Arguments, as the process shows them now: it may have changed them.
    pub arguments: Option<Arguments>,
    /// Working directory.
    pub working_directory: Option<Text>,
    /// Real user id.
    pub uid: u32,
    /// Name of that user.
    pub user: Option<Text>,
    /// Effective user id.
    pub euid: u32,
    /// Name of that user.
    pub effective_user: Option<Text>,
    /// Real group id.
    pub gid: u32,
    /// Name of that group.
    pub group: Option<Text>,
    /// Effective group id.
    pub egid: u32,
    /// Name of that group.
    pub effective_group: Option<Text>,
    /// The user that logged in; `None` where nobody did.
    pub login_uid: Option<u32>,
    /// Name of that user.
    pub login_user: Option<Text>,
    /// Audit session; `None` where there is none.
    pub audit_session: Option<u32>,
    /// Process id of the session's leader; `None` where there is none.
    pub session_leader: Option<u32>,
    /// Name of the controlling terminal, cut after 16 bytes; `None` where there is none.
    pub tty: Option<Text>,
    /// Effective capabilities, bit by number.
    pub capabilities: u64,
    /// Control group.
    pub cgroup: Cgroup,
    /// The unit, container and pod that this control group stands for.
    pub place: Place,
    /// Inodes of the namespaces; `None` where the kernel does not say.
    pub namespaces: Namespaces,
    /// Which of them are the host's: "user", "mnt", "pid", "net". `None` where it could not be found out.
    pub host_namespaces: Option<Vec<&'static str>>,
    /// Process id inside its own PID namespace.
    pub namespace_pid: u32,
    /// A thread of the kernel.
    pub kernel_thread: bool,
    /// Nearest first; the first is the parent.
    pub ancestors: Vec<Ancestor>,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    /// The arguments that were kept.
    pub list: Vec<Text>,
    /// Length of the whole command line in bytes, with a NUL after each argument.
    pub length: u64,
    /// There are more than were kept, or the last one is cut.
    pub cut: bool,
}

/// A control group of the unified hierarchy, or of systemd's own where the host has hierarchies of the first version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cgroup {
    /// Inode of its directory.
    pub id: u64,
    /// Path below the root of the hierarchy, as the host sees it.
    pub path: Option<Text>,
}

/// Inode numbers, as in /proc/PID/ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// User namespace.
    pub user: Option<u32>,
    /// How deep that one is inside others; 0 is the initial one.
    pub user_level: u32,
    /// Mount namespace.
    pub mount: Option<u32>,
    /// PID namespace.
    pub pid: Option<u32>,
    /// Network namespace.
    pub net: Option<u32>,
}

/// One of the process's ancestors.
#[derive(Debug, Clone, PartialEq)]
pub struct Ancestor {
    /// Which.
    pub id: ProcessId,
    /// Start, nanoseconds since the epoch of Unix.
    pub started: u64,
    /// Real user id.
    pub uid: u32,
    /// Command name.
    pub comm: Text,
    /// Path of the executable, where user space could still find it.
    pub executable: Option<Text>,
    /// Arguments, likewise.
    pub arguments: Option<Arguments>,
}

impl Process {
    /// The parent, where there is one.
    #[must_use]
    pub fn parent(&self) -> Option<&Ancestor> {
        self.ancestors.first()
    }

    /// Last component of the executable's path, else the command name.
    #[must_use]
    pub fn name(&self) -> &str {
        let path = self.executable.as_ref().map_or("", Text::as_str);
        match path.rsplit('/').next() {
            Some(name) if !name.is_empty() => name,
            _ => self.comm.as_str(),
        }
    }
}
