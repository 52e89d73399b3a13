#![no_std]
//! What the kernel side writes and user space reads.
//!
//! A record is a [`Head`], then, where [`head_flags::IDENTITY`] says so, an [`Identity`], then sections up to the record's end:
//!
//! ```text
//! u16 section kind | u16 section flags | u32 length in bytes | bytes | padding to the next multiple of 8
//! ```
//!
//! Integers are in the machine's own byte order. Everything in a record is a fact: what it means is decided in user space.

mod limits;
mod offsets;

pub use limits::*;
pub use offsets::*;

/// Version of everything in this crate. The head is frozen: a later version may only add kinds, sections and fields at the end
/// of [`Identity`].
pub const ABI: u16 = 1;

/// What a record is about. The number is in [`Head::kind`] and is the index of the loss counters, [`CpuCounters::lost`].
#[repr(u16)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Entry of finit_module(2). `args`: fd, flags, `struct file *`, address of the parameters. Sections: identity, [`section::FILE`].
    FinitModule = 1,
    /// Entry of init_module(2). `args`: image address, image length, 0, address of the parameters.
    InitModule = 2,
    /// Entry of delete_module(2). `args`: address of the name, flags. Section [`section::NAME`].
    DeleteModule = 3,
    /// Return of one of the three. `args`: return value, system call (the entry's kind).
    SyscallReturn = 4,
    /// Entry of security_kernel_module_request. Section [`section::NAME`] holds the alias.
    ModuleRequest = 5,
    /// security_kernel_module_request refused. `args`: return value.
    ModuleRequestRefused = 6,
    /// Entry of call_usermodehelper_exec for a modprobe. `args`: `struct subprocess_info *`, wait. Sections [`section::HELPER_PATH`],
    /// [`section::HELPER_ARGV`].
    HelperExec = 7,
    /// call_usermodehelper_exec_async in the task that becomes the helper. `args`: `struct subprocess_info *`.
    HelperTask = 8,
    /// Return of call_usermodehelper_exec. `args`: return value.
    HelperReturn = 9,
    /// Entry of security_kernel_read_file for a module. `args`: `struct file *`, enum kernel_read_file_id, whole content wanted.
    /// Section [`section::FILE`] only where the file is not the one of the entry of finit_module.
    ReadFile = 10,
    /// Entry of security_kernel_post_read_file for a module. `args`: `struct file *`, enum kernel_read_file_id, bytes read.
    PostReadFile = 11,
    /// Entry of security_kernel_load_data for a module. `args`: enum kernel_load_data_id.
    LoadData = 12,
    /// Entry of load_module. `args`: `struct load_info *`, length of the image, flags. [`section::SIGNATURE`] where one is appended. With an
    /// identity where no entry of a system call was seen before.
    LoadModule = 13,
    /// Return of load_module, where the system calls' entries or returns are not watched. `args`: return value.
    LoadModuleReturn = 14,
    /// Return of mod_verify_sig. `args`: return value.
    VerifySignature = 15,
    /// module_sig_check refused. `args`: return value.
    SignatureCheckRefused = 16,
    /// Entry of parse_args with parameters. Sections [`section::NAME`], [`section::PARAMETERS`].
    ParseArgs = 17,
    /// Entry of do_init_module. `args`: `struct module *`, taints, sig_ok (1, 0, [`UNKNOWN`]), state. Sections [`section::NAME`],
    /// [`section::VERSION`], [`section::SRCVERSION`].
    InitModuleFunction = 18,
    /// Entry of module_arch_freeing_init for a module that is live: its init function has succeeded. Sections and `args` as
    /// [`Kind::InitModuleFunction`] where do_init_module can't be attached, else no sections and only the first of `args`.
    ModuleLive = 19,
    /// Entry of free_module. `args` and sections as [`Kind::InitModuleFunction`].
    FreeModule = 20,
    /// Entry of add_taint with a flag that the kernel does not have yet. `args`: the flag's number. With an identity where the task is in
    /// no load.
    AddTaint = 21,
    /// Entry of a function that writes a setting which user space watches. `args`: a [`setting_class`]. Sections: identity,
    /// [`section::NAME`], [`section::OWNER`], [`section::VALUE`], where there are such.
    SettingWrite = 22,
}

