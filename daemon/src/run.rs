//! The daemon's loop: from the kernel's ring buffers to the sinks.
//!
//! Nothing is read while a sink can't take what was read before: the kernel's rings fill then, and count what does not fit.

mod pipeline;
mod print;
mod serve;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

pub use self::{
    pipeline::{Figures, Pipeline},
    print::Print,
    serve::serve,
};
use crate::{
    config::Config,
    event::{Coverage, Event, Origin, Text, Timestamps},
    sensor::{Sensor, SensorError, Settings, Totals},
    sink::OpenError,
};

/// Why the daemon can't work, or could not finish its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The kernel's side.
    #[error("can't watch the kernel: {0}")]
    Sensor(#[from] SensorError),
    /// A sink.
    #[error(transparent)]
    Sink(OpenError),
    /// The event loop.
    #[error(
        "can't wait for the kernel's ring buffers and for signals: {0}; allowed: a few more open files and memory for this process"
    )]
    Loop(#[source] std::io::Error),
    /// Sinks did not take everything until the end.
    #[error(
        "{records} records could not be written before the end: {sinks}; make room or repair the sinks, these records are lost"
    )]
    Undelivered {
        /// How many.
        records: u64,
        /// Names of the sinks, and how many of each.
        sinks: String,
    },
}

/// What the loop needs of the kernel's side. [`Sensor`] is it; tests have another one.
pub trait Watch {
    /// See [`Sensor::coverage`].
    fn coverage(&self) -> Coverage;
    /// See [`Sensor::own_origin`].
    fn own_origin(&mut self) -> Origin;
    /// See [`Sensor::now`].
    fn now(&self) -> Timestamps;
    /// See [`Sensor::kernel_release`].
    fn kernel_release(&self) -> Text;
    /// See [`Sensor::descriptors`].
    fn descriptors(&self) -> [BorrowedFd<'_>; 2];
    /// See [`Sensor::read`].
    fn read(&mut self, events: &mut Vec<Event>) -> bool;
    /// See [`Sensor::commit`].
    fn commit(&mut self);
    /// See [`Sensor::finish`].
    fn finish(&mut self, events: &mut Vec<Event>);
    /// See [`Sensor::totals`].
    fn totals(&self) -> Totals;
}

impl Watch for Sensor {
    fn coverage(&self) -> Coverage {
        self.coverage()
    }
    fn own_origin(&mut self) -> Origin {
        self.own_origin()
    }
    fn now(&self) -> Timestamps {
        self.now()
    }
    fn kernel_release(&self) -> Text {
        self.kernel_release()
    }
    fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        self.descriptors()
    }
    fn read(&mut self, events: &mut Vec<Event>) -> bool {
        self.read(events)
    }
    fn commit(&mut self) {
        self.commit();
    }
    fn finish(&mut self, events: &mut Vec<Event>) {
        self.finish(events);
    }
    fn totals(&self) -> Totals {
        self.totals()
    }
}

/// Watches until SIGTERM or SIGINT.
///
/// # Errors
/// Where the daemon can't start, or sinks did not take everything until the end.
pub fn run(config: &Config, print: Option<Print>) -> Result<(), RunError> {
    let sensor = Sensor::open(&Settings::from(&config.sensor))?;
    let pipeline = Pipeline::open(config, sensor.kernel_release().as_str(), print).map_err(RunError::Sink)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Loop)?;
    runtime.block_on(serve(sensor, pipeline))
}
