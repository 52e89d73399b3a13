//! A rotated file becomes a compressed one.
//!
//! It is written under a name that nobody takes for a whole file, made durable, and only then gets its name; the original goes last. So
//! at every moment, whatever ends the process or the host, one of the two is whole. Where both are there the compressed one is made again.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use flate2::{Compression, write::GzEncoder};
use nix::libc::O_NOFOLLOW;

use super::{open::sync_folder, rotated};
use crate::config::FileCompression;

/// Compresses `plain`, unless `stop` becomes true, or somebody else is just doing it.
pub(super) fn compress(plain: &Path, how: FileCompression, stop: &AtomicBool) -> io::Result<()> {
    let Some([done, part]) = rotated::compressed(plain, how) else { return Ok(()) };
    let Some(source) = lock(plain)? else { return Ok(()) };
    if let Err(e) = write(&source, &part, how, stop) {
        // what can't be deleted now is deleted at the next start
        let _ = fs::remove_file(&part);
        return Err(e);
    }
    fs::rename(&part, &done)?;
    sync_folder(&done)?;
    fs::remove_file(plain)
}

/// Deletes what a compression that did not end has left of `plain`.
pub(super) fn clear(part: &Path, plain: &Path) -> io::Result<()> {
    let _lock = match lock(plain) {
        Ok(None) => return Ok(()),
        Ok(Some(lock)) => Some(lock),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    fs::remove_file(part)
}

/// Opens it for nobody else to compress or clear at the same time, as two sinks would while a new configuration takes the place of the
/// old one; `None`: somebody does, or has. Who may read the file may keep it from being compressed so, and nothing else.
fn lock(plain: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(plain)?;
    match file.try_lock() {
        Ok(()) => Ok((file.metadata()?.nlink() > 0).then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

fn write(plain: &File, part: &Path, how: FileCompression, stop: &AtomicBool) -> io::Result<()> {
    let found = plain.metadata()?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(O_NOFOLLOW).open(part)?;
    file.set_permissions(found.permissions())?;
    let source = Stoppable { file: plain, stop };
    match how {
        FileCompression::None => {}
        FileCompression::Gzip => {
            let mut encoder = GzEncoder::new(&file, Compression::default());
            copy(source, &mut encoder)?;
            encoder.finish()?;
        }
        FileCompression::Zstd => {
            let mut encoder = zstd::Encoder::new(&file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            // a reader sees whether it is damaged, as with gzip, and how long it will be
            encoder.include_checksum(true)?;
            encoder.set_pledged_src_size(Some(found.len()))?;
            copy(source, &mut encoder)?;
            encoder.finish()?;
        }
    }
    file.set_modified(found.modified()?)?;
    file.sync_all()
}

fn copy(mut source: impl Read, target: &mut impl Write) -> io::Result<()> {
    let mut block = vec![0; 64 << 10];
    loop {
        match source.read(&mut block)? {
            0 => return Ok(()),
            count => target.write_all(&block[..count])?,
        }
    }
}

/// A file that can't be read any more once somebody has to stop.
struct Stoppable<'s> {
    file: &'s File,
    stop: &'s AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the sink is being closed"));
        }
        self.file.read(block)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is in a compressed file, all of which must be right.
    pub(in super::super) fn decompressed(path: &Path) -> Vec<u8> {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut bytes = Vec::new();
        let read = if path.extension().is_some_and(|extension| extension == "gz") {
            flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)
        } else {
            zstd::Decoder::new(file).and_then(|mut decoder| decoder.read_to_end(&mut bytes))
        };
        read.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        bytes
    }

    #[test]
    fn what_is_stopped_or_fails_leaves_the_original_and_no_piece() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let plain = folder.path().join("events");
        fs::write(&plain, vec![b'x'; 1 << 20]).expect("the test may write");
        let names = || fs::read_dir(folder.path()).expect("it is a folder").count();
        for how in [FileCompression::Gzip, FileCompression::Zstd] {
            compress(&plain, how, &AtomicBool::new(true)).expect_err("it is stopped");
            assert_eq!(names(), 1);
            compress(&plain, how, &AtomicBool::new(false)).expect("it can be compressed");
            let [done, _] = rotated::compressed(&plain, how).expect("it has a name");
            assert_eq!((names(), decompressed(&done)), (1, vec![b'x'; 1 << 20]));
            fs::rename(done, &plain).expect("the test may rename");
            fs::write(&plain, vec![b'x'; 1 << 20]).expect("the test may write");
        }
    }

    #[test]
    fn while_one_compresses_a_file_another_does_not_touch_it() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let plain = folder.path().join("events");
        fs::write(&plain, "content").expect("the test may write");
        let [done, part] = rotated::compressed(&plain, FileCompression::Gzip).expect("it has names");
        fs::write(&part, "half of it").expect("the test may write");
        let first = lock(&plain).expect("it can be opened").expect("nobody else has it");
        compress(&plain, FileCompression::Gzip, &AtomicBool::new(false)).expect("it is left to the other");
        clear(&part, &plain).expect("it is left to the other");
        assert_eq!(fs::read_to_string(&part).expect("it is still there"), "half of it");
        assert!(!done.exists());
        drop(first);
        clear(&part, &plain).expect("nobody needs it");
        assert!(!part.exists() && plain.exists());
    }
}
