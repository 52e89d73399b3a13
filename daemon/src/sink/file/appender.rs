//! One file, and how whole frames get to its end.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    end::{self, End},
    open::{Opened, open, sync_folder},
};
use crate::{
    config::{self, FileFsync},
    sink::frames::{Frames, Framing, Torn, write},
};

/// An open file. Only whole frames are in it, but for a torn one at its end that can't be cut off.
#[derive(Debug)]
pub(super) struct Appender {
    file: File,
    /// Where it is.
    path: PathBuf,
    /// Its device and inode.
    identity: (u64, u64),
    framing: Framing,
    fsync: FileFsync,
    /// The disk may not know its name yet: whoever made it may have been killed before it did.
    unnamed: bool,
    /// When its first record came, as far as that is known.
    born: SystemTime,
    /// Where its last whole frame ends.
    length: u64,
    torn: Option<Torn>,
}

impl Appender {
    /// Opens or makes it, and repairs its end.
    pub(super) fn open(path: &Path, config: &config::FileSink, framing: Framing) -> io::Result<Self> {
        let Opened { file, path } = open(path, config.mode.0)?;
        let found = file.metadata()?;
        let mut appender = Self {
            file,
            path,
            identity: (found.dev(), found.ino()),
            framing,
            fsync: config.fsync,
            unnamed: true,
            // not every file system knows
            born: found.created().unwrap_or_else(|_| SystemTime::now()),
            length: 0,
            torn: None,
        };
        appender.repair(0, found.len())?;
        Ok(appender)
    }

    /// Where it is; where the configured path is a link, what that leads to.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where its last whole record ends.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// When its first record came.
    pub(super) const fn born(&self) -> SystemTime {
        self.born
    }

    /// There is something in it, and nothing that must be finished first.
    pub(super) const fn can_be_left(&self) -> bool {
        self.length > 0 && self.torn.is_none()
    }

    /// Whether the path still leads to this file. What others did to the file itself is noticed too: records follow its new end.
    pub(super) fn is_at(&mut self, path: &Path) -> io::Result<bool> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        if (found.dev(), found.ino()) != self.identity {
            return Ok(false);
        }
        let expected = self.length + self.torn.as_ref().map_or(0, Torn::written) as u64;
        if found.len() < expected {
            let (path, bytes) = (self.path.display(), found.len());
            tracing::warn!(%path, bytes, "somebody has cut the file off: what comes is appended at its new end");
            self.repair(0, found.len())?;
        } else if found.len() > expected {
            // what was known to be whole still is
            self.repair(self.length, found.len())?;
        }
        Ok(true)
    }

    /// Makes the end of the file, of this length, one that frames can follow.
    fn repair(&mut self, known: u64, length: u64) -> io::Result<()> {
        self.torn = None;
        self.length = match end::find(&self.file, self.framing, known, length)? {
            End::Whole => length,
            End::Unended => self.end_line(length)?,
            End::Torn(at) => {
                let (path, bytes) = (self.path.display(), length - at);
                tracing::warn!(%path, bytes, "the file ends with a piece of a record, which is cut off: the record comes again");
                match self.file.set_len(at) {
                    Ok(()) => at,
                    // a file that only grows (chattr +a): the piece becomes a line of its own
                    Err(e) if e.kind() == ErrorKind::PermissionDenied && self.framing != Framing::Lengths => {
                        self.end_line(length)?
                    }
                    Err(e) => return Err(e),
                }
            }
        };
        Ok(())
    }

    fn end_line(&mut self, length: u64) -> io::Result<u64> {
        self.file.write_all(b"\n")?;
        Ok(length + 1)
    }

    /// Appends frames: gives how many of the first are in the file, as safe as the policy says, and why not more.
    pub(super) fn append(&mut self, frames: Frames<'_>) -> (usize, io::Result<()>) {
        let before = self.length;
        if before == 0 {
            self.born = SystemTime::now();
        }
        let (whole, written) = self.write(frames);
        match self.settle(before) {
            Ok(()) => (whole, written),
            Err(e) => (0, Err(e)),
        }
    }

    fn write(&mut self, frames: Frames<'_>) -> (usize, io::Result<()>) {
        let (finished, frames) = match self.finish_torn(frames) {
            Ok(found) => found,
            Err(e) => return (0, Err(e)),
        };
        let (written, result) = write(&mut self.file, frames.bytes());
        let whole = frames.whole_in(written as u64);
        self.length += frames.length_of(whole) as u64;
        if let Some(torn) = Torn::of(frames, written)
            && self.cut_off(torn.written() as u64).is_err()
        {
            self.torn = Some(torn);
        }
        (finished + whole, result)
    }

    fn finish_torn<'b>(&mut self, frames: Frames<'b>) -> io::Result<(usize, Frames<'b>)> {
        let Some(torn) = &mut self.torn else { return Ok((0, frames)) };
        let found = torn.finish(&mut self.file, frames)?;
        self.length += torn.length() as u64;
        self.torn = None;
        Ok(found)
    }

    /// Makes what was appended behind `before` as safe as the policy says, and looks whether it is still there.
    fn settle(&mut self, before: u64) -> io::Result<()> {
        if self.length == before {
            return Ok(());
        }
        if let Err(e) = self.sync() {
            // the kernel says only once that it could not write these pages: they are written anew
            if self.torn.is_none() && self.cut_off(self.length - before).is_ok() {
                self.length = before;
            }
            return Err(e);
        }
        let found = self.file.metadata()?;
        if found.nlink() == 0 {
            return Err(io::Error::other("somebody has deleted it while it was written"));
        }
        if found.len() < self.length {
            return Err(io::Error::other("somebody has cut it off while it was written"));
        }
        Ok(())
    }

    /// As the policy says.
    fn sync(&mut self) -> io::Result<()> {
        if self.fsync == FileFsync::None {
            return Ok(());
        }
        self.file.sync_data()?;
        if self.unnamed {
            sync_folder(&self.path)?;
            self.unnamed = false;
        }
        Ok(())
    }

    /// Takes the last bytes away again, unless somebody else has appended something since.
    fn cut_off(&mut self, bytes: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        // with O_APPEND the position is behind what was written last
        if length != self.file.stream_position()? {
            return Err(ErrorKind::ResourceBusy.into());
        }
        let rest = length.saturating_sub(bytes);
        self.file.set_len(rest)?;
        self.file.seek(SeekFrom::Start(rest)).map(drop)
    }
}
