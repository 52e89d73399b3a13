//! Comparing what the daemon says with what the actor has seen of itself.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    guest::Action,
    records::{Record, Records},
};

pub(super) const LOAD: &str = "linux.kernel_module.load";
pub(super) const UNLOAD: &str = "linux.kernel_module.unload";
pub(super) const REQUEST: &str = "linux.kernel_module.request";
pub(super) const HELPER: &str = "linux.kernel_module.helper";
pub(super) const READ: &str = "linux.kernel_module.read";
pub(super) const VERIFY: &str = "linux.kernel_module.verify";
pub(super) const TAINT: &str = "linux.kernel_module.taint";

/// Ancestors in a record (ebpf/abi).
const ANCESTORS: usize = 8;
/// USER_HZ, in which /proc counts.
const TICK_NS: u64 = 10_000_000;
/// What the kernel says where nobody has logged in.
const UNSET: u64 = 0xffff_ffff;

/// The one record that an attempt to load a module must leave, with everything that is the same in all of them.
///
/// # Errors
/// When there is none or more than one, or when it says something else than the actor.
pub(super) fn load_by<'a>(records: &'a Records, action: &Action) -> Result<&'a Record> {
    attempt_by(records, LOAD, action)
}

/// As [`load_by`], for an attempt to unload one.
///
/// # Errors
/// As [`load_by`].
pub(super) fn unload_by<'a>(records: &'a Records, action: &Action) -> Result<&'a Record> {
    attempt_by(records, UNLOAD, action)
}

fn attempt_by<'a>(records: &'a Records, event: &str, action: &Action) -> Result<&'a Record> {
    let about = || format!("about `{}`", action.command);
    let record = records.of(event).with("process.pid", action.pid).one().with_context(about)?;
    expect_result(record, action).and_then(|()| expect_process(record, action)).with_context(about)?;
    Ok(record)
}

/// The errno, its name, the time, the file.
pub(super) fn expect_result(record: &Record, action: &Action) -> Result<()> {
    record.expect("linux.kernel_module.errno", action.errno)?;
    match action.error.as_str() {
        "" => record.expect_without("error.type")?,
        error => record.expect("error.type", error)?,
    };
    let time = record.integer("kmodtrail.boot_time_ns")?.unsigned_abs();
    let (before, after) = (action.boottime_before_ns, action.boottime_after_ns);
    ensure!(before <= time && time <= after, "{time} is not in {before}..={after}, when it was done:\n{record}");
    let duration = record.integer("linux.kernel_module.duration_ns")?.unsigned_abs();
    ensure!(duration <= after - before, "{duration} ns is longer than the caller waited:\n{record}");
    match action.more.get("file") {
        Some(file) => expect_file(record, file),
        None => Ok(()),
    }
}

fn expect_file(record: &Record, file: &Value) -> Result<()> {
    let told = |name: &str| file[name].as_u64().with_context(|| format!("the actor tells no {name} of its file"));
    if let Some(path) = file["path"].as_str() {
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        // A memfd hangs on no directory: its name is all there is.
        let path = if path.starts_with("/memfd:") { &path[1..] } else { path };
        record.expect("file.path", path)?;
    }
    record.expect("file.inode", told("inode")?.to_string())?;
    record.expect("file.size", told("size")?)?;
    record.expect("file.mode", format!("{:04o}", told("mode")?))?;
    record.expect("file.owner.id", told("uid")?.to_string())?;
    record.expect("linux.kernel_module.file.links", told("links")?).map(drop)
}

/// Every fact about the process, each compared with /proc; nothing where the actor was not asked by `named`.
pub(super) fn expect_process(record: &Record, action: &Action) -> Result<()> {
    let Some(process) = action.more.get("process") else { return Ok(()) };
    record.expect("process.pid", action.pid)?.expect("thread.id", action.tid)?;
    expect_identity(record, process)?;
    match process["session_leader"].as_i64() {
        Some(0) => record.expect_without("process.session_leader.pid")?,
        Some(leader) => record.expect("process.session_leader.pid", leader)?,
        None => record, // without /proc the actor can't tell
    };
    expect_ancestors(record, process)?;
    expect_paths(record, process)
}

