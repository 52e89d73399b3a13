//! `type = "file"`

use std::{
    fs,
    io::ErrorKind,
    num::NonZeroU64,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::super::{
    table::{FromValue, Table},
    values::{FileMode, Size, Span},
};
use crate::route::template::{self, Template};

/// `[sinks.NAME]` with `type = "file"`: records are appended to a file, only ever as a whole.
///
/// With the encodings "otlp_json" and "json" a record is a line. With "otlp_proto" it is a message behind its length, four bytes with the
/// most significant first, as the OpenTelemetry Collector's file exporter writes `format: proto`; such a file is read through once
/// when it is opened, to find where the last whole message ends.
///
/// What was rotated is beside the file and has the time of its end in its name, `events.jsonl.20260102T030405Z` in UTC, so that names
/// sort by time; `_0001` follows where there were two in one second, and `.gz` or `.zst` where it is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSink {
    /// `path`: absolute. The folder must be there; nobody but root and the daemon's user should be able to write in it. The name of the
    /// file may have attributes in it, `events-{severity}.jsonl`; each file that this gives is rotated and kept by itself, and a brace
    /// that is meant is written twice.
    ///
    /// - A file that was moved or deleted is made anew with the next records, and SIGHUP opens it again at once: logrotate may do the
    ///   rotation, best with `nocreate`. One that was cut off (`copytruncate`) is appended to at its new end; what came between the
    ///   copy and the cut is lost, so better let it be moved.
    /// - A file that is full, or may not be written any more: its records wait in the spool.
    /// - A link is followed once, where root or the daemon's user owns it; rotated files are then beside the file that it leads to.
    /// - A folder or device is refused, and a FIFO too: what its reader has not read yet is gone when it dies. For pipes there is the
    ///   type "stdout".
    pub path: FilePath,
    /// `mode`, default "0640": permissions of a file that is made; one that is there keeps its own.
    pub mode: FileMode,
    /// `fsync`, default "batch": when a record counts as delivered.
    pub fsync: FileFsync,
    /// `rotate_size`, default: none, at least "64KiB". The file is rotated before a record would make it larger.
    pub rotate_size: Option<Size>,
    /// `rotate_age`, default: none, at least "1m". The file is rotated with the first record that comes when it is that old.
    pub rotate_age: Option<Duration>,
    /// `compress`, default "none": what is made of rotated files, in the background.
    pub compress: FileCompression,
    /// `keep_files`, default: all. More rotated files than that are deleted, the oldest first.
    pub keep_files: Option<NonZeroU64>,
    /// `keep_age`, default: for ever. What was rotated longer ago is deleted, within the hour.
    pub keep_age: Option<Duration>,
    /// `keep_size`, default: any, at least `rotate_size`, which must be there too. Of rotated files that are larger together the oldest
    /// are deleted.
    pub keep_size: Option<Size>,
}

/// `sinks.NAME.path` of a file
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePath {
    /// The same for every record.
    Constant(PathBuf),
    /// With attributes of the record in its last component.
    Template(Template<template::Path>),
}

impl FileSink {
    /// All defaults.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path: FilePath::Constant(path),
            mode: FileMode::DEFAULT,
            fsync: FileFsync::Batch,
            rotate_size: None,
            rotate_age: None,
            compress: FileCompression::None,
            keep_files: None,
            keep_age: None,
            keep_size: None,
        }
    }
}

/// `sinks.NAME.fsync` of a file
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileFsync {
    /// "batch": when the disk has it; one fdatasync(2) for all records that are waiting, and one of the folder when a file is opened.
    #[default]
    Batch,
    /// "none": when the kernel has it. A power loss loses what the kernel has not written yet, by default up to half a minute; the end of
    /// the daemon, however it comes, loses nothing.
    None,
}

/// `sinks.NAME.compress` of a file
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileCompression {
    /// "none"
    #[default]
    None,
    /// "gzip": FILE.gz
    Gzip,
    /// "zstd": FILE.zst
    Zstd,
}

const SMALLEST_ROTATION: Size = Size(64 << 10);
const SHORTEST_ROTATION: Duration = Duration::from_secs(60);

