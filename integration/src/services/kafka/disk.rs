//! The disk below a server: a folder, or a small file system of its own that can be full.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// See the module. It goes, with all that is on it, when it is dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: TempDir,
    mounted: bool,
}

impl Disk {
    /// An empty one: of this many bytes, else as big as the machine's.
    ///
    /// # Errors
    /// When a file system can't be mounted: only root can.
    pub(crate) fn new(size: Option<u64>) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for a server")?;
        let disk = Self { folder, mounted: size.is_some() };
        if let Some(size) = size {
            disk.mount(size, MsFlags::empty())?;
        }
        Ok(disk)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a disk of limited size bigger or smaller.
    ///
    /// # Errors
    /// When it has no limit.
    pub(crate) fn resize(&self, size: u64) -> Result<()> {
        ensure!(self.mounted, "this disk has no size of its own");
        self.mount(size, MsFlags::MS_REMOUNT)
    }

    fn mount(&self, size: u64, flags: MsFlags) -> Result<()> {
        let (path, options) = (self.path(), format!("size={size}"));
        mount(Some("server"), path, Some("tmpfs"), flags, Some(options.as_str()))
            .with_context(|| format!("mounting a file system of {size} bytes at {}: are you root?", path.display()))
    }
}

/// Copies the files of a folder into a new one.
///
/// # Errors
/// With both names in the text.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copy = || {
        fs::create_dir(to)?;
        for file in fs::read_dir(from)? {
            let file = file?;
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
        io::Result::Ok(())
    };
    copy().with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            _ = umount2(self.path(), MntFlags::MNT_DETACH); // the folder's own removal would say it
        }
    }
}
