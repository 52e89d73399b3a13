//! The names of rotated files: `events.jsonl.20260102T030405Z`, then `_0001` where there are more of that second, then `.gz` or `.zst`.

use std::{
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use humantime::{format_rfc3339_seconds, parse_rfc3339};

use crate::config::FileCompression;

/// More than one second can need.
const LAST: u16 = 9999;

/// In what form a rotated file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it was written.
    Plain,
    /// Compressed, and whole.
    Compressed,
    /// What a compression that did not end has left.
    Part,
}

/// A file that a rotation has made, or what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotated {
    pub(super) path: PathBuf,
    /// When it was rotated, and the which of that second it is: their order is that of the records.
    pub(super) when: (SystemTime, u16),
    pub(super) form: Form,
    /// Bytes.
    pub(super) size: u64,
}

impl Rotated {
    /// What a part is made of.
    pub(super) fn plain(&self) -> PathBuf {
        // events.TIME.gz.part
        self.path.with_extension("").with_extension("")
    }
}

/// What the names of compressed files end with.
const EXTENSIONS: [&str; 2] = ["gz", "zst"];

/// What follows that until the file is whole.
const PART: &str = ".part";

const fn extension(how: FileCompression) -> Option<&'static str> {
    match how {
        FileCompression::None => None,
        FileCompression::Gzip => Some("gz"),
        FileCompression::Zstd => Some("zst"),
    }
}

/// The names of what is made of `plain`: of the whole file, and of one that is not finished. `None` where nothing is made of it.
pub(super) fn compressed(plain: &Path, how: FileCompression) -> Option<[PathBuf; 2]> {
    let done = with(plain, &format!(".{}", extension(how)?));
    let part = with(&done, PART);
    Some([done, part])
}

/// The file gets a name of its own, beside it.
pub(super) fn rotate(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    for count in 0..=LAST {
        let name = name_of((now, count)).map_err(io::Error::other)?;
        let rotated = with(path, &format!(".{name}"));
        // in this order: a file that is just being compressed has its new name before it loses the old one
        let [gz, zst] = EXTENSIONS.map(|extension| with(&rotated, &format!(".{extension}")));
        if !exists(&rotated)? && !exists(&gz)? && !exists(&zst)? {
            // nobody else uses such names
            fs::rename(path, &rotated)?;
            return Ok(rotated);
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// All that rotations of this file have left, the oldest first.
pub(super) fn list(path: &Path) -> io::Result<Vec<Rotated>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(vec![]) };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some((when, form)) = parse(name, &entry.file_name()) else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                found.push(Rotated { path: entry.path(), when, form, size: metadata.len() });
            }
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            // not ours, or gone
            _ => {}
        }
    }
    found.sort_by(|a, b| (a.when, &a.path).cmp(&(b.when, &b.path)));
    Ok(found)
}

/// Whether `found` is a name that [`rotate`] gave the file `name`, or one that was made of such a name.
fn parse(name: &OsStr, found: &OsStr) -> Option<((SystemTime, u16), Form)> {
    let rest = found.as_encoded_bytes().strip_prefix(name.as_encoded_bytes())?;
    let rest = str::from_utf8(rest).ok()?.strip_prefix('.')?;
    let (stamp, suffix) = rest.split_once('.').map_or((rest, None), |(stamp, suffix)| (stamp, Some(suffix)));
    let form = match suffix.map(|suffix| suffix.strip_suffix(PART).ok_or(suffix)) {
        None => Form::Plain,
        Some(Err(extension)) if EXTENSIONS.contains(&extension) => Form::Compressed,
        Some(Ok(extension)) if EXTENSIONS.contains(&extension) => Form::Part,
        Some(_) => return None,
    };
    let (time, count) = stamp.split_once('_').unwrap_or((stamp, "0"));
    let when = (parse_time(time)?, count.parse().ok()?);
    // there is one way only to write a name
    (name_of(when).is_ok_and(|name| name == stamp)).then_some((when, form))
}

