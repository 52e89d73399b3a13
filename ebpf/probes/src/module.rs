//! `struct module` at the points of its life: do_init_module, the end of a successful load, free_module.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use kmodtrail_abi::{ABSENT, Kind, NAME_BYTES, UNKNOWN, section};

use crate::{
    kernel::{get, offset},
    record::{Record, Ring, Wake},
};

impl Record {
    #[inline(always)]
    unsafe fn module(&mut self, module: u64) {
        unsafe {
            let head = self.head();
            let taints = match offset!(module_taints) {
                ABSENT => UNKNOWN,
                at => get(module, at),
            };
            let sig_ok = match offset!(module_sig_ok) {
                ABSENT => UNKNOWN,
                at => get::<u8>(module, at) as u64,
            };
            (*head).args = [module, taints, sig_ok, get::<u32>(module, offset!(module_state)) as u64];
            self.string(section::NAME, module + offset!(module_name) as u64, NAME_BYTES as u32);
            self.string(section::VERSION, get(module, offset!(module_version)), NAME_BYTES as u32);
            self.string(section::SRCVERSION, get(module, offset!(module_srcversion)), NAME_BYTES as u32);
        }
    }
}

#[inline(always)]
unsafe fn report(kind: Kind, module: u64) {
    unsafe {
        let Some(mut record) = Record::begin(kind) else { return };
        record.module(module);
        record.send(Ring::Critical, Wake::No);
    }
}

#[kprobe]
pub fn do_init_module_entry(context: ProbeContext) -> u32 {
    unsafe { report(Kind::InitModuleFunction, context.arg(0).unwrap_or(0)) };
    0
}

#[kprobe]
pub fn free_module_entry(context: ProbeContext) -> u32 {
    unsafe { report(Kind::FreeModule, context.arg(0).unwrap_or(0)) };
    0
}

/// MODULE_STATE_LIVE, include/linux/module.h.
const LIVE: u32 = 0;

/// Called when a module's init memory is given back: once its init function has returned well, and when it is freed; only the
/// first finds it live (kernel/module/main.c). An entry is never missed for want of a kretprobe instance, as a return can be.
/// (trim_init_extable, which stands for success alone, is notrace.)
#[inline(always)]
unsafe fn is_live(module: u64) -> bool {
    unsafe { get::<u32>(module, offset!(module_state)) == LIVE }
}

#[kprobe]
pub fn module_live_entry(context: ProbeContext) -> u32 {
    unsafe {
        let module: u64 = context.arg(0).unwrap_or(0);
        if !is_live(module) {
            return 0;
        }
        let Some(record) = Record::begin(Kind::ModuleLive) else { return 0 };
        (*record.head()).args = [module, 0, 0, 0];
        record.send(Ring::Critical, Wake::No);
    }
    0
}

/// The same where do_init_module can't be attached: with the module's facts.
#[kprobe]
pub fn module_live_facts(context: ProbeContext) -> u32 {
    unsafe {
        let module: u64 = context.arg(0).unwrap_or(0);
        if is_live(module) {
            report(Kind::ModuleLive, module);
        }
    }
    0
}
