//! A recording of the kernel's records, as they came out of the rings: for tests, benchmarks, and reports of bugs.
//!
//! A line of JSON that says where they come from, then each record behind its length (u32, little endian), in the order in which they
//! became events. Integers in a record are in the byte order of the machine that recorded it.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, ErrorKind, Read as _, Write as _},
    path::Path,
    sync::Arc,
};

use kmodtrail_abi::ABI;
use serde::{Deserialize, Serialize};

use super::frame::Context;
use crate::event::{Taints, Text};

/// The first word of the first line.
const MAGIC: &str = "kmodtrail-recording";
/// Changes with this file's form; that of the records is [`ABI`].
const FORMAT: u32 = 2;
/// Nothing that the kernel sends is longer.
const LONGEST: usize = 64 << 10;
/// No first line is longer.
const LONGEST_LINE: u64 = 4096;

/// Where the records come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    magic: String,
    format: u32,
    abi: u16,
    architecture: String,
    pub(super) kernel: String,
    sees_verification: bool,
    sees_parameters: bool,
    sees_signature_check: bool,
    checks_signatures: bool,
    taints: Option<u64>,
}

impl Source {
    pub(super) fn here(kernel: &Text, context: &Context) -> Self {
        Self {
            magic: MAGIC.to_owned(),
            format: FORMAT,
            abi: ABI,
            architecture: std::env::consts::ARCH.to_owned(),
            kernel: kernel.as_str().to_owned(),
            sees_verification: context.sees_verification,
            sees_parameters: context.sees_parameters,
            sees_signature_check: context.sees_signature_check,
            checks_signatures: context.checks_signatures,
            taints: context.taints.map(|taints| taints.0),
        }
    }

    /// What the assembler must know, with this boot's id.
    pub(super) fn context(&self, boot_id: Arc<str>) -> Context {
        Context {
            boot_id,
            sees_verification: self.sees_verification,
            sees_parameters: self.sees_parameters,
            sees_signature_check: self.sees_signature_check,
            checks_signatures: self.checks_signatures,
            taints: self.taints.map(Taints),
            policy: None,
            settings: Arc::default(),
        }
    }

    fn check(self) -> io::Result<Self> {
        let Self { magic, format, abi, architecture, .. } = &self;
        let here = std::env::consts::ARCH;
        if magic != MAGIC {
            return Err(invalid("it is no recording of kmodtrail"));
        }
        if (*format, *abi, architecture.as_str()) != (FORMAT, ABI, here) {
            return Err(invalid(format!(
                "it was recorded by another version or on another machine (format {format}, ABI {abi}, {architecture}; allowed: format {FORMAT}, \
                 ABI {ABI}, {here})"
            )));
        }
        Ok(self)
    }
}

fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// A recording that is being made.
#[derive(Debug)]
pub(super) struct Capture {
    file: BufWriter<File>,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
}

impl Capture {
    pub(super) fn create(path: &Path, source: &Source) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut file, source)?;
        file.write_all(b"\n")?;
        Ok(Self { file, failed: None })
    }

    /// An error is given by [`Self::finish`]: a recording must not stop the watching.
    pub(super) fn write(&mut self, record: &[u8]) {
        if self.failed.is_none() {
            let length = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
            self.failed = self.file.write_all(&length).and_then(|()| self.file.write_all(record)).err();
        }
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.failed.take().map_or_else(|| self.file.flush(), Err)
    }
}

/// A recording that is read.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) source: Source,
    /// All records, one behind the other.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Recording {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        io::BufRead::read_until(&mut io::Read::take(&mut file, LONGEST_LINE), b'\n', &mut line)?;
        let source: Source = serde_json::from_slice(&line).map_err(|_| invalid("it is no recording of kmodtrail"))?;
        let source = source.check()?;
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        loop {
            let mut length = [0; 4];
            match file.read_exact(&mut length) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(e),
            }
            let length = u32::from_le_bytes(length) as usize;
            if length > LONGEST {
                return Err(invalid(format!(
                    "record {} of it has {length} bytes, no record has so many",
                    ends.len() + 1
                )));
            }
            let begin = bytes.len();
            bytes.resize(begin + length, 0);
            file.read_exact(&mut bytes[begin..])
                .map_err(|_| invalid(format!("record {} of it is cut", ends.len() + 1)))?;
            ends.push(bytes.len());
        }
        if ends.is_empty() {
            return Err(invalid("there is no record in it"));
        }
        Ok(Self { source, bytes, ends })
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// One of [`Self::len`] records.
    pub(super) fn record(&self, index: usize) -> &[u8] {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[index]]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn source() -> Source {
        let context = Context { sees_parameters: false, ..Context::of_test() };
        Source::here(&"6.1.0-test".into(), &context)
    }

    fn refused(path: &Path, bytes: &[u8]) -> String {
        fs::write(path, bytes).expect("the test may write");
        Recording::read(path).expect_err("it is no whole recording").to_string()
    }

    #[test]
    fn what_was_captured_comes_back_and_what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("recording");
        let mut capture = Capture::create(&path, &source()).expect("it can be made");
        let records: [&[u8]; 3] = [b"one", b"", b"three\nlines\n"];
        records.iter().for_each(|r| capture.write(r));
        capture.finish().expect("it can be written");
        let recording = Recording::read(&path).expect("it is whole");
        assert_eq!(recording.source, source());
        assert_eq!((0..recording.len()).map(|i| recording.record(i)).collect::<Vec<_>>(), records);

        let whole = fs::read(&path).expect("it is there");
        assert_eq!(refused(&path, &whole[..whole.len() - 1]), "record 3 of it is cut");
        assert_eq!(refused(&path, b"{\"magic\":1}\n"), "it is no recording of kmodtrail");
        assert_eq!(refused(&path, &[b'x'; 10_000]), "it is no recording of kmodtrail");
        let first_line = whole.iter().position(|&b| b == b'\n').expect("it has one") + 1;
        assert_eq!(refused(&path, &whole[..first_line]), "there is no record in it");
        let long = [&whole[..first_line], &[0xff; 8]].concat();
        assert!(refused(&path, &long).contains("no record has so many"));
        let newer = String::from_utf8_lossy(&whole[..first_line]).replace("\"format\":2", "\"format\":3");
        assert!(refused(&path, newer.as_bytes()).contains("format 3"));
    }
}
