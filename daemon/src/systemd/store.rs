//! Descriptors that systemd keeps while no process of the service is there: FileDescriptorStoreMax= of systemd.service(5).

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::pipe,
};
use sd_notify::NotifyState;

/// Without it systemd drops what hangs up, as a perf event without a buffer always has.
const FDPOLL: NotifyState<'_> = NotifyState::Custom("FDPOLL=0");
/// So long systemd may take to answer: less than TimeoutStartSec= of the unit.
const BARRIER: Duration = Duration::from_secs(30);

/// The store, and what it has given back.
#[derive(Debug, Default)]
pub struct Store {
    found: Vec<(String, OwnedFd)>,
    present: bool,
    /// What this process keeps itself.
    own: Option<RefCell<Vec<(String, OwnedFd)>>>,
}

impl Store {
    /// LISTEN_FDS, LISTEN_FDNAMES and NOTIFY_SOCKET; to be called once, at the beginning. Where there is none, nothing is kept.
    #[must_use]
    pub fn from_environment() -> Self {
        let listed = sd_notify::listen_fds_with_names()
            .inspect_err(|error| tracing::warn!(%error, "what systemd has kept can't be used"));
        let found = listed.into_iter().flatten().map(|(descriptor, name)| {
            // SAFETY: systemd has opened it for this process, and nobody has used it so far.
            (name, unsafe { OwnedFd::from_raw_fd(descriptor) })
        });
        Self { found: found.collect(), present: std::env::var_os("NOTIFY_SOCKET").is_some(), own: None }
    }

    /// One that has given back these, and keeps nothing.
    pub(crate) const fn with(found: Vec<(String, OwnedFd)>) -> Self {
        Self { found, present: false, own: None }
    }

    /// One without systemd: what is kept is in this process, see [`Self::into_kept`].
    #[must_use]
    pub const fn own() -> Self {
        Self { found: Vec::new(), present: true, own: Some(RefCell::new(Vec::new())) }
    }

    /// What it was given, in that order.
    #[must_use]
    pub fn into_kept(self) -> Vec<(String, OwnedFd)> {
        self.own.map(RefCell::into_inner).unwrap_or_default()
    }

    /// What is given to it will be kept.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.present
    }

    /// What it has given back under names that begin like this.
    pub fn take(&mut self, prefix: &str) -> Vec<(String, OwnedFd)> {
        self.found.extract_if(.., |(name, _)| name.starts_with(prefix)).collect()
    }

    /// Keep these under this name, also when they hang up: FDPOLL=0.
    ///
    /// # Errors
    /// Where systemd can't be told.
    pub fn keep(&self, name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        /// SCM_MAX_FD, include/net/scm.h
        const AT_ONCE: usize = 253;
        if let Some(own) = &self.own {
            for descriptor in descriptors {
                own.borrow_mut().push((name.to_owned(), descriptor.try_clone_to_owned()?));
            }
            return Ok(());
        }
        for piece in descriptors.chunks(AT_ONCE) {
            sd_notify::notify_with_fds(&[NotifyState::FdStore, FDPOLL, NotifyState::FdName(name)], piece)?;
        }
        Ok(())
    }

    /// Keep nothing of this name any more.
    ///
    /// # Errors
    /// Where systemd can't be told.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        if self.present && self.own.is_none() {
            sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
        } else {
            Ok(())
        }
    }

    /// Waits until systemd has done what it was told: it closes what it gets with BARRIER=1.
    ///
    /// # Errors
    /// Where it does not.
    pub fn barrier(&self) -> io::Result<()> {
        if self.own.is_some() {
            return Ok(());
        }
        let (read, write) = pipe()?;
        sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[write.as_fd()])?;
        drop(write);
        let mut closed = [PollFd::new(read.as_fd(), PollFlags::POLLHUP)];
        let timeout = PollTimeout::try_from(BARRIER).unwrap_or(PollTimeout::MAX);
        if poll(&mut closed, timeout)? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "systemd does not answer"));
        }
        Ok(())
    }
}
