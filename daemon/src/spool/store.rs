//! The file of a reader's account: two slots, of which the one with the higher generation counts. They are written in turn, but where
//! the one that was written last may not be durable yet it is written over: so one of them outlives a loss of power.
//!
//! | bytes | |
//! |---|---|
//! | 8 | `kmtaccnt` |
//! | 4 | CRC-32C of all that follows |
//! | 4 | format version |
//! | 8 | generation |
//! | 4 | length |
//! | n | the account as JSON, [`Saved`] |
//!
//! A slot that is torn or damaged is as if it had not been written: the other one is the account as it was saved before. Entries are
//! deleted only where both slots have them settled, so that nothing is missed then.

use std::{io, sync::Arc};

use super::{
    Durability, LANES,
    account::{Account, Saved},
    disk::Store,
    format::{self, VERSION},
};

const MAGIC: [u8; 8] = *b"kmtaccnt";
const HEAD: usize = 28;
/// Bytes of one slot.
const SIZE_OF_SLOT: usize = 16 << 10;
/// Bytes of the file. All of it is written when it is made: so a full disk takes what is saved later.
pub(super) const SIZE: u64 = 2 * SIZE_OF_SLOT as u64;

/// An account and the file that keeps it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) account: Account,
    file: Arc<dyn Store>,
    generation: u64,
    slots: [Slot; 2],
    /// The slot that was written last.
    newest: usize,
    /// What was saved last, and in how many slots it is.
    saved: Vec<u8>,
    copies: u8,
}

/// What is known of a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    generation: u64,
    cursors: [u64; LANES],
    /// What was written last is durable.
    synced: bool,
    /// Cursors when it was synced last.
    durable: [u64; LANES],
}

/// What a slot says.
pub(super) enum Content {
    /// An account.
    Account(Box<Saved>, Place),
    /// A newer version of kmodtrail wrote it.
    Newer(u32),
}

/// Which slot it is in, and of which generation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    slot: usize,
    generation: u64,
}

impl Place {
    /// Of an account that is in no slot yet.
    pub(super) const NEW: Self = Self { slot: 0, generation: 0 };
}

/// Reads the file. Nothing where both slots are damaged.
pub(super) fn load(file: &dyn Store) -> io::Result<Option<Content>> {
    let mut bytes = vec![0; 2 * SIZE_OF_SLOT];
    let filled = format::read_full(file, &mut bytes, 0)?;
    let slots = bytes[..filled].chunks(SIZE_OF_SLOT).enumerate();
    Ok(slots.filter_map(|(slot, bytes)| read_slot(slot, bytes)).max_by_key(|content| match content {
        Content::Account(_, place) => place.generation,
        Content::Newer(_) => u64::MAX,
    }))
}

fn read_slot(slot: usize, bytes: &[u8]) -> Option<Content> {
    let length = format::u32_at(bytes.get(..HEAD)?, 24) as usize;
    let content = bytes.get(..HEAD.checked_add(length)?)?;
    if content[..8] != MAGIC || format::crc(&content[12..]) != format::u32_at(content, 8) {
        return None;
    }
    let version = format::u32_at(content, 12);
    if version > VERSION {
        return Some(Content::Newer(version));
    }
    let saved = serde_json::from_slice(&content[HEAD..]).ok()?;
    Some(Content::Account(Box::new(saved), Place { slot, generation: format::u64_at(content, 16) }))
}

impl Kept {
    /// `place` is where it was read.
    pub(super) fn new(account: Account, file: Arc<dyn Store>, place: Place) -> Self {
        let Place { slot: newest, generation } = place;
        let mut slots = [Slot::default(); 2];
        slots[newest].generation = generation;
        Self { account, file, generation, slots, newest, saved: Vec::new(), copies: 0 }
    }

    /// Fills a new file.
    pub(super) fn allocate(&self) -> io::Result<()> {
        self.file.write(&vec![0; 2 * SIZE_OF_SLOT], 0)
    }

    /// Writes the account where it has changed. Returns whether it had.
    pub(super) fn save(&mut self, ends: &[u64; LANES], durability: Durability) -> io::Result<bool> {
        let content = self.encode(ends);
        if content != self.saved {
            self.saved = content;
            self.copies = 0;
        }
        // a slot that may not be durable is written over, not the one beside it: at least one is whole then after power was lost
        let same = durability != Durability::None && !self.slots[self.newest].synced;
        if self.copies == 2 || (same && self.copies == 1) {
            return Ok(false);
        }
        let at = if same { self.newest } else { 1 - self.newest };
        let generation = self.generation + 1;
        let length = (self.saved.len() as u32).to_le_bytes();
        let head = [&VERSION.to_le_bytes()[..], &generation.to_le_bytes(), &length, &self.saved].concat();
        let slot = [&MAGIC[..], &format::crc(&head).to_le_bytes(), &head].concat();
        self.slots[at].synced = false;
        self.file.write(&slot, (at * SIZE_OF_SLOT) as u64)?;
        self.generation = generation;
        self.newest = at;
        self.slots[at] = Slot { generation, cursors: self.account.cursors(), ..self.slots[at] };
        self.copies += 1;
        if durability == Durability::Always {
            self.sync_started().finish(self.file.sync(), self)?;
        }
        Ok(true)
    }

    fn encode(&self, ends: &[u64; LANES]) -> Vec<u8> {
        let encode =
            |gaps| serde_json::to_vec(&self.account.saved(ends, gaps)).expect("numbers and names can be encoded");
        // gaps that find no room are entries that are missing, should this be read again before they are behind the cursor
        [usize::MAX, 4, 1]
            .into_iter()
            .map(encode)
            .find(|content| content.len() <= SIZE_OF_SLOT - HEAD)
            .unwrap_or_else(|| encode(0))
    }

    /// What a sync that begins now makes durable.
    pub(super) fn sync_started(&self) -> Syncing {
        Syncing { file: Arc::clone(&self.file), slots: self.slots }
    }

    /// Cursors that a process finds that opens the file now.
    pub(super) const fn written(&self) -> [u64; LANES] {
        self.slots[self.newest].cursors
    }

    /// Cursors that it finds even where one of the slots is damaged.
    pub(super) fn safe(&self) -> [u64; LANES] {
        self.both(|slot| &slot.cursors)
    }

    /// Cursors that it finds even where power was lost, or one of the slots is damaged.
    pub(super) fn durable(&self) -> [u64; LANES] {
        self.both(|slot| &slot.durable)
    }

    fn both(&self, cursors: impl Fn(&Slot) -> &[u64; LANES]) -> [u64; LANES] {
        std::array::from_fn(|lane| cursors(&self.slots[0])[lane].min(cursors(&self.slots[1])[lane]))
    }
}

/// A sync of an account that has begun.
#[derive(Debug)]
pub(super) struct Syncing {
    pub(super) file: Arc<dyn Store>,
    slots: [Slot; 2],
}

impl Syncing {
    /// It came to this. What was written since it began is not durable.
    pub(super) fn finish(self, result: io::Result<()>, kept: &mut Kept) -> io::Result<()> {
        for (before, slot) in self.slots.iter().zip(&mut kept.slots) {
            if result.is_ok() && slot.generation == before.generation {
                slot.synced = true;
                slot.durable = before.cursors;
            }
        }
        if result.is_err() {
            // nobody knows what is in the file: the next save writes whatever has changed
            kept.copies = 0;
        }
        result
    }
}
