//! From the kernel's identity to a [`Process`].

use kmodtrail_abi::section;

use super::{
    clock::Clock,
    fact::{self, Fact, until_nul},
};
use crate::event::{Ancestor, Arguments, Cgroup, Namespaces, Place, Process, ProcessId, Text};

/// PF_KTHREAD, include/linux/sched.h.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// The process of a record with an identity; what is missing of it goes to `missing`.
pub(super) fn process(fact: &Fact<'_>, clock: Clock, missing: &mut Vec<String>) -> Option<Process> {
    let identity = fact::identity(fact.identity?)?;
    let set = |id: u32| (id != u32::MAX).then_some(id);
    let there = |number: u32| (number != 0).then_some(number);
    let mut process = Process {
        id: ProcessId { pid: fact.head.tgid, start: identity.start },
        started: clock.wall(identity.start),
        thread_id: fact.head.tid,
        comm: Text::from_bytes(until_nul(&identity.comm)),
        executable: None,
        executable_deleted: false,
        arguments: None,
        working_directory: None,
        uid: identity.uid,
        user: None,
        euid: identity.euid,
        effective_user: None,
        gid: identity.gid,
        group: None,
        egid: identity.egid,
        effective_group: None,
        login_uid: set(identity.login_uid),
        login_user: None,
        audit_session: set(identity.audit_session),
        session_leader: there(identity.session_leader),
        tty: Some(until_nul(&identity.tty)).filter(|tty| !tty.is_empty()).map(Text::from_bytes),
        capabilities: identity.capabilities,
        cgroup: Cgroup { id: identity.cgroup_id, path: None },
        place: Place::default(),
        namespaces: Namespaces {
            user: there(identity.user_namespace),
            user_level: identity.user_namespace_level,
            mount: there(identity.mount_namespace),
            pid: there(identity.pid_namespace),
            net: there(identity.net_namespace),
        },
        host_namespaces: None,
        namespace_pid: identity.namespace_pid,
        kernel_thread: identity.task_flags & KERNEL_THREAD != 0,
        ancestors: fact::ancestors(&identity)
            .iter()
            .map(|a| Ancestor {
                id: ProcessId { pid: a.tgid, start: a.start },
                started: clock.wall(a.start),
                uid: a.uid,
                comm: Text::from_bytes(until_nul(&a.comm)),
                executable: None,
                arguments: None,
            })
            .collect(),
    };
    for section in fact.sections() {
        let cut = section.flags & section::CUT != 0;
        let mut path = |name: &str| {
            let path = fact::path(section);
            match &path {
                None => missing.push(format!("{name}: the kernel's path could not be read")),
                Some(_) if cut => missing.push(format!("{name}: longer than a record holds, its beginning is missing")),
                Some(_) => {}
            }
            path
        };
        match section.kind {
            section::CGROUP => process.cgroup.path = path("linux.process.cgroup.path"),
            section::WORKING_DIRECTORY => process.working_directory = path("process.working_directory"),
            section::EXECUTABLE => {
                process.executable = path("process.executable.path");
                process.executable_deleted = section.flags & section::UNLINKED != 0;
            }
            section::ARGV => {
                if section.flags & section::FAULT != 0 {
                    missing.push("process.command_args: not in memory when the call was made".to_owned());
                }
                process.arguments = arguments(section.bytes, identity.argv_len);
            }
            _ => {}
        }
    }
    Some(process)
}

/// A process's arguments: each ends with a NUL, the last one too, unless it was cut or the process has overwritten them.
fn arguments(bytes: &[u8], length: u64) -> Option<Arguments> {
    if bytes.is_empty() && length > 0 {
        return None;
    }
    let list = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let list = if bytes.is_empty() { vec![] } else { list.split(|&b| b == 0).map(Text::from_bytes).collect() };
    Some(Arguments { list, length, cut: (bytes.len() as u64) < length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(arguments: Option<Arguments>) -> (Vec<String>, bool) {
        let arguments = arguments.expect("arguments");
        (arguments.list.iter().map(ToString::to_string).collect(), arguments.cut)
    }

    #[test]
    fn command_lines() {
        assert_eq!(list(arguments(b"insmod\0x.ko\0", 12)), (vec!["insmod".into(), "x.ko".into()], false));
        assert_eq!(list(arguments(b"insmod\0\0a\0", 10)), (vec!["insmod".into(), "".into(), "a".into()], false));
        assert_eq!(list(arguments(b"insmod\0x.", 5000)), (vec!["insmod".into(), "x.".into()], true));
        assert_eq!(list(arguments(b"", 0)), (vec![], false));
        assert_eq!(arguments(b"", 40), None, "there is one, but it was not in memory");
    }
}
