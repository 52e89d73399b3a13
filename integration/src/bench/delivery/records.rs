//! The records that all subjects send: what kmodtrail makes of a recording.

use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use super::kmodtrail;
use crate::{cache, testbed::Testbed};

/// How often the recording is played for them; then they begin again. No compressor looks back so far.
const TIMES: u64 = 100;

/// See the module. Their file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Records {
    folder: TempDir,
    lines: Vec<String>,
    /// How many one time makes.
    pub(super) each: usize,
}

impl Records {
    /// Makes them.
    ///
    /// # Errors
    /// When the daemon fails, or the file can't be written.
    pub(super) fn new(testbed: &Testbed) -> Result<Self> {
        let (lines, each) = kmodtrail::lines(testbed, TIMES)?;
        let records = Self { folder: tempfile::tempdir()?, lines, each };
        cache::write_atomically(&records.file(), records.lines.join("\n"))?;
        Ok(records)
    }

    /// Their mean length in bytes.
    pub(super) fn length(&self) -> usize {
        self.lines.iter().map(String::len).sum::<usize>() / self.lines.len()
    }

    /// A file of their lines.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("records")
    }

    /// So many of them.
    pub(super) fn take(&self, number: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str).cycle().take(number)
    }
}
