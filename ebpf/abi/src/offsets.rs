//! Where the running kernel keeps what the programs read. User space fills this from BTF before the programs are loaded; in the
//! programs it is constant, so that the verifier drops what a kernel does not have.

/// A member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident: $paths:literal,)*) => {
        /// Byte offsets; [`ABSENT`] where this kernel has no such member.
        #[repr(C)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Offsets { $($(#[$doc])* #[doc = concat!("`", $paths, "`")] pub $name: u32,)* }

        impl Offsets {
            /// Nothing resolved.
            pub const UNRESOLVED: Self = Self { $($name: ABSENT,)* };
            /// Name of each member and where BTF has it: `struct member[.member][|another member]`, in the order of the members.
            pub const PATHS: &'static [(&'static str, &'static str)] = &[$((stringify!($name), $paths),)*];

            /// From values in the order of [`Self::PATHS`].
            #[must_use]
            pub fn from_values(mut value: impl FnMut(usize) -> u32) -> Self {
                let mut next = 0;
                let mut take = || { next += 1; value(next - 1) };
                Self { $($name: take(),)* }
            }

            /// The values in the order of [`Self::PATHS`].
            #[must_use]
            pub const fn values(&self) -> [u32; Self::PATHS.len()] {
                [$(self.$name,)*]
            }
        }
    };
}

offsets! {
    task_pid: "task_struct pid",
    task_tgid: "task_struct tgid",
    task_leader: "task_struct group_leader",
    task_parent: "task_struct real_parent",
    task_start: "task_struct start_boottime",
    task_cred: "task_struct cred",
    task_loginuid: "task_struct loginuid",
    task_sessionid: "task_struct sessionid",
    task_comm: "task_struct comm",
    task_mm: "task_struct mm",
    task_fs: "task_struct fs",
    task_files: "task_struct files",
    task_cgroups: "task_struct cgroups",
    task_nsproxy: "task_struct nsproxy",
    task_thread_pid: "task_struct thread_pid",
    task_flags: "task_struct flags",
    task_signal: "task_struct signal",
    signal_pids: "signal_struct pids",
    signal_tty: "signal_struct tty",
    tty_name: "tty_struct name",
    cred_uid: "cred uid",
    cred_capabilities: "cred cap_effective",
    cred_user_ns: "cred user_ns",
    user_ns_inum: "user_namespace ns.inum",
    user_ns_level: "user_namespace level",
    nsproxy_mnt: "nsproxy mnt_ns",
    nsproxy_net: "nsproxy net_ns",
    mnt_ns_inum: "mnt_namespace ns.inum",
    net_inum: "net ns.inum",
    pid_ns_inum: "pid_namespace ns.inum",
    pid_level: "pid level",
    pid_numbers: "pid numbers",
    upid_ns: "upid ns",
    css_set_cgroup: "css_set dfl_cgrp",
    css_set_links: "css_set cgrp_links",
    cset_link_next: "cgrp_cset_link cgrp_link",
    cset_link_cgroup: "cgrp_cset_link cgrp",
    cgroup_kernfs: "cgroup kn",
    kernfs_parent: "kernfs_node __parent|parent",
    kernfs_name: "kernfs_node name",
    kernfs_id: "kernfs_node id",
    mm_exe_file: "mm_struct exe_file",
    mm_arg_start: "mm_struct arg_start",
    mm_arg_end: "mm_struct arg_end",
    fs_pwd: "fs_struct pwd",
    file_path: "file f_path|__f_path",
    file_inode: "file f_inode",
    path_mnt: "path mnt",
    dentry_hash: "dentry d_hash",
    mount_parent: "mount mnt_parent",
    mount_mnt: "mount mnt",
    inode_number: "inode i_ino",
    inode_sb: "inode i_sb",
    inode_size: "inode i_size",
    inode_mode: "inode i_mode",
    inode_uid: "inode i_uid",
    inode_links: "inode i_nlink",
    sb_device: "super_block s_dev",
    sb_magic: "super_block s_magic",
    files_table: "files_struct fdt",
    fdtable_max: "fdtable max_fds",
    fdtable_fd: "fdtable fd",
    load_info_hdr: "load_info hdr",
    load_info_len: "load_info len",
    module_name: "module name",
    module_taints: "module taints",
    module_sig_ok: "module sig_ok",
    module_state: "module state",
    module_version: "module version",
    module_srcversion: "module srcversion",
    helper_path: "subprocess_info path",
    helper_argv: "subprocess_info argv",
    sysctl_name: "ctl_table procname",
    parameter_name: "module_attribute attr.name",
    parameter_owner: "module_kobject kobj.name",
}

/// Everything that differs from kernel to kernel or from load to load, constant for the programs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Goes into [`crate::Head::epoch`].
    pub epoch: u64,
    /// The kernel's taints when the programs were loaded: these flags are not news.
    pub taints: u64,
    /// Which of a task's control groups is told: 0 is the unified hierarchy's, then come those of the others in the order in which they were
    /// mounted.
    pub cgroup_hierarchy: u64,
    /// `enum kernel_read_file_id`: READING_MODULE.
    pub read_file_module: u32,
    /// READING_MODULE_COMPRESSED (6.19 and later), else [`ABSENT`].
    pub read_file_module_compressed: u32,
    /// `enum kernel_load_data_id`: LOADING_MODULE.
    pub load_data_module: u32,
    /// Elements of COUNTERS.
    pub cpus: u32,
    /// Where a system call wrapper's `struct pt_regs` has the first arguments.
    pub syscall_args: [u32; 4],
    /// The same for the 32-bit entry.
    pub compat_args: [u32; 4],
    /// Where the task says that it is in a 32-bit system call, or [`ABSENT`].
    pub compat_flags: u32,
    /// Which bit says so.
    pub compat_mask: u32,
    /// The first seven bytes of the names of settings that are watched, in memory's order; 0 where there is none.
    pub watched_settings: [u64; crate::WATCHED_SETTINGS],
}

impl Settings {
    /// What the object is compiled with; user space replaces it.
    pub const UNRESOLVED: Self = Self {
        epoch: 0,
        taints: 0,
        cgroup_hierarchy: 0,
        read_file_module: ABSENT,
        read_file_module_compressed: ABSENT,
        load_data_module: ABSENT,
        cpus: 0,
        syscall_args: [ABSENT; 4],
        compat_args: [ABSENT; 4],
        compat_flags: ABSENT,
        compat_mask: 0,
        watched_settings: [0; crate::WATCHED_SETTINGS],
    };
}
