//! Records that a sink's far side will never take, kept in a file with the reason: `kmodtrail replay` sends them again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Outgoing;
use crate::{config::Encoding, encode::Encoder};

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// When it was refused, RFC 3339.
    pub time: String,
    /// By which sink.
    pub sink: String,
    /// Why, in the far side's words.
    pub reason: String,
    /// The record: an OTLP/JSON `ExportLogsServiceRequest`.
    pub record: Box<RawValue>,
}

/// The file, shared by all sinks.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    max_size: u64,
    lock: Mutex<()>,
}

/// Why a record can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// It would be larger than it may be.
    #[error("{} has reached its max_size of {max_size} bytes; send what is in it again by `kmodtrail replay`, or delete it", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Bytes.
        max_size: u64,
    },
    /// It can't be written.
    #[error("{} can't be written: {source}; make room or repair the file", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl DeadLetters {
    /// Nothing is opened before there is a dead letter.
    #[must_use]
    pub const fn new(path: PathBuf, max_size: u64) -> Self {
        Self { path, max_size, lock: Mutex::new(()) }
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    /// Keeps records that `sink` refused, each with the reason; they are on the disk when it returns. The file is opened anew each time: somebody may have
    /// taken it away to send it again.
    ///
    /// # Errors
    /// Where not all of them could be kept: then none is.
    pub fn keep(&self, sink: &str, refused: &[(Outgoing<'_>, &str)]) -> Result<(), DeadLettersError> {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let mut encoder = Encoder::from(Encoding::OtlpJson);
        let mut lines = Vec::new();
        for (outgoing, reason) in refused {
            let mut record = Vec::new();
            encoder.encode(outgoing.resource, &outgoing.record, &mut record);
            let record = String::from_utf8(record).expect("the encoder writes JSON");
            let record = RawValue::from_string(record).expect("the encoder writes JSON");
            let (sink, reason) = (sink.to_owned(), (*reason).to_owned());
            let letter = DeadLetter { time: time.clone(), sink, reason, record };
            serde_json::to_writer(&mut lines, &letter).expect("a Vec can be written");
            lines.push(b'\n');
        }
        let _one_at_a_time = self.lock();
        self.append(&lines)
    }

    fn append(&self, lines: &[u8]) -> Result<(), DeadLettersError> {
        let error = |source| DeadLettersError::Io { path: self.path.clone(), source };
        let mut file = open(&self.path).map_err(error)?;
        let length = file.metadata().map_err(error)?.len();
        if length.saturating_add(lines.len() as u64) > self.max_size {
            return Err(DeadLettersError::Full { path: self.path.clone(), max_size: self.max_size });
        }
        let written =
            end_torn_line(&mut file, length).and_then(|()| file.write_all(lines)).and_then(|()| file.sync_data());
        written.map_err(|source| {
            // all or nothing: what was written of it goes again; where even that fails the torn line is ended next time
            let _ = file.set_len(length);
            error(source)
        })
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // it guards no data
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// A crash may have left half a line.
fn end_torn_line(file: &mut File, length: u64) -> io::Result<()> {
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
    }
    if last == [b'\n'] { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{event::samples, record};

    fn letters(path: &Path) -> Vec<DeadLetter> {
        let text = fs::read_to_string(path).expect("it is there");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn refused_records_are_kept_whole_with_the_reason_up_to_the_bound() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("dead-letters.jsonl");
        let mut bytes = Vec::new();
        record::Writer::default().write(&samples::load(), &mut bytes);
        let resource: Arc<[u8]> = Arc::from([]);
        let record = record::Record::parse(&bytes).expect("we wrote it");
        let outgoing = Outgoing { resource: &resource, record };

        let dead = DeadLetters::new(path.clone(), 1 << 20);
        dead.keep("siem", &[(outgoing, "too large"), (outgoing, "really")]).expect("there is room");
        let found = letters(&path);
        let said: Vec<_> = found.iter().map(|l| (l.sink.as_str(), l.reason.as_str())).collect();
        assert_eq!(said, [("siem", "too large"), ("siem", "really")]);
        assert!(found[0].record.get().contains(record.uid()), "{}", found[0].record);
        let size = dead.size();

        // a crash in the middle of a line
        OpenOptions::new().append(true).open(&path).and_then(|mut f| f.write_all(b"{\"torn")).expect("it may");
        dead.keep("siem", &[(outgoing, "third")]).expect("there is room");
        assert_eq!(letters(&path).len(), 3);

        let full = DeadLetters::new(path.clone(), dead.size() + size / 4);
        let before = fs::read(&path).expect("it is there");
        assert!(matches!(full.keep("siem", &[(outgoing, "fourth")]), Err(DeadLettersError::Full { .. })));
        assert_eq!(fs::read(&path).expect("it is there"), before);
    }
}
