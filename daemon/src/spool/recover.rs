//! Finds out what is in the folder.
//!
//! Only the last segment of each lane is read: the others end where the next one begins, and what is damaged in them is found by whoever
//! reads them.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use super::{
    Durability, LANES, Lane, OpenError,
    account::Account,
    catalog::{Catalog, Durable, Segment},
    disk::{Disk, Found, LOCK, Store},
    durability::Unsynced,
    format::{self, BadHeader, Header, SegmentId, VERSION},
    scan::Scan,
    shared::Cell,
    store::{self, Content, Kept, Place},
    tail::Active,
};

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) catalog: Catalog,
    pub(super) cells: Vec<Arc<Cell>>,
    /// No segment has this number or a higher one.
    pub(super) segment_number: u64,
    pub(super) unsynced: Unsynced,
    pub(super) writer: WriterStart,
}

/// Where the writer goes on.
#[derive(Debug, Default)]
pub(super) struct WriterStart {
    /// Of the next entry.
    pub(super) stamp: u64,
    /// The last segment of each lane, where it can go on in it.
    pub(super) active: [Option<Active>; LANES],
}

/// A segment, and its header where it is good.
struct Candidate {
    id: SegmentId,
    found: Found,
    file: Option<(Arc<dyn Store>, Header)>,
    /// The disk could not read the header.
    unreadable: bool,
}

pub(super) fn recover(disk: &dyn Disk, folder: &Path, durability: Durability) -> Result<Recovered, OpenError> {
    let cant = |source| OpenError::Folder { path: folder.to_owned(), source };
    let mut recovery =
        Recovery { disk, folder, durability, catalog: Catalog::default(), writer: WriterStart::default() };
    let mut lanes: BTreeMap<Lane, Vec<Candidate>> = BTreeMap::new();
    let mut accounts = Vec::new();
    let mut foreign = Vec::new();
    let mut segment_number = 0;
    for found in disk.list().map_err(cant)? {
        if let Some(id) = SegmentId::from_name(&found.name) {
            segment_number = segment_number.max(id.number + 1);
            lanes.entry(id.lane).or_default().push(recovery.candidate(id, found)?);
        } else if let Some(reader) = format::reader_of(&found.name) {
            accounts.push((reader, found.name));
        } else if format::is_leftover(&found.name) {
            recovery.remove(&found.name);
        } else if found.name != LOCK {
            foreign.push(found.name);
        }
    }
    if !foreign.is_empty() {
        tracing::warn!(folder = %folder.display(), "these files in the spool's folder are not the spool's and stay as they are: {}", foreign.join(", "));
    }
    for (lane, candidates) in lanes {
        recovery.lane(lane, candidates);
    }
    accounts.sort();
    let cells = recovery.accounts(accounts)?;
    let ids = Lane::ALL.into_iter().flat_map(|lane| recovery.catalog.segments(lane)).map(|segment| (segment.id, None));
    let unsynced = Unsynced { segments: ids.collect(), accounts: cells.clone(), folder: true, ..Unsynced::default() };
    let Recovery { catalog, writer, .. } = recovery;
    Ok(Recovered { catalog, cells, segment_number, unsynced, writer })
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    durability: Durability,
    catalog: Catalog,
    writer: WriterStart,
}

