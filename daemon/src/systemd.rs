//! What systemd is told: sd_notify(3). Without systemd nothing is sent.

mod holder;
mod store;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::time::Instant;

pub use self::{
    holder::{Holder, Taken, take},
    store::Store,
};

/// The status is sent at most so often.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The first folder that systemd has made for the unit by such a line: RUNTIME_DIRECTORY, STATE_DIRECTORY of systemd.exec(5).
#[must_use]
pub fn folder(variable: &str) -> Option<PathBuf> {
    let folders = std::env::var_os(variable)?;
    let first = folders.as_bytes().split(|&byte| byte == b':').next().filter(|folder| !folder.is_empty())?;
    Some(Path::new(OsStr::from_bytes(first)).to_owned())
}

/// The connection to the service manager, where there is one.
#[derive(Debug)]
pub struct Notify {
    present: bool,
    /// Half of what systemd waits for.
    watchdog: Option<Duration>,
    last_ping: Instant,
    last_status: Instant,
    sent: Option<String>,
}

impl Notify {
    /// NOTIFY_SOCKET and WATCHDOG_USEC.
    #[must_use]
    pub fn from_environment() -> Self {
        let now = Instant::now();
        Self {
            present: std::env::var_os("NOTIFY_SOCKET").is_some(),
            watchdog: sd_notify::watchdog_enabled().map(|d| d / 2).filter(|d| !d.is_zero()),
            last_ping: now,
            last_status: now,
            sent: None,
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if !self.present {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "systemd can't be told the state of the service");
        }
    }

    /// Everything is set up, or the reload has ended.
    pub fn ready(&mut self, status: &str) {
        self.sent = Some(status.to_owned());
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A reload has begun; [`Self::ready`] ends it. Type=notify-reload (systemd 253) wants the time with it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(time) => self.send(&[NotifyState::Reloading, time]),
            Err(error) => tracing::warn!(%error, "no clock: systemd is not told of the reload"),
        }
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// It is time to tell the status again.
    #[must_use]
    pub fn wants_status(&self) -> bool {
        self.present && self.last_status.elapsed() >= STATUS_INTERVAL
    }

    /// Sends the status where it has changed.
    pub fn status(&mut self, status: String) {
        self.last_status = Instant::now();
        if self.sent.as_ref() != Some(&status) {
            self.send(&[NotifyState::Status(&status)]);
            self.sent = Some(status);
        }
    }

    /// To be called about once a second: sends the watchdog's sign of life when it is due.
    pub fn alive(&mut self) {
        // the next call may be late
        const LATE: Duration = Duration::from_secs(1);
        if self.present && self.watchdog.is_some_and(|interval| self.last_ping.elapsed() + LATE > interval) {
            self.last_ping = Instant::now();
            self.send(&[NotifyState::Watchdog]);
        }
    }
}
