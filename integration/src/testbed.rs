//! What guests are made of, each part found or built when it is first asked for.

use std::{path::PathBuf, sync::Mutex};

use anyhow::{Result, anyhow};

use crate::{
    cache::Cache,
    ebpf_tools::EbpfTools,
    fixtures::Fixtures,
    kernels::{Freshness, Kernel, Line},
    workspace,
};

/// See the module. It may be used by several threads at once.
#[derive(Debug)]
pub(crate) struct Testbed {
    cache: Cache,
    freshness: Freshness,
    actor: Mutex<Option<PathBuf>>,
    daemon: Mutex<Option<PathBuf>>,
    kubelet: Mutex<Option<PathBuf>>,
    #[cfg(feature = "services")]
    recording: Mutex<Option<PathBuf>>,
}

impl Testbed {
    /// One with the user's cache.
    ///
    /// # Errors
    /// When there is no place for the cache.
    pub(crate) fn open(freshness: Freshness) -> Result<Self> {
        Ok(Self {
            cache: Cache::open()?,
            freshness,
            actor: Mutex::default(),
            daemon: Mutex::default(),
            kubelet: Mutex::default(),
            #[cfg(feature = "services")]
            recording: Mutex::default(),
        })
    }

    /// Where everything fetched is kept.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The program that acts in the guests.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn actor(&self) -> Result<PathBuf> {
        once(&self.actor, workspace::build_actor)
    }

    /// The daemon, as it ships.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn daemon(&self) -> Result<PathBuf> {
        once(&self.daemon, || workspace::build_daemon(&EbpfTools::prepare(&self.cache)?))
    }

    /// What has a container runtime in a guest run pods.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn kubelet(&self) -> Result<PathBuf> {
        once(&self.kubelet, workspace::build_kubelet)
    }

    /// What a kernel said, for daemons that play it.
    ///
    /// # Errors
    /// When nothing can be recorded.
    #[cfg(feature = "services")]
    pub(crate) fn recording(&self) -> Result<PathBuf> {
        once(&self.recording, || crate::recording::make(self))
    }

    /// The newest kernel of a line.
    ///
    /// # Errors
    /// When it can't be had.
    pub(crate) fn kernel(&self, line: &'static Line) -> Result<Kernel> {
        Kernel::of_line(&self.cache, line, self.freshness)
    }

    /// The modules for a kernel.
    ///
    /// # Errors
    /// When they can't be built.
    pub(crate) fn fixtures(&self, kernel: &Kernel) -> Result<Fixtures> {
        Fixtures::of(&self.cache, kernel)
    }
}

fn once(place: &Mutex<Option<PathBuf>>, make: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
    let mut place = place.lock().map_err(|_| anyhow!("another thread panicked while it built this"))?;
    match &*place {
        Some(path) => Ok(path.clone()),
        None => Ok(place.insert(make()?).clone()),
    }
}
