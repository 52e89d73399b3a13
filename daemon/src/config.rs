//! The configuration: /etc/kmodtrail/kmodtrail.toml, conf.d/*.toml beside it, then environment variables `KMODTRAIL__SECTION__KEY`.
//!
//! The types below are its documentation: every field says what it means and what it is where nobody says it. Unknown keys are errors,
//! and all problems are reported at once.

mod enrich;
mod layers;
mod modules;
mod problem;
mod read;
mod route;
mod secret;
mod sink;
mod spool;
mod table;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod values;

use std::path::Path;

use self::problem::Report;
pub use self::{
    enrich::Enrich,
    modules::Modules,
    problem::{Level, Problem, Problems},
    route::{
        Attribute, Condition, Dedupe, DropAttributes, Globs, Match, RateLimit, Ratio, Redact, Regexes, Route,
        RouteTest, Routing, Test, TestRecord, TestValue, When,
    },
    secret::{Revealed, Secret, SecretError},
    sink::{FileCompression, FileFsync, FilePath, FileSink, KafkaSink, OtlpSink, kafka, otlp},
    spool::{DeadLetters, Fsync, Shutdown, Spool, Status, WhenFull},
    telemetry::Telemetry,
    tls::{Identity, Tls, TlsError},
    values::{Encoding, EventName, FileMode, LogLevel, RingSize, Size},
};
use crate::sensor;

/// The file that is read where nobody names another.
pub const DEFAULT_FILE: &str = "/etc/kmodtrail/kmodtrail.toml";

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[sensor]`: the kernel's side.
    pub sensor: Sensor,
    /// `[modules]`: what is loaded, by the kernel's own lists.
    pub modules: Modules,
    /// `[enrich]`: what is added to what the kernel says.
    pub enrich: Enrich,
    /// `[spool]`: the queue on the disk between the kernel and the sinks.
    pub spool: Spool,
    /// `[dead_letters]`: records that a sink's far side will never take.
    pub dead_letters: DeadLetters,
    /// `[status]`: where the running daemon can be asked.
    pub status: Status,
    /// `[shutdown]`: the end of the daemon.
    pub shutdown: Shutdown,
    /// `[sinks.NAME]`: where records go. At least one; in the order of their names.
    pub sinks: Vec<Sink>,
    /// `[routing]`: how routes apply.
    pub routing: Routing,
    /// `[[routes]]`: which record goes where. At least one, in their order; those of all files add up.
    pub routes: Vec<Route>,
    /// `[[tests]]`: what `kmodtrail check --tests` runs.
    pub tests: Vec<RouteTest>,
    /// `[log]`: what the daemon says of itself, to the journal or standard error.
    pub log: Log,
    /// `[telemetry.otlp]`, default: none. Where the daemon's own metrics go.
    pub telemetry: Option<Telemetry>,
    /// `[resource]`: what every record says about where it comes from.
    pub resource: Resource,
}

/// `[sensor]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensor {
    /// `critical_ring_size`, default "512KiB": the ring buffer for what must never be displaced (loads, unloads, verifications,
    /// refusals). A power of two between 64 KiB and 16 MiB.
    pub critical_ring_size: RingSize,
    /// `bulk_ring_size`, default "512KiB": the ring buffer for what can come in floods (requests, helpers, reads). A power of two
    /// between 64 KiB and 16 MiB.
    pub bulk_ring_size: RingSize,
    /// `disabled_hooks`, default []: hooks not to attach, by the names that the record kmodtrail.coverage shows.
    pub disabled_hooks: Vec<String>,
}

/// `[sinks.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// NAME: 1 to 64 of a-z, 0-9, `_` and `-`.
    pub name: String,
    /// `encoding`, default "otlp_json": what a record looks like. Where the type is "otlp", `protocol` says it.
    pub encoding: Encoding,
    /// `type` and what belongs to it.
    pub kind: SinkKind,
}

/// `sinks.NAME.type`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// "file"
    File(FileSink),
    /// "kafka"
    Kafka(Box<KafkaSink>),
    /// "stdout": records are lines on the daemon's standard output, for a pipe or the journal. It has no keys of its own; its `encoding` is
    /// "otlp_json" or "json". A record counts as delivered when the kernel has it: what a reader has not read when it ends is lost, and the
    /// journal makes several entries of a line that is longer than LineMax= (journald.conf(5)).
    Stdout,
    /// "otlp"
    Otlp(Box<OtlpSink>),
}

impl SinkKind {
    /// The value of `type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Kafka(_) => "kafka",
            Self::Otlp(_) => "otlp",
            Self::Stdout => "stdout",
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// `level`, default "info": "error", "warn", "info", "debug" or "trace".
    pub level: LogLevel,
}

/// `[resource]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resource {
    /// `attributes`, default {}: strings, added to what the daemon finds out itself (host.name, host.id, host.arch, os.type,
    /// os.version, service.*); one of the same name takes its place.
    pub attributes: Vec<(String, String)>,
}

impl Default for Sensor {
    fn default() -> Self {
        Self { critical_ring_size: RingSize::DEFAULT, bulk_ring_size: RingSize::DEFAULT, disabled_hooks: vec![] }
    }
}

impl From<&Config> for sensor::Settings {
    fn from(config: &Config) -> Self {
        Self {
            critical_ring_bytes: config.sensor.critical_ring_size.bytes(),
            bulk_ring_bytes: config.sensor.bulk_ring_size.bytes(),
            disabled_hooks: config.sensor.disabled_hooks.clone(),
            watched_settings: config.modules.settings.clone(),
        }
    }
}

/// Reads and checks everything. The second part of what it gives are warnings.
///
/// # Errors
/// With all that is wrong, warnings too, where something is.
pub fn load(file: &Path) -> Result<(Config, Problems), Problems> {
    load_with(file, None)
}

/// As [`load`], with defaults for what is wrong: for who asks a daemon that runs with what was there before, and early in a boot, when folders
/// of sinks are not there yet.
#[must_use]
pub fn load_what_is_right(file: &Path) -> Config {
    let report = Report::default();
    let layers = layers::collect(file, None, &report);
    read::config(layers, &file.display().to_string(), &report)
}

/// As [`load`], with these environment variables instead of the process's own.
pub(crate) fn load_with(
    file: &Path,
    environment: Option<config::Map<String, String>>,
) -> Result<(Config, Problems), Problems> {
    let report = Report::default();
    let layers = layers::collect(file, environment, &report);
    let config = read::config(layers, &file.display().to_string(), &report);
    let problems = report.into_problems();
    if problems.fatal() { Err(problems) } else { Ok((config, problems)) }
}

/// No variables, for tests that must not see those of whoever runs them.
#[cfg(test)]
pub(crate) fn no_environment() -> config::Map<String, String> {
    config::Map::new()
}