/// One more than the greatest [`Kind`].
pub const KINDS: usize = 23;

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; KINDS - 1] = [
        Self::FinitModule,
        Self::InitModule,
        Self::DeleteModule,
        Self::SyscallReturn,
        Self::ModuleRequest,
        Self::ModuleRequestRefused,
        Self::HelperExec,
        Self::HelperTask,
        Self::HelperReturn,
        Self::ReadFile,
        Self::PostReadFile,
        Self::LoadData,
        Self::LoadModule,
        Self::LoadModuleReturn,
        Self::VerifySignature,
        Self::SignatureCheckRefused,
        Self::ParseArgs,
        Self::InitModuleFunction,
        Self::ModuleLive,
        Self::FreeModule,
        Self::AddTaint,
        Self::SettingWrite,
    ];

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        if number == 0 || number as usize >= KINDS { None } else { Some(Self::ALL[number as usize - 1]) }
    }
}

/// A value that this kernel does not have, where zero would mean something.
pub const UNKNOWN: u64 = u64::MAX;

/// The first bytes of every record.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// [`ABI`].
    pub abi: u16,
    /// A [`Kind`]; user space must expect others.
    pub kind: u16,
    /// [`head_flags`].
    pub flags: u32,
    /// The generation of programs that wrote it.
    pub epoch: u64,
    /// Counts the records of one CPU, both rings together, from 1, lost ones included.
    pub sequence: u64,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// CPU that ran the program.
    pub cpu: u32,
    /// Process id (the kernel's tgid), initial PID namespace.
    pub tgid: u32,
    /// Thread id, initial PID namespace.
    pub tid: u32,
    /// Bytes of this record so far; the kernel side's own, zero in what is sent.
    pub position: u32,
    /// Meaning by [`Kind`].
    pub args: [u64; 4],
}

/// Bits of [`Head::flags`].
pub mod head_flags {
    /// An [`super::Identity`] follows the head.
    pub const IDENTITY: u32 = 1;
    /// The task holds CAP_SYS_MODULE in the initial user namespace.
    pub const MAY_LOAD: u32 = 1 << 1;
    /// The system call came by the 32-bit entry of a 64-bit kernel.
    pub const COMPAT: u32 = 1 << 2;
    /// The record goes to the bulk ring; the kernel side's own, not in what is sent.
    pub const BULK: u32 = 1 << 31;
}

/// What kind of setting is written: the first of [`Head::args`] of [`Kind::SettingWrite`].
pub mod setting_class {
    /// A text below /proc/sys.
    pub const TEXT: u64 = 0;
    /// A number below /proc/sys.
    pub const NUMBER: u64 = 1;
    /// A parameter of a module, /sys/module/OWNER/parameters/NAME.
    pub const PARAMETER: u64 = 2;
    /// /sys/kernel/security/lockdown.
    pub const LOCKDOWN: u64 = 3;
}

/// One ancestor of the process, as its thread group leader shows it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Ancestor {
    /// Process id.
    pub tgid: u32,
    /// Real user id.
    pub uid: u32,
    /// Start, CLOCK_BOOTTIME, nanoseconds.
    pub start: u64,
    /// Command name, NUL-terminated.
    pub comm: [u8; 16],
}

