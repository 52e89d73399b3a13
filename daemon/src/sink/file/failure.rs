//! What went wrong with a file, and what to do about it.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
};

use nix::libc;

/// Something that could not be done to a file.
#[derive(Debug, thiserror::Error)]
#[error("can't {doing} {}: {source}; {}", path.display(), cure(source))]
pub(super) struct Failure {
    pub(super) doing: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

impl Failure {
    /// It can't get better by itself: it is wrong in the configuration, or as somebody has set up the host.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(
            self.source.kind(),
            ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidFilename
                | ErrorKind::InvalidInput
        )
    }
}

fn cure(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => "make room on its disk",
        Some(libc::EDQUOT) => "make room, or let the daemon's user have more",
        Some(libc::EFBIG) => {
            "let it be rotated before it is that large (rotate_size), or raise LimitFSIZE= of the unit"
        }
        Some(libc::EROFS) => "mount its disk for writing, or let the unit write there (ReadWritePaths=)",
        Some(libc::EACCES | libc::EPERM) => {
            "let the daemon's user read and write the file, and make files in its folder"
        }
        Some(libc::ENOENT | libc::ENOTDIR) => "make its folder",
        Some(libc::EIO) => "the disk fails: see the kernel's log",
        Some(_) => "repair the file or its folder",
        // found by ourselves
        None => match error.kind() {
            ErrorKind::InvalidInput => "let there be a regular file or nothing",
            ErrorKind::InvalidData => "move it away, or use another path",
            _ => "it is tried again",
        },
    }
}
