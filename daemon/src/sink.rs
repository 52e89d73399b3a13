//! Where records go: one file per kind of destination.
//!
//! A sink keeps what it has not delivered yet, and tries it again. It has no bound of its own: whoever fills it stops while
//! [`Sink::is_stuck`].

pub mod file;
mod health;
mod verdict;

use std::path::PathBuf;

pub use self::{
    health::{Health, State},
    verdict::{Outgoing, Trouble, Verdict},
};

use self::file::FileSink;
use crate::config::{self, Encoding, SinkKind};

/// Why a sink can't be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "sink \"{sink}\": can't open {path} for appending: {source}; allowed: a file that this user may read and write, in a folder where it may make \
     files (systemd makes /var/log/kmodtrail for the service)"
)]
pub struct OpenError {
    /// Name of the sink.
    pub sink: String,
    /// Its file.
    pub path: PathBuf,
    /// Why not.
    pub source: std::io::Error,
}

/// What became of the pending records.
#[derive(Debug)]
pub enum Appended {
    /// All are where they should be.
    Delivered,
    /// So many bytes, whole records, are; the others must be tried again.
    Retry {
        /// Bytes delivered.
        whole: usize,
        /// Why not more.
        why: std::io::Error,
    },
}

#[derive(Debug)]
enum Kind {
    File(FileSink),
}

/// A destination and what is on the way to it.
#[derive(Debug)]
pub struct Sink {
    name: String,
    encoding: Encoding,
    kind: Kind,
    pending: Vec<u8>,
    pending_records: u64,
    delivered: u64,
    failing: bool,
}

/// A burst may need more for a moment; that memory is given back.
const KEPT_CAPACITY: usize = 64 << 10;

impl Sink {
    /// Opens what the configuration says.
    ///
    /// # Errors
    /// Where it can't be opened.
    pub fn open(config: &config::Sink) -> Result<Self, OpenError> {
        let kind = match &config.kind {
            SinkKind::File(file) => FileSink::open(&file.path, file.mode.0)
                .map(Kind::File)
                .map_err(|source| OpenError { sink: config.name.clone(), path: file.path.clone(), source })?,
        };
        Ok(Self {
            name: config.name.clone(),
            encoding: config.encoding,
            kind,
            pending: Vec::new(),
            pending_records: 0,
            delivered: 0,
            failing: false,
        })
    }

    /// What its records look like.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records delivered since it was opened.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Records that wait.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.pending_records
    }

    /// It failed, and something waits.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.failing && self.pending_records > 0
    }

    /// Takes one encoded record; [`Self::deliver`] sends it.
    pub fn push(&mut self, record: &[u8]) {
        self.pending.extend_from_slice(record);
        self.pending_records += 1;
    }

    /// Tries to deliver all that waits. Says so when it begins to fail and when it works again, not every time.
    pub fn deliver(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let verdict = match &mut self.kind {
            Kind::File(file) => file.append(&self.pending),
        };
        match verdict {
            Appended::Delivered => {
                self.delivered += self.pending_records;
                self.pending_records = 0;
                self.pending.clear();
                self.pending.shrink_to(KEPT_CAPACITY);
                if self.failing {
                    tracing::info!(sink = self.name, "sink works again, nothing was lost");
                }
                self.failing = false;
            }
            Appended::Retry { whole, why } => {
                let records = self.pending[..whole].iter().filter(|&&b| b == b'\n').count() as u64;
                self.pending.drain(..whole);
                self.delivered += records;
                self.pending_records -= records;
                if !self.failing {
                    let waiting = self.pending_records;
                    tracing::error!(
                        sink = self.name, place = %self.place(), error = %why, waiting,
                        "sink can't be written: its records are kept and tried again every second, and no more are read from the kernel \
                         until then; make room or repair the file"
                    );
                }
                self.failing = true;
            }
        }
    }

    fn place(&self) -> std::path::Display<'_> {
        match &self.kind {
            Kind::File(file) => file.path().display(),
        }
    }

    /// Opens again what may have been rotated away. Where that fails, what was open stays in use.
    pub fn reopen(&mut self) {
        let result = match &mut self.kind {
            Kind::File(file) => file.reopen(),
        };
        match result {
            Ok(()) => tracing::info!(sink = self.name, place = %self.place(), "opened again"),
            Err(error) => tracing::error!(
                sink = self.name, place = %self.place(), %error,
                "can't be opened again, the file that was open stays in use; repair the path and reload once more"
            ),
        }
    }
}
