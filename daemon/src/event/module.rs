//! What happened to a module.

use std::sync::Arc;

use super::{ModuleFile, Severity, Signature, SignatureState, Taints, Text};

/// Which system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syscall {
    /// init_module(2): from memory.
    InitModule,
    /// finit_module(2): from a file descriptor.
    FinitModule,
    /// delete_module(2).
    DeleteModule,
}

impl Syscall {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitModule => "init_module",
            Self::FinitModule => "finit_module",
            Self::DeleteModule => "delete_module",
        }
    }
}

/// Flags of finit_module(2): include/uapi/linux/module.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadFlags(pub u32);

/// Flags of delete_module(2): open(2)'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnloadFlags(pub u32);

fn flag_names(value: u32, table: &[(u32, &str)]) -> Vec<String> {
    let known: u32 = table.iter().map(|(bit, _)| bit).sum();
    let names = table.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| (*name).to_owned());
    let unknown = value & !known;
    names.chain((unknown != 0).then(|| format!("{unknown:#x}"))).collect()
}

impl LoadFlags {
    /// The flags' names; what has none in one hexadecimal number.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        flag_names(
            self.0,
            &[
                (1, "MODULE_INIT_IGNORE_MODVERSIONS"),
                (2, "MODULE_INIT_IGNORE_VERMAGIC"),
                (4, "MODULE_INIT_COMPRESSED_FILE"),
            ],
        )
    }
}

impl UnloadFlags {
    /// O_TRUNC: unload although the module is in use.
    #[must_use]
    pub const fn forced(self) -> bool {
        self.0 & nix::libc::O_TRUNC as u32 != 0
    }

    /// The flags' names; what has none in one hexadecimal number.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        // O_EXCL means nothing to the kernel, but rmmod programs give it
        let [nonblock, trunc, excl] =
            [nix::libc::O_NONBLOCK, nix::libc::O_TRUNC, nix::libc::O_EXCL].map(|flag| flag as u32);
        flag_names(self.0, &[(nonblock, "O_NONBLOCK"), (trunc, "O_TRUNC"), (excl, "O_EXCL")])
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Success,
    /// It failed, with this positive errno (`None`: it failed, but the return was not seen).
    Failure(Option<i32>),
    /// A rule said no.
    Refused(i32, Option<Refusal>),
    /// The return was not seen, and nothing else told what became of it.
    Unknown,
}

/// Which rule said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The caller lacks CAP_SYS_MODULE.
    Capability,
    /// kernel.modules_disabled is 1 (or the caller lost the capability in between).
    ModulesDisabled,
    /// The signature.
    Signature,
    /// Lockdown.
    Lockdown,
    /// `module_blacklist=` of the kernel's command line.
    Blacklist,
    /// A security module: SELinux, AppArmor, LoadPin, IMA, ...
    SecurityModule,
}

impl Refusal {
    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capability => "capability",
            Self::ModulesDisabled => "modules_disabled",
            Self::Signature => "signature",
            Self::Lockdown => "lockdown",
            Self::Blacklist => "blacklist",
            Self::SecurityModule => "security_module",
        }
    }
}

impl Outcome {
    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure(_) => "failure",
            Self::Refused(..) => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// 0, or the positive errno; `None` where it was not seen.
    #[must_use]
    pub const fn errno(self) -> Option<i32> {
        match self {
            Self::Success => Some(0),
            Self::Failure(errno) => errno,
            Self::Refused(errno, _) => Some(errno),
            Self::Unknown => None,
        }
    }
}

/// What a security hook said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It let it pass.
    Allowed,
    /// It refused, with this positive errno.
    Refused(i32),
    /// Its answer was not seen.
    Unknown,
}

impl Verdict {
    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::Refused(_) => Severity::Warn,
            _ => Severity::Info,
        }
    }
}

/// `linux.kernel_module.request`.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// "fs-xfs".
    pub alias: Text,
    /// What security_kernel_module_request said.
    pub verdict: Verdict,
}

/// `linux.kernel_module.helper`.
#[derive(Debug, Clone, PartialEq)]
pub struct Helper {
    /// kernel.modprobe at that time.
    pub path: Text,
    /// Its arguments.
    pub arguments: Vec<Text>,
    /// What the request asked for, where the request was seen.
    pub alias: Option<Text>,
    /// The task that became the helper.
    pub task: Option<u32>,
    /// The requester waits for its end.
    pub waited_for: bool,
    /// Exit status as wait(2) gives it (256: exited with 1), negative errno where it could not be started.
    pub exit_status: Option<i32>,
    /// What came of it.
    pub outcome: HelperOutcome,
    /// Why it is not what a kernel runs for this: a sentence each.
    pub unexpected: Vec<String>,
    /// How long it took, nanoseconds, where its end was seen.
    pub duration: Option<u64>,
}

/// What came of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HelperOutcome {
    /// It, or what it started, loaded a module.
    Loaded,
    /// It tried to, and no attempt succeeded; or it was killed before one did.
    Failed,
    /// It ran and did not try: the alias is unknown or blacklisted, or the module is there already.
    NothingFound,
    /// The kernel could not run it.
    NotStarted,
    /// Its end, or what it did, was not seen.
    Unknown,
}

impl HelperOutcome {
    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Failed => "failed",
            Self::NothingFound => "nothing_found",
            Self::NotStarted => "not_started",
            Self::Unknown => "unknown",
        }
    }
}

impl Helper {
    pub(super) const fn severity(&self) -> Severity {
        if self.unexpected.is_empty() { Severity::Info } else { Severity::Warn }
    }
}