/// 20260102T030405Z or 20260102T030405Z_0001
fn name_of((time, count): (SystemTime, u16)) -> Result<String, fmt::Error> {
    let mut name = String::new();
    write!(name, "{}", format_rfc3339_seconds(time))?;
    name.retain(|c| c != '-' && c != ':');
    if count > 0 {
        write!(name, "_{count:04}")?;
    }
    Ok(name)
}

fn parse_time(text: &str) -> Option<SystemTime> {
    if !text.is_ascii() || text.len() != 16 {
        return None;
    }
    let date = [&text[..4], &text[4..6], &text[6..8]].join("-");
    let time = [&text[9..11], &text[11..13], &text[13..15]].join(":");
    parse_rfc3339(&format!("{date}T{time}Z")).ok()
}

/// How long ago it was rotated; nothing where the clock went back.
pub(super) fn age(file: &Rotated, now: SystemTime) -> Duration {
    now.duration_since(file.when.0).unwrap_or_default()
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "events.jsonl";

    /// 2026-01-02T03:04:05Z
    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)
    }

    #[test]
    fn rotated_files_have_names_that_sort_and_none_takes_the_name_of_another() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join(NAME);
        let mut names = Vec::new();
        for turn in 0..4 {
            fs::write(&path, turn.to_string()).expect("the test may write");
            let rotated = rotate(&path, noon()).expect("there is a name");
            if turn == 1 {
                let [done, _] = compressed(&rotated, FileCompression::Zstd).expect("it has names");
                fs::rename(&rotated, &done).expect("the test may rename");
            }
            names.push(rotated.file_name().expect("it has a name").to_string_lossy().into_owned());
        }
        let expected = ["", "_0001", "_0002", "_0003"].map(|count| format!("{NAME}.20260102T030405Z{count}"));
        assert_eq!(names, expected);
        fs::write(&path, "4").expect("the test may write");
        rotate(&path, noon() + Duration::from_secs(3600)).expect("there is a name");
        let listed = list(&path).expect("it can be read");
        let content = |file: &Rotated| fs::read_to_string(&file.path).expect("it can be read");
        assert_eq!(listed.iter().map(content).collect::<String>(), "01234");
        assert!(listed.iter().map(|file| &file.path).is_sorted(), "by name is by time: {listed:?}");
        assert_eq!((listed[1].form, listed[4].when), (Form::Compressed, (noon() + Duration::from_secs(3600), 0)));
    }

    #[test]
    fn only_names_that_rotation_gives_are_taken_for_rotated_files() {
        let parse = |found: &str| parse(OsStr::new(NAME), OsStr::new(found));
        let form = |found: &str| parse(found).map(|(_, form)| form);
        assert_eq!(parse("events.jsonl.20260102T030405Z"), Some(((noon(), 0), Form::Plain)));
        assert_eq!(parse("events.jsonl.20260102T030405Z_0012.gz"), Some(((noon(), 12), Form::Compressed)));
        assert_eq!(form("events.jsonl.20260102T030405Z.zst.part"), Some(Form::Part));
        for other in [
            NAME,
            "events.jsonl.1",
            "events.jsonl.1.gz",
            "events.jsonl-20260102",
            "events.jsonl.20260102T030405",
            "events.jsonl.20260102T030405Z.bak",
            "events.jsonl.20260102T030405Z.gz.old",
            "events.jsonl.20260102T030405Z.part",
            "events.jsonl.20261302T030405Z",
            "events.jsonl.2026010aT030405Z",
            "events.jsonl.+260102T030405Z",
            "events.jsonl.20260102T030405Z_1",
            "events.jsonl.20260102T030405Z_0000",
            "events.jsonl.20260102T030405Z_+001",
            "events.jsonl.20260102\u{e9}030405",
            "other.jsonl.20260102T030405Z",
            "20260102T030405Z",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_folder_or_a_link_with_such_a_name_is_not_ours() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join(NAME);
        fs::create_dir(with(&path, ".20260102T030405Z")).expect("the test may make folders");
        std::os::unix::fs::symlink("/etc/passwd", with(&path, ".20260102T030406Z")).expect("the test may make links");
        assert_eq!(list(&path).expect("it can be read"), []);
    }
}
