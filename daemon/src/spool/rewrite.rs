//! What a failed fsync(2) leaves undone.
//!
//! The kernel drops its dirty mark even where it could not write a page: a second fsync says nothing. So the entries that are not known to
//! be durable are read back (they are in the page cache as a rule) and written into a segment of their own, which takes their place.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use super::{
    Durability, Writer,
    catalog::{Durable, Segment},
    format::{self, Header, REWRITE, SegmentId, check_entry, entry_size},
    room::{Classify, Freed},
};

impl Writer {
    /// Writes once more what could not be synced. What fails is tried again the next time.
    pub(super) fn rewrite_failed(&mut self, classify: &dyn Classify) {
        for id in self.shared.take_failed() {
            if let Err(e) = self.rewrite(id, classify) {
                tracing::error!(segment = id.name(), "can't write once more what could not be made durable: {e}");
                if e.kind() != ErrorKind::InvalidData {
                    self.shared.set_failed(id);
                }
            }
        }
    }

    fn rewrite(&mut self, id: SegmentId, classify: &dyn Classify) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        if self.lanes[id.lane.index()].active.as_ref().is_some_and(|active| active.id == id) {
            self.close(id.lane);
        }
        let (header, bytes, end) = loop {
            let (segment, view) = {
                let catalog = shared.catalog();
                let (Some(segment), Some(view)) = (catalog.get(id).cloned(), catalog.view_of(id)) else {
                    return Ok(());
                };
                (segment, view)
            };
            if segment.durable.next >= view.end {
                return Ok(());
            }
            let Ok(header) = Header::read(&*shared.disk.open(&id.name())?, id) else {
                return Err(ErrorKind::InvalidData.into());
            };
            let need = Header::size(header.context.len()) + view.length - segment.durable.length;
            if shared.catalog().bytes() + need <= self.limit(id.lane) {
                let bytes = self.read_back(id, segment.durable, view.end, view.length, header.seal())?;
                break (
                    Header { id: SegmentId { first: segment.durable.next, number: shared.number(), ..id }, ..header },
                    bytes,
                    view.end,
                );
            }
            if self.make_room(id.lane, classify) != Freed::Something {
                return Err(ErrorKind::StorageFull.into());
            }
        };
        let content = [header.encode(), bytes].concat();
        // under another name until it is complete: a crash must not leave half of it in place of the whole
        self.remove_unfinished()?;
        let file = shared.disk.create(REWRITE)?;
        let length = content.len() as u64;
        self.unfinished = length;
        shared.catalog().other_bytes += length;
        let result = file.write(&content, 0).and_then(|()| file.sync());
        if let Err(e) = result.and_then(|()| shared.disk.rename(REWRITE, &header.id.name())) {
            // what can't be removed now is accounted for until it can
            let _: io::Result<()> = self.remove_unfinished();
            return Err(e);
        }
        let written = shared.disk.now();
        let durable = Durable { next: end, length };
        let replaced = {
            let mut catalog = shared.catalog();
            catalog.other_bytes -= std::mem::take(&mut self.unfinished);
            let replaced = catalog.insert(Segment { id: header.id, length, size: length, written, durable });
            catalog.other_bytes += replaced.iter().map(|segment| segment.size).sum::<u64>();
            replaced
        };
        for segment in replaced {
            shared.remove_file(&segment.id.name(), segment.size);
        }
        shared.written(|unsynced| unsynced.folder = true);
        if shared.options.durability == Durability::Always { shared.disk.sync() } else { Ok(()) }
    }

    /// What is left of one that failed.
    fn remove_unfinished(&mut self) -> io::Result<()> {
        match self.shared.disk.remove(REWRITE) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        self.shared.catalog().other_bytes -= std::mem::take(&mut self.unfinished);
        Ok(())
    }

    /// The entries behind what is durable, where all of them can be read.
    fn read_back(&self, id: SegmentId, from: Durable, end: u64, length: u64, seal: u32) -> io::Result<Vec<u8>> {
        let file = self.shared.disk.open(&id.name())?;
        let size = usize::try_from(length - from.length).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        let filled = format::read_full(&*file, &mut bytes, from.length)?;
        bytes.truncate(filled);
        let (mut rest, mut next) = (&bytes[..], from.next);
        while let Some((entry, behind)) = entry_size(rest).and_then(|size| rest.split_at_checked(size)) {
            if check_entry(entry, seal).is_none_or(|whole| whole.sequence != next) {
                break;
            }
            (rest, next) = (behind, next + 1);
        }
        if next == end { Ok(bytes) } else { Err(ErrorKind::InvalidData.into()) }
    }
}
