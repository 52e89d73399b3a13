//! What the spool needs of the world outside: a folder of files, and a clock.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use nix::{
    sys::statvfs::fstatvfs,
    time::{ClockId, clock_gettime},
};

use super::OpenError;

/// A file that was found in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) size: u64,
    /// How long ago it was written to.
    pub(super) age: Duration,
}

/// A folder for the spool alone. The tests have one in memory that loses power.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// What is there.
    fn list(&self) -> io::Result<Vec<Found>>;
    /// Makes a file that is not there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Store>>;
    /// Opens one that is.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Store>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Bytes that can be written before it is full.
    fn free(&self) -> io::Result<u64>;
    /// Makes durable which files there are.
    fn sync(&self) -> io::Result<()>;
    /// A clock that only goes forward, also while the host sleeps; far from zero, so that also what was before the boot has a time.
    fn now(&self) -> Duration;
}

/// An open file.
pub(super) trait Store: fmt::Debug + Send + Sync {
    /// Writes all of it, or fails with some of it written.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads some of it; nothing is the end of the file.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes durable what was written.
    fn sync(&self) -> io::Result<()>;
}

impl Store for File {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.read_at(buffer, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The real one.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The folder itself, for syncing it.
    folder: File,
    /// Holds the lock as long as it is open.
    _lock: File,
}

/// Its content is the pid of the process that has the lock.
pub(super) const LOCK: &str = "lock";
/// Records hold command lines: nobody else may read them.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// A file that claims to be older than this software was written before the host's clock was set.
const CLOCK_WAS_SET: Duration = Duration::from_secs(1_767_225_600);

const BEFORE_BOOT: Duration = Duration::from_secs(1 << 32);

impl Folder {
    /// Makes the folder where it is not there yet, and takes it for this process alone.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let cant = |source| OpenError::Folder { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(cant)?;
        let folder = File::open(path).map_err(cant)?;
        folder.set_permissions(Permissions::from_mode(FOLDER_MODE)).map_err(cant)?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_owned(), folder, _lock: lock })
    }
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let cant = |source| OpenError::Folder { path: path.clone(), source };
    let mut file = options().create(true).truncate(false).open(&path).map_err(cant)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // the other one may have just begun to write it
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let owner = if known { format!("process {}", pid.trim()) } else { "another process".to_owned() };
            return Err(OpenError::Locked { path: folder.to_owned(), owner });
        }
        Err(TryLockError::Error(source)) => return Err(cant(source)),
    }
    // on a full disk this fails; the lock holds all the same
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(e) = written {
        tracing::debug!(path = %path.display(), "the pid can't be written into the lock file: {e}");
    }
    Ok(file)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<Found>> {
        let now = SystemTime::now();
        let set = SystemTime::UNIX_EPOCH + CLOCK_WAS_SET;
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let modified = metadata.modified()?;
            let age = if modified < set { Duration::ZERO } else { now.duration_since(modified).unwrap_or_default() };
            let name = entry.file_name().to_string_lossy().into_owned();
            all.push(Found { name, size: metadata.len(), age });
        }
        Ok(all)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Store>> {
        Ok(Arc::new(options().create_new(true).open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Store>> {
        Ok(Arc::new(options().open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn free(&self) -> io::Result<u64> {
        let disk = fstatvfs(&self.folder)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn now(&self) -> Duration {
        BEFORE_BOOT + clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
    }
}
