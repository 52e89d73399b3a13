//! Writes records to standard output, as lines.
//!
//! Delivered means that the kernel has the line, in a pipe, a socket or a file; nobody acknowledges more. A pipe whose reader does not
//! read fills up: then records wait, and the rest of a line that did not fit comes before anything else. Where the reader has gone
//! (EPIPE) what it did not read is lost; the line that was being written is written to the next one, if there ever is one, from its
//! beginning.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    libc::PIPE_BUF,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    OpenError, Outgoing, Verdict,
    frames::{Framer, Frames, Torn, write},
    verdict::Limits,
};
use crate::config::Encoding;

/// How long a reader may need for a batch before that is trouble.
const PATIENCE: Duration = Duration::from_secs(1);

/// Standard output.
#[derive(Debug)]
pub struct StdoutSink {
    framer: Framer,
    output: Output,
}

/// Where lines go, and what is missing of the last one.
#[derive(Debug)]
struct Output {
    file: Patient,
    torn: Option<Torn>,
}

/// Why standard output does not take records now.
#[derive(Debug, thiserror::Error)]
#[error("can't write to standard output: {0}; let it be a file, or a pipe or socket that somebody reads")]
struct Failure(io::Error);

impl StdoutSink {
    /// Standard output as it is now.
    ///
    /// # Errors
    /// Where there is no descriptor left for it.
    pub fn open(name: &str, encoding: Encoding) -> Result<Self, OpenError> {
        let output = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let output = output.map_err(|source| OpenError::of_file(name, Path::new("/dev/stdout"), &source))?;
        if is_null(&output) {
            tracing::warn!(sink = name, "standard output is /dev/null: whatever is delivered there is lost");
        }
        Ok(Self::on(output, encoding))
    }

    fn on(output: File, encoding: Encoding) -> Self {
        let file = Patient { file: output, patience: PATIENCE, deadline: Instant::now() };
        Self { framer: Framer::new(encoding), output: Output { file, torn: None } }
    }

    /// How much it takes at once: so little that also a slow reader has read it in time.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits { records: 256, bytes: 64 << 10 }
    }

    /// Writes these records; one verdict for each, in their order.
    pub async fn deliver(&mut self, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        self.framer.deliver(records, |frames| self.output.append(frames))
    }

    /// Lets go of it.
    pub async fn close(self) {}
}

impl Output {
    /// Gives how many of the first are delivered, and why not more.
    fn append(&mut self, frames: Frames<'_>) -> (usize, Result<(), Failure>) {
        self.file.deadline = Instant::now() + self.file.patience;
        let (whole, result) = self.write(frames);
        if result.as_ref().is_err_and(|e| e.kind() == ErrorKind::BrokenPipe) {
            self.torn = None;
        }
        (whole, result.map_err(Failure))
    }

    fn write(&mut self, mut frames: Frames<'_>) -> (usize, io::Result<()>) {
        let mut finished = 0;
        if let Some(torn) = &mut self.torn {
            match torn.finish(&mut self.file, frames) {
                Ok(found) => (finished, frames) = found,
                Err(e) => return (0, Err(e)),
            }
        }
        let (written, result) = write(&mut self.file, frames.bytes());
        self.torn = Torn::of(frames, written);
        (finished + frames.whole_in(written as u64), result)
    }
}

