//! What a thread is in the middle of. It is only there to save work and to tell records of a return apart: losing an entry loses
//! no record.

use aya_ebpf::{macros::map, maps::HashMap};

/// Thread and [`Activity`] -> `struct file *` of finit_module, with two flags in its lowest bits. An entry whose return is never
/// seen (the kernel had no kretprobe instance left) stays until the same thread does the same again.
#[map]
static INFLIGHT: HashMap<u64, u64> = HashMap::with_max_entries(2048, 0);

/// Pointers are aligned, so that these bits are free.
const MAY_LOAD: u64 = 1;
const WITHOUT_SYSCALL: u64 = 2;
const FLAGS: u64 = MAY_LOAD | WITHOUT_SYSCALL;

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
        Self(file & !FLAGS | may_load as u64)
    }
    /// load_module was the first that was seen.
    #[inline(always)]
    pub fn without_syscall() -> Self {
        Self(WITHOUT_SYSCALL | MAY_LOAD)
    }
    #[inline(always)]
    pub fn is_without_syscall(self) -> bool {
        self.0 & WITHOUT_SYSCALL != 0
    }
    #[inline(always)]
    pub fn file(self) -> u64 {
        self.0 & !FLAGS
    }
    #[inline(always)]
    pub fn may_load(self) -> bool {
        self.0 & MAY_LOAD != 0
    }
}

#[inline(always)]
fn key(tid: u32, activity: Activity) -> u64 {
    tid as u64 | (activity as u64) << 32
}

#[inline(always)]
pub fn begin(tid: u32, activity: Activity, entry: Entry) {
    let _ = INFLIGHT.insert(key(tid, activity), entry.0, 0);
}

#[inline(always)]
pub fn get(tid: u32, activity: Activity) -> Option<Entry> {
    // SAFETY: one thread writes and reads an entry, and it is not in two places at once.
    unsafe { INFLIGHT.get(key(tid, activity)).map(|e| Entry(*e)) }
}

#[inline(always)]
pub fn end(tid: u32, activity: Activity) -> Option<Entry> {
    let entry = get(tid, activity)?;
    let _ = INFLIGHT.remove(key(tid, activity));
    Some(entry)
}
