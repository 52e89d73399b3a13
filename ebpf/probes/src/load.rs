//! load_module and what it asks: the signature check, the parameters.

use aya_ebpf::{
    helpers::generated as bpf,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use kmodtrail_abi::{Kind, NAME_BYTES, PARAMETER_BYTES, SIGNATURE_BYTES, SIGNATURE_INFO_BYTES, section};

use crate::{
    inflight::{self, Activity, Entry},
    kernel::{bounded, copy, get, offset},
    record::{Record, Ring, Wake},
};

#[kprobe]
pub fn load_module_entry(context: ProbeContext) -> u32 {
    unsafe {
        let Some(mut record) = Record::begin(Kind::LoadModule) else { return 0 };
        let info: u64 = context.arg(0).unwrap_or(0);
        let head = record.head();
        let length: u64 = get(info, offset!(load_info_len));
        (*head).args = [info, length, context.arg::<u64>(2).unwrap_or(0) & 0xffff_ffff, 0];
        // no system call was seen: whoever this is has come by a way that is not known
        if inflight::get((*head).tid, Activity::Load).is_none() {
            record.begin_identity();
            inflight::begin((*record.head()).tid, Activity::Load, Entry::new(0, true));
            record.signature(get(info, offset!(load_info_hdr)), length);
            record.finish_with_identity(&context, Ring::Critical);
            return 0;
        }
        record.signature(get(info, offset!(load_info_hdr)), length);
        record.send(Ring::Critical, Wake::No);
    }
    0
}

/// include/linux/module_signature.h: MODULE_SIG_STRING.
const MARKER: &[u8; 28] = b"~Module signature appended~\n";
/// `struct module_signature` and the marker.
const TRAILER: usize = SIGNATURE_INFO_BYTES + MARKER.len();

impl Record {
    /// A section with what is appended to the image, where its end says that there is something: what the kernel is about to look at.
    #[inline(always)]
    unsafe fn signature(&mut self, image: u64, length: u64) {
        unsafe {
            if image == 0 || length < TRAILER as u64 {
                return;
            }
            // in words: a comparison byte by byte is a loop
            let end = image + length;
            let trailer: [u32; TRAILER / 4] = get(end - TRAILER as u64, 0);
            let mut i = 0;
            while i < MARKER.len() / 4 {
                let word = [MARKER[4 * i], MARKER[4 * i + 1], MARKER[4 * i + 2], MARKER[4 * i + 3]];
                if trailer[SIGNATURE_INFO_BYTES / 4 + i] != u32::from_ne_bytes(word) {
                    return;
                }
                i += 1;
            }
            let start = self.open();
            let at = self.position();
            self.at(at).cast::<[u32; 3]>().write([trailer[0], trailer[1], trailer[2]]);
            // sig_len, big-endian
            let whole = u32::from_be(trailer[2]) as u64;
            let mut flags = 0;
            let mut kept = whole;
            if whole > length - TRAILER as u64 {
                // there are not so many: the kernel will say so, too
                kept = 0;
                flags = section::FAULT;
            } else if whole > SIGNATURE_BYTES as u64 {
                kept = SIGNATURE_BYTES as u64;
                flags = section::CUT;
            }
            kept = bounded!(kept, "0xfff");
            self.set_position(at + SIGNATURE_INFO_BYTES as u64);
            let at = self.position();
            copy(self.at(at), kept as u32, end - TRAILER as u64 - whole);
            self.set_position(at + kept);
            self.close(start, section::SIGNATURE, flags);
        }
    }
}

/// Attached only where the system calls' entries or returns are not watched.
#[kretprobe]
pub fn load_module_return(context: RetProbeContext) -> u32 {
    unsafe {
        inflight::end(bpf::bpf_get_current_pid_tgid() as u32, Activity::Load);
        let Some(record) = Record::begin(Kind::LoadModuleReturn) else { return 0 };
        (*record.head()).args = [context.ret::<u64>(), 0, 0, 0];
        record.send(Ring::Critical, Wake::Yes);
    }
    0
}

#[kretprobe]
pub fn mod_verify_sig_return(context: RetProbeContext) -> u32 {
    unsafe {
        let Some(record) = Record::begin(Kind::VerifySignature) else { return 0 };
        (*record.head()).args = [context.ret::<u64>(), 0, 0, 0];
        record.send(Ring::Critical, Wake::No);
    }
    0
}

#[kretprobe]
pub fn module_sig_check_return(context: RetProbeContext) -> u32 {
    unsafe {
        let value: u64 = context.ret();
        if value as u32 == 0 {
            return 0;
        }
        let Some(record) = Record::begin(Kind::SignatureCheckRefused) else { return 0 };
        (*record.head()).args = [value, 0, 0, 0];
        record.send(Ring::Critical, Wake::No);
    }
    0
}

/// The kernel's own copy of the parameters: the caller's may not be resident, and may change.
#[kprobe]
pub fn parse_args_entry(context: ProbeContext) -> u32 {
    unsafe {
        let parameters: u64 = context.arg(1).unwrap_or(0);
        if get::<u8>(parameters, 0) == 0 {
            return 0;
        }
        // also called for the kernel's command line and by dynamic debug
        let tid = bpf::bpf_get_current_pid_tgid() as u32;
        if inflight::get(tid, Activity::Load).is_none() {
            return 0;
        }
        let Some(mut record) = Record::begin(Kind::ParseArgs) else { return 0 };
        record.string(section::NAME, context.arg(0).unwrap_or(0), NAME_BYTES as u32);
        record.string(section::PARAMETERS, parameters, PARAMETER_BYTES as u32);
        record.send(Ring::Critical, Wake::No);
    }
    0
}
