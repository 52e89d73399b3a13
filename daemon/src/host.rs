//! The host as its first process sees it: this one may have a mount namespace of its own, as a unit or a container.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Inode of its mount namespace; `None` where that can't be found out.
    pub namespace: Option<u32>,
    root: PathBuf,
}

impl Host {
    /// Of this process's PID namespace.
    #[must_use]
    pub fn find() -> Self {
        let namespace = |pid: &str| {
            let inode = fs::metadata(format!("/proc/{pid}/ns/mnt")).ok()?.ino();
            u32::try_from(inode).ok()
        };
        match (namespace("1"), namespace("self")) {
            (Some(host), own) if own != Some(host) => {
                Self { namespace: Some(host), root: PathBuf::from("/proc/1/root") }
            }
            (_, own) => Self { namespace: own, root: PathBuf::from("/") },
        }
    }

    /// One of a test.
    #[cfg(test)]
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { namespace: None, root: root.into() }
    }

    /// Where a path of the host's is to be found.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
