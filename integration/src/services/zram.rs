//! A disk that breaks and is repaired while it is in use: compressed memory that refuses what it has no memory for with EIO.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::command;

/// The least limit of memory there is: nothing new can be written.
const BROKEN: &str = "4096";
const NO_LIMIT: &str = "0";

/// An ext4 without a journal: what is there already stays readable and can be mounted again. It goes, with all that is on it, when this
/// is dropped; who has files there must be gone by then.
#[derive(Debug)]
pub(crate) struct BreakableDisk {
    folder: TempDir,
    device: Zram,
}

/// A device of this number.
#[derive(Debug)]
struct Zram(String);

impl BreakableDisk {
    /// An empty one that works.
    ///
    /// # Errors
    /// When the kernel has no zram, or we may not mount.
    pub(crate) fn new(size: &str) -> Result<Self> {
        let device = Zram::new()?;
        device.set("disksize", size)?;
        let node = device.node();
        command::run(Command::new("mkfs.ext4").args([
            "-q",
            "-O",
            "^has_journal",
            "-E",
            "nodiscard,lazy_itable_init=0",
            &node,
        ]))?;
        let folder = tempfile::tempdir().context("making a folder for a disk")?;
        let disk = Self { folder, device };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// From now on it takes nothing, and says EIO.
    ///
    /// # Errors
    /// When the kernel does not let us.
    pub(crate) fn break_down(&self) -> Result<()> {
        self.device.set("mem_limit", BROKEN)
    }

    /// It takes everything again.
    ///
    /// # Errors
    /// When the kernel does not let us.
    pub(crate) fn repair(&self) -> Result<()> {
        self.device.set("mem_limit", NO_LIMIT)
    }

    /// Forgets what is only in memory, as a loss of power does.
    ///
    /// # Errors
    /// When somebody has a file there.
    pub(crate) fn remount(&self) -> Result<()> {
        umount2(self.path(), MntFlags::empty()).context("unmounting a disk")?;
        self.mount()
    }

    fn mount(&self) -> Result<()> {
        let (node, path) = (self.device.node(), self.path());
        mount(Some(node.as_str()), path, Some("ext4"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {node}: are you root?"))
    }
}

impl Drop for BreakableDisk {
    fn drop(&mut self) {
        _ = self.repair(); // else what is still to be written makes noise
        _ = umount2(self.path(), MntFlags::empty()); // the folder's own removal would say it
    }
}

impl Zram {
    fn new() -> Result<Self> {
        _ = command::run(Command::new("modprobe").arg("zram")); // it may be built in
        let add = "/sys/class/zram-control/hot_add";
        let number = fs::read_to_string(add).with_context(|| format!("reading {add}: needs a kernel with zram"))?;
        Ok(Self(number.trim().to_owned()))
    }

    fn node(&self) -> String {
        format!("/dev/zram{}", self.0)
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/sys/block/zram{}/{name}", self.0);
        fs::write(&path, value).with_context(|| format!("writing {value} to {path}"))
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        _ = self.set("reset", "1");
        _ = fs::write("/sys/class/zram-control/hot_remove", &self.0); // one more that nobody uses
    }
}
