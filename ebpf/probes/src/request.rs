//! The kernel asks for a module: security_kernel_module_request, and the program that it starts.

use aya_ebpf::{
    helpers::generated as bpf,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use kmodtrail_abi::{HELPER_ARGS, HELPER_BYTES, Kind, NAME_BYTES, section};

use crate::{
    inflight::{self, Activity, Entry},
    kernel::{get, offset},
    record::{Record, Ring, Wake},
};

#[kprobe]
pub fn security_kernel_module_request_entry(context: ProbeContext) -> u32 {
    unsafe {
        let Some(mut record) = Record::begin(Kind::ModuleRequest) else { return 0 };
        record.begin_identity();
        record.string(section::NAME, context.arg(0).unwrap_or(0), NAME_BYTES as u32);
        record.finish_with_identity(&context, Ring::Bulk);
    }
    0
}

#[kretprobe]
pub fn security_kernel_module_request_return(context: RetProbeContext) -> u32 {
    unsafe {
        let value: u64 = context.ret();
        if value as u32 == 0 {
            return 0; // call_usermodehelper_exec follows at once
        }
        let Some(record) = Record::begin(Kind::ModuleRequestRefused) else { return 0 };
        (*record.head()).args = [value, 0, 0, 0];
        record.send(Ring::Bulk, Wake::Yes);
    }
    0
}

/// Core dumps, request-key and others start programs in the same way. call_modprobe (kernel/kmod.c, later kernel/module/kmod.c)
/// has built `{ modprobe_path, "-q", "--", module_name, NULL }` since Linux 2.6.
#[inline(always)]
unsafe fn is_modprobe(argv: &[u64; HELPER_ARGS]) -> bool {
    unsafe {
        let quiet: [u8; 3] = get(argv[1], 0);
        let end: [u8; 3] = get(argv[2], 0);
        quiet[0] == b'-' && quiet[1] == b'q' && quiet[2] == 0 && end[0] == b'-' && end[1] == b'-' && end[2] == 0
    }
}

#[kprobe]
pub fn call_usermodehelper_exec_entry(context: ProbeContext) -> u32 {
    unsafe {
        let info: u64 = context.arg(0).unwrap_or(0);
        let argv: [u64; HELPER_ARGS] = get(get(info, offset!(helper_argv)), 0);
        if !is_modprobe(&argv) {
            return 0;
        }
        let Some(mut record) = Record::begin(Kind::HelperExec) else { return 0 };
        let head = record.head();
        (*head).args = [info, context.arg::<u64>(1).unwrap_or(0) & 0xffff_ffff, 0, 0];
        inflight::begin((*head).tid, Activity::Helper, Entry::new(info, false));
        record.string(section::HELPER_PATH, get(info, offset!(helper_path)), HELPER_BYTES as u32);
        let start = record.open();
        for argument in argv {
            if argument == 0 {
                break;
            }
            record.append_string(argument, HELPER_BYTES as u32, true);
        }
        record.close(start, section::HELPER_ARGV, 0);
        record.send(Ring::Bulk, Wake::Yes);
    }
    0
}

#[kprobe]
pub fn call_usermodehelper_exec_async_entry(context: ProbeContext) -> u32 {
    unsafe {
        let info: u64 = context.arg(0).unwrap_or(0);
        let argv: [u64; HELPER_ARGS] = get(get(info, offset!(helper_argv)), 0);
        if !is_modprobe(&argv) {
            return 0;
        }
        let Some(record) = Record::begin(Kind::HelperTask) else { return 0 };
        (*record.head()).args = [info, 0, 0, 0];
        record.send(Ring::Bulk, Wake::No);
    }
    0
}

#[kretprobe]
pub fn call_usermodehelper_exec_return(context: RetProbeContext) -> u32 {
    unsafe {
        let tid = bpf::bpf_get_current_pid_tgid() as u32;
        if inflight::end(tid, Activity::Helper).is_none() {
            return 0;
        }
        let Some(record) = Record::begin(Kind::HelperReturn) else { return 0 };
        (*record.head()).args = [context.ret::<u64>(), 0, 0, 0];
        record.send(Ring::Bulk, Wake::Yes);
    }
    0
}
