//! What is written and not durable yet, and who makes it so.

use std::{
    io,
    sync::{Arc, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Durability,
    catalog::Durable,
    disk::Store,
    format::SegmentId,
    shared::{Cell, Shared, Trouble, lock},
};

/// What the next sync has to do.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Those that are not open are opened for it.
    pub(super) segments: Vec<(SegmentId, Option<Arc<dyn Store>>)>,
    pub(super) accounts: Vec<Arc<Cell>>,
    /// Files were made or have another name.
    pub(super) folder: bool,
    /// Segments of which nobody knows what is durable.
    pub(super) failed: Vec<SegmentId>,
    pub(super) stop: bool,
}

impl Unsynced {
    fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.accounts.is_empty() && !self.folder
    }
}

impl Shared {
    /// This is written, and is to be durable as the policy says.
    pub(super) fn written(&self, mark: impl FnOnce(&mut Unsynced)) {
        if !matches!(self.options.durability, Durability::Interval(_)) {
            return;
        }
        let mut unsynced = lock(&self.unsynced);
        let wake = unsynced.is_empty();
        mark(&mut unsynced);
        if wake {
            self.sync_wanted.notify_one();
        }
    }

    pub(super) fn segment_written(&self, id: SegmentId, file: &Arc<dyn Store>) {
        self.written(|unsynced| {
            if !unsynced.segments.iter().any(|(other, _)| *other == id) {
                unsynced.segments.push((id, Some(Arc::clone(file))));
            }
        });
    }

    pub(super) fn account_written(&self, cell: &Arc<Cell>) {
        self.written(|unsynced| {
            if !unsynced.accounts.iter().any(|other| Arc::ptr_eq(other, cell)) {
                unsynced.accounts.push(Arc::clone(cell));
            }
        });
    }

    pub(super) fn take_failed(&self) -> Vec<SegmentId> {
        std::mem::take(&mut lock(&self.unsynced).failed)
    }

    pub(super) fn set_failed(&self, id: SegmentId) {
        lock(&self.unsynced).failed.push(id);
    }

    /// Makes durable all that was written before. What fails is tried again, a segment as another one.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut unsynced = lock(&self.unsynced);
        let segments = std::mem::take(&mut unsynced.segments);
        let accounts = std::mem::take(&mut unsynced.accounts);
        let folder = std::mem::take(&mut unsynced.folder);
        drop(unsynced);
        let mut result = Ok(());
        if folder && let Err(e) = self.disk.sync() {
            lock(&self.unsynced).folder = true;
            result = Err(e);
        }
        for (id, file) in segments {
            result = self.sync_segment(id, file).and(result);
        }
        for cell in accounts {
            result = self.sync_account(&cell).and(result);
        }
        let why = result.as_ref().err().map(|e| format!("can't make the spool {} durable: {e}", self.folder.display()));
        self.set_trouble(Trouble::Sync, why);
        result
    }

    pub(super) fn sync_segment(&self, id: SegmentId, file: Option<Arc<dyn Store>>) -> io::Result<()> {
        let Some(view) = self.catalog().view_of(id) else { return Ok(()) };
        let file = match file {
            Some(file) => Ok(file),
            None => self.disk.open(&id.name()),
        };
        let result = file.and_then(|file| file.sync());
        match &result {
            Ok(()) => {
                if let Some(segment) = self.catalog().get_mut(id) {
                    segment.durable = Durable { next: view.end, length: view.length };
                }
            }
            Err(_) => self.set_failed(id),
        }
        result
    }

    pub(super) fn sync_account(&self, cell: &Arc<Cell>) -> io::Result<()> {
        let syncing = cell.lock().sync_started();
        // readers go on meanwhile
        let result = syncing.file.sync();
        syncing.finish(result, &mut cell.lock())
    }

    fn sync_until_stopped(&self, interval: Duration) {
        loop {
            let idle = lock(&self.unsynced);
            let busy = self.sync_wanted.wait_while(idle, |u| u.is_empty() && !u.stop);
            let busy = busy.unwrap_or_else(PoisonError::into_inner);
            let waited = self.sync_wanted.wait_timeout_while(busy, interval, |u| !u.stop);
            let stop = waited.unwrap_or_else(PoisonError::into_inner).0.stop;
            if let Err(e) = self.sync() {
                tracing::error!(folder = %self.folder.display(), "can't make the spool durable: {e}");
            }
            if stop {
                break;
            }
        }
    }
}

/// The thread that syncs, by [`Durability::Interval`].
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(shared: &Arc<Shared>, interval: Duration) -> io::Result<Self> {
        let theirs = Arc::clone(shared);
        let thread = thread::Builder::new().name("spool-sync".to_owned());
        let thread = thread.spawn(move || theirs.sync_until_stopped(interval))?;
        Ok(Self { shared: Arc::clone(shared), thread: Some(thread) })
    }
}

impl Drop for Syncer {
    /// What was written until now is durable afterwards.
    fn drop(&mut self) {
        lock(&self.shared.unsynced).stop = true;
        self.shared.sync_wanted.notify_all();
        if let Some(thread) = self.thread.take() {
            // it has said what it could not do
            let _: thread::Result<()> = thread.join();
        }
    }
}
