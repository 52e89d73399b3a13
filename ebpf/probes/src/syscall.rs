//! finit_module(2), init_module(2), delete_module(2): entry and return, by the native and by the 32-bit entry.

use aya_ebpf::{
    helpers::generated as bpf,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use kmodtrail_abi::{Kind, NAME_BYTES, head_flags, section};

use crate::{
    inflight::{self, Activity, Entry},
    kernel::{bounded, get, offset, setting},
    record::{Record, Ring, Wake},
};

/// The ring of a call: who may not load can call as often as it likes, and must not push others' records out.
#[inline(always)]
fn ring(may_load: bool) -> Ring {
    if may_load { Ring::Critical } else { Ring::Bulk }
}

/// The flags of the head and the first arguments. A system call wrapper's only argument is the caller's `struct pt_regs`
/// (ARCH_HAS_SYSCALL_WRAPPER); one program serves both entries, and the task knows by which it came.
#[inline(always)]
unsafe fn arguments(context: &ProbeContext) -> (u32, [u64; 3]) {
    unsafe {
        let registers: u64 = context.arg(0).unwrap_or(0);
        let state: u32 = get(bpf::bpf_get_current_task(), setting!(compat_flags));
        macro_rules! argument {
            ($table:ident, $n:literal) => {
                get::<u64>(registers, setting!($table[$n]))
            };
        }
        if state & setting!(compat_mask) == 0 {
            (0, [argument!(syscall_args, 0), argument!(syscall_args, 1), argument!(syscall_args, 2)])
        } else {
            let all = [argument!(compat_args, 0), argument!(compat_args, 1), argument!(compat_args, 2)];
            (head_flags::COMPAT, [all[0] as u32 as u64, all[1] as u32 as u64, all[2] as u32 as u64])
        }
    }
}

#[kprobe]
pub fn finit_module_entry(context: ProbeContext) -> u32 {
    unsafe {
        let Some(mut record) = Record::begin(Kind::FinitModule) else { return 0 };
        let (flags, [fd, parameters, call_flags]) = arguments(&context);
        let may_load = record.begin_identity();
        let file = file_of(fd as u32);
        if file != 0 {
            record.file(file);
        }
        let head = record.head();
        (*head).flags |= flags;
        (*head).args = [fd as u32 as u64, call_flags, file, parameters];
        inflight::begin((*head).tid, Activity::Load, Entry::new(file, may_load));
        record.finish_with_identity(&context, ring(may_load));
    }
    0
}

#[kprobe]
pub fn init_module_entry(context: ProbeContext) -> u32 {
    unsafe {
        let Some(mut record) = Record::begin(Kind::InitModule) else { return 0 };
        let (flags, [image, length, parameters]) = arguments(&context);
        let may_load = record.begin_identity();
        let head = record.head();
        (*head).flags |= flags;
        (*head).args = [image, length, 0, parameters];
        inflight::begin((*head).tid, Activity::Load, Entry::new(0, may_load));
        record.finish_with_identity(&context, ring(may_load));
    }
    0
}

#[kprobe]
pub fn delete_module_entry(context: ProbeContext) -> u32 {
    unsafe {
        let Some(mut record) = Record::begin(Kind::DeleteModule) else { return 0 };
        let (flags, [name, call_flags, _]) = arguments(&context);
        let may_load = record.begin_identity();
        record.user_string(section::NAME, name);
        let head = record.head();
        (*head).flags |= flags;
        (*head).args = [name, call_flags, 0, 0];
        inflight::begin((*head).tid, Activity::Unload, Entry::new(0, may_load));
        record.finish_with_identity(&context, ring(may_load));
    }
    0
}

macro_rules! returns {
    ($($name:ident: $kind:expr, $activity:expr;)*) => {$(
        #[kretprobe]
        pub fn $name(context: RetProbeContext) -> u32 {
            unsafe { returned($kind, $activity, context.ret::<u64>()) };
            0
        }
    )*};
}
returns! {
    finit_module_return: Kind::FinitModule, Activity::Load;
    init_module_return: Kind::InitModule, Activity::Load;
    delete_module_return: Kind::DeleteModule, Activity::Unload;
}

#[inline(always)]
unsafe fn returned(call: Kind, activity: Activity, value: u64) {
    unsafe {
        let Some(record) = Record::begin(Kind::SyscallReturn) else { return };
        let head = record.head();
        (*head).args = [value, call as u64, 0, 0];
        let may_load = inflight::end((*head).tid, activity).is_none_or(Entry::may_load);
        record.send(ring(may_load), Wake::Yes);
    }
}

/// The current task's open file: files_lookup_fd_raw (include/linux/fdtable.h).
#[inline(always)]
unsafe fn file_of(fd: u32) -> u64 {
    unsafe {
        let table: u64 = get(get(bpf::bpf_get_current_task(), offset!(task_files)), offset!(files_table));
        if fd >= get::<u32>(table, offset!(fdtable_max)) {
            return 0;
        }
        let files: u64 = get(table, offset!(fdtable_fd));
        get(files + fd as u64 * 8, 0)
    }
}

impl Record {
    /// A section with a string of the caller's.
    #[inline(always)]
    unsafe fn user_string(&mut self, kind: u16, from: u64) {
        unsafe {
            let start = self.open();
            let at = self.position();
            let n = bpf::bpf_probe_read_user_str(self.at(at).cast(), NAME_BYTES as u32, from as *const _);
            let mut flags = section::FAULT;
            if n > 0 {
                let n = bounded!(n as u64, "0xfff");
                self.set_position(at + n - 1);
                flags = if n == NAME_BYTES as u64 { section::CUT } else { 0 };
            }
            self.close(start, kind, flags);
        }
    }
}