/// Who did it, taken in the kernel at the time of the call. What this kernel does not have is zero, [`Identity::login_uid`] and
/// [`Identity::audit_session`] `u32::MAX`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Start of the process, CLOCK_BOOTTIME, nanoseconds.
    pub start: u64,
    /// Effective capabilities, bit by number.
    pub capabilities: u64,
    /// Inode of the cgroup's directory in the hierarchy that [`Settings::cgroup_hierarchy`] says.
    pub cgroup_id: u64,
    /// Bytes between the process's arg_start and arg_end.
    pub argv_len: u64,
    /// Real user id, initial user namespace.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// The user that logged in, or `u32::MAX`.
    pub login_uid: u32,
    /// Audit session, or `u32::MAX`.
    pub audit_session: u32,
    /// Inode of the user namespace.
    pub user_namespace: u32,
    /// Inode of the mount namespace.
    pub mount_namespace: u32,
    /// Inode of the PID namespace.
    pub pid_namespace: u32,
    /// Inode of the network namespace.
    pub net_namespace: u32,
    /// Process id inside its own PID namespace.
    pub namespace_pid: u32,
    /// The task's PF_ flags.
    pub task_flags: u32,
    /// Command name, NUL-terminated.
    pub comm: [u8; 16],
    /// How many of `ancestors` are filled.
    pub ancestor_count: u32,
    /// Process id of the session's leader, initial PID namespace; 0 where there is none.
    pub session_leader: u32,
    /// How deep the user namespace is inside others; 0 is the initial one.
    pub user_namespace_level: u32,
    /// Zero.
    pub padding: u32,
    /// Name of the controlling terminal ("pts0"), NUL-terminated or cut; empty where there is none.
    pub tty: [u8; 16],
    /// Nearest first. Only the first `ancestor_count` are sent with meaning; the others are what an earlier record left there, and
    /// user space must not look at them.
    pub ancestors: [Ancestor; ANCESTORS],
}

/// Kinds and flags of sections.
pub mod section {
    /// Control group path, components leaf first.
    pub const CGROUP: u16 = 1;
    /// Executable path, components leaf first.
    pub const EXECUTABLE: u16 = 2;
    /// Working directory, components leaf first.
    pub const WORKING_DIRECTORY: u16 = 3;
    /// Arguments, each with its NUL.
    pub const ARGV: u16 = 4;
    /// Path of the module file, components leaf first, after a [`super::FileFacts`].
    pub const FILE: u16 = 5;
    /// Module name or alias.
    pub const NAME: u16 = 6;
    /// Module version.
    pub const VERSION: u16 = 7;
    /// Module srcversion.
    pub const SRCVERSION: u16 = 8;
    /// Parameters as given.
    pub const PARAMETERS: u16 = 9;
    /// Program that the kernel starts.
    pub const HELPER_PATH: u16 = 10;
    /// Its arguments, each with its NUL.
    pub const HELPER_ARGV: u16 = 11;
    /// What is appended to the module: `struct module_signature` (include/linux/module_signature.h), then the signature before it, up to
    /// [`super::SIGNATURE_BYTES`].
    pub const SIGNATURE: u16 = 12;
    /// The module whose parameter it is.
    pub const OWNER: u16 = 13;
    /// What is written, NUL-terminated or cut.
    pub const VALUE: u16 = 14;

    /// The bytes could not be read.
    pub const FAULT: u16 = 1;
    /// There was more than was kept.
    pub const CUT: u16 = 2;
    /// A path: the walk reached the root of the mount namespace.
    pub const REACHED_ROOT: u16 = 4;
    /// A path: the name is no longer in its directory.
    pub const UNLINKED: u16 = 8;
    /// A path: it hangs on nothing (memfd, pipe, detached mount).
    pub const DETACHED: u16 = 16;
}

/// The file that a module is read from; the section's bytes begin with it, the path's components follow.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FileFacts {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Magic number of the file system.
    pub magic: u64,
    /// The kernel's dev_t: 12 bits major, 20 bits minor.
    pub device: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Hard links.
    pub links: u32,
}

/// Counters of one CPU, one element of the mmap'ed map COUNTERS. Only that CPU writes them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CpuCounters {
    /// Records made, lost ones included: the last [`Head::sequence`].
    pub sequence: u64,
    /// Records that a full ring cost, by [`Kind`].
    pub lost: [u64; KINDS],
}

const _: () = {
    assert!(size_of::<Head>() == 80);
    assert!(size_of::<Ancestor>() == 32);
    assert!(size_of::<Identity>() == 128 + 32 * ANCESTORS);
    assert!(size_of::<FileFacts>() == 40);
    assert!(size_of::<CpuCounters>() == 8 * (1 + KINDS));
    assert!(size_of::<Head>().is_multiple_of(8) && size_of::<Identity>().is_multiple_of(8));
};
