//! A kprobe that outlives its process: a perf event whose descriptor another process can keep.
//!
//! aya's links own theirs, and only since Linux 5.15 there is one that can be shared.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use nix::libc;

/// Where the kernel says how kprobes are asked for: Documentation/ABI/testing/sysfs-bus-event_source-devices.
const PMU: &str = "/sys/bus/event_source/devices/kprobe";

/// `struct perf_event_attr` of include/uapi/linux/perf_event.h, as long as it has been since Linux 4.1 (PERF_ATTR_SIZE_VER5).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    r#type: u32,
    size: u32,
    config: u64,
    /// sample_period, sample_type, read_format, flags; wakeup_events and bp_type
    between: [u64; 5],
    /// kprobe_func
    function: u64,
    /// probe_offset
    offset: u64,
    rest: [u64; 5],
}
const _: () = assert!(size_of::<Attributes>() == 112);

/// What the kernel says of its kprobes.
#[derive(Debug)]
pub(super) struct Kprobes {
    r#type: u32,
    /// The bit of `config` for a return.
    retprobe: u64,
}

impl Kprobes {
    /// # Errors
    /// Where this kernel has none: CONFIG_KPROBES or CONFIG_KPROBE_EVENTS is off.
    pub(super) fn find() -> io::Result<Self> {
        let read = |name: &str| fs::read_to_string(format!("{PMU}/{name}"));
        let r#type = read("type")?.trim().parse().map_err(io::Error::other)?;
        // "config:0"
        let bit = read("format/retprobe")?;
        let bit: u32 = bit.trim().trim_start_matches("config:").parse().map_err(io::Error::other)?;
        let retprobe = 1u64.checked_shl(bit).ok_or_else(|| io::Error::other("a bit beyond the last one"))?;
        Ok(Self { r#type, retprobe })
    }

    /// Runs `program` whenever `function` is called, or returns, as long as the descriptor is open somewhere.
    pub(super) fn attach(&self, function: &str, returns: bool, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        /// PERF_EVENT_IOC_ENABLE and PERF_EVENT_IOC_SET_BPF
        const ENABLE: libc::c_ulong = 0x2400;
        const SET_BPF: libc::c_ulong = 0x4004_2408;
        let function = CString::new(function)?;
        let attributes = Attributes {
            r#type: self.r#type,
            size: size_of::<Attributes>() as u32,
            config: if returns { self.retprobe } else { 0 },
            function: function.as_ptr().addr() as u64,
            ..Attributes::default()
        };
        // every process, on one CPU: the event is of a kprobe, which does not ask where it fires
        let (every_process, cpu, no_group) = (-1, 0, -1);
        /// PERF_FLAG_FD_CLOEXEC
        const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
        // SAFETY: the kernel reads `size` bytes of the attributes and the name, both of which live longer than the call.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attributes, every_process, cpu, no_group, CLOSE_ON_EXEC)
        };
        // the number of a descriptor is an int
        let fd = succeeded(fd as libc::c_int)?;
        // SAFETY: the kernel has just made it, for nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: both descriptors are open.
        succeeded(unsafe { libc::ioctl(event.as_raw_fd(), SET_BPF, program.as_raw_fd()) })?;
        // SAFETY: the descriptor is open.
        succeeded(unsafe { libc::ioctl(event.as_raw_fd(), ENABLE, 0) })?;
        Ok(event)
    }
}

fn succeeded(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
