//! Appends records to a file.
//!
//! What is promised:
//! - **Delivered** with fsync = "batch" (the default): fdatasync(2) of the file has succeeded after the record was written, and fsync(2)
//!   of its folder since the file was opened; then the file still had a name, and was as long as it was left. So a power loss does not
//!   lose it. With "none": write(2) has succeeded, and the file still had a name. A process that is killed loses nothing then, a power
//!   loss what the kernel had not written yet.
//! - **Whole records only.** What fits only in part, on a full disk or below a limit, is cut off again, or finished before anything
//!   else where it can't be cut off; a piece that kill -9 or a power loss has left at the end is cut off when the file is opened. Where
//!   fdatasync fails all that it was for is cut off and written anew: a second fdatasync says nothing of the pages that the first
//!   could not write.
//! - **The file of that name only.** Before each batch it is looked whether the path still leads to the open file; where that was moved,
//!   deleted or replaced, the path is opened again, and where that fails the records wait.
//! - Nothing of others is changed: what stands in the file before our records stays, and only names that our rotation gives are
//!   deleted.
//! - Rotation that fails never stops records: they go on to be appended to the file as it is.
//!
//! What is not promised: a record may be in the file twice, with the same `log.record.uid`, where its batch failed after it was
//! written.

mod appender;
mod compress;
mod end;
mod failure;
mod keeper;
mod open;
mod rotated;
mod rotating;
#[cfg(test)]
mod tests;

use std::path::Path;

use self::{failure::Failure, rotating::Rotating};
use super::{
    Health, OpenError, Outgoing, Verdict,
    frames::{Framer, Frames},
    verdict::Limits,
};
use crate::config::{self, Encoding};

/// A file, its rotation, and what was rotated.
#[derive(Debug)]
pub struct FileSink {
    name: String,
    framer: Framer,
    health: Health,
    /// The file at `path`. Once that is a template there is one for each path that it gives.
    file: Rotating,
}

impl FileSink {
    /// Opens the file, or makes it. A disk that is full, read-only or broken keeps nothing from starting: the records wait.
    ///
    /// # Errors
    /// Where the path is wrong, or may not be written by this user.
    pub fn open(name: &str, config: &config::FileSink, encoding: Encoding, health: Health) -> Result<Self, OpenError> {
        let error = |source| OpenError::of_file(name, &config.path, &source);
        let mut file = Rotating::new(name, config, encoding).map_err(error)?;
        match file.reopen() {
            Ok(()) => {}
            Err(failure) if failure.is_lasting() => return Err(error(failure.source)),
            Err(failure) => health.trouble(&failure.to_string()),
        }
        Ok(Self { name: name.to_owned(), framer: Framer::new(encoding), health, file })
    }

    /// How much it takes at once: one fdatasync is for all of it.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits { records: 4096, bytes: 1 << 20 }
    }

    /// Appends these records; one verdict for each, in their order.
    pub async fn deliver(&mut self, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        self.framer.deliver(records, |frames| self.file.append(frames))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Opens the path again, for SIGHUP.
    pub fn reopen(&mut self) {
        match self.file.reopen() {
            Ok(()) => tracing::info!(sink = self.name, path = %self.path().display(), "opened again"),
            Err(failure) => self.health.trouble(&failure.to_string()),
        }
    }

    /// Lets go of the file. What is being compressed is finished at the next start.
    pub async fn close(self) {}

    pub(super) fn append(&mut self, frames: Frames<'_>) -> (usize, Result<(), Failure>) {
        self.file.append(frames)
    }
}