pub(super) fn read(table: &mut Table<'_>) -> Option<FileSink> {
    let path = path(table);
    let mode = table.optional("mode").unwrap_or(FileMode::DEFAULT);
    let fsync = table.optional("fsync").unwrap_or_default();
    let place = table.place("rotate_size");
    let rotate_size: Option<Size> = table.optional("rotate_size");
    if let Some(size) = rotate_size.filter(|size| size.0 < SMALLEST_ROTATION.0) {
        table.wrong(&place, "rotate_size", format!("{size} is too little"), format!("at least {SMALLEST_ROTATION}"));
    }
    let place = table.place("rotate_age");
    let rotate_age = table.optional("rotate_age").map(|Span(age)| age);
    if let Some(age) = rotate_age.filter(|&age| age < SHORTEST_ROTATION) {
        let what = format!("{} is too little", humantime::format_duration(age));
        table.wrong(&place, "rotate_age", what, "at least \"1m\"");
    }
    let rotates = rotate_size.is_some() || rotate_age.is_some();
    let place = table.place("compress");
    let compress = table.optional("compress").unwrap_or_default();
    if !rotates && compress != FileCompression::None {
        no_rotated(table, &place, "compress");
    }
    let keep_files = of_rotated(table, "keep_files", rotates);
    let keep_age = of_rotated(table, "keep_age", rotates).map(|Span(age)| age);
    let place = table.place("keep_size");
    let keep_size: Option<Size> = of_rotated(table, "keep_size", rotates);
    match (keep_size, rotate_size) {
        (Some(keep), Some(rotate)) if keep.0 < rotate.0 => {
            let what = format!("{keep} is less than one file has when it is rotated");
            table.wrong(&place, "keep_size", what, format!("at least rotate_size, {rotate}"));
        }
        (Some(keep), None) if rotates => {
            let what = format!("a file could grow over {keep} before it is rotated, and would be deleted then");
            table.wrong(&place, "keep_size", what, "rotate_size beside it");
        }
        _ => {}
    }
    Some(FileSink { path: path?, mode, fsync, rotate_size, rotate_age, compress, keep_files, keep_age, keep_size })
}

/// What is to be kept of rotated files.
fn of_rotated<T: FromValue>(table: &mut Table<'_>, key: &'static str, rotates: bool) -> Option<T> {
    let place = table.place(key);
    let value = table.optional(key)?;
    if !rotates {
        no_rotated(table, &place, key);
    }
    Some(value)
}

fn no_rotated(table: &Table<'_>, place: &str, key: &str) {
    let allowed = "rotate_size or rotate_age beside it; where logrotate rotates, it compresses and deletes too";
    table.wrong(place, key, "there will be no rotated files", allowed);
}

fn path(table: &mut Table<'_>) -> Option<FilePath> {
    let place = table.place("path");
    let text = table.required::<String>("path")?;
    let (path, checked) = match parse(&text) {
        Ok(FilePath::Constant(path)) => (FilePath::Constant(path.clone()), possible(&path)),
        // of the file's name nothing is known but where it is
        Ok(template) => (template, possible(&Path::new(&text).with_file_name("x"))),
        Err((what, allowed)) => {
            table.wrong(&place, "path", what, allowed);
            return None;
        }
    };
    if let Err((what, allowed)) = checked {
        table.wrong(&place, "path", format!("{text}: {what}"), allowed);
        return None;
    }
    let folder = Path::new(&text).parent().unwrap_or(Path::new("/"));
    if fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & 0o002 != 0) {
        let what = format!(
            "anybody may write in the folder {}, and so put another file in the place of this one",
            folder.display()
        );
        table.doubtful(&place, "path", what, "a folder that only root and the daemon's user may write in");
    }
    Some(path)
}

fn parse(text: &str) -> Result<FilePath, (String, String)> {
    if !text.contains(['{', '}']) {
        return Ok(FilePath::Constant(text.into()));
    }
    let template = Template::<template::Path>::parse(text).map_err(|error| (error.why, error.allowed))?;
    if template.is_constant() {
        return Ok(FilePath::Constant(text.replace("{{", "{").replace("}}", "}").into()));
    }
    let name = text.rsplit('/').next().unwrap_or_default();
    if text[..text.len() - name.len()].contains(['{', '}']) {
        let what = format!("{text}: there is a brace in the folder's name");
        return Err((what, "attributes in the name of the file only: the daemon makes no folders".to_owned()));
    }
    Ok(FilePath::Template(template))
}

/// Whether a file could be there; that this user may write it is seen when it is opened.
fn possible(path: &Path) -> Result<(), (String, &'static str)> {
    const ABSOLUTE: &str = "an absolute path such as /var/log/kmodtrail/events.jsonl";
    const FOLDER: &str = "a path in a folder that is there (systemd makes /var/log/kmodtrail for the service)";
    const REGULAR: &str = "the path of a regular file; for pipes there is type = \"stdout\"";
    if !path.is_absolute() {
        return Err(("it is relative".to_owned(), ABSOLUTE));
    }
    if path.to_string_lossy().contains('\0') {
        return Err(("it has a NUL in it".to_owned(), ABSOLUTE));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(("it is a folder".to_owned(), "the path of a file")),
        Ok(found) if !found.is_file() => return Err(("it is a device, socket or pipe".to_owned(), REGULAR)),
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
