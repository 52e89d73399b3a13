//! Why the sensor can't work.

use std::io;

/// Every variant says what happened, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SensorError {
    /// The kernel shows no type information.
    #[error(
        "can't read {path}: {source}. kmodtrail needs the kernel's BTF (CONFIG_DEBUG_INFO_BTF=y) to know where it keeps what; \
         boot a kernel that has it (those of all current distributions do), and see that /sys is mounted"
    )]
    NoBtf {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The type information can't be read.
    #[error(
        "{path} is not BTF that this version of kmodtrail can read; please report the kernel's release and attach the file"
    )]
    BadBtf {
        /// The file.
        path: &'static str,
    },
    /// The kernel keeps something where the programs would not find it.
    #[error(
        "this kernel's BTF has no {what}, or not where every kernel from 5.8 to 7.x has it; please report the kernel's release, and \
         use a version of kmodtrail that knows it"
    )]
    UnknownLayout {
        /// What.
        what: String,
    },
    /// bpf(2) said no.
    #[error(
        "not allowed to {what}. Needed are CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), before Linux 5.11 also \
         LimitMEMLOCK=infinity: run as root, or by the unit kmodtrail.service, whose ExecStartPre=+kmodtrail attach has all of it"
    )]
    NotPermitted {
        /// To do what.
        what: &'static str,
    },
    /// perf_event_open(2) said no.
    #[error(
        "not allowed to attach kprobes: kernel.perf_event_paranoid is {paranoid}. Above 2 (Debian's default is 3) attaching needs \
         CAP_SYS_ADMIN, at 2 or below CAP_PERFMON: run as root, or by the unit kmodtrail.service, or set \
         kernel.perf_event_paranoid=2"
    )]
    MayNotAttach {
        /// Value of the setting.
        paranoid: String,
    },
    /// Lockdown blinds every eBPF sensor.
    #[error(
        "the kernel is locked down in confidentiality mode: no eBPF program may read kernel memory, so that neither kmodtrail nor \
         any other eBPF sensor can work. Boot with lockdown=integrity instead (it protects the kernel's code and its modules as well)"
    )]
    Lockdown,
    /// The kernel has no kprobes.
    #[error(
        "this kernel has no kprobes (no /sys/bus/event_source/devices/kprobe): CONFIG_KPROBES and CONFIG_KPROBE_EVENTS are needed; \
         boot a kernel that has them (those of all current distributions do)"
    )]
    NoKprobes,
    /// The object is damaged, or the kernel lacks a kind of map.
    #[error("can't set up the eBPF object: {source}. Linux 5.8 or later is needed (ring buffers)")]
    Object {
        /// Why.
        source: Box<aya::EbpfError>,
    },
    /// The verifier refused a program.
    #[error("the kernel refused the eBPF program {name}: {source}. Please report this with the kernel's release")]
    Refused {
        /// The program.
        name: &'static str,
        /// Why.
        source: Box<aya::programs::ProgramError>,
    },
    /// The table of tail calls can't be filled.
    #[error("can't connect the eBPF programs with each other: {source}. Please report this with the kernel's release")]
    TailCall {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object lacks something.
    #[error("the eBPF object in this binary has no {name}: it was not built by this source tree; build it again")]
    NoProgram {
        /// What.
        name: &'static str,
    },
    /// A ring buffer can't be mapped.
    #[error("can't map the ring buffer {name}: {source}")]
    Ring {
        /// Which.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What is attached can't be handed over.
    #[error(
        "can't wait for `kmodtrail attach`: {source}; allowed: a folder /run/kmodtrail-early of root, as kmodtrail-early.service has it"
    )]
    Holder {
        /// Why.
        source: io::Error,
    },
    /// Nobody would keep what is attached.
    #[error(
        "there is no systemd that keeps what is attached: this is for ExecStartPre=+ of a unit with FileDescriptorStoreMax=256 and NotifyAccess=exec; \
         `kmodtrail run` by root attaches by itself"
    )]
    NoStore,
    /// What is attached can't be noted.
    #[error("can't write {}: {source}; allowed: a RuntimeDirectory= that is there", path.display())]
    Marker {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The counters can't be mapped.
    #[error("can't map the loss counters: {source}")]
    Counters {
        /// Why.
        source: nix::Error,
    },
    /// The number of CPUs is not to be had.
    #[error("can't read the number of CPUs from {file}: {source}; see that /sys is mounted")]
    Cpus {
        /// The file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The configuration names a hook that there is not.
    #[error("sensor.disabled_hooks names \"{name}\", which is no hook; `kmodtrail doctor` lists them")]
    NoSuchHook {
        /// The name.
        name: String,
    },
    /// Something that the daemon can't do without.
    #[error(
        "on this kernel kmodtrail would not see {what}: none of its hooks could be attached: {hooks}. Boot a kernel on which one of \
         them is a function of its own (Linux 5.10 to 7.x as distributions build it), and look at sensor.disabled_hooks"
    )]
    Essential {
        /// What would not be seen.
        what: &'static str,
        /// Which hooks, and why not.
        hooks: String,
    },
}
