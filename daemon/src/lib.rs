//! The kmodtrail daemon: who changes the Linux kernel.
//!
//! Data flows one way, and the modules stand in that order: sensor, enrich, event, route, encode, sink.

pub mod event;
pub mod sensor;
