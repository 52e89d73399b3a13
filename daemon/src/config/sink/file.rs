//! `type = "file"`

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::super::{table::Table, values::FileMode};

/// `[sinks.NAME]` with `type = "file"`: one record per line is appended. SIGHUP opens the file again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSink {
    /// `path`: absolute; the folder must be there.
    pub path: PathBuf,
    /// `mode`, default "0640": permissions of a file that is made; one that is there keeps its own.
    pub mode: FileMode,
}

pub(super) fn read(table: &mut Table<'_>) -> Option<FileSink> {
    let place = table.place("path");
    let path = table.required::<String>("path").map(PathBuf::from);
    let mode = table.optional("mode").unwrap_or(FileMode::DEFAULT);
    let path = path?;
    if let Err((what, allowed)) = possible(&path) {
        table.wrong(&place, "path", format!("{}: {what}", path.display()), allowed);
        return None;
    }
    Some(FileSink { path, mode })
}

/// Whether a file could be there; that this user may write it is seen when it is opened.
fn possible(path: &Path) -> Result<(), (String, &'static str)> {
    const ABSOLUTE: &str = "an absolute path such as /var/log/kmodtrail/events.jsonl";
    const FOLDER: &str = "a path in a folder that is there (systemd makes /var/log/kmodtrail for the service)";
    if !path.is_absolute() {
        return Err(("it is relative".to_owned(), ABSOLUTE));
    }
    if path.to_string_lossy().contains('\0') {
        return Err(("it has a NUL in it".to_owned(), ABSOLUTE));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(("it is a folder".to_owned(), "the path of a file")),
        Ok(found) if !found.is_file() => {
            return Err(("it is a device, socket or pipe".to_owned(), "the path of a regular file"));
        }
        Ok(_) => return Ok(()),
        // who checks need not be who runs
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err((e.to_string(), ABSOLUTE)),
    }
    if path.to_string_lossy().ends_with('/') {
        return Err(("it names a folder".to_owned(), "the path of a file"));
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    match fs::metadata(parent) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err((format!("{} is not a folder", parent.display()), FOLDER)),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Err((format!("there is no folder {}", parent.display()), FOLDER)),
        Err(e) => Err((format!("{}: {e}", parent.display()), FOLDER)),
    }
}