impl Recovery<'_> {
    fn remove(&self, name: &str) {
        if let Err(e) = self.disk.remove(name) {
            tracing::warn!(path = %self.folder.join(name).display(), "can't delete what is not needed any more: {e}");
        }
    }

    /// Nothing in it can be used now. What the disk may give back another time is kept aside.
    fn discard(&self, candidate: &Candidate) {
        let name = &candidate.found.name;
        if !candidate.unreadable {
            self.remove(name);
        } else if let Err(e) = self.disk.rename(name, &format!("{name}.unreadable")) {
            tracing::warn!(path = %self.folder.join(name).display(), "can't rename a segment that can't be read: {e}");
        }
    }

    fn newer(&self, file: &str, found: u32) -> OpenError {
        OpenError::Newer { path: self.folder.to_owned(), file: file.to_owned(), found, known: VERSION }
    }

    fn candidate(&self, id: SegmentId, found: Found) -> Result<Candidate, OpenError> {
        let read = self.disk.open(&found.name).map_err(BadHeader::Io).and_then(|file| {
            let header = Header::read(&*file, id)?;
            Ok((file, header))
        });
        let (file, unreadable) = match read {
            Ok(file) => (Some(file), false),
            Err(BadHeader::Newer(version)) => return Err(self.newer(&found.name, version)),
            // entries can't be told from what else is in it
            Err(BadHeader::Damaged) => (None, false),
            Err(BadHeader::Io(e)) => {
                tracing::error!(path = %self.folder.join(&found.name).display(), "can't read a segment of the spool: {e}");
                (None, true)
            }
        };
        Ok(Candidate { id, found, file, unreadable })
    }

    /// Builds the chain of a lane.
    fn lane(&mut self, lane: Lane, mut candidates: Vec<Candidate>) {
        candidates.sort_by_key(|candidate| candidate.id);
        // of those that begin with the same entry the newest counts
        let mut chain: Vec<Candidate> = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            match chain.last() {
                Some(last) if last.id.first != candidate.id.first => chain.push(candidate),
                Some(last) if candidate.file.is_none() && last.file.is_some() => self.discard(&candidate),
                _ => {
                    if let Some(last) = chain.pop() {
                        self.discard(&last);
                    }
                    chain.push(candidate);
                }
            }
        }
        // one without a header or without entries was being begun when the process or the host stopped
        while let Some(last) = chain.last() {
            let (id, size) = (last.id, last.found.size);
            if let Some((file, header)) = &last.file {
                self.writer.stamp = self.writer.stamp.max(header.stamp);
                let begin = Header::size(header.context.len());
                let mut scan = Scan::new(Arc::clone(file), header.seal(), begin, id.first, 1);
                let length = self.entries(&mut scan, size);
                if length > begin {
                    self.open_end(lane, &chain, &scan, length);
                    break;
                }
            }
            self.catalog.raise(lane, id.first);
            self.discard(last);
            chain.pop();
        }
    }

    /// Goes through all entries, and returns where the last one ends.
    fn entries(&mut self, scan: &mut Scan, size: u64) -> u64 {
        let mut length = scan.offset();
        // nothing is an error here: what can't be read is skipped at once
        while let Ok(Some(whole)) = scan.next(size, u64::MAX) {
            length = scan.offset();
            self.writer.stamp = self.writer.stamp.max(whole.stamp + 1);
        }
        length
    }

    /// The last segment of the lane has entries, up to this length.
    fn open_end(&mut self, lane: Lane, chain: &[Candidate], scan: &Scan, length: u64) {
        let now = self.disk.now();
        for (i, candidate) in chain.iter().enumerate() {
            let size = candidate.found.size;
            let context = candidate.file.as_ref().map_or(0, |(_, header)| header.context.len());
            self.catalog.insert(Segment {
                id: candidate.id,
                length: if i + 1 < chain.len() { size } else { length },
                size,
                written: now.saturating_sub(candidate.found.age),
                durable: Durable { next: candidate.id.first, length: Header::size(context) },
            });
        }
        let sealed = self.catalog.ends()[lane.index()] > scan.expected();
        self.catalog.raise(lane, scan.expected());
        let Some(Candidate { id, found, file: Some((file, header)), .. }) = chain.last() else { return };
        if !sealed {
            // what stands behind the last entry is written over
            let active = Active::recovered(*id, Arc::clone(file), header, length, found.size);
            self.writer.active[lane.index()] = Some(active);
        }
    }

    fn accounts(&mut self, names: Vec<(String, String)>) -> Result<Vec<Arc<Cell>>, OpenError> {
        let mut accounts = Vec::with_capacity(names.len());
        for (reader, file_name) in names {
            let cant = |source: io::Error| OpenError::Folder { path: self.folder.join(&file_name), source };
            let file = self.disk.open(&file_name).map_err(cant)?;
            let content = store::load(&*file).unwrap_or_else(|e| {
                tracing::error!(path = %self.folder.join(&file_name).display(), "can't read an account of the spool: {e}");
                None
            });
            self.catalog.other_bytes += store::SIZE;
            let account = match content {
                Some(Content::Newer(version)) => return Err(self.newer(&file_name, version)),
                Some(Content::Account(saved, place)) => {
                    let (account, ends) = Account::restored(*saved);
                    Lane::ALL.into_iter().for_each(|lane| self.raise(lane, ends[lane.index()]));
                    Some((account, place))
                }
                None => {
                    tracing::warn!(
                        path = %self.folder.join(&file_name).display(),
                        "the account of a reader is damaged: it begins anew, with the oldest entry that is there"
                    );
                    None
                }
            };
            accounts.push((reader, file, account));
        }
        let firsts = Lane::ALL.map(|lane| self.catalog.first(lane));
        let cell = |(reader, file, account): (String, _, Option<(Account, Place)>)| {
            let (mut account, place) = account.unwrap_or_else(|| (Account::new(firsts), Place::NEW));
            for (lane, first) in firsts.into_iter().enumerate() {
                // a reader had them in its hands when they were dropped, and the process was killed
                account.lose(lane, first, account.why(lane));
            }
            let mut kept = Kept::new(account, file, place);
            if self.durability != Durability::None {
                // what was read is what the next save must not write over before it is durable
                let syncing = kept.sync_started();
                let synced = syncing.file.sync();
                let _: io::Result<()> = syncing.finish(synced, &mut kept);
            }
            if place == Place::NEW {
                // a power loss may have left less of the file than is needed; where there is no room saving will say so
                let _: io::Result<()> = kept.allocate();
            }
            Arc::new(Cell::new(&reader, kept))
        };
        Ok(accounts.into_iter().map(cell).collect())
    }

    /// A reader knew of entries up to this one: what is missing is lost, and its place is not taken by others.
    fn raise(&mut self, lane: Lane, end: u64) {
        if self.catalog.ends()[lane.index()] < end {
            self.catalog.raise(lane, end);
            self.writer.active[lane.index()] = None;
        }
    }
}
