//! Which of a task's control groups tells where it runs.
//!
//! A host has the unified hierarchy alone, or some of the first version (one for each controller, and systemd's own), or both: there the
//! unified one may know of units, but of no container. systemd and all runtimes put processes into systemd's own where there is one.

use std::fs;

use kmodtrail_abi::HIERARCHIES;

/// The hierarchy where systemd keeps its units, proc_pid_cgroup(5).
const OF_SYSTEMD: &str = "name=systemd";
/// Without systemd: controllers that every runtime uses.
const USUAL: [&str; 3] = ["pids", "memory", "devices"];
/// Its position; the kernel always has it, mounted or not.
const UNIFIED: u64 = 0;

/// Its position, for [`kmodtrail_abi::Settings::cgroup_hierarchy`]. Process 1 shows which hierarchies are in use.
pub(super) fn of_this_host() -> u64 {
    let lines = ["/proc/1/cgroup", "/proc/self/cgroup"].into_iter().find_map(|path| fs::read_to_string(path).ok());
    position(&lines.unwrap_or_default())
}

/// Of lines `ID:CONTROLLERS:PATH`: what was mounted last comes first, the unified one (`0::PATH`) last, if it is mounted at all.
fn position(lines: &str) -> u64 {
    let parts = |line| -> Option<(&str, &str, &str)> {
        let (id, rest) = str::split_once(line, ':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((id, controllers, path))
    };
    let lines: Vec<_> = lines.lines().rev().filter_map(parts).collect();
    let is_unified = lines.iter().any(|(id, ..)| *id == "0");
    let others: Vec<_> = lines.iter().filter(|(id, ..)| *id != "0").collect();
    let at = |wanted: &str, used: bool| {
        let is_it = |controllers: &str| controllers.split(',').any(|controller| controller == wanted);
        let found = others.iter().position(|(_, controllers, path)| is_it(controllers) && (!used || *path != "/"))?;
        Some(found as u64 + 1)
    };
    // one that systemd does not use was mounted for an old container
    let found = match at(OF_SYSTEMD, true) {
        None if !is_unified => USUAL.iter().find_map(|controller| at(controller, false)),
        of_systemd => of_systemd,
    };
    found.filter(|&position| position < HIERARCHIES).unwrap_or(UNIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_own_hierarchy_counts_where_systemd_uses_it() {
        assert_eq!(position("0::/init.scope\n"), UNIFIED);
        // systemd.unified_cgroup_hierarchy=0, with the unified one beside it and without
        assert_eq!(position("3:pids:/\n2:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n"), 1);
        assert_eq!(position("3:pids:/\n2:cpu,cpuacct:/\n1:name=systemd:/init.scope\n"), 1);
        assert_eq!(position("5:name=systemd:/init.scope\n4:misc:/\n0::/\n"), 2, "something was mounted before it");
        assert_eq!(position("1:name=systemd:/\n0::/init.scope\n"), UNIFIED, "mounted for an old container");
    }

    #[test]
    fn without_systemd_a_controller_tells_that_every_runtime_uses() {
        assert_eq!(position("3:memory:/\n2:pids:/\n1:cpu,cpuacct:/\n"), 2);
        assert_eq!(position("2:memory:/\n1:name=openrc:/\n0::/\n"), UNIFIED);
        assert_eq!(position(""), UNIFIED);
        assert_eq!(position("nonsense\n:\n::\n"), UNIFIED);
    }
}
