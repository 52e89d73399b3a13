//! What of the programs in systemd's store those know that are not given it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::SensorError;
use crate::systemd;

/// What a generation in systemd's store is made of: `kmodtrail attach` is not told what is there. A file in the unit's RuntimeDirectory, which
/// goes when the store is emptied.
#[derive(Debug)]
pub(super) struct Marker(Option<PathBuf>);

impl Marker {
    /// By RUNTIME_DIRECTORY; without it there is none.
    pub(super) fn find() -> Self {
        Self(systemd::folder("RUNTIME_DIRECTORY").map(|folder| folder.join("attached")))
    }

    /// What is there is made of this.
    pub(super) fn read(&self) -> Option<String> {
        fs::read_to_string(self.0.as_ref()?).ok()
    }

    /// # Errors
    /// Where it can't be written.
    pub(super) fn write(&self, made_of: &str) -> Result<(), SensorError> {
        let Some(path) = &self.0 else { return Ok(()) };
        // whoever owns the folder may have put a link in its place
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new);
        let written =
            written.and_then(|mut file| file.write_all(made_of.as_bytes())).and_then(|()| fs::rename(&new, path));
        written.map_err(|source| SensorError::Marker { path: path.clone(), source })
    }

    /// It is not there as it should be, only `others` are, or nothing. What can't be written now is tried again by the next process.
    pub(super) fn spoil(&self, others: bool) {
        let _ = match &self.0 {
            Some(_) if others => self.write("something else").is_ok(),
            Some(path) => fs::remove_file(path).is_ok(),
            None => false,
        };
    }
}
