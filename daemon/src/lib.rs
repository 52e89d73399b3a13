//! The kmodtrail daemon: who changes the Linux kernel.
//!
//! Data flows one way, and the modules stand in that order: sensor, enrich, event, record, spool, route, encode, sink. Around them: config,
//! host, loaded, resource, run, settings, systemd, telemetry, cli.

#[cfg(test)]
extern crate self as kmodtrail;

pub mod cli;
pub mod config;
pub mod encode;
pub mod enrich;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod host;
pub mod loaded;
pub mod record;
pub mod resource;
pub mod route;
pub mod run;
pub mod sensor;
pub mod settings;
pub mod sink;
pub mod spool;
pub mod status;
pub mod systemd;
pub mod telemetry;
