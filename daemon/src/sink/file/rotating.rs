//! A path, the file that is there now, and when it gives way to the next one.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{appender::Appender, claim::Claim, failure::Failure, keeper::Keeper, rotated};
use crate::{
    config::{self, Encoding},
    sink::frames::{Frames, Framing},
};

/// The file at one path, as the configuration wants it.
#[derive(Debug)]
pub(super) struct Rotating {
    sink: String,
    path: PathBuf,
    config: config::FileSink,
    framing: Framing,
    /// `None`: it could not be opened, or has been rotated.
    file: Option<Appender>,
    /// Nobody else in this process writes there.
    claim: Option<Claim>,
    keeper: Option<Arc<Keeper>>,
    /// Why the file can't be rotated, as it was said.
    unrotated: Option<String>,
}

impl Rotating {
    /// The file is opened when it is needed, or by [`Self::reopen`].
    pub(super) fn new(
        sink: &str,
        path: &Path,
        config: &config::FileSink,
        encoding: Encoding,
        keeper: Option<Arc<Keeper>>,
    ) -> Self {
        Self {
            sink: sink.to_owned(),
            path: path.to_owned(),
            config: config.clone(),
            framing: Framing::of(encoding),
            file: None,
            claim: None,
            keeper,
            unrotated: None,
        }
    }

    /// Opens the path again.
    pub(super) fn reopen(&mut self) -> Result<(), Failure> {
        self.file = None;
        self.file().map(drop)
    }

    /// Gives how many of the first are delivered, and why not more.
    pub(super) fn append(&mut self, mut frames: Frames<'_>) -> (usize, Result<(), Failure>) {
        let mut delivered = 0;
        while frames.count() > 0 {
            let (count, result) = self.append_some(&mut frames);
            delivered += count;
            if result.is_err() {
                return (delivered, result);
            }
        }
        (delivered, Ok(()))
    }

    /// Takes as many frames as the file has room for, at least one.
    fn append_some(&mut self, frames: &mut Frames<'_>) -> (usize, Result<(), Failure>) {
        let (file, room) = match self.file_with_room(frames.length_of(1) as u64) {
            Ok(found) => found,
            Err(failure) => return (0, Err(failure)),
        };
        let (some, more) = frames.split_at(frames.whole_in(room).max(1));
        *frames = more;
        let (count, result) = file.append(some);
        (count, result.map_err(|source| Failure { doing: "write", path: file.path().to_owned(), source }))
    }

    /// The file that the path leads to now, rotated where it is due before so many bytes more, and how many it has room for.
    fn file_with_room(&mut self, bytes: u64) -> Result<(&mut Appender, u64), Failure> {
        let path = &self.path;
        if let Some(file) = &mut self.file
            && !file.is_at(path).map_err(|source| Failure { doing: "look at", path: path.clone(), source })?
        {
            tracing::info!(sink = self.sink, path = %path.display(), "another file is there now, or none: it is opened again");
            self.file = None;
        }
        let now = SystemTime::now();
        let (size, age) = (self.config.rotate_size.map_or(u64::MAX, |size| size.0), self.config.rotate_age);
        let file = self.file()?;
        let too_large = file.length().saturating_add(bytes) > size;
        let too_old = age.is_some_and(|age| now.duration_since(file.born()).is_ok_and(|old| old >= age));
        let endless = (too_large || too_old) && file.can_be_left() && !self.rotate(now);
        let file = self.file()?;
        let room = if endless { u64::MAX } else { size.saturating_sub(file.length()) };
        Ok((file, room))
    }

    /// Gives the file another name. Where that fails it goes on to be used.
    fn rotate(&mut self, now: SystemTime) -> bool {
        let path = self.file.as_ref().map_or(self.path.as_path(), Appender::path);
        match rotated::rotate(path, now) {
            Ok(rotated) => {
                tracing::debug!(sink = self.sink, path = %rotated.display(), "rotated");
                self.file = None;
                self.unrotated = None;
                true
            }
            Err(source) => {
                let why = Failure { doing: "rotate", path: path.to_owned(), source }.to_string();
                if self.unrotated.as_ref() != Some(&why) {
                    tracing::warn!(sink = self.sink, "{why}; until then records are appended to the file as it is");
                }
                self.unrotated = Some(why);
                false
            }
        }
    }

    /// The open file; where none is open, the one at the path.
    fn file(&mut self) -> Result<&mut Appender, Failure> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open().map_err(|source| Failure { doing: "open", path: self.path.clone(), source })?,
        };
        Ok(self.file.insert(file))
    }

    fn open(&mut self) -> io::Result<Appender> {
        if self.claim.is_none() {
            let other = || io::Error::new(io::ErrorKind::ResourceBusy, "another sink still writes to it");
            self.claim = Some(Claim::new(&self.path).ok_or_else(other)?);
        }
        let file = Appender::open(&self.path, &self.config, self.framing)?;
        if let Some(keeper) = &self.keeper {
            keeper.look_after(file.path());
        }
        Ok(file)
    }

    /// It ends with a piece of a record.
    #[cfg(test)]
    pub(super) fn is_torn(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !file.can_be_left())
    }
}