/// What is the same seen from inside of a chroot or a PID namespace.
pub(super) fn expect_identity(record: &Record, process: &Value) -> Result<()> {
    expect_bytes(record, "thread.name", &process["comm"])?;
    let exec_id = record.string("linux.process.exec_id")?;
    let start = exec_id.split(':').nth(1).and_then(|start| start.parse::<u64>().ok()).context("no start in exec_id")?;
    let ticks = process["start_ticks"].as_u64().context("the actor tells no start")?;
    ensure!(start / TICK_NS == ticks, "{exec_id} did not start at tick {ticks}:\n{record}");
    record.string("process.creation.time")?;

    let uids = numbers(&process["uids"])?;
    let gids = numbers(&process["gids"])?;
    record.expect("process.real_user.id", uids[0])?.expect("process.user.id", uids[1])?;
    record.expect("linux.process.real_group.id", gids[0])?.expect("linux.process.group.id", gids[1])?;
    record.expect("linux.process.capabilities.effective", process["capabilities"].clone())?;
    for (attribute, told) in [
        ("linux.process.namespaces.user", "user_namespace"),
        ("linux.process.namespaces.mnt", "mount_namespace"),
        ("linux.process.namespaces.pid", "pid_namespace"),
        ("linux.process.namespaces.net", "net_namespace"),
    ] {
        record.expect(attribute, process[told].clone())?;
    }
    for (attribute, told) in
        [("linux.process.login_user.id", "login_uid"), ("linux.process.audit_session.id", "audit_session")]
    {
        match process[told].as_u64().filter(|&id| id != UNSET) {
            Some(id) => record.expect(attribute, id)?,
            None => record.expect_without(attribute)?,
        };
    }
    expect_arguments(record, process)
}

fn expect_arguments(record: &Record, process: &Value) -> Result<()> {
    let given = from_hex(&process["arguments"])?;
    let told = record.get("process.command_args").and_then(Value::as_array).context("no arguments")?;
    let mut bytes = Vec::new();
    for argument in told {
        bytes.extend(unescaped(argument.as_str().context("an argument that is no string")?));
        bytes.push(0);
    }
    ensure!(bytes == given, "the arguments were {:?}:\n{record}", String::from_utf8_lossy(&given));
    Ok(())
}

/// Names and pids, and those of the parent again as its own attributes.
fn expect_ancestors(record: &Record, process: &Value) -> Result<()> {
    let lived = process["ancestors"].as_array().context("the actor tells no ancestors")?;
    let told = record.get("linux.process.ancestors").and_then(Value::as_array).context("no ancestors")?;
    ensure!(told.len() == lived.len().min(ANCESTORS), "not {} ancestors:\n{record}", lived.len());
    for (told, lived) in told.iter().zip(lived) {
        let comm = told["thread.name"].as_str().map(unescaped);
        let same = told["process.pid"] == lived["pid"] && comm == Some(from_hex(&lived["comm"])?);
        ensure!(same, "the ancestor {lived} is told as {told}:\n{record}");
    }
    if let Some(parent) = lived.first() {
        record.expect("process.parent_pid", parent["pid"].clone())?;
        expect_bytes(record, "linux.process.parent.comm", &parent["comm"])?;
    }
    Ok(())
}

fn expect_paths(record: &Record, process: &Value) -> Result<()> {
    if let Some(executable) = process["executable"].as_str() {
        let deleted = from_hex(&json!(executable))?;
        let path = deleted.strip_suffix(b" (deleted)").unwrap_or(&deleted);
        let told = unescaped(record.string("process.executable.path")?);
        ensure!(told == path, "the executable is {:?}:\n{record}", String::from_utf8_lossy(path));
        match path.len() == deleted.len() {
            true => record.expect_without("linux.process.executable.deleted")?,
            false => record.expect("linux.process.executable.deleted", true)?,
        };
    }
    if !process["working_directory"].is_null() {
        expect_bytes(record, "process.working_directory", &process["working_directory"])?;
    }
    if !process["cgroup"].is_null() {
        record.expect("linux.process.cgroup.path", process["cgroup"].clone())?;
        record.expect("linux.process.cgroup.id", process["cgroup_id"].clone())?;
    }
    Ok(())
}

/// Fails unless an attribute, its escapes undone, has these bytes.
pub(super) fn expect_bytes(record: &Record, attribute: &str, hex: &Value) -> Result<()> {
    let (told, real) = (unescaped(record.string(attribute)?), from_hex(hex)?);
    ensure!(told == real, "{attribute} is not {:?}:\n{record}", String::from_utf8_lossy(&real));
    Ok(())
}

/// Undoes the daemon's escape: a backslash and three octal digits stand for a byte.
pub(super) fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|d| *first == b'\\' && d.iter().all(|d| (b'0'..=b'7').contains(d)));
        let byte = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    bytes
}

pub(super) fn from_hex(text: &Value) -> Result<Vec<u8>> {
    let text = text.as_str().with_context(|| format!("{text} is no text: the actor could not tell"))?;
    let pair = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or("no"), 16);
    (0..text.len()).step_by(2).map(pair).collect::<Result<_, _>>().with_context(|| format!("{text} is not hexadecimal"))
}

/// `0 0 0 0` of /proc/PID/status.
fn numbers(line: &Value) -> Result<Vec<u64>> {
    let line = line.as_str().context("the actor tells no ids")?;
    let numbers: Vec<_> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("odd ids")?;
    ensure!(numbers.len() == 4, "not four ids: {line}");
    Ok(numbers)
}
