//! Who made the call: everything that dies with the process.

use aya_ebpf::{
    EbpfContext,
    helpers::generated as bpf,
    macros::{kprobe, map},
    maps::ProgramArray,
    programs::ProbeContext,
};
use kmodtrail_abi::{ABSENT, ANCESTORS, ARGV_BYTES, HIERARCHIES, Identity, PATH_BUDGET, head_flags, section};

use crate::{
    kernel::{bounded, get, offset, put, setting},
    record::{Record, Ring, Wake},
};

/// include/uapi/linux/capability.h
const CAP_SYS_MODULE: u64 = 1 << 16;
/// Inode of the initial user namespace: PROC_USER_INIT_INO, include/linux/proc_ns.h.
const INITIAL_USER_NAMESPACE: u32 = 0xefff_fffd;

/// enum pid_type, include/linux/pid_types.h, Linux 4.19 and later.
const PIDTYPE_SID: u32 = 3;

/// The one element is [`identity`]. What a call's programs have in common is verified once, not once for each of them.
#[map]
static CONTINUE: ProgramArray = ProgramArray::with_max_entries(1, 0);

impl Record {
    /// Takes the place of the identity and fills in the credentials. Gives whether the task may load modules.
    #[inline(always)]
    pub unsafe fn begin_identity(&mut self) -> bool {
        unsafe {
            let who = self.take_identity();
            clear(who);
            let task = bpf::bpf_get_current_task();
            let (cred, comm) = cred_and_comm(task);
            (*who).comm = comm;
            let may_load = credentials(who, cred);
            if may_load {
                (*self.head()).flags |= head_flags::MAY_LOAD;
            }
            may_load
        }
    }

    /// Goes on with [`identity`], which sends the record. Where that is not there, it is sent as it is.
    #[inline(always)]
    pub unsafe fn finish_with_identity<C: EbpfContext>(self, context: &C, ring: Ring) {
        unsafe {
            if ring == Ring::Bulk {
                (*self.head()).flags |= head_flags::BULK;
            }
            let _ = CONTINUE.tail_call(context, 0);
            (*self.head()).flags &= !head_flags::BULK;
            self.send(ring, Wake::No);
        }
    }

    /// The current task: control group, executable, working directory, arguments, ancestors.
    #[inline(always)]
    unsafe fn rest_of_identity(&mut self) {
        unsafe {
            let who = self.identity();
            let task = bpf::bpf_get_current_task();
            put(&raw mut (*who).task_flags, task, offset!(task_flags));
            audit(who, task);
            session(who, get(task, offset!(task_signal)));
            let leader: u64 = get(task, offset!(task_leader));
            put(&raw mut (*who).start, leader, offset!(task_start));
            namespaces(who, task);
            ancestors(who, leader);

            let node: u64 = get(control_group(get(task, offset!(task_cgroups))), offset!(cgroup_kernfs));
            put(&raw mut (*who).cgroup_id, node, offset!(kernfs_id));
            self.cgroup_path(node);
            let mm: u64 = get(task, offset!(task_mm));
            if mm != 0 {
                let exe: u64 = get(mm, offset!(mm_exe_file));
                self.path(section::EXECUTABLE, exe + offset!(file_path) as u64, PATH_BUDGET as u64);
                self.argv(who, mm);
            }
            let fs: u64 = get(task, offset!(task_fs));
            self.path(section::WORKING_DIRECTORY, fs + offset!(fs_pwd) as u64, PATH_BUDGET as u64);
        }
    }

    /// The command line, as it is in the process's memory now. No fault is taken: what is not resident is missing.
    #[inline(always)]
    unsafe fn argv(&mut self, who: *mut Identity, mm: u64) {
        unsafe {
            let start = self.open();
            let at = self.position();
            let from: u64 = get(mm, offset!(mm_arg_start));
            let whole = get::<u64>(mm, offset!(mm_arg_end)).wrapping_sub(from);
            (*who).argv_len = whole;
            let mut length = whole;
            let mut flags = 0;
            if length > ARGV_BYTES as u64 {
                length = ARGV_BYTES as u64;
                flags = section::CUT;
            }
            length = bounded!(length, "0xfff");
            let to = self.at(at).cast();
            if bpf::bpf_probe_read_user(to, length as u32, from as *const _) != 0 {
                // the second page may be missing: what is left of the first
                flags = section::FAULT;
                let first = 4096 - (from & 4095);
                if first < length {
                    length = first;
                }
                length = bounded!(length, "0xfff");
                if bpf::bpf_probe_read_user(to, length as u32, from as *const _) != 0 {
                    length = 0;
                }
            }
            self.set_position(at + length);
            self.close(start, section::ARGV, flags);
        }
    }
}

/// Only ever tail-called.
#[kprobe]
pub fn identity(_: ProbeContext) -> u32 {
    unsafe {
        let Some(mut record) = Record::resume() else { return 0 };
        record.rest_of_identity();
        let head = record.head();
        let ring = if (*head).flags & head_flags::BULK == 0 { Ring::Critical } else { Ring::Bulk };
        (*head).flags &= !head_flags::BULK;
        record.send(ring, Wake::No);
    }
    0
}

/// All but the ancestors: what a kernel does not have must not be what the last record had.
#[inline(always)]
unsafe fn clear(who: *mut Identity) {
    unsafe {
        let words = who.cast::<u64>();
        let mut i = 0;
        while i < core::mem::offset_of!(Identity, ancestors) / 8 {
            // volatile: a loop that the compiler makes a memset of goes byte by byte
            words.add(i).write_volatile(0);
            i += 1;
        }
        (*who).login_uid = u32::MAX;
        (*who).audit_session = u32::MAX;
    }
}

