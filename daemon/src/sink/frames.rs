//! Messages one behind the other, in a file or on their way through a pipe, so that each can be told from the next.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use super::{Outgoing, Trouble, Verdict};
use crate::{config::Encoding, encode::Encoder};

/// How an encoding's messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// A newline behind each. Our own begin with `opening`.
    Lines { opening: &'static str },
    /// Four bytes before each, its length, the most significant first: as the OpenTelemetry Collector's file exporter writes and its
    /// file receiver reads `format: proto` (exporter/fileexporter/file_writer.go, exportMessageAsBuffer).
    Lengths,
}

/// Bytes of a length.
pub(super) const PREFIX: usize = 4;

impl Framing {
    pub(super) const fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::OtlpJson => Self::Lines { opening: r#"{"resourceLogs":"# },
            Encoding::Json => Self::Lines { opening: r#"{"@timestamp":"# },
            Encoding::OtlpProto => Self::Lengths,
        }
    }
}

/// A burst may need more for a moment; that memory is given back.
const KEPT_CAPACITY: usize = 64 << 10;

/// Encodes and frames records, a batch at a time.
#[derive(Debug)]
pub(super) struct Framer {
    framing: Framing,
    encoder: Encoder,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Framer {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { framing: Framing::of(encoding), encoder: encoding.into(), bytes: Vec::new(), ends: Vec::new() }
    }

    /// Has all records written. `append` says how many of the first were, and why not more.
    pub(super) fn deliver<E: Display>(
        &mut self,
        records: &[Outgoing<'_>],
        append: impl FnOnce(Frames<'_>) -> (usize, Result<(), E>),
    ) -> Vec<Verdict> {
        let (delivered, result) = append(self.frame(records));
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        let mut verdicts = vec![Verdict::Delivered; delivered];
        if let Err(why) = result {
            verdicts.resize(records.len(), Verdict::Retry(Trouble::new(why)));
        }
        verdicts
    }

    /// The records as frames.
    pub(super) fn frame(&mut self, records: &[Outgoing<'_>]) -> Frames<'_> {
        self.bytes.clear();
        self.ends.clear();
        for outgoing in records {
            self.push(outgoing);
            self.ends.push(self.bytes.len());
        }
        Frames { bytes: &self.bytes, ends: &self.ends, begin: 0 }
    }

    fn push(&mut self, outgoing: &Outgoing<'_>) {
        let begin = self.bytes.len();
        match self.framing {
            Framing::Lines { .. } => {
                self.encoder.encode(outgoing.resource, &outgoing.record, &mut self.bytes);
                self.bytes.push(b'\n');
            }
            Framing::Lengths => {
                self.bytes.extend_from_slice(&[0; PREFIX]);
                self.encoder.encode(outgoing.resource, &outgoing.record, &mut self.bytes);
                let length = self.bytes.len() - begin - PREFIX;
                let length = u32::try_from(length).expect("no kernel or program makes a record of 4 GiB");
                self.bytes[begin..begin + PREFIX].copy_from_slice(&length.to_be_bytes());
            }
        }
    }
}

/// Some of the frames of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Frames<'b> {
    bytes: &'b [u8],
    /// Where each ends, in the whole batch.
    ends: &'b [usize],
    /// Where the first of `bytes` is in the whole batch.
    begin: usize,
}

impl<'b> Frames<'b> {
    /// Frames that stand one behind the other and end here.
    #[cfg(test)]
    pub(super) const fn new(bytes: &'b [u8], ends: &'b [usize]) -> Self {
        Self { bytes, ends, begin: 0 }
    }

    pub(super) const fn bytes(self) -> &'b [u8] {
        self.bytes
    }

    pub(super) const fn count(self) -> usize {
        self.ends.len()
    }

    /// How many bytes the first `count` have.
    pub(super) fn length_of(self, count: usize) -> usize {
        count.checked_sub(1).map_or(0, |last| self.ends[last] - self.begin)
    }

    /// How many are whole in the first `bytes` bytes.
    pub(super) fn whole_in(self, bytes: u64) -> usize {
        self.ends.partition_point(|end| (end - self.begin) as u64 <= bytes)
    }

    pub(super) fn split_at(self, count: usize) -> (Self, Self) {
        let (bytes, more_bytes) = self.bytes.split_at(self.length_of(count));
        let (ends, more_ends) = self.ends.split_at(count);
        let begin = self.begin;
        (Self { bytes, ends, begin }, Self { bytes: more_bytes, ends: more_ends, begin: begin + bytes.len() })
    }
}

/// A frame of which only the first bytes were written: the rest must come before anything else.
#[derive(Debug)]
pub(super) struct Torn {
    frame: Vec<u8>,
    written: usize,
}

impl Torn {
    /// The first of the frames that `written` bytes have not finished; `None` where that many are whole frames.
    pub(super) fn of(frames: Frames<'_>, written: usize) -> Option<Self> {
        let whole = frames.whole_in(written as u64);
        let (begin, end) = (frames.length_of(whole), frames.length_of((whole + 1).min(frames.count())));
        (written > begin).then(|| Self { frame: frames.bytes[begin..end].to_vec(), written: written - begin })
    }

    /// How many bytes of it were written.
    pub(super) const fn written(&self) -> usize {
        self.written
    }

    /// Bytes of all of it.
    pub(super) const fn length(&self) -> usize {
        self.frame.len()
    }

    /// Writes the rest. Gives how many of these frames that makes, one or none, and the others.
    pub(super) fn finish<'b>(&mut self, out: &mut impl Write, frames: Frames<'b>) -> io::Result<(usize, Frames<'b>)> {
        let (written, result) = write(out, &self.frame[self.written..]);
        self.written += written;
        result?;
        let (first, others) = frames.split_at(1.min(frames.count()));
        Ok(if first.bytes == self.frame { (1, others) } else { (0, frames) })
    }
}

/// As `write_all`, and says how much was written.
pub(super) fn write(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return (written, Err(e)),
        }
    }
    (written, Ok(()))
}
