//! Opening the file that the kernel has read, and no other.

use std::{
    ffi::OsString,
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStringExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK, O_PATH};

use crate::{event::File, host::Host};

/// Which file, in which state: what was read of it holds as long as this is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds; not to be set by anybody.
    changed: (i64, i64),
}

/// A regular file that may be read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: fs::File,
    pub(super) identity: Identity,
    /// When its content was changed last, as it says itself; nanoseconds since the epoch of Unix.
    pub(super) modified: u64,
    /// When the file was changed last in any way; nanoseconds since the epoch of Unix.
    pub(super) changed: u64,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NotTheSame {
    /// What is there is another file.
    Other,
    Io(io::Error),
}

/// `host`: where the process has the host's mount namespace. `descriptor`: by which the process gave it to the kernel.
pub(super) fn open(
    file: &File,
    host: Option<&Host>,
    pid: Option<u32>,
    descriptor: Option<u32>,
) -> Result<Opened, NotTheSame> {
    let path = PathBuf::from(OsString::from_vec(file.path.bytes()));
    // the kernel's path begins at the root of the mount namespace; a process that has another root is not asked
    let by_path = (path.is_absolute() && !file.path_cut).then(|| match (host, pid) {
        (Some(host), _) => Some(host.path(&path)),
        (None, Some(pid)) => Some(PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").ok()?)),
        (None, None) => None,
    });
    let by_descriptor = pid.zip(descriptor).map(|(pid, fd)| PathBuf::from(format!("/proc/{pid}/fd/{fd}")));
    let mut last = NotTheSame::Other;
    for (path, flags) in [(by_path.flatten(), O_NOFOLLOW), (by_descriptor, 0)] {
        let Some(path) = path else { continue };
        match open_at(&path, flags, file) {
            Ok(opened) => return Ok(opened),
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn open_at(path: &Path, flags: i32, expected: &File) -> Result<Opened, NotTheSame> {
    // to open a device or a FIFO can do something: only a regular file is opened at all
    let place = fs::File::options().read(true).custom_flags(O_PATH | flags).open(path).map_err(NotTheSame::Io)?;
    let metadata = place.metadata().map_err(NotTheSame::Io)?;
    // a file system without a disk may tell another number than the kernel uses inside (btrfs, overlayfs)
    let (major, minor) = (nix::sys::stat::major(metadata.dev()), nix::sys::stat::minor(metadata.dev()));
    let device =
        expected.device.0 == 0 || (u64::from(expected.device.0), u64::from(expected.device.1)) == (major, minor);
    if !metadata.is_file() || !device || (metadata.ino(), metadata.size()) != (expected.inode, expected.size) {
        return Err(NotTheSame::Other);
    }
    let file = fs::File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(format!("/proc/self/fd/{}", place.as_raw_fd()))
        .map_err(NotTheSame::Io)?;
    let time = |seconds: i64, nanoseconds: i64| {
        u64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)).unwrap_or(0)
    };
    Ok(Opened {
        file,
        identity: Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        },
        modified: time(metadata.mtime(), metadata.mtime_nsec()),
        changed: time(metadata.ctime(), metadata.ctime_nsec()),
    })
}
