//! Appends whole lines to a file.
//!
//! One write per batch. A line that only fits in part (disk full) is cut off again, or finished first of all at the next try where it
//! can't be cut off; one that a crash left behind is ended when the file is opened. So no line is ever glued to half of another.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, ErrorKind, Seek as _, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::Appended;

/// A file that is open for appending.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    mode: u32,
    file: File,
    /// So many bytes of the first line of the next batch are in the file already.
    torn: usize,
}

impl FileSink {
    /// Opens the file, or makes it with these permissions, whatever the umask is.
    ///
    /// # Errors
    /// As open(2), fchmod(2), pread(2) and write(2) give them.
    pub fn open(path: &Path, mode: u32) -> io::Result<Self> {
        let file = open(path, mode)?;
        Ok(Self { path: path.to_owned(), mode, file, torn: 0 })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the path again.
    ///
    /// # Errors
    /// As [`Self::open`]; the old file stays open then.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path, self.mode)?;
        // what was written of a line is in the old file: the new one gets all of it
        self.torn = 0;
        Ok(())
    }

    /// Appends `lines`, each of which ends with a newline. After [`Appended::Retry`] the next call must begin with what was left.
    pub fn append(&mut self, lines: &[u8]) -> Appended {
        let begin = self.torn;
        let mut done = begin;
        let why = loop {
            match self.file.write(&lines[done..]) {
                Ok(0) => break ErrorKind::WriteZero.into(),
                Ok(written) => done += written,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break e,
            }
            if done == lines.len() {
                self.torn = 0;
                return Appended::Delivered;
            }
        };
        let whole = lines[..done].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        self.torn = done - whole;
        let cut = done - whole.max(begin);
        if cut > 0 && self.cut_off(cut as u64).is_ok() {
            self.torn -= cut;
        }
        Appended::Retry { whole, why }
    }

    /// Takes the last bytes away again, unless somebody else has appended something since.
    fn cut_off(&mut self, bytes: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        // with O_APPEND the position is behind what was written last
        if length != self.file.stream_position()? {
            return Err(ErrorKind::ResourceBusy.into());
        }
        self.file.set_len(length.saturating_sub(bytes))
    }
}

fn open(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(mode);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(mode))?;
            return Ok(file);
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    // again with O_CREAT: it may be a link to what is not there, or be gone by now
    let mut file = options.create(true).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut last = [b'\n'];
    if found.len() > 0 {
        file.read_exact_at(&mut last, found.len() - 1)?;
    }
    if last != [b'\n'] {
        tracing::warn!(path = %path.display(), "the last line is incomplete, an earlier process was stopped in the middle of it: ending it");
        file.write_all(b"\n")?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn in_folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("events.jsonl");
        (folder, path)
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("the file can be read")
    }

    fn delivered(verdict: &Appended) -> bool {
        matches!(verdict, Appended::Delivered)
    }

    #[test]
    fn a_new_file_has_the_mode_whatever_the_umask_and_an_old_one_keeps_its_own() {
        let (_folder, path) = in_folder();
        let mut sink = FileSink::open(&path, 0o666).expect("it can be made");
        let mode = |path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
        // the umask of whoever runs the tests takes at least the write bit for others away, else this proves nothing
        assert_eq!(mode(&path), 0o666);
        assert!(delivered(&sink.append(b"1\n")));
        drop(sink);
        let mut sink = FileSink::open(&path, 0o600).expect("it can be opened");
        assert_eq!(mode(&path), 0o666);
        assert!(delivered(&sink.append(b"2\n")));
        assert_eq!(text(&path), "1\n2\n");
    }

    #[test]
    fn a_line_that_a_crash_left_is_ended() {
        let (_folder, path) = in_folder();
        fs::write(&path, "{\"whole\":1}\n{\"tor").expect("the test may write");
        let mut sink = FileSink::open(&path, 0o640).expect("it can be opened");
        assert!(delivered(&sink.append(b"{\"next\":1}\n")));
        assert_eq!(text(&path), "{\"whole\":1}\n{\"tor\n{\"next\":1}\n");
    }

    #[test]
    fn after_rotation_and_reopening_lines_go_to_the_new_file() {
        let (folder, path) = in_folder();
        let mut sink = FileSink::open(&path, 0o640).expect("it can be made");
        assert!(delivered(&sink.append(b"1\n")));
        let rotated = folder.path().join("events.jsonl.1");
        fs::rename(&path, &rotated).expect("the test may rename");
        assert!(delivered(&sink.append(b"2\n")));
        sink.reopen().expect("it can be made again");
        assert!(delivered(&sink.append(b"3\n")));
        assert_eq!((text(&rotated), text(&path)), ("1\n2\n".to_owned(), "3\n".to_owned()));
    }

    #[test]
    fn where_reopening_fails_the_old_file_stays_in_use() {
        let (folder, path) = in_folder();
        let mut sink = FileSink::open(&path, 0o640).expect("it can be made");
        let rotated = folder.path().join("rotated");
        fs::rename(&path, &rotated).expect("the test may rename");
        fs::create_dir(&path).expect("the test may make folders");
        assert!(sink.reopen().is_err());
        assert!(delivered(&sink.append(b"1\n")));
        assert_eq!(text(&rotated), "1\n");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let refused = FileSink::open(Path::new("/dev/null"), 0o640).expect_err("it is a device");
        assert_eq!(refused.to_string(), "it is not a regular file");
    }
}
