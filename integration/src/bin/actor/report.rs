//! The line of JSON about one operation, and the clocks in it.
//!
//! Where ACTOR_LABEL is set, the line has it as `label`, and as `process` what /proc says of the actor.

use std::{env, io, process::ExitCode};

use nix::{
    errno::Errno,
    time::{ClockId, clock_gettime},
    unistd::{getpid, gettid},
};
use serde_json::{Map, Value, json};

use crate::identity;

/// A moment on the clocks that records are stamped with, in nanoseconds.
#[derive(Clone, Copy)]
struct Moment {
    boottime: u64,
    monotonic: u64,
    realtime: u64,
}

impl Moment {
    fn now() -> Self {
        Self {
            boottime: nanoseconds(ClockId::CLOCK_BOOTTIME),
            monotonic: nanoseconds(ClockId::CLOCK_MONOTONIC),
            realtime: nanoseconds(ClockId::CLOCK_REALTIME),
        }
    }
}

/// What a clock shows; 0 for a clock that this kernel lacks.
pub(crate) fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
}

/// Runs one operation that returns as a system call does, reports it and returns the exit status.
pub(crate) fn operation(call: impl FnOnce() -> Result<i64, Errno>) -> ExitCode {
    operation_with(|_| call())
}

/// As [`operation`], for one that has more to tell.
pub(crate) fn operation_with(call: impl FnOnce(&mut Map<String, Value>) -> Result<i64, Errno>) -> ExitCode {
    let mut more = Map::new();
    let before = Moment::now();
    let result = call(&mut more);
    let after = Moment::now();
    let (errno, error) = result.err().map_or((0, String::new()), |errno| (errno as i32, format!("{errno:?}")));
    // The actor's own line: what it was asked to do is how a scenario finds the report.
    let command = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let mut line = json!({
        "command": command,
        "pid": getpid().as_raw(),
        "tid": gettid().as_raw(),
        "result": result.unwrap_or(-1),
        "errno": errno,
        "error": error,
        "boottime_before_ns": before.boottime,
        "boottime_after_ns": after.boottime,
        "monotonic_before_ns": before.monotonic,
        "monotonic_after_ns": after.monotonic,
        "realtime_ns": before.realtime,
    });
    if let Some(label) = env::var_os("ACTOR_LABEL") {
        more.insert("label".into(), label.to_string_lossy().into());
        more.insert("process".into(), identity::of_this_process());
    }
    if let Some(fields) = line.as_object_mut() {
        fields.append(&mut more);
    }
    // In one write: several actors may share the file.
    let written = io::Write::write_all(&mut io::stdout().lock(), format!("{line}\n").as_bytes());
    if written.is_ok() && result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
