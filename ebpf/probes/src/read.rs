//! Where a module's bytes come from: security_kernel_read_file, security_kernel_post_read_file, security_kernel_load_data.
//!
//! Their returns are not watched: a hook that says no is told by the step that does not follow and the call's errno.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use kmodtrail_abi::{ABSENT, FILE_BUDGET, FileFacts, Kind, section};

use crate::{
    inflight::{self, Activity},
    kernel::{get, offset, put, setting},
    record::{Record, Ring, Wake},
};

impl Record {
    /// A section with a file: what its inode says, then its path.
    #[inline(always)]
    pub unsafe fn file(&mut self, file: u64) {
        unsafe {
            let start = self.open();
            let at = self.position();
            let facts = self.at(at).cast::<FileFacts>();
            let inode: u64 = get(file, offset!(file_inode));
            let sb: u64 = get(inode, offset!(inode_sb));
            facts.write(FileFacts {
                inode: get(inode, offset!(inode_number)),
                size: get(inode, offset!(inode_size)),
                magic: get(sb, offset!(sb_magic)),
                device: get(sb, offset!(sb_device)),
                mode: get::<u16>(inode, offset!(inode_mode)) as u32,
                uid: 0,
                links: 0,
            });
            put(&raw mut (*facts).uid, inode, offset!(inode_uid));
            put(&raw mut (*facts).links, inode, offset!(inode_links));
            self.set_position(at + size_of::<FileFacts>() as u64);
            let flags = self.walk(file + offset!(file_path) as u64, FILE_BUDGET as u64);
            self.close(start, section::FILE, flags);
        }
    }
}

/// Firmware, policies, kexec images are read in the same way.
#[inline(always)]
unsafe fn is_module(id: u32) -> bool {
    unsafe {
        let compressed = setting!(read_file_module_compressed);
        id == setting!(read_file_module) || compressed != ABSENT && id == compressed
    }
}

#[kprobe]
pub fn security_kernel_read_file_entry(context: ProbeContext) -> u32 {
    unsafe {
        let id: u32 = context.arg(1).unwrap_or(ABSENT);
        if !is_module(id) {
            return 0;
        }
        let Some(mut record) = Record::begin(Kind::ReadFile) else { return 0 };
        let file: u64 = context.arg(0).unwrap_or(0);
        let head = record.head();
        (*head).args = [file, id as u64, context.arg::<u64>(2).unwrap_or(0) & 0xff, 0];
        // the descriptor may have been given another file since the call began
        let known = inflight::get((*head).tid, Activity::Load).is_some_and(|e| e.is_of(file));
        if known {
            record.send(Ring::Bulk, Wake::No);
        } else {
            record.file(file);
            record.send(Ring::Critical, Wake::No);
        }
    }
    0
}

#[kprobe]
pub fn security_kernel_post_read_file_entry(context: ProbeContext) -> u32 {
    unsafe {
        let id: u32 = context.arg(3).unwrap_or(ABSENT);
        if !is_module(id) {
            return 0;
        }
        let Some(record) = Record::begin(Kind::PostReadFile) else { return 0 };
        let file: u64 = context.arg(0).unwrap_or(0);
        (*record.head()).args = [file, id as u64, context.arg::<u64>(2).unwrap_or(0), 0];
        record.send(Ring::Bulk, Wake::No);
    }
    0
}

#[kprobe]
pub fn security_kernel_load_data_entry(context: ProbeContext) -> u32 {
    unsafe {
        let id: u32 = context.arg(0).unwrap_or(ABSENT);
        if id != setting!(load_data_module) {
            return 0;
        }
        let Some(record) = Record::begin(Kind::LoadData) else { return 0 };
        (*record.head()).args = [id as u64, 0, 0, 0];
        record.send(Ring::Bulk, Wake::No);
    }
    0
}
