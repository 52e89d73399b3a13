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
mod claim;
mod compress;
mod end;
mod failure;
mod keeper;
mod open;
mod rotated;
mod rotating;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use lru::LruCache;

use self::{failure::Failure, keeper::Keeper, rotating::Rotating};
use super::{Health, OpenError, Outgoing, Verdict, frames::Framer, verdict::Limits};
use crate::config::{self, Encoding, FilePath};

/// So many files are open at the same time, where the path has attributes in it.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0");

/// A file, or one for each value of the attributes in its path.
#[derive(Debug)]
pub struct FileSink {
    name: String,
    config: config::FileSink,
    encoding: Encoding,
    framer: Framer,
    health: Health,
    files: LruCache<PathBuf, Rotating>,
    keeper: Option<Arc<Keeper>>,
}

impl FileSink {
    /// Opens the file, or makes it. A disk that is full, read-only or broken keeps nothing from starting: the records wait.
    ///
    /// # Errors
    /// Where the path is wrong, or may not be written by this user.
    pub fn open(name: &str, config: &config::FileSink, encoding: Encoding, health: Health) -> Result<Self, OpenError> {
        if let FilePath::Constant(path) = &config.path
            // looked at only: until the first record another sink may be writing there
            && let Err(source) = open::open(path, config.mode.0)
        {
            let failure = Failure { doing: "open", path: path.clone(), source };
            if failure.is_lasting() {
                return Err(OpenError::of_file(name, path, &failure.source));
            }
            health.trouble(&failure.to_string());
        }
        let keeper = Keeper::start(name, config).map_err(|e| OpenError {
            sink: name.to_owned(),
            why: format!(
                "there can't be a thread for its rotated files: {e}; allowed: a few more threads for this process"
            ),
        })?;
        Ok(Self {
            name: name.to_owned(),
            config: config.clone(),
            encoding,
            framer: Framer::new(encoding),
            health,
            files: LruCache::new(OPEN_FILES),
            keeper: keeper.map(Arc::new),
        })
    }

    /// How much it takes at once: one fdatasync is for all of it.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits { records: 4096, bytes: 1 << 20 }
    }

    /// Appends these records; one verdict for each, in their order.
    pub async fn deliver(&mut self, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        let template = match &self.config.path {
            FilePath::Constant(path) => {
                let path = path.clone();
                return self.append(&path, records);
            }
            FilePath::Template(template) => template,
        };
        let mut by_path = BTreeMap::<_, Vec<_>>::new();
        for (at, outgoing) in records.iter().enumerate() {
            let mut path = String::new();
            template.render(outgoing.resource, &outgoing.record, &mut path);
            by_path.entry(path).or_default().push(at);
        }
        let mut verdicts = vec![Verdict::Delivered; records.len()];
        for (path, places) in by_path {
            let some: Vec<_> = places.iter().map(|&at| records[at]).collect();
            for (at, verdict) in places.into_iter().zip(self.append(Path::new(&path), &some)) {
                verdicts[at] = verdict;
            }
        }
        verdicts
    }

    /// Appends them to the file at this path.
    fn append(&mut self, path: &Path, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        let Self { name, config, encoding, framer, files, keeper, .. } = self;
        let file = files.get_or_insert_mut_ref(path, || Rotating::new(name, path, config, *encoding, keeper.clone()));
        framer.deliver(records, |frames| file.append(frames))
    }

    /// Opens its files again, for SIGHUP.
    pub fn reopen(&mut self) {
        let Self { name, config, encoding, files, keeper, .. } = self;
        if let FilePath::Constant(path) = &config.path {
            files.get_or_insert_ref(path, || Rotating::new(name, path, config, *encoding, keeper.clone()));
        }
        for (path, file) in &mut self.files {
            match file.reopen() {
                Ok(()) => tracing::info!(sink = self.name, path = %path.display(), "opened again"),
                Err(failure) => self.health.trouble(&failure.to_string()),
            }
        }
    }

    /// Lets go of everything. What is being compressed is finished at the next start.
    pub async fn close(self) {}
}
