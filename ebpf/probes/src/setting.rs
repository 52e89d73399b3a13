//! Who writes a setting that decides which modules are loaded. Whether the value is another one afterwards is seen by user space.

use aya_ebpf::{helpers::generated as bpf, macros::kprobe, programs::ProbeContext};
use kmodtrail_abi::{Kind, NAME_BYTES, WATCHED_SETTINGS, section, setting_class};

use crate::{
    kernel::{get, offset, setting},
    record::{Record, Ring},
};

/// Whether somebody wants to know of a setting with this name, or of one whose name begins alike.
#[inline(always)]
unsafe fn is_watched(name: u64) -> bool {
    unsafe {
        let mut first = 0u64;
        bpf::bpf_probe_read_kernel_str((&raw mut first).cast(), 8, name as *const _);
        let mut i = 0;
        while i < WATCHED_SETTINGS {
            if first != 0 && first == setting!(watched_settings[i]) {
                return true;
            }
            i += 1;
        }
        false
    }
}

/// `owner`: the name of the module whose parameter it is, or 0. `value`: the text that is written, or 0.
#[inline(always)]
unsafe fn tell(context: &ProbeContext, class: u64, name: u64, owner: u64, value: u64) {
    unsafe {
        let Some(mut record) = Record::begin(Kind::SettingWrite) else { return };
        (*record.head()).args = [class, 0, 0, 0];
        record.begin_identity();
        record.string(section::NAME, name, NAME_BYTES as u32);
        record.string(section::OWNER, owner, NAME_BYTES as u32);
        record.string(section::VALUE, value, kmodtrail_abi::HELPER_BYTES as u32);
        record.finish_with_identity(context, Ring::Critical);
    }
}

/// `(const struct ctl_table *table, int write, void *buffer, ...)`, where the buffer is the kernel's (since Linux 5.8).
#[inline(always)]
unsafe fn sysctl(context: &ProbeContext, class: u64) {
    unsafe {
        if context.arg::<u64>(1).unwrap_or(0) as u32 == 0 {
            return;
        }
        let name: u64 = get(context.arg(0).unwrap_or(0), offset!(sysctl_name));
        if is_watched(name) {
            let value = if class == setting_class::TEXT { context.arg(2).unwrap_or(0) } else { 0 };
            tell(context, class, name, 0, value);
        }
    }
}

#[kprobe]
pub fn proc_dostring_entry(context: ProbeContext) -> u32 {
    unsafe { sysctl(&context, setting_class::TEXT) };
    0
}

#[kprobe]
pub fn proc_dointvec_minmax_entry(context: ProbeContext) -> u32 {
    unsafe { sysctl(&context, setting_class::NUMBER) };
    0
}

/// `(const struct module_attribute *attribute, struct module_kobject *owner, ...)`
#[kprobe]
pub fn param_attr_store_entry(context: ProbeContext) -> u32 {
    unsafe {
        let name: u64 = get(context.arg(0).unwrap_or(0), offset!(parameter_name));
        if is_watched(name) {
            let owner: u64 = get(context.arg(1).unwrap_or(0), offset!(parameter_owner));
            tell(&context, setting_class::PARAMETER, name, owner, 0);
        }
    }
    0
}

#[kprobe]
pub fn lockdown_write_entry(context: ProbeContext) -> u32 {
    unsafe { tell(&context, setting_class::LOCKDOWN, 0, 0, 0) };
    0
}
