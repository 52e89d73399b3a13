//! Between the end of one process and the start of the next one nobody may have watched. A file in the unit's StateDirectory says when the
//! last one ended, and what threads were in the middle of then; one that was killed leaves none.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

/// How it began.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    boot_id: String,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub(super) boot: u64,
    /// See [`super::Watch::open`].
    #[serde(with = "serde_bytes")]
    pub(super) open: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gap {
    /// `None`: there is nowhere to leave it.
    file: Option<PathBuf>,
    /// CLOCK_BOOTTIME counts from its beginning.
    boot_id: String,
}

impl Gap {
    /// By STATE_DIRECTORY.
    pub(super) fn find() -> Self {
        let folder = crate::systemd::folder("STATE_DIRECTORY");
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::at(folder.map(|folder| folder.join("watched-until")), &boot_id)
    }

    fn at(file: Option<PathBuf>, boot_id: &str) -> Self {
        Self { file, boot_id: boot_id.trim().to_owned() }
    }

    /// Everything up to then, CLOCK_BOOTTIME in nanoseconds, has been read, and this was open.
    pub(super) fn begins(&self, boot: u64, open: Vec<u8>) {
        let Some(file) = &self.file else { return };
        let begin = Begin { boot_id: self.boot_id.clone(), boot, open };
        let written = postcard::to_allocvec(&begin).map_err(io::Error::other).and_then(|bytes| fs::write(file, bytes));
        if let Err(error) = written {
            tracing::warn!(%error, path = %file.display(), "the next start can't say for how long nobody watched");
        }
    }

    /// How it began, where an earlier process of this boot has told that.
    pub(super) fn begin(&self) -> Option<Begin> {
        let bytes = fs::read(self.file.as_ref()?).ok()?;
        postcard::from_bytes(&bytes).ok().filter(|begin: &Begin| begin.boot_id == self.boot_id)
    }

    /// Somebody watches again, and everything about it is told.
    pub(super) fn is_over(&self) {
        // what is not there needs not be removed, and what can't be is written over
        let _ = self.file.as_ref().map(fs::remove_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_leaves_the_next_one_finds_once_and_only_in_the_same_boot() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("watched-until");
        let gap = |boot| Gap::at(Some(file.clone()), boot);
        assert_eq!(gap("one\n").begin(), None, "nobody has watched before");
        gap("one\n").begins(1000, b"open".to_vec());
        let begin = gap("one\n").begin().expect("it was left");
        assert_eq!((begin.boot, &begin.open[..]), (1000, &b"open"[..]));
        assert_eq!(gap("another\n").begin(), None, "its clock was another one");
        gap("one\n").is_over();
        assert_eq!(gap("one\n").begin(), None, "it is told once");
        for bytes in [&b""[..], b"one", b"\xff\xff\xff\xff\xff\xff"] {
            fs::write(&file, bytes).expect("it can be written");
            assert_eq!(gap("one\n").begin(), None, "{bytes:?}");
        }
        Gap::at(None, "one").begins(1, Vec::new());
        assert_eq!(Gap::at(None, "one").begin(), None);
    }
}
