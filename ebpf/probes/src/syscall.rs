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

/// A system call wrapper's only argument is the caller's `struct pt_regs` (ARCH_HAS_SYSCALL_WRAPPER).
macro_rules! argument {
    ($context:ident, $table:ident, $n:literal) => {
        get::<u64>($context.arg::<u64>(0).unwrap_or(0), setting!($table[$n]))
    };
}

macro_rules! entries {
    ($table:ident, $flags:expr, $finit:ident, $init:ident, $delete:ident) => {
        #[kprobe]
        pub fn $finit(context: ProbeContext) -> u32 {
            unsafe {
                let fd = argument!(context, $table, 0) as u32;
                finit_module($flags, fd, argument!(context, $table, 1), argument!(context, $table, 2))
            };
            0
        }
        #[kprobe]
        pub fn $init(context: ProbeContext) -> u32 {
            unsafe {
                let image = argument!(context, $table, 0);
                init_module($flags, image, argument!(context, $table, 1), argument!(context, $table, 2))
            };
            0
        }
        #[kprobe]
        pub fn $delete(context: ProbeContext) -> u32 {
            unsafe { delete_module($flags, argument!(context, $table, 0), argument!(context, $table, 1)) };
            0
        }
    };
}
entries!(syscall_args, 0, finit_module_entry, init_module_entry, delete_module_entry);
entries!(
    compat_args,
    head_flags::COMPAT,
    compat_finit_module_entry,
    compat_init_module_entry,
    compat_delete_module_entry
);

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
    compat_finit_module_return: Kind::FinitModule, Activity::Load;
    compat_init_module_return: Kind::InitModule, Activity::Load;
    compat_delete_module_return: Kind::DeleteModule, Activity::Unload;
}

#[inline(always)]
unsafe fn finit_module(flags: u32, fd: u32, parameters: u64, call_flags: u64) {
    unsafe {
        let Some(mut record) = Record::begin(Kind::FinitModule) else { return };
        let may_load = record.identity();
        let file = file_of(fd);
        if file != 0 {
            record.file(file);
        }
        let head = record.head();
        (*head).flags |= flags;
        (*head).args = [fd as u64, call_flags, file, parameters];
        inflight::begin((*head).tid, Activity::Load, Entry::new(file, may_load));
        record.send(ring(may_load), Wake::No);
    }
}

#[inline(always)]
unsafe fn init_module(flags: u32, image: u64, length: u64, parameters: u64) {
    unsafe {
        let Some(mut record) = Record::begin(Kind::InitModule) else { return };
        let may_load = record.identity();
        let head = record.head();
        (*head).flags |= flags;
        (*head).args = [image, length, 0, parameters];
        inflight::begin((*head).tid, Activity::Load, Entry::new(0, may_load));
        record.send(ring(may_load), Wake::No);
    }
}

#[inline(always)]
unsafe fn delete_module(flags: u32, name: u64, call_flags: u64) {
    unsafe {
        let Some(mut record) = Record::begin(Kind::DeleteModule) else { return };
        let may_load = record.identity();
        record.user_string(section::NAME, name);
        let head = record.head();
        (*head).flags |= flags;
        (*head).args = [name, call_flags, 0, 0];
        inflight::begin((*head).tid, Activity::Unload, Entry::new(0, may_load));
        record.send(ring(may_load), Wake::No);
    }
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
