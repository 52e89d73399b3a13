//! The configuration: /etc/kmodtrail/kmodtrail.toml, conf.d/*.toml beside it, then environment variables `KMODTRAIL__SECTION__KEY`.
//!
//! The types below are its documentation: every field says what it means and what it is where nobody says it. Unknown keys are errors,
//! and all problems are reported at once.

mod layers;
mod problem;
mod read;
mod secret;
mod sink;
mod spool;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod values;

use std::path::Path;

use self::problem::Report;
pub use self::{
    problem::{Level, Problem, Problems},
    secret::{Revealed, Secret, SecretError},
    sink::FileSink,
    spool::{DeadLetters, Fsync, Shutdown, Spool, Status, WhenFull},
    tls::Tls,
    values::{Encoding, EventName, FileMode, LogLevel, RingSize, Size},
};
use crate::{event::Severity, sensor};

/// The file that is read where nobody names another.
pub const DEFAULT_FILE: &str = "/etc/kmodtrail/kmodtrail.toml";

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[sensor]`: the kernel's side.
    pub sensor: Sensor,
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
    /// `[[routes]]`: which record goes where. At least one; all that match apply.
    pub routes: Vec<Route>,
    /// `[log]`: what the daemon says of itself, to the journal or standard error.
    pub log: Log,
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
    /// `encoding`, default "otlp_json": what a record looks like.
    pub encoding: Encoding,
    /// `type` and what belongs to it.
    pub kind: SinkKind,
}

/// `sinks.NAME.type`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// "file"
    File(FileSink),
}

/// `[[routes]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `name`: no two routes have the same.
    pub name: String,
    /// `when`, default: always. All its conditions must hold.
    pub when: When,
    /// `to`: names of sinks, at least one. A sink gets a record once, however many routes lead to it.
    pub to: Vec<String>,
    /// `severity`, default: the record's own. "DEBUG", "INFO", "WARN", "ERROR" or "FATAL", for the sinks in `to`; of several routes
    /// to one sink the first that says a severity decides.
    pub severity: Option<Severity>,
}

/// `routes.when`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// `event`, default: all of them. Names of events; those below linux.kernel_module. also without that.
    pub event: Option<Vec<EventName>>,
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

impl From<&Sensor> for sensor::Settings {
    fn from(config: &Sensor) -> Self {
        Self {
            critical_ring_bytes: config.critical_ring_size.bytes(),
            bulk_ring_bytes: config.bulk_ring_size.bytes(),
            disabled_hooks: config.disabled_hooks.clone(),
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
