//! Which namespaces are the host's: those of its first process.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::event::Process;

/// Inode of the initial PID namespace: PROC_PID_INIT_INO, include/linux/proc_ns.h.
const INITIAL_PID: u64 = 0xefff_fffc;
/// Only in it process 1 is the host's first.
const NOT_INITIAL: &str = "the daemon runs in a PID namespace of its own";

/// The inodes of the host's, in the order of [`KINDS`].
#[derive(Debug)]
pub(super) struct HostNamespaces(Result<[u64; 4], String>);

const KINDS: [&str; 4] = ["user", "mnt", "pid", "net"];

impl HostNamespaces {
    pub(super) fn new(proc: &Path) -> Self {
        Self(of_process(&proc.join("1/ns")).map_err(|error| format!("/proc/1/ns: {error}")).and_then(|host| {
            let own = of_process(&proc.join("self/ns")).map_err(|error| format!("/proc/self/ns: {error}"))?;
            if own[2] == INITIAL_PID { Ok(host) } else { Err(NOT_INITIAL.to_owned()) }
        }))
    }

    pub(super) fn add(&self, process: &mut Process, missing: &mut Vec<String>) {
        match &self.0 {
            Ok(host) => {
                let n = &process.namespaces;
                let of_process = [n.user, n.mount, n.pid, n.net];
                let same = KINDS
                    .into_iter()
                    .zip(of_process)
                    .zip(host)
                    .filter(|((_, own), host)| own.map(u64::from) == Some(**host));
                process.host_namespaces = Some(same.map(|((kind, _), _)| kind).collect());
            }
            Err(why) => missing.push(format!("linux.process.namespaces.of_host: {why}")),
        }
    }
}

fn of_process(folder: &Path) -> io::Result<[u64; 4]> {
    let mut inodes = [0; 4];
    for (inode, kind) in inodes.iter_mut().zip(KINDS) {
        *inode = fs::metadata(folder.join(kind))?.ino();
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Namespaces, samples};

    fn found(host: HostNamespaces) -> (Option<Vec<&'static str>>, Vec<String>) {
        let namespaces = Namespaces { user: Some(1), user_level: 0, mount: Some(20), pid: Some(3), net: None };
        let mut process = Process { namespaces, host_namespaces: None, ..samples::process() };
        let mut missing = Vec::new();
        host.add(&mut process, &mut missing);
        (process.host_namespaces, missing)
    }

    #[test]
    fn those_of_the_same_inode_are_the_host_s() {
        assert_eq!(found(HostNamespaces(Ok([1, 2, 3, 4]))), (Some(vec!["user", "pid"]), vec![]));
    }

    #[test]
    fn where_the_host_s_first_process_can_t_be_seen_it_is_said_and_not_guessed() {
        let (of_host, missing) = found(HostNamespaces::new(Path::new("/nowhere")));
        assert_eq!(of_host, None);
        assert!(missing[0].starts_with("linux.process.namespaces.of_host: /proc/1/ns: "), "{missing:?}");
    }
}