/// Writes only what can be written without waiting, and waits for that only so long. The descriptor is shared with others who would not
/// expect it to be non-blocking, so it is not made so.
#[derive(Debug)]
struct Patient {
    file: File,
    patience: Duration,
    deadline: Instant,
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)], timeout)? == 0 {
            return Err(io::Error::new(ErrorKind::TimedOut, "it is full, its reader is too slow or does not read"));
        }
        // pipe(7): where it is writable at all there is room for so much
        self.file.write(&bytes[..bytes.len().min(PIPE_BUF)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_null(output: &File) -> bool {
    let (Ok(output), Ok(null)) = (output.metadata(), fs::metadata("/dev/null")) else { return false };
    output.file_type().is_char_device() && output.rdev() == null.rdev()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{PipeReader, Read as _, pipe},
        ops::Range,
        os::{fd::OwnedFd, unix::net::UnixStream},
        thread,
    };

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;
    use crate::sink::numbered::{Numbered, delivered, numbers};

    const JSON: Encoding = Encoding::Json;

    /// A sink whose pipe has room for one page.
    fn small_pipe() -> (PipeReader, StdoutSink) {
        let (reader, writer) = pipe().expect("a pipe");
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).expect("it can be made small");
        let mut sink = StdoutSink::on(OwnedFd::from(writer).into(), JSON);
        sink.output.file.patience = Duration::from_millis(1);
        (reader, sink)
    }

    fn verdicts(sink: &mut StdoutSink, numbers: Range<u64>) -> Vec<Verdict> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(sink.deliver(&Numbered::new(numbers).outgoing()))
    }

    #[track_caller]
    fn trouble(verdicts: &[Verdict]) -> &str {
        match verdicts.last() {
            Some(Verdict::Retry(trouble)) => &trouble.why,
            other => panic!("the last is to be tried again: {other:?}"),
        }
    }

    #[test]
    fn while_nobody_reads_records_wait_and_no_line_is_torn_or_written_twice() {
        let (mut reader, mut sink) = small_pipe();
        let (mut read, mut sent) = (Vec::new(), 0);
        while sent < 100 {
            let verdicts = verdicts(&mut sink, sent..100);
            sent += delivered(&verdicts) as u64;
            if sent < 100 {
                assert!(trouble(&verdicts).contains("its reader is too slow or does not read"), "{verdicts:?}");
                // a little room, in the middle of a line
                let mut some = [0; 999];
                let count = reader.read(&mut some).expect("it can be read");
                read.extend(&some[..count]);
            }
        }
        drop(sink);
        reader.read_to_end(&mut read).expect("the rest can be read");
        assert_eq!(numbers(JSON, &read), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn where_the_reader_has_gone_records_wait_and_the_next_one_gets_whole_lines() {
        let (reader, mut sink) = small_pipe();
        let sent = delivered(&verdicts(&mut sink, 0..100)) as u64;
        assert!(sink.output.torn.is_some());
        drop(reader);
        let verdicts_now = verdicts(&mut sink, sent..100);
        assert_eq!(delivered(&verdicts_now), 0);
        assert!(trouble(&verdicts_now).contains("Broken pipe"), "{verdicts_now:?}");
        // as where standard output is a FIFO that another process opens
        let (mut reader, writer) = pipe().expect("a pipe");
        sink.output.file.file = OwnedFd::from(writer).into();
        assert_eq!(delivered(&verdicts(&mut sink, sent..100)) as u64, 100 - sent);
        drop(sink);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("it can be read");
        assert_eq!(numbers(JSON, &read), (sent..100).collect::<Vec<_>>());
    }

    #[test]
    fn through_a_socket_as_the_journal_s_everything_arrives() {
        let (mut journal, ours) = UnixStream::pair().expect("two sockets");
        let mut sink = StdoutSink::on(OwnedFd::from(ours).into(), Encoding::OtlpJson);
        let reading = thread::spawn(move || {
            let mut read = Vec::new();
            journal.read_to_end(&mut read).map(|_| read)
        });
        assert_eq!(verdicts(&mut sink, 0..5000), vec![Verdict::Delivered; 5000]);
        drop(sink);
        let read = reading.join().expect("it reads").expect("it can be read");
        assert_eq!(numbers(Encoding::OtlpJson, &read), (0..5000).collect::<Vec<_>>());
    }

    #[test]
    fn that_it_is_dev_null_is_seen() {
        assert!(is_null(&File::options().write(true).open("/dev/null").expect("it is there")));
        assert!(!is_null(&File::options().write(true).open("/dev/full").expect("it is there")));
        assert!(!is_null(&tempfile::tempfile().expect("a file for the test")));
    }
}
