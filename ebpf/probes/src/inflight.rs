//! What a thread is in the middle of. It is only there to save work and to tell records of a return apart: losing an entry loses
//! no record.

use aya_ebpf::{macros::map, maps::Array};

/// Threads whose numbers end alike share a slot: the later one takes it. A slot is one word, so that no half of it can be another
/// thread's, and a look costs ten instructions; a hash map's entries would cost 2,500 in a load and its unload.
const SLOTS: u32 = 4096;
const ACTIVITIES: u32 = 3;

#[map]
static INFLIGHT: Array<u64> = Array::with_max_entries(SLOTS * ACTIVITIES, 0);

/// PID_MAX_LIMIT is 2^22, include/linux/threads.h.
const TID_BITS: u32 = 22;
const TID_MASK: u64 = (1 << TID_BITS) - 1;
const MAY_LOAD: u64 = 1 << TID_BITS;
/// The rest: 41 bits of an address that is a multiple of 8, different for any two in 16 TiB.
const FILE_SHIFT: u32 = TID_BITS + 1;

#[derive(Clone, Copy)]
pub enum Activity {
    Load = 0,
    Unload = 1,
    Helper = 2,
}

#[derive(Clone, Copy)]
pub struct Entry(u64);

impl Entry {
    #[inline(always)]
    pub fn new(file: u64, may_load: bool) -> Self {
        Self(file >> 3 << FILE_SHIFT | if may_load { MAY_LOAD } else { 0 })
    }
    #[inline(always)]
    pub fn is_of(self, file: u64) -> bool {
        self.0 >> FILE_SHIFT == file >> 3 << FILE_SHIFT >> FILE_SHIFT
    }
    #[inline(always)]
    pub fn may_load(self) -> bool {
        self.0 & MAY_LOAD != 0
    }
}

#[inline(always)]
fn slot(tid: u32, activity: Activity) -> Option<*mut u64> {
    INFLIGHT.get_ptr_mut((tid & (SLOTS - 1)) + activity as u32 * SLOTS)
}

#[inline(always)]
pub fn begin(tid: u32, activity: Activity, entry: Entry) {
    if let Some(slot) = slot(tid, activity) {
        // SAFETY: map memory; one aligned word.
        unsafe { slot.write_volatile(entry.0 | tid as u64) };
    }
}

#[inline(always)]
pub fn get(tid: u32, activity: Activity) -> Option<Entry> {
    // SAFETY: as above.
    let word = unsafe { slot(tid, activity)?.read_volatile() };
    if word & TID_MASK == tid as u64 { Some(Entry(word)) } else { None }
}

#[inline(always)]
pub fn end(tid: u32, activity: Activity) -> Option<Entry> {
    let entry = get(tid, activity)?;
    if let Some(slot) = slot(tid, activity) {
        // SAFETY: as above. No thread has the number 0.
        unsafe { slot.write_volatile(0) };
    }
    Some(entry)
}
