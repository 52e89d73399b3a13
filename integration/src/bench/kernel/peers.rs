//! The programs that kmodtrail is compared with.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Subject;
use crate::{bench::unpacked, cache::Cache};

/// What each peer runs, in a folder of its name.
const PROGRAMS: &[unpacked::Program] =
    &[(Subject::Auditd.name(), &["sbin/auditd", "sbin/auditctl"]), (Subject::Bpftrace.name(), &["usr/bin/bpftrace"])];

/// See the module.
#[derive(Debug)]
pub(super) struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Fetches and unpacks them if need be.
    ///
    /// # Errors
    /// When this is not root, or a package can't be had.
    pub(super) fn prepare(cache: &Cache) -> Result<Self> {
        let folder = unpacked::programs(cache, "bench-peers", "auditd,bpftrace", PROGRAMS)?;
        Ok(Self { folder })
    }

    /// The path in the guest and on the host of each file of a subject; none for ours.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub(super) fn files(&self, subject: Subject) -> Result<Vec<(String, PathBuf)>> {
        let top = self.folder.join(subject.name());
        let (mut folders, mut files) = (Vec::from_iter(top.is_dir().then(|| top.clone())), Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
                let path = entry?.path();
                match path.strip_prefix(&top) {
                    _ if path.is_dir() => folders.push(path),
                    Ok(inside) => files.push((format!("/{}", inside.display()), path)),
                    Err(_) => {}
                }
            }
        }
        Ok(files)
    }
}
