//! What the daemon says of itself: to the journal where systemd runs it, else to standard error; and its metrics, to a collector, and
//! its messages, too, where that is wanted.

mod export;
mod logs;
mod metrics;
mod telling;

use std::io::{self, IsTerminal as _};

use nix::sys::stat::fstat;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use self::export::Export;
use crate::config::LogLevel;

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// From here on messages go where they belong. The second call does nothing.
pub fn start(level: LogLevel, color: bool) {
    let filter = LevelFilter::from(level);
    let journal = stderr_is_journal().then(tracing_journald::layer).and_then(Result::ok);
    let registry = Registry::default().with(logs::layer(filter));
    let result = match journal {
        Some(journal) => {
            registry.with(journal.with_syslog_identifier("kmodtrail".to_owned()).with_filter(filter)).try_init()
        }
        None => {
            let stderr = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(color);
            registry.with(stderr.with_filter(filter)).try_init()
        }
    };
    if result.is_err() {
        tracing::debug!("messages go somewhere already");
    }
}

/// Whether standard error is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// JOURNAL_STREAM, systemd.exec(5): device and inode of what systemd connected to the journal. Somebody may have redirected it since.
fn stderr_is_journal() -> bool {
    let Ok(found) = fstat(io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", found.st_dev, found.st_ino))
}
