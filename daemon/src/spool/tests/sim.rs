//! A disk in memory that loses power, fills up, and fails.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::super::disk::{Disk, Found, Store};

/// Which of the writes that were not synced are on the disk after power was lost.
pub(super) trait Fortune {
    /// It is there.
    fn kept(&mut self) -> bool;
    /// So many of the bytes of one that is torn.
    fn torn(&mut self, bytes: usize) -> usize;
}

#[derive(Debug, Clone)]
struct Change {
    offset: u64,
    bytes: Vec<u8>,
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        let begin = self.offset as usize;
        let end = begin + self.bytes.len();
        data.resize(data.len().max(end), 0);
        data[begin..end].copy_from_slice(&self.bytes);
    }
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// What a process sees.
    data: Vec<u8>,
    /// What is on the disk for sure.
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    modified: Duration,
    /// A place that can't be read.
    bad: Option<u64>,
}

#[derive(Debug, Clone)]
enum Naming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<Naming>,
    now: Duration,
    capacity: u64,
    /// After so many calls that work come so many that fail.
    faults: (u32, u32),
}

#[derive(Debug, Clone)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

fn failed() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::EIO)
}

impl SimDisk {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            now: Duration::from_secs(1 << 32),
            capacity: u64::MAX,
            faults: (0, 0),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call, unless it is one that fails.
    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match &mut state.faults {
            (_, 0) => {}
            (0, left) => {
                *left -= 1;
                return Err(failed());
            }
            (working, _) => *working -= 1,
        }
        Ok(state)
    }

    pub(super) fn fail(&self, working: u32, failing: u32) {
        self.state().faults = (working, failing);
    }

    pub(super) fn pass(&self, time: Duration) {
        self.state().now += time;
    }

    /// Bytes of all files.
    pub(super) fn used(&self) -> u64 {
        let state = self.state();
        state.names.values().map(|&inode| state.inodes[inode].data.len() as u64).sum()
    }

    /// So many bytes are free, or all that anybody wants.
    pub(super) fn set_free(&self, free: Option<u64>) {
        let used = self.used();
        self.state().capacity = free.map_or(u64::MAX, |free| used + free);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[name]].data.clone()
    }

    pub(super) fn set_content(&self, name: &str, content: &[u8]) {
        let mut state = self.state();
        let inode =
            Inode { data: content.to_vec(), durable: content.to_vec(), modified: state.now, ..Inode::default() };
        state.inodes.push(inode);
        let inode = state.inodes.len() - 1;
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    pub(super) fn files_made(&self) -> usize {
        self.state().inodes.len()
    }

    /// All that was written is durable, and files that are gone need no memory.
    pub(super) fn forget_history(&self) {
        let mut state = self.state();
        let State { inodes, names, durable_names, unsynced_names, .. } = &mut *state;
        durable_names.clone_from(names);
        unsynced_names.clear();
        let used = inodes.iter_mut().enumerate().filter(|(_, inode)| !inode.data.is_empty());
        for (number, inode) in used {
            inode.unsynced.clear();
            if !names.values().any(|&name| name == number) {
                *inode = Inode::default();
            }
        }
    }

    /// This byte of the file can't be read from now on.
    pub(super) fn damage(&self, name: &str, at: u64) {
        let mut state = self.state();
        let inode = state.names[name];
        state.inodes[inode].bad = Some(at);
    }

    /// Another disk with the same content.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new();
        self.names().iter().for_each(|name| copy.set_content(name, &self.content(name)));
        copy
    }

    /// What was not synced is there or not, whatever came before or after it; a write may be torn.
    pub(super) fn lose_power(&self, fortune: &mut impl Fortune) {
        let mut state = self.state();
        let State { inodes, names, durable_names, unsynced_names, faults, .. } = &mut *state;
        *faults = (0, 0);
        for naming in unsynced_names.drain(..).filter(|_| fortune.kept()) {
            naming.apply(durable_names);
        }
        *names = durable_names.clone();
        for inode in inodes {
            for mut change in inode.unsynced.drain(..) {
                if !fortune.kept() {
                    change.bytes.truncate(fortune.torn(change.bytes.len()));
                }
                change.apply(&mut inode.durable);
            }
            inode.data.clone_from(&inode.durable);
        }
    }

    fn name(&self, naming: Naming) -> io::Result<()> {
        let mut state = self.call()?;
        naming.apply(&mut state.names);
        state.unsynced_names.push(naming);
        Ok(())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<Found>> {
        let state = self.call()?;
        let found = |(name, &inode): (&String, &usize)| {
            let Inode { data, modified, .. } = &state.inodes[inode];
            Found { name: name.clone(), size: data.len() as u64, age: state.now - *modified }
        };
        Ok(state.names.iter().map(found).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Store>> {
        let inode = {
            let mut state = self.call()?;
            if state.names.contains_key(name) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let modified = state.now;
            state.inodes.push(Inode { modified, ..Inode::default() });
            let inode = state.inodes.len() - 1;
            let naming = Naming::Create(name.to_owned(), inode);
            naming.apply(&mut state.names);
            state.unsynced_names.push(naming);
            inode
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Store>> {
        let inode = *self.call()?.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name(Naming::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.state().names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        self.name(Naming::Remove(name.to_owned()))
    }

    fn free(&self) -> io::Result<u64> {
        let used = self.used();
        Ok(self.call()?.capacity.saturating_sub(used))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.call()?;
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }

    fn now(&self) -> Duration {
        self.state().now
    }
}

impl Store for SimFile {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let used = self.disk.used();
        let call = self.disk.call().map(|state| state.capacity);
        let mut state = self.disk.state();
        let now = state.now;
        let inode = &mut state.inodes[self.inode];
        let size = inode.data.len() as u64;
        let (written, result) = match call {
            Err(e) => (bytes.len() / 2, Err(e)),
            Ok(capacity) => {
                let room = (size + capacity.saturating_sub(used)).saturating_sub(offset).min(bytes.len() as u64);
                let full = room < bytes.len() as u64;
                (room as usize, if full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) })
            }
        };
        let change = Change { offset, bytes: bytes[..written].to_vec() };
        change.apply(&mut inode.data);
        inode.unsynced.push(change);
        inode.modified = now;
        result
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.call()?;
        let Inode { data, bad, .. } = &state.inodes[self.inode];
        if bad.is_some_and(|bad| (offset..offset + buffer.len() as u64).contains(&bad)) {
            return Err(failed());
        }
        let rest = data.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.disk.call().map(drop);
        let mut state = self.disk.state();
        let inode = &mut state.inodes[self.inode];
        // where it fails every second write is marked clean without being on the disk
        for (i, change) in inode.unsynced.drain(..).enumerate() {
            if result.is_ok() || i % 2 == 1 {
                change.apply(&mut inode.durable);
            }
        }
        result
    }
}
