//! The daemon's loop: from the kernel's ring buffers to the spool, and the sinks' workers beside it.
//!
//! Nothing is read while the spool can't take what was read before: the kernel's rings fill then, and count what does not fit.

mod gap;
mod memory;
mod pipeline;
mod print;
mod serve;
mod sinks;
#[cfg(test)]
mod tests;
mod wake;

use std::{os::fd::BorrowedFd, path::PathBuf};

pub use self::{
    pipeline::{Pipeline, PipelineError, Undelivered},
    print::Print,
    serve::serve,
    sinks::SinksError,
};
use crate::{
    config::{self, Config, Problems},
    event::{Coverage, Event, Origin, Probes, Text, Timestamps},
    sensor::{Play, PlayError, Player, Sensor, SensorError, Settings, Totals},
    spool::{LANES, Position},
    systemd::Store,
};

/// Why the daemon can't work, or could not finish its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The kernel's side.
    #[error("can't watch the kernel: {0}")]
    Sensor(#[from] SensorError),
    /// A recording in its place.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// The recording that is to be made.
    #[error("can't write the recording {}: {source}; allowed: a file in a folder that is there and may be written", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The spool or a sink.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The event loop.
    #[error(
        "can't wait for the kernel's ring buffers and for signals: {0}; allowed: a few more open files and memory for this process"
    )]
    Loop(#[source] std::io::Error),
    /// The spool did not take everything until the end.
    #[error(transparent)]
    Undelivered(#[from] Undelivered),
}

/// What the loop needs of the kernel's side. [`Sensor`] and [`Player`] are it; tests have another one.
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
    fn read(&mut self, bulk: bool, events: &mut Vec<Event>) -> bool;
    /// See [`Sensor::resume`].
    fn resume(&mut self, ends: &[u64; LANES]) -> Probes {
        let _ = ends;
        Probes::Attached { refused: None, unwatched_for: None }
    }
    /// See [`Sensor::prepare`].
    fn prepare(&mut self, events: &[Event], positions: &[Position]) {
        let _ = (events, positions);
    }
    /// See [`Sensor::commit`].
    fn commit(&mut self);
    /// See [`Sensor::settings_told`].
    fn settings_told(&self) -> &[(PathBuf, Option<Vec<u8>>)] {
        &[]
    }
    /// See [`Sensor::tell_settings`].
    fn tell_settings(&mut self, values: Vec<(PathBuf, Option<Vec<u8>>)>) {
        let _ = values;
    }
    /// See [`Sensor::is_behind`].
    fn is_behind(&self) -> bool {
        false
    }
    /// See [`Sensor::alive`].
    fn alive(&mut self) {}
    /// See [`Sensor::finish`].
    fn finish(&mut self, last: bool, events: &mut Vec<Event>);
    /// See [`Sensor::detach`].
    fn detach(&mut self) {}
    /// See [`Sensor::open_attempts`].
    fn open(&self) -> Vec<u8> {
        Vec::new()
    }
    /// See [`Sensor::end_attempts`].
    fn end(&mut self, open: &[u8], events: &mut Vec<Event>) {
        let _ = (open, events);
    }
    /// See [`Sensor::totals`].
    fn totals(&self) -> Totals;
    /// What it sees happens to this kernel's modules, now.
    fn is_live(&self) -> bool {
        true
    }
    /// There will never be anything again.
    fn is_over(&self) -> bool {
        false
    }
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
    fn read(&mut self, bulk: bool, events: &mut Vec<Event>) -> bool {
        self.read(bulk, events)
    }
    fn resume(&mut self, ends: &[u64; LANES]) -> Probes {
        self.resume(ends)
    }
    fn prepare(&mut self, events: &[Event], positions: &[Position]) {
        self.prepare(events, positions);
    }
    fn commit(&mut self) {
        self.commit();
    }
    fn settings_told(&self) -> &[(PathBuf, Option<Vec<u8>>)] {
        self.settings_told()
    }
    fn tell_settings(&mut self, values: Vec<(PathBuf, Option<Vec<u8>>)>) {
        self.tell_settings(values);
    }
    fn is_behind(&self) -> bool {
        self.is_behind()
    }
    fn alive(&mut self) {
        self.alive();
    }
    fn finish(&mut self, last: bool, events: &mut Vec<Event>) {
        self.finish(last, events);
    }
    fn detach(&mut self) {
        self.detach();
    }
    fn open(&self) -> Vec<u8> {
        self.open_attempts()
    }
    fn end(&mut self, open: &[u8], events: &mut Vec<Event>) {
        self.end_attempts(open, events);
    }
    fn totals(&self) -> Totals {
        self.totals()
    }
}

impl Watch for Player {
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
    fn read(&mut self, bulk: bool, events: &mut Vec<Event>) -> bool {
        // a recording has both rings in one: it waits as a whole
        bulk && self.read(events)
    }
    fn commit(&mut self) {}
    fn finish(&mut self, _last: bool, events: &mut Vec<Event>) {
        self.finish(events);
    }
    fn totals(&self) -> Totals {
        self.totals()
    }
    fn is_live(&self) -> bool {
        false
    }
    fn is_over(&self) -> bool {
        self.finished()
    }
}

/// Where the kernel's records come from, and whether they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This kernel; also recorded to this file.
    Kernel(Option<PathBuf>),
    /// A recording.
    Recording(Play),
}

/// Gives the configuration again, as it is in its files now.
pub type Reload = Box<dyn Fn() -> Result<(Config, Problems), Problems>>;

/// Watches until SIGTERM or SIGINT, or until the recording is over.
///
/// # Errors
/// Where the daemon can't start, or could not put into the spool what it had read.
pub fn run(file: PathBuf, config: Config, source: Source, print: Option<Print>) -> Result<(), RunError> {
    memory::keep_little();
    let reload: Reload = Box::new(move || config::load(&file));
    match source {
        Source::Kernel(capture) => {
            let mut sensor = Sensor::open(&Settings::from(&config), Store::from_environment())?;
            if let Some(path) = capture {
                sensor.capture(&path).map_err(|source| RunError::Capture { path, source })?;
            }
            watch(sensor, config, print, reload)
        }
        Source::Recording(play) => watch(Player::open(&play)?, config, print, reload),
    }
}

fn watch(watch: impl Watch, config: Config, print: Option<Print>, reload: Reload) -> Result<(), RunError> {
    let pipeline = Pipeline::open(config, watch.kernel_release().as_str(), print)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Loop)?;
    runtime.block_on(serve(watch, pipeline, reload))
}
