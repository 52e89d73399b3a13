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

/// Where the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The host has it at this path.
    Host,
    /// The process has it there, the host not.
    Process,
    /// It has no path any more, and the process still has it open.
    Descriptor,
}

/// `elsewhere`: the process has another mount namespace than the host. `descriptor`: by which it gave the file to the kernel.
pub(super) fn open(
    file: &File,
    host: &Host,
    elsewhere: bool,
    pid: Option<u32>,
    descriptor: Option<u32>,
) -> Result<(Opened, Place), NotTheSame> {
    let whole = path(file);
    // the kernel's path begins at the root of the mount namespace: a process that has another root inside of it is not asked
    let of_process =
        |path: &PathBuf| Some(PathBuf::from(format!("/proc/{}/root", pid?)).join(path.strip_prefix("/").ok()?));
    let candidates = [
        (Place::Host, whole.as_deref().map(|path| host.path(path))),
        (Place::Process, whole.as_ref().filter(|_| elsewhere).and_then(of_process)),
        (Place::Descriptor, pid.zip(descriptor).map(|(pid, fd)| PathBuf::from(format!("/proc/{pid}/fd/{fd}")))),
    ];
    let mut why = None;
    for (place, candidate) in candidates {
        let Some(candidate) = candidate else { continue };
        let flags = if place == Place::Descriptor { 0 } else { O_NOFOLLOW };
        match open_at(&candidate, flags, file) {
            Ok(opened) => return Ok((opened, place)),
            // that another file is there says more than that one is not
            Err(error) => why = why.filter(|before| matches!(before, NotTheSame::Other)).or(Some(error)),
        }
    }
    Err(why.unwrap_or(NotTheSame::Other))
}

/// Whether the host has the file at its path.
pub(super) fn is_of(host: &Host, file: &File) -> bool {
    path(file).is_some_and(|path| place_of(&host.path(&path), O_NOFOLLOW, file).is_ok())
}

fn path(file: &File) -> Option<PathBuf> {
    let path = PathBuf::from(OsString::from_vec(file.path.bytes()));
    (path.is_absolute() && !file.path_cut).then_some(path)
}

/// The very file, not opened yet: to open a device or a FIFO can do something.
fn place_of(path: &Path, flags: i32, expected: &File) -> Result<(fs::File, fs::Metadata), NotTheSame> {
    let place = fs::File::options().read(true).custom_flags(O_PATH | flags).open(path).map_err(NotTheSame::Io)?;
    let metadata = place.metadata().map_err(NotTheSame::Io)?;
    // a file system without a disk may tell another number than the kernel uses inside (btrfs, overlayfs)
    let (major, minor) = (nix::sys::stat::major(metadata.dev()), nix::sys::stat::minor(metadata.dev()));
    let device =
        expected.device.0 == 0 || (u64::from(expected.device.0), u64::from(expected.device.1)) == (major, minor);
    if !metadata.is_file() || !device || (metadata.ino(), metadata.size()) != (expected.inode, expected.size) {
        return Err(NotTheSame::Other);
    }
    Ok((place, metadata))
}

fn open_at(path: &Path, flags: i32, expected: &File) -> Result<Opened, NotTheSame> {
    let (place, metadata) = place_of(path, flags, expected)?;
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