/// Where a module's bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadSource {
    /// A file.
    File,
    /// The caller's memory: init_module(2).
    Memory,
    /// A memfd.
    Memfd,
    /// A file that is no longer in its directory.
    DeletedFile,
    /// A file that the host does not have at that path: a container's.
    ContainerFile,
}

impl LoadSource {
    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::Memfd => "memfd",
            Self::DeletedFile => "deleted_file",
            Self::ContainerFile => "container_file",
        }
    }
}

/// The file that a module was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path in the caller's mount namespace.
    pub path: Text,
    /// The walk did not reach the root: the path's beginning is missing.
    pub path_cut: bool,
    /// Major and minor number of its file system's device.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Hard links.
    pub links: u32,
    /// File, memfd or deleted file.
    pub source: LoadSource,
}

/// `linux.kernel_module.read`.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The file; `None`: from memory.
    pub file: Option<File>,
    /// Bytes that the kernel read, where it says.
    pub bytes: Option<u64>,
    /// The kernel decompresses it.
    pub compressed: bool,
    /// What the security hooks said.
    pub verdict: Verdict,
}

/// `linux.kernel_module.verify`.
#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// The file, where it is one.
    pub file: Option<File>,
    /// The module's name, where it was known by then.
    pub name: Option<Text>,
    /// What it means.
    pub signature: Signature,
    /// What mod_verify_sig returned, as a positive errno; `None`: it was not called.
    pub errno: Option<i32>,
}

/// What `struct module` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFacts {
    /// Name, as in /proc/modules.
    pub name: Text,
    /// MODULE_VERSION.
    pub version: Option<Text>,
    /// srcversion.
    pub srcversion: Option<Text>,
    /// The module's own taints; `None` where this kernel does not say.
    pub taints: Option<Taints>,
    /// The kernel's flag; `None` on kernels without CONFIG_MODULE_SIG.
    pub sig_ok: Option<bool>,
}

/// Parameters as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// What was kept.
    pub text: Text,
    /// There was more.
    pub cut: bool,
}

/// The kernel's own taints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTaints {
    /// Before.
    pub before: Taints,
    /// After.
    pub after: Taints,
}

impl KernelTaints {
    /// The flags that were added.
    #[must_use]
    pub const fn added(self) -> Taints {
        Taints(self.after.0 & !self.before.0)
    }
}

/// `linux.kernel_module.load`.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// How it was asked for; `None`: not by a system call that was seen.
    pub syscall: Option<Syscall>,
    /// By the 32-bit entry of a 64-bit kernel.
    pub compat: bool,
    /// The call's flags.
    pub flags: LoadFlags,
    /// What became of it.
    pub outcome: Outcome,
    /// The module; `None` for what never became one.
    pub module: Option<ModuleFacts>,
    /// Where the bytes came from; `None` where it was not seen.
    pub source: Option<LoadSource>,
    /// The file, where it is one.
    pub file: Option<File>,
    /// What the file says, where it could be read.
    pub contents: Option<Arc<ModuleFile>>,
    /// The descriptor by which the process gave it to the kernel.
    pub descriptor: Option<u32>,
    /// Length of the image in bytes, after decompression.
    pub image_size: Option<u64>,
    /// `None` where they were not seen: the attempt ended before.
    pub parameters: Option<Parameters>,
    /// The same file was being loaded by another call: this one has waited for that, and has its result (Linux 6.5 and later).
    pub joined: bool,
    /// What is known of the signature.
    pub signature: Signature,
    /// `None` where taints are not watched.
    pub kernel_taints: Option<KernelTaints>,
    /// What the kernel asked for, where it did.
    pub alias: Option<Text>,
    /// From the call to its return, nanoseconds.
    pub duration: Option<u64>,
}

impl Load {
    /// The module's name; what its file says where it never became one.
    #[must_use]
    pub fn name(&self) -> Option<&Text> {
        let of_file = || self.contents.as_ref().and_then(|contents| contents.info.name.as_ref());
        self.module.as_ref().map(|module| &module.name).or_else(of_file)
    }

    /// The module's name, else the file's.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        let name = self.module.as_ref().map(|m| m.name.as_str());
        name.or(self.file.as_ref().map(|f| f.path.as_str()))
    }

    pub(super) fn severity(&self) -> Severity {
        let tainted = self.module.as_ref().and_then(|m| m.taints).is_some_and(|t| !t.is_empty());
        let from_file = matches!(self.source, Some(LoadSource::File) | None);
        match (self.outcome, self.signature.state) {
            (Outcome::Success, SignatureState::Bad) => Severity::Error,
            (Outcome::Refused(..) | Outcome::Unknown, _) => Severity::Warn,
            (_, state) if state.severity() > Severity::Info && state != SignatureState::Unknown => Severity::Warn,
            _ if tainted || !from_file => Severity::Warn,
            _ => Severity::Info,
        }
    }
}

/// `linux.kernel_module.unload`.
#[derive(Debug, Clone, PartialEq)]
pub struct Unload {
    /// The name that was given.
    pub name: Text,
    /// The call's flags.
    pub flags: UnloadFlags,
    /// What became of it.
    pub outcome: Outcome,
    /// The module; `None` for what was not unloaded.
    pub module: Option<ModuleFacts>,
    /// Where it was in use: by how many.
    pub references: Option<u64>,
    /// And the modules among them.
    pub holders: Vec<Text>,
    /// From the call to its return, nanoseconds.
    pub duration: Option<u64>,
}

impl Unload {
    pub(super) fn severity(&self) -> Severity {
        match self.outcome {
            Outcome::Refused(..) | Outcome::Unknown => Severity::Warn,
            Outcome::Success if self.flags.forced() => Severity::Warn,
            _ => Severity::Info,
        }
    }
}
