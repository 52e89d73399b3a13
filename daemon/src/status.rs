//! How the running daemon is: what `kmodtrail status` shows, and the socket where it asks.

mod socket;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::SystemTime};

use serde::{Serialize, Serializer};

pub use self::socket::{Question, Socket, SocketError, ask, daemon};
use crate::{
    sensor::Totals,
    sink::State,
    spool::{self, Ledger},
};

/// Everything.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: &'static str,
    /// Its process id.
    pub pid: u32,
    /// Kernel records, and those of them that were lost.
    #[serde(flatten)]
    pub totals: Totals,
    /// What is behind the sensor.
    #[serde(flatten)]
    pub pipeline: Pipeline,
}

/// What is behind the sensor.
#[derive(Debug, Serialize)]
pub struct Pipeline {
    /// When the daemon started.
    #[serde(serialize_with = "time")]
    pub started: SystemTime,
    /// Events since then, the daemon's own among them.
    pub events: u64,
    /// How often which attribute was not to be had.
    pub missing: BTreeMap<String, u64>,
    /// By their names.
    pub sinks: Vec<Sink>,
    /// Refused records.
    pub dead_letters: DeadLetters,
    /// What waits.
    pub spool: spool::Status,
}

/// A sink.
#[derive(Debug, Serialize)]
pub struct Sink {
    /// Its name in the configuration.
    pub name: String,
    /// "file", "kafka", ...
    pub r#type: &'static str,
    /// Whether it works.
    #[serde(flatten)]
    pub health: State,
    /// What became of all records, since the sink is known to the spool.
    pub ledger: Option<Ledger>,
}

/// The file of refused records.
#[derive(Debug, Serialize)]
pub struct DeadLetters {
    /// Where.
    pub path: PathBuf,
    /// How large.
    pub bytes: u64,
}

fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

impl Status {
    /// Records that wait, of the sink for which most wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.pipeline
            .sinks
            .iter()
            .filter_map(|sink| sink.ledger.as_ref())
            .map(|ledger| ledger.pending)
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Display for Status {
    /// One line, for the journal and for `systemctl status`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { kernel_records, lost } = self.totals;
        write!(f, "watching: {} events, {lost} of {kernel_records} kernel records lost", self.pipeline.events)?;
        for Sink { name, health, ledger, .. } in &self.pipeline.sinks {
            let Some(ledger) = ledger else { continue };
            let dropped: u64 = ledger.dropped.iter().map(|d| d.count).sum();
            write!(f, "; {name}: {} delivered, {} wait, {dropped} dropped", ledger.delivered, ledger.pending)?;
            if let Some(trouble) = &health.trouble {
                write!(f, ", does not work: {trouble}")?;
            }
        }
        Ok(())
    }
}
