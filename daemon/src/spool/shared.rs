//! What the writer, the readers and the thread that syncs have in common.
//!
//! Locks are taken in this order: the list of cells, a cell (the writer several, in the order of the list), the catalog. A reader holds its
//! own cell while it reads, so that nothing is deleted under its hands.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{
    Begin, Durability, LANES, Lane, Options, ReaderError,
    account::Account,
    catalog::Catalog,
    disk::Disk,
    durability::Unsynced,
    format,
    recover::{Recovered, WriterStart},
    store::{self, Kept, Place},
};

/// A reader's account; it is there as long as it is not forgotten.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) name: Arc<str>,
    kept: Mutex<Kept>,
    attached: AtomicBool,
}

impl Cell {
    pub(super) fn new(name: &str, kept: Kept) -> Self {
        Self { name: Arc::from(name), kept: Mutex::new(kept), attached: AtomicBool::new(false) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    pub(super) fn detach(&self) {
        self.attached.store(false, Ordering::Release);
    }
}

/// What may not work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    Commit,
    Sync,
}

/// A panic elsewhere is no reason for another one here: what is behind the locks is changed in whole steps.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) options: Options,
    catalog: Mutex<Catalog>,
    cells: Mutex<Vec<Arc<Cell>>>,
    /// Ends of the lanes when the spool was opened.
    opened_at: [u64; LANES],
    pub(super) unsynced: Mutex<Unsynced>,
    pub(super) sync_wanted: Condvar,
    /// Wakes the readers.
    pub(super) committed: watch::Sender<()>,
    /// Damaged entries that some reader met, and up to where in each lane they are counted.
    damaged: Mutex<([u64; LANES], u64)>,
    /// What does not work, by [`Trouble`].
    troubles: Mutex<[Option<String>; 2]>,
    segment_number: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: &Path,
        options: Options,
        recovered: Recovered,
    ) -> (Self, WriterStart) {
        let Recovered { mut catalog, cells, segment_number, unsynced, writer } = recovered;
        catalog.publish();
        let opened_at = catalog.ends();
        let shared = Self {
            disk,
            folder: folder.to_owned(),
            options,
            catalog: Mutex::new(catalog),
            cells: Mutex::new(cells),
            opened_at,
            unsynced: Mutex::new(unsynced),
            sync_wanted: Condvar::new(),
            committed: watch::Sender::new(()),
            damaged: Mutex::default(),
            troubles: Mutex::default(),
            segment_number: AtomicU64::new(segment_number),
        };
        (shared, writer)
    }

    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        lock(&self.catalog)
    }

    /// While this is held no reader comes or goes.
    pub(super) fn cells(&self) -> MutexGuard<'_, Vec<Arc<Cell>>> {
        lock(&self.cells)
    }

    /// A number for a new segment.
    pub(super) fn number(&self) -> u64 {
        self.segment_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Deletes a file that is accounted for among the other bytes.
    pub(super) fn remove_file(&self, name: &str, size: u64) {
        match self.disk.remove(name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.folder.join(name).display(), "can't delete a file of the spool: {e}");
            }
            _ => self.catalog().other_bytes -= size,
        }
    }

    pub(super) fn attach(&self, name: &str, begin: Begin) -> Result<Arc<Cell>, ReaderError> {
        let name_of = || name.to_owned();
        if name.is_empty() || name.len() > 64 {
            return Err(ReaderError::Name { name: name_of() });
        }
        let mut cells = self.cells();
        if let Some(cell) = cells.iter().find(|cell| *cell.name == *name) {
            if cell.attached.swap(true, Ordering::AcqRel) {
                return Err(ReaderError::Taken { name: name_of() });
            }
            cell.lock().account.rewind();
            return Ok(Arc::clone(cell));
        }
        let kept = self.new_account(name, begin).map_err(|source| ReaderError::Account { name: name_of(), source })?;
        let cell = Arc::new(Cell::new(name, kept));
        cell.attached.store(true, Ordering::Release);
        cells.push(Arc::clone(&cell));
        cells.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(cell)
    }

    fn new_account(&self, name: &str, begin: Begin) -> io::Result<Kept> {
        let file_name = format::account_name(name);
        let file = self.disk.create(&file_name)?;
        let (bases, ends) = {
            let mut catalog = self.catalog();
            let ends = catalog.ends();
            let opening = |lane: Lane| self.opened_at[lane.index()].max(catalog.first(lane));
            let bases = match begin {
                Begin::Opening => Lane::ALL.map(opening),
                Begin::Now => ends,
            };
            catalog.other_bytes += store::SIZE;
            (bases, ends)
        };
        let mut kept = Kept::new(Account::new(bases), file, Place::NEW);
        // forgetting a reader is worse than waiting for the disk, rare as this is
        let durability = self.options.durability.or_none();
        let save = |kept: &mut Kept| kept.save(&ends, durability).and_then(|_| kept.save(&ends, durability));
        let made = kept.allocate().and_then(|()| save(&mut kept)).and_then(|_| match durability {
            Durability::None => Ok(()),
            Durability::Always | Durability::Interval(_) => self.disk.sync(),
        });
        if let Err(e) = made {
            self.catalog().other_bytes -= store::SIZE;
            let _: io::Result<()> = self.disk.remove(&file_name);
            return Err(e);
        }
        Ok(kept)
    }

    pub(super) fn forget(&self, name: &str) -> Result<u64, ReaderError> {
        let mut cells = self.cells();
        let Some(at) = cells.iter().position(|cell| *cell.name == *name) else { return Ok(0) };
        if cells[at].attached.load(Ordering::Acquire) {
            return Err(ReaderError::Taken { name: name.to_owned() });
        }
        match self.disk.remove(&format::account_name(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(ReaderError::Account { name: name.to_owned(), source });
            }
            _ => {}
        }
        let cell = cells.remove(at);
        let mut catalog = self.catalog();
        catalog.other_bytes -= store::SIZE;
        Ok(cell.lock().account.pending(&catalog.ends()))
    }

    /// A reader found that entries `from..to` of this lane are damaged.
    pub(super) fn count_damaged(&self, lane: usize, from: u64, to: u64) {
        let mut damaged = lock(&self.damaged);
        let (counted, sum) = &mut *damaged;
        *sum += to.saturating_sub(from.max(counted[lane]));
        counted[lane] = counted[lane].max(to);
    }

    pub(super) fn damaged(&self) -> u64 {
        lock(&self.damaged).1
    }

    /// Why this does not work; nothing where it does.
    pub(super) fn set_trouble(&self, what: Trouble, why: Option<String>) {
        lock(&self.troubles)[what as usize] = why;
    }

    /// Why something did not work when it was tried last.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.troubles).iter().flatten().next().cloned()
    }
}
