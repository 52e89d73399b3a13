//! What /proc says of this process, to be compared with what the daemon says of it.
//!
//! Bytes are told in hexadecimal: names may be no UTF-8. What can't be read, as in a chroot without /proc, is null.

use std::{fs, os::unix::ffi::OsStrExt as _, os::unix::fs::MetadataExt as _};

use serde_json::{Value, json};

/// The process, and the thread that asks.
pub(crate) fn of_this_process() -> Value {
    let link = |name: &str| fs::read_link(format!("/proc/self/{name}")).ok().map(|p| hex(p.as_os_str().as_bytes()));
    let number = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok()?.trim().parse::<u32>().ok();
    let namespace = |name: &str| fs::metadata(format!("/proc/self/ns/{name}")).ok().map(|m| m.ino());
    let stat = Stat::read("self");
    let cgroup = cgroup();
    json!({
        "start_ticks": stat.as_ref().map(|s| s.start),
        "comm": fs::read("/proc/thread-self/comm").ok().map(|c| hex(c.strip_suffix(b"\n").unwrap_or(&c))),
        "executable": link("exe"),
        "working_directory": link("cwd"),
        "arguments": fs::read("/proc/self/cmdline").ok().map(|bytes| hex(&bytes)),
        "uids": status_line("Uid:"),
        "gids": status_line("Gid:"),
        "capabilities": status_line("CapEff:"),
        "cgroup": cgroup,
        "cgroup_id": cgroup.and_then(|path| fs::metadata(format!("/sys/fs/cgroup{path}")).ok()).map(|m| m.ino()),
        "user_namespace": namespace("user"),
        "mount_namespace": namespace("mnt"),
        "pid_namespace": namespace("pid"),
        "net_namespace": namespace("net"),
        "login_uid": number("loginuid"),
        "audit_session": number("sessionid"),
        "session_leader": stat.as_ref().map(|s| s.session),
        "ancestors": ancestors(stat),
    })
}

/// The path in the unified hierarchy; absent where it is too long to be told.
fn cgroup() -> Option<String> {
    let lines = fs::read_to_string("/proc/self/cgroup").ok()?;
    lines.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn status_line(field: &str) -> Option<String> {
    let status = fs::read("/proc/self/status").ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    status.lines().find_map(|line| line.strip_prefix(field)).map(|rest| rest.trim().to_owned())
}

/// Nearest first, up to init.
fn ancestors(stat: Option<Stat>) -> Vec<Value> {
    let mut found = Vec::new();
    let mut parent = stat.map_or(0, |stat| stat.parent);
    while parent != 0 {
        let Some(stat) = Stat::read(&parent.to_string()) else { break };
        found.push(json!({ "pid": parent, "comm": hex(&stat.comm), "start_ticks": stat.start }));
        parent = stat.parent;
    }
    found
}

/// proc_pid_stat(5).
struct Stat {
    comm: Vec<u8>,
    parent: i32,
    session: i32,
    start: u64,
}

impl Stat {
    fn read(process: &str) -> Option<Self> {
        let bytes = fs::read(format!("/proc/{process}/stat")).ok()?;
        let open = bytes.iter().position(|&b| b == b'(')?;
        let close = bytes.iter().rposition(|&b| b == b')')?;
        let rest = String::from_utf8_lossy(&bytes[close + 1..]).into_owned();
        let field = |number: usize| rest.split_whitespace().nth(number - 3);
        Some(Self {
            comm: bytes[open + 1..close].to_vec(),
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            start: field(22)?.parse().ok()?,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
