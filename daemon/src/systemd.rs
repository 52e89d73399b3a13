//! What systemd is told: sd_notify(3). Without systemd nothing is sent.

use std::{fmt, time::Duration};

use sd_notify::NotifyState;
use tokio::time::Instant;

/// Figures for `systemctl status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Events so far.
    pub events: u64,
    /// Records that wait for a sink.
    pub waiting: u64,
    /// Records that the kernel made.
    pub kernel_records: u64,
    /// Those of them that were lost.
    pub lost: u64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, waiting, kernel_records, lost } = self;
        write!(f, "watching: {events} events, {lost} of {kernel_records} kernel records lost")?;
        if *waiting > 0 {
            write!(f, "; {waiting} records wait for a sink that can't be written, see the journal")?;
        }
        Ok(())
    }
}

/// The status is sent at most so often.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The connection to the service manager, where there is one.
#[derive(Debug)]
pub struct Notify {
    present: bool,
    /// Half of what systemd waits for.
    watchdog: Option<Duration>,
    last_ping: Instant,
    last_status: Instant,
    sent: Option<Status>,
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
    pub fn ready(&mut self, status: &Status) {
        self.sent = Some(*status);
        self.send(&[NotifyState::Ready, NotifyState::Status(&status.to_string())]);
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

    /// To be called about once a second: sends the watchdog's sign of life and a changed status when they are due.
    pub fn tick(&mut self, now: Instant, status: &Status) {
        if !self.present {
            return;
        }
        // the next tick may be late
        const LATE: Duration = Duration::from_secs(1);
        if self.watchdog.is_some_and(|interval| now.duration_since(self.last_ping) + LATE > interval) {
            self.last_ping = now;
            self.send(&[NotifyState::Watchdog]);
        }
        if self.sent != Some(*status) && now.duration_since(self.last_status) >= STATUS_INTERVAL {
            self.last_status = now;
            self.sent = Some(*status);
            self.send(&[NotifyState::Status(&status.to_string())]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_what_waits_only_where_something_waits() {
        let status = Status { events: 5, waiting: 0, kernel_records: 9, lost: 1 };
        assert_eq!(status.to_string(), "watching: 5 events, 1 of 9 kernel records lost");
        let waiting = Status { waiting: 3, ..status };
        assert!(waiting.to_string().ends_with("; 3 records wait for a sink that can't be written, see the journal"));
    }
}
