//! What taints the kernel: a module, or something else.

use aya_ebpf::{
    macros::{kprobe, map},
    maps::Array,
    programs::ProbeContext,
};
use kmodtrail_abi::Kind;

use crate::{
    inflight::{self, Activity},
    kernel::setting,
    record::{Record, Ring, Wake},
};

/// The flags that were seen, from [`kmodtrail_abi::Settings::taints`] on.
#[map]
static TAINTS: Array<u64> = Array::with_max_entries(1, 0);

/// Every flag that the kernel gets comes by here, also those that somebody writes into /proc/sys/kernel/tainted. Modules of a kind bring
/// the same ones again and again, and a driver's WARN can come in floods: only what is new is told.
#[kprobe]
pub fn add_taint_entry(context: ProbeContext) -> u32 {
    unsafe {
        let flag = context.arg::<u64>(0).unwrap_or(0) & 63;
        let Some(seen) = TAINTS.get_ptr_mut(0) else { return 0 };
        // two at once tell it twice: user space knows what it has told
        let before = seen.read_volatile() | setting!(taints);
        if before & 1 << flag != 0 {
            return 0;
        }
        seen.write_volatile(before | 1 << flag);
        let Some(mut record) = Record::begin(Kind::AddTaint) else { return 0 };
        let head = record.head();
        (*head).args = [flag, 0, 0, 0];
        if inflight::get((*head).tid, Activity::Load).is_none() {
            record.begin_identity();
            record.finish_with_identity(&context, Ring::Critical);
        } else {
            record.send(Ring::Critical, Wake::No);
        }
    }
    0
}
