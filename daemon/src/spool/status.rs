//! What can be said of a spool.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{Dropped, Lane, Ledger, Spool};

/// Entries that the spool lost, for one reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The reader that will never get them.
    pub reader: Arc<str>,
    /// What they were, and how many.
    #[serde(flatten)]
    pub dropped: Dropped,
}

/// How a spool is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes that they may have.
    pub max_bytes: u64,
    /// Files with entries.
    pub segments: u64,
    /// Entries in them, also those that are settled already.
    pub entries: u64,
    /// No entry in the oldest segment is younger than so many seconds; nothing where the spool is empty.
    pub oldest_age_seconds: Option<u64>,
    /// Entries that were damaged, since it was opened.
    pub damaged_entries: u64,
    /// Why the last commit or the last sync failed, where it did.
    pub error: Option<String>,
    /// The sums of all readers that have an account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readers: Vec<Ledger>,
}

impl Spool {
    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let cells = self.shared.cells();
        let readers = cells.iter().map(|cell| {
            let kept = cell.lock();
            kept.account.ledger(Arc::clone(&cell.name), &self.shared.catalog().ends())
        });
        let readers = readers.collect();
        let now = self.shared.disk.now();
        let catalog = self.shared.catalog();
        let segments = || Lane::ALL.into_iter().flat_map(|lane| catalog.segments(lane));
        let entries = Lane::ALL.into_iter().map(|lane| catalog.ends()[lane.index()] - catalog.first(lane));
        Status {
            bytes: catalog.bytes(),
            max_bytes: self.shared.options.max_size,
            segments: segments().count() as u64,
            entries: entries.sum(),
            oldest_age_seconds: segments()
                .map(|segment| now.saturating_sub(segment.written))
                .max()
                .map(|d: Duration| d.as_secs()),
            damaged_entries: self.shared.damaged(),
            error: self.shared.trouble(),
            readers,
        }
    }

    /// What the spool itself lost since this was called last (or the process started), for each reader: what was dropped for want of
    /// room or for its age, was damaged, or is missing. It is in the ledgers too.
    #[must_use]
    pub fn take_losses(&self) -> Vec<Loss> {
        let cells = self.shared.cells();
        let mut losses = Vec::new();
        for cell in &*cells {
            let mut kept = cell.lock();
            losses.extend(kept.account.take_untold().map(|dropped| Loss { reader: Arc::clone(&cell.name), dropped }));
        }
        losses
    }
}
