//! Who writes to a path. While a new configuration takes the place of the old one, two sinks of this process may be open for one path;
//! one of them must not repair what the other is just writing.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

static CLAIMED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The right to write to a path, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim(PathBuf);

impl Claim {
    /// `None`: another one has it.
    pub(super) fn new(path: &Path) -> Option<Self> {
        claimed().insert(path.to_owned()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&self.0);
    }
}

fn claimed() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // it is whole at every moment
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}
