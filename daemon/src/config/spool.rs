//! `[spool]`, `[dead_letters]` and `[status]`: what is kept on the disk, and where the running daemon can be asked.

use std::{path::PathBuf, time::Duration};

use super::{
    table::Table,
    values::{Size, Span},
};

/// `[spool]`: the queue on the disk between the kernel and the sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// `path`, default "/var/lib/kmodtrail/spool": a folder of its own; it is made where it is not there.
    pub path: PathBuf,
    /// `max_size`, default "256MiB", at least "2MiB": everything in the folder.
    pub max_size: Size,
    /// `max_age`, default: none. Records that no sink could take for so long are dropped.
    pub max_age: Option<Duration>,
    /// `fsync`, default "interval": when a record is safe from a power loss. Whatever it is, a process that is killed loses nothing.
    pub fsync: Fsync,
    /// `fsync_interval`, default "1s", only with fsync = "interval".
    pub fsync_interval: Duration,
    /// `when_full`, default "drop_oldest".
    pub when_full: WhenFull,
}

/// `spool.fsync`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// "always": before a sink sees it. A power loss loses no record that was read from the kernel's rings; each batch of records
    /// waits for the disk.
    Always,
    /// "interval": a power loss loses the records of the last `fsync_interval` at most.
    #[default]
    Interval,
    /// "none": when the kernel writes it, by default within half a minute.
    None,
}

/// `spool.when_full`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// "drop_oldest": the oldest records of the least severe make room; what can come in floods goes first.
    #[default]
    DropOldest,
    /// "block_bulk": what can come in floods is no longer read from the kernel, whose ring buffer fills then and counts what does
    /// not fit; an eighth of the spool is kept for the rest.
    BlockBulk,
}

/// `[dead_letters]`: records that a sink's far side will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    /// `path`, default "/var/lib/kmodtrail/dead-letters.jsonl".
    pub path: PathBuf,
    /// `max_size`, default "64MiB". When it is reached, the sink that has another one waits.
    pub max_size: Size,
}

/// `[status]`: where `kmodtrail status` asks the running daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `socket`, default "/run/kmodtrail/status.sock".
    pub socket: PathBuf,
}

/// `[shutdown]`: the end of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// `drain`, default "5s": so long sinks may deliver what waits; the rest stays in the spool for the next start.
    pub drain: Duration,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            path: "/var/lib/kmodtrail/spool".into(),
            max_size: Size(256 << 20),
            max_age: None,
            fsync: Fsync::default(),
            fsync_interval: Duration::from_secs(1),
            when_full: WhenFull::default(),
        }
    }
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { path: "/var/lib/kmodtrail/dead-letters.jsonl".into(), max_size: Size(64 << 20) }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self { socket: "/run/kmodtrail/status.sock".into() }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain: Duration::from_secs(5) }
    }
}

/// With less there is no room for a segment of each kind.
const SMALLEST: Size = Size(2 << 20);

pub(super) fn spool(mut table: Table<'_>) -> Spool {
    let default = Spool::default();
    let path = table.absolute_path("path").unwrap_or(default.path);
    let place = table.place("max_size");
    let max_size = table.optional("max_size").unwrap_or(default.max_size);
    if max_size.0 < SMALLEST.0 {
        table.wrong(&place, "max_size", format!("{max_size} is too little"), format!("at least {SMALLEST}"));
    }
    let max_age = table.optional("max_age").map(|Span(age)| age);
    let fsync = table.optional("fsync").unwrap_or(default.fsync);
    let place = table.place("fsync_interval");
    let interval = table.optional("fsync_interval").map(|Span(interval)| interval);
    if interval.is_some() && fsync != Fsync::Interval {
        table.wrong(
            &place,
            "fsync_interval",
            "it says nothing with this fsync",
            "fsync = \"interval\" beside it, or no such key",
        );
    }
    let fsync_interval = interval.unwrap_or(default.fsync_interval);
    let when_full = table.optional("when_full").unwrap_or(default.when_full);
    table.finish();
    Spool { path, max_size, max_age, fsync, fsync_interval, when_full }
}

pub(super) fn dead_letters(mut table: Table<'_>) -> DeadLetters {
    let default = DeadLetters::default();
    let path = table.absolute_path("path").unwrap_or(default.path);
    let max_size = table.optional("max_size").unwrap_or(default.max_size);
    table.finish();
    DeadLetters { path, max_size }
}

pub(super) fn status(mut table: Table<'_>) -> Status {
    let socket = table.absolute_path("socket").unwrap_or(Status::default().socket);
    table.finish();
    Status { socket }
}

pub(super) fn shutdown(mut table: Table<'_>) -> Shutdown {
    let drain = table.optional("drain").map_or(Shutdown::default().drain, |Span(drain)| drain);
    table.finish();
    Shutdown { drain }
}
