//! Offsets, enumerators and system call arguments of the running kernel.

use kmodtrail_abi::{ABSENT, Offsets, Settings};

use super::{SensorError, btf::Btf, hierarchy};

/// Where the kernel shows its own types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What the programs are compiled for, filled in for this kernel.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) offsets: Offsets,
    pub(super) settings: Settings,
    /// Neighbours that are none.
    odd: Option<String>,
}

/// Registers of a system call's first arguments in `struct pt_regs`: native, then those of the 32-bit entry.
/// arch/*/include/asm/syscall_wrapper.h, `SC_X86_64_REGS_TO_ARGS` and `SC_IA32_REGS_TO_ARGS`.
#[cfg(target_arch = "x86_64")]
const ARGUMENTS: [[&str; 4]; 2] = [["di", "si", "dx", "r10"], ["bx", "cx", "dx", "si"]];
/// arch/arm64/include/asm/syscall_wrapper.h: `regs->regs[0]` and following, for both.
#[cfg(target_arch = "aarch64")]
const ARGUMENTS: [[&str; 4]; 2] = [["regs"; 4]; 2];
/// Where a task says that it is in a 32-bit system call: arch/x86/include/asm/thread_info.h, TS_COMPAT.
#[cfg(target_arch = "x86_64")]
const COMPAT: (&str, u32) = ("thread_info.status", 2);
/// arch/arm64/include/asm/thread_info.h, TIF_32BIT.
#[cfg(target_arch = "aarch64")]
const COMPAT: (&str, u32) = ("thread_info.flags", 1 << 22);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("add the registers of this architecture's system call wrappers (arch/*/include/asm/syscall_wrapper.h)");

/// Members that the programs read together with the one before: at the same place plus 8 on every kernel from 5.8 to 7.x, and
/// checked, as nothing guarantees it.
const NEIGHBOURS: [(&str, &str, &str, u32); 11] = [
    // structure, member, its neighbour (alternatives divided by |), distance
    ("task_struct", "pid", "tgid", 4),
    ("cred", "uid", "gid", 4),
    ("cred", "uid", "euid", 16),
    ("cred", "uid", "egid", 20),
    ("path", "mnt", "dentry", 8),
    ("dentry", "d_hash", "d_parent", 16),
    ("dentry", "d_parent", "d_name|__d_name", 8),
    ("mount", "mnt_parent", "mnt_mountpoint", 8),
    ("mount", "mnt_parent", "mnt", 16),
    ("kernfs_node", "__parent|parent", "name", 8),
    ("qstr", "hash_len", "name", 8),
];

fn find(btf: &Btf<'_>, structure: &str, members: &str) -> Option<u32> {
    members.split('|').find_map(|m| btf.offset(structure, m))
}

/// The structures named in [`Offsets::PATHS`] and what else is asked for here.
fn wanted() -> Vec<&'static str> {
    let mut wanted: Vec<&str> = Offsets::PATHS.iter().filter_map(|(_, path)| path.split(' ').next()).collect();
    wanted.extend(NEIGHBOURS.iter().map(|n| n.0));
    wanted.extend(["pt_regs", "kernel_read_file_id", "kernel_load_data_id", "vfsmount"]);
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

impl Layout {
    /// Of the running kernel.
    pub(super) fn of_running_kernel() -> Result<Self, SensorError> {
        let data = std::fs::read(VMLINUX).map_err(|source| SensorError::NoBtf { path: VMLINUX, source })?;
        let mut layout = Self::from_btf(&data)?;
        layout.settings.cgroup_hierarchy = hierarchy::of_this_host();
        Ok(layout)
    }

    fn from_btf(data: &[u8]) -> Result<Self, SensorError> {
        let btf = Btf::parse(data, &wanted()).ok_or(SensorError::BadBtf { path: VMLINUX })?;
        let offsets = Offsets::from_values(|i| {
            let (structure, members) = Offsets::PATHS[i].1.split_once(' ').unwrap_or_default();
            find(&btf, structure, members).unwrap_or(ABSENT)
        });
        let mut odd = None;
        for (structure, member, neighbour, distance) in NEIGHBOURS {
            let (a, b) = (find(&btf, structure, member), find(&btf, structure, neighbour));
            if a.is_none() || a.map(|a| a + distance) != b {
                odd = Some(format!("{structure}.{member} and .{neighbour}"));
            }
        }
        if btf.offset("vfsmount", "mnt_root") != Some(0) {
            odd = Some("vfsmount.mnt_root".to_owned());
        }
        let arguments = |table: [&str; 4]| {
            let mut found = [ABSENT; 4];
            for (i, register) in table.iter().enumerate() {
                // one member for all of them is an array of registers
                let array = if table[0] == table[1] { 8 * i as u32 } else { 0 };
                found[i] = btf.offset("pt_regs", register).map_or(ABSENT, |at| at + array);
            }
            found
        };
        let read_file = |name| btf.enumerator("kernel_read_file_id", name).unwrap_or(ABSENT);
        let settings = Settings {
            read_file_module: read_file("READING_MODULE"),
            read_file_module_compressed: read_file("READING_MODULE_COMPRESSED"),
            load_data_module: btf.enumerator("kernel_load_data_id", "LOADING_MODULE").unwrap_or(ABSENT),
            syscall_args: arguments(ARGUMENTS[0]),
            compat_args: arguments(ARGUMENTS[1]),
            compat_flags: btf.offset("task_struct", COMPAT.0).unwrap_or(ABSENT),
            compat_mask: COMPAT.1,
            ..Settings::UNRESOLVED
        };
        Ok(Self { offsets, settings, odd })
    }

    /// Whether the programs can work with it.
    pub(super) fn check(&self) -> Result<(), SensorError> {
        let (offsets, settings) = (&self.offsets, &self.settings);
        let needed = [
            ("module.name", offsets.module_name),
            ("module.taints", offsets.module_taints),
            ("task_struct.tgid", offsets.task_tgid),
            ("kernel_read_file_id READING_MODULE", settings.read_file_module),
            ("pt_regs with the first argument of a system call", settings.syscall_args[0]),
        ];
        let absent = needed.into_iter().find(|&(_, value)| value == ABSENT).map(|(what, _)| what.to_owned());
        match self.odd.clone().or(absent) {
            Some(what) => Err(SensorError::UnknownLayout { what }),
            None => Ok(()),
        }
    }

    /// For the verifier alone: what this kernel does not have is somewhere.
    pub(super) fn with_everything(mut self) -> Self {
        const SOMEWHERE: u32 = 64;
        let there = |value: u32| if value == ABSENT { SOMEWHERE } else { value };
        let bytes: Vec<u32> = self.offsets.values().into_iter().map(there).collect();
        self.offsets = Offsets::from_values(|i| bytes[i]);
        let s = &mut self.settings;
        s.read_file_module_compressed = there(s.read_file_module_compressed);
        s.syscall_args = s.syscall_args.map(there);
        s.compat_args = s.compat_args.map(there);
        s.compat_flags = there(s.compat_flags);
        s.cgroup_hierarchy = s.cgroup_hierarchy.max(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_btf_is_an_error_that_names_the_file() {
        let error = Layout::from_btf(b"garbage").expect_err("no BTF").to_string();
        assert!(error.contains(VMLINUX), "{error}");
    }

    #[test]
    fn every_offset_names_a_structure_and_a_member() {
        assert!(
            Offsets::PATHS
                .iter()
                .all(|(_, path)| path.split_once(' ').is_some_and(|(s, m)| !s.is_empty() && !m.is_empty()))
        );
    }
}
