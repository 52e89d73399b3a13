//! What of the programs in systemd's store those know that are not given it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use aya::maps::{MapError, MapInfo};

use super::SensorError;
use crate::systemd;

/// What the latest generation in systemd's store is made of, and the id of one of its maps: `kmodtrail attach` is not told what is there. A
/// file in the unit's RuntimeDirectory.
#[derive(Debug)]
pub(super) struct Marker(Option<PathBuf>);

impl Marker {
    /// By RUNTIME_DIRECTORY; without it there is none.
    pub(super) fn find() -> Self {
        Self(systemd::folder("RUNTIME_DIRECTORY").map(|folder| folder.join("attached")))
    }

    /// What is there is made of this. `None`: nothing is there; systemd may have dropped what the file tells of.
    pub(super) fn read(&self) -> Option<String> {
        let text = fs::read_to_string(self.0.as_ref()?).ok()?;
        let (made_of, map) = text.split_once(' ')?;
        let exists = |map| match MapInfo::from_id(map) {
            Err(MapError::SyscallError(error)) => error.io_error.kind() != io::ErrorKind::NotFound,
            _ => true,
        };
        map.parse().is_ok_and(exists).then(|| made_of.to_owned())
    }

    /// # Errors
    /// Where it can't be written.
    pub(super) fn write(&self, made_of: &str, map: u32) -> Result<(), SensorError> {
        let Some(path) = &self.0 else { return Ok(()) };
        let text = format!("{made_of} {map}");
        // whoever owns the folder may have put a link in its place
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new);
        let written =
            written.and_then(|mut file| file.write_all(text.as_bytes())).and_then(|()| fs::rename(&new, path));
        written.map_err(|source| SensorError::Marker { path: path.clone(), source })
    }

    /// What the file tells of is not there, or of no use. What can't be removed now is tried again by the next process.
    pub(super) fn remove(&self) {
        let _ = self.0.as_ref().map(fs::remove_file);
    }
}
