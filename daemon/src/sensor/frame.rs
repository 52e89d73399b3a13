//! What all events of one attempt have in common.

use std::sync::Arc;

use super::clock::Clock;
use crate::event::{Event, Origin, Process, TraceId, What};

/// What the assembler must know of the sensor.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) boot_id: Arc<str>,
    /// mod_verify_sig's return is attached: a module without it is unsigned.
    pub(super) sees_verification: bool,
    /// parse_args is attached: a module without it has no parameters.
    pub(super) sees_parameters: bool,
}

/// Everything that an event needs beside what it says.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) origin: Origin,
    pub(super) boot: u64,
    pub(super) process: Option<Arc<Process>>,
    pub(super) missing: Vec<String>,
    pub(super) trace: Option<TraceId>,
}

impl Frame {
    pub(super) fn event(&self, clock: Clock, what: What) -> Event {
        Event {
            time: clock.timestamps(self.boot),
            origin: self.origin.clone(),
            trace: self.trace,
            process: self.process.clone(),
            what,
            missing: self.missing.clone(),
        }
    }

    /// The same who and why, at another moment.
    pub(super) fn at(&self, origin: Origin, boot: u64) -> Self {
        Self { origin, boot, ..self.clone() }
    }
}