/// In one go where they are as CONFIG_KEYS has them: cred, cached_requested_key, comm.
#[inline(always)]
unsafe fn cred_and_comm(task: u64) -> (u64, [u8; 16]) {
    unsafe {
        if offset!(task_comm) == offset!(task_cred) + 16 {
            let both: [u64; 4] = get(task, offset!(task_cred));
            (both[0], core::mem::transmute::<[u64; 2], [u8; 16]>([both[2], both[3]]))
        } else {
            (get(task, offset!(task_cred)), get(task, offset!(task_comm)))
        }
    }
}

/// The control group of a task's set that is told. The set links one of each hierarchy, and always has the links in the order in which the
/// hierarchies were mounted: kernel/cgroup/cgroup.c, `find_css_set`.
#[inline(always)]
unsafe fn control_group(set: u64) -> u64 {
    unsafe {
        if setting!(cgroup_hierarchy) == 0 {
            return get(set, offset!(css_set_cgroup));
        }
        let mut link: u64 = get(set, offset!(css_set_links));
        for i in 0..HIERARCHIES {
            if i == setting!(cgroup_hierarchy) {
                break;
            }
            link = get(link, 0);
        }
        get(link.wrapping_sub(offset!(cset_link_next) as u64), offset!(cset_link_cgroup))
    }
}

/// The session's leader and its terminal.
#[inline(always)]
unsafe fn session(who: *mut Identity, signal: u64) {
    unsafe {
        let pids = offset!(signal_pids);
        if pids != ABSENT {
            // numbers[0] is the one of the initial PID namespace, its first member the number
            let leader: u64 = get(signal, pids + PIDTYPE_SID * 8);
            put(&raw mut (*who).session_leader, leader, offset!(pid_numbers));
        }
        let tty: u64 = get(signal, offset!(signal_tty));
        if tty != 0 {
            put(&raw mut (*who).tty, tty, offset!(tty_name));
        }
    }
}

/// Login user and session: neighbours where the kernel has them.
#[inline(always)]
unsafe fn audit(who: *mut Identity, task: u64) {
    unsafe {
        if offset!(task_loginuid) != ABSENT && offset!(task_sessionid) == offset!(task_loginuid) + 4 {
            let both: [u32; 2] = get(task, offset!(task_loginuid));
            (*who).login_uid = both[0];
            (*who).audit_session = both[1];
        } else {
            put(&raw mut (*who).login_uid, task, offset!(task_loginuid));
            put(&raw mut (*who).audit_session, task, offset!(task_sessionid));
        }
    }
}

#[inline(always)]
unsafe fn credentials(who: *mut Identity, cred: u64) -> bool {
    unsafe {
        // uid, gid, suid, sgid, euid, egid are neighbours
        let ids: [u32; 6] = get(cred, offset!(cred_uid));
        (*who).uid = ids[0];
        (*who).gid = ids[1];
        (*who).euid = ids[4];
        (*who).egid = ids[5];
        let capabilities: u64 = get(cred, offset!(cred_capabilities));
        (*who).capabilities = capabilities;
        let namespace: u64 = get(cred, offset!(cred_user_ns));
        let user: u32 = get(namespace, offset!(user_ns_inum));
        (*who).user_namespace = user;
        put(&raw mut (*who).user_namespace_level, namespace, offset!(user_ns_level));
        capabilities & CAP_SYS_MODULE != 0 && user == INITIAL_USER_NAMESPACE
    }
}

#[inline(always)]
unsafe fn namespaces(who: *mut Identity, task: u64) {
    unsafe {
        let proxy: u64 = get(task, offset!(task_nsproxy));
        put(&raw mut (*who).mount_namespace, get(proxy, offset!(nsproxy_mnt)), offset!(mnt_ns_inum));
        put(&raw mut (*who).net_namespace, get(proxy, offset!(nsproxy_net)), offset!(net_inum));
        let pid: u64 = get(task, offset!(task_thread_pid));
        let level: u32 = get(pid, offset!(pid_level));
        // struct upid { int nr; struct pid_namespace *ns; }, include/linux/pid.h: 16 bytes on every 64-bit architecture
        let upid: [u64; 2] = get(pid + level as u64 * 16, offset!(pid_numbers));
        (*who).namespace_pid = upid[0] as u32;
        put(&raw mut (*who).pid_namespace, upid[1], offset!(pid_ns_inum));
    }
}

#[inline(always)]
unsafe fn ancestors(who: *mut Identity, leader: u64) {
    unsafe {
        let mut task = leader;
        for i in 0..ANCESTORS {
            task = get(task, offset!(task_parent));
            if task == 0 {
                break;
            }
            // pid and tgid are neighbours; they differ in a thread that is not the leader
            let mut ids: [u32; 2] = get(task, offset!(task_pid));
            if ids[0] != ids[1] {
                task = get(task, offset!(task_leader));
                ids = get(task, offset!(task_pid));
            }
            if ids[1] == 0 {
                break;
            }
            let (cred, comm) = cred_and_comm(task);
            let ancestor = &raw mut (*who).ancestors[i];
            (*ancestor).tgid = ids[1];
            (*ancestor).start = get(task, offset!(task_start));
            (*ancestor).comm = comm;
            (*ancestor).uid = get(cred, offset!(cred_uid));
            (*who).ancestor_count = i as u32 + 1;
        }
    }
}
