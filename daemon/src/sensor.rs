//! The kernel's side: loads the programs, attaches them, reads what they say and makes events of it, in order.
//!
//! Two ring buffers: one for what must never be displaced, one for what can come in floods. Both are read up to one moment and
//! merged by time, so that a thread's facts are in their order whichever ring they came by.

mod assemble;
mod btf;
mod capture;
mod causes;
mod clock;
mod counters;
mod error;
mod fact;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod hierarchy;
mod hooks;
mod identity;
mod lately;
mod layout;
mod load;
mod play;
mod policy;
mod programs;
mod setting;
mod stream;
mod threads;
mod unload;
mod usermode_helper;

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::maps::{MapData, RingBuf};
pub use error::SensorError;
use kmodtrail_abi::Kind;
pub use play::{Play, PlayError, Player};

use self::{
    capture::{Capture, Source},
    clock::Clock,
    frame::Context,
    layout::Layout,
    policy::{Policy, Tainted},
    programs::Programs,
    setting::WatchedSettings,
    stream::Stream,
};
use crate::event::{Coverage, Event, HookState, Lost, Origin, Taints, Text, Timestamps, What};

/// What the configuration decides about the sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the ring buffer for what must never be displaced: loads, unloads, verifications, refusals. A power of two.
    pub critical_ring_bytes: u32,
    /// Bytes of the ring buffer for what can come in floods: requests, helpers, reads. A power of two.
    pub bulk_ring_bytes: u32,
    /// Hooks of the table not to attach.
    pub disabled_hooks: Vec<String>,
    /// Files with settings of the kernel: who writes them is told.
    pub watched_settings: Vec<PathBuf>,
}

/// Counts since the sensor was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Totals {
    /// Kernel records made, lost ones included.
    pub kernel_records: u64,
    /// Kernel records lost.
    pub lost: u64,
}

/// The CPU number in the origin of what the daemon itself says.
const NO_CPU: u32 = u32::MAX;
/// So much of the bulk ring is read at once: a flood must become events piece by piece, or they would all be in memory together.
const BULK_BYTES: usize = 64 << 10;
/// How often the kernel's taints are looked at, nanoseconds.
const TAINTED_INTERVAL: u64 = 1_000_000_000;
/// At the end both rings are read until they are empty, but not for ever: so often as the largest ring has pieces.
const FINISH_ROUNDS: usize = (16 << 20) / BULK_BYTES;

/// Takes records until there are none, or about `most` bytes are taken: then the last one's time is given.
fn fill(stream: &mut Stream, ring: &mut RingBuf<MapData>, most: usize) -> Option<u64> {
    let mut taken = 0;
    while let Some(item) = ring.next() {
        let time = stream.push(&item);
        taken += item.len();
        if taken >= most && time.is_some() {
            return time;
        }
    }
    None
}

/// Attached probes and their ring buffers.
pub struct Sensor {
    programs: Programs,
    stream: Stream,
    context: Context,
    clock: Clock,
    boot_id: Arc<str>,
    epoch: u64,
    own_sequence: u64,
    tainted: Tainted,
    /// When the kernel's taints were looked at, CLOCK_BOOTTIME, nanoseconds.
    tainted_seen: u64,
}

impl Sensor {
    /// Loads and attaches everything.
    ///
    /// # Errors
    /// Where an essential hook can't be attached, or something that all of them need is missing.
    pub fn open(settings: &Settings) -> Result<Self, SensorError> {
        let mut layout = Layout::of_running_kernel()?;
        layout.check()?;
        let clock = Clock::measure();
        // unique per load of the programs: wall clock, so that it is also unique over reboots
        let epoch = clock.wall(clock.boot());
        layout.settings.epoch = epoch;
        let tainted = Tainted::of_running_kernel();
        layout.settings.taints = tainted.now().unwrap_or_default().0;
        let watched = WatchedSettings::new(&settings.watched_settings);
        layout.settings.watched_settings = watched.names();
        raise_memlock_limit();
        let programs = Programs::attach(&layout, settings)?;
        let boot_id: Arc<str> = read_line("/proc/sys/kernel/random/boot_id").into();
        let attached = |name| {
            let hook = programs.coverage.hooks.iter().find(|h| h.name == name);
            hook.is_some_and(|h| matches!(h.state, HookState::Attached { .. }))
        };
        let context = Context {
            boot_id: Arc::clone(&boot_id),
            sees_verification: attached("verify_signature"),
            sees_parameters: attached("parse_args"),
            sees_signature_check: attached("signature_check"),
            checks_signatures: layout.offsets.module_sig_ok != kmodtrail_abi::ABSENT,
            // what came since the hook is there will come again, as a record
            taints: attached("add_taint").then(|| tainted.now()).flatten(),
            policy: Some(Arc::new(Policy::of_running_kernel())),
            settings: Arc::new(watched),
        };
        Ok(Self {
            programs,
            stream: Stream::new(context.clone(), clock),
            context,
            clock,
            boot_id,
            epoch,
            own_sequence: 0,
            tainted,
            tainted_seen: clock.boot(),
        })
    }

    /// From here on every record of the kernel is also written to a file, for [`Player`].
    ///
    /// # Errors
    /// Where the file can't be made.
    pub fn capture(&mut self, file: &Path) -> io::Result<()> {
        self.stream.capture(Capture::create(file, &Source::here(&self.kernel_release(), &self.context))?);
        Ok(())
    }

    /// What a hook of the coverage tells, and on which kernels it has been seen.
    #[must_use]
    pub fn describe(hook: &str) -> Option<(&'static str, &'static str)> {
        hooks::HOOKS.iter().find(|h| h.name == hook).map(|h| (h.gives, h.kernels))
    }

    /// Sends every program through the running kernel's verifier without attaching one: also on a kernel without modules, where
    /// what it does not have is put somewhere, so that no part of a program is left out. Gives each program's name and how many
    /// instructions the verifier looked at (0 before Linux 5.16, which does not say).
    ///
    /// # Errors
    /// Where the kernel refuses one.
    pub fn verify() -> Result<Vec<(&'static str, u32)>, SensorError> {
        raise_memlock_limit();
        let settings = Settings {
            critical_ring_bytes: 1 << 16,
            bulk_ring_bytes: 1 << 16,
            disabled_hooks: Vec::new(),
            watched_settings: Vec::new(),
        };
        programs::verify(&Layout::of_running_kernel()?.with_everything(), &settings)
    }

    /// What is attached.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.programs.coverage.clone()
    }

    /// An origin for what the daemon itself says; each call gives another one.
    pub fn own_origin(&mut self) -> Origin {
        self.own_sequence += 1;
        Origin { boot_id: Arc::clone(&self.boot_id), epoch: self.epoch, cpu: NO_CPU, sequence: self.own_sequence }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamps {
        let clock = Clock::measure();
        clock.timestamps(clock.boot())
    }

    /// Release of the running kernel.
    #[must_use]
    pub fn kernel_release(&self) -> Text {
        Text::from(read_line("/proc/sys/kernel/osrelease").as_str())
    }

    /// The two ring buffers' descriptors, critical first: readable when there is something to read.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        // SAFETY: the rings own their descriptors and live as long as `self`.
        [&self.programs.critical, &self.programs.bulk].map(|ring| unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) })
    }

    /// Reads what is there now, without waiting, and appends the events it makes, in order of time. Gives whether there is more to be
    /// read at once. Must also be called about once a second when nothing is readable: what waits for an end that the kernel never told
    /// is finished then. Without `bulk` the ring of what can come in floods is left alone: what does not fit into it is lost, and counted.
    pub fn read(&mut self, bulk: bool, events: &mut Vec<Event>) -> bool {
        let first = events.len();
        self.clock = Clock::measure();
        let taints = self.look_at_taints();
        // The critical ring is read first: whatever a thread had put into the bulk ring before a record that is found here is found
        // there. What is newer than this moment, or than what was left in the bulk ring, may lack its other half and waits.
        fill(&mut self.stream, &mut self.programs.critical, usize::MAX);
        let cut = bulk.then(|| fill(&mut self.stream, &mut self.programs.bulk, BULK_BYTES)).flatten();
        let until = cut.unwrap_or(u64::MAX).min(self.clock.boot());
        if !bulk {
            self.stream.without_bulk(until);
        }
        self.stream.drain(until, self.clock, events);
        if cut.is_none()
            && let Some(what) = taints.and_then(|taints| self.stream.untold_taints(taints))
        {
            self.say(What::Taint(what), events);
        }
        self.tell_lost(events);
        events[first..].sort_by_key(|e| e.time.boot);
        cut.is_some() || !self.stream.is_empty()
    }

    /// Once a second, as nothing says when something changes that no hook sees.
    fn look_at_taints(&mut self) -> Option<Taints> {
        if self.clock.boot().saturating_sub(self.tainted_seen) < TAINTED_INTERVAL {
            return None;
        }
        self.tainted_seen = self.clock.boot();
        self.tainted.now()
    }

    fn say(&mut self, what: What, events: &mut Vec<Event>) {
        let time = self.clock.timestamps(self.clock.boot());
        let origin = self.own_origin();
        events.push(Event::of_daemon(time, origin, what));
    }

    fn tell_lost(&mut self, events: &mut Vec<Event>) {
        let late: Vec<_> = self.stream.take_late().collect();
        for (kind, count) in late {
            let (event, record) = lost_as(kind);
            self.say(What::Lost(Lost { event, record, count }), events);
        }
        let time = self.clock.timestamps(self.clock.boot());
        let (boot_id, epoch) = (&self.boot_id, self.epoch);
        self.programs.counters.newly_lost(|cpu, kind, count, all| {
            let (event, record) = lost_as(kind);
            // the number of all that were lost so far makes the id: told once, it is the same on every try
            let sequence = (kind as u64) << 48 | all;
            let origin = Origin { boot_id: Arc::clone(boot_id), epoch, cpu, sequence };
            events.push(Event::of_daemon(time, origin, What::Lost(Lost { event, record, count })));
        });
    }

    /// All events that `read` has given are safe. Nothing comes of it yet: `read` gives the ring's memory back at once, so that a
    /// process that is killed between the two loses what it has read.
    pub fn commit(&mut self) {}

    /// Stops watching; appends what was still open.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        // the kernel's taints are looked at for the last time, whenever that was done
        self.tainted_seen = 0;
        // what comes while the last of it is read is not waited for without end
        for _ in 0..FINISH_ROUNDS {
            if !self.read(true, events) {
                break;
            }
        }
        if let Err(error) = self.stream.finish(self.clock, events) {
            tracing::error!(%error, "the recording of the kernel's records could not be written to its end");
        }
    }

    /// Counts since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { kernel_records: self.programs.counters.made(), lost: self.programs.counters.lost() }
    }
}

/// The event that a lost record would have become part of, and the record's own name.
fn lost_as(kind: Kind) -> (&'static str, &'static str) {
    const LOAD: &str = "linux.kernel_module.load";
    const UNLOAD: &str = "linux.kernel_module.unload";
    const REQUEST: &str = "linux.kernel_module.request";
    const HELPER: &str = "linux.kernel_module.helper";
    const READ: &str = "linux.kernel_module.read";
    const VERIFY: &str = "linux.kernel_module.verify";
    match kind {
        Kind::FinitModule => (LOAD, "finit_module"),
        Kind::InitModule => (LOAD, "init_module"),
        Kind::DeleteModule => (UNLOAD, "delete_module"),
        Kind::SyscallReturn => (LOAD, "system call return"),
        Kind::ModuleRequest => (REQUEST, "module request"),
        Kind::ModuleRequestRefused => (REQUEST, "module request refused"),
        Kind::HelperExec => (HELPER, "helper"),
        Kind::HelperTask => (HELPER, "helper task"),
        Kind::HelperReturn => (HELPER, "helper return"),
        Kind::ReadFile => (READ, "read file"),
        Kind::PostReadFile => (READ, "post read file"),
        Kind::LoadData => (READ, "load data"),
        Kind::LoadModule => (LOAD, "load_module"),
        Kind::LoadModuleReturn => (LOAD, "load_module return"),
        Kind::VerifySignature => (VERIFY, "mod_verify_sig"),
        Kind::SignatureCheckRefused => (VERIFY, "module_sig_check refused"),
        Kind::ParseArgs => (LOAD, "parse_args"),
        Kind::InitModuleFunction => (LOAD, "do_init_module"),
        Kind::ModuleLive => (LOAD, "module live"),
        Kind::FreeModule => (UNLOAD, "free_module"),
        Kind::AddTaint => ("linux.kernel_module.taint", "add_taint"),
        Kind::SettingWrite => ("linux.kernel_module.setting", "write of a setting"),
    }
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// Before Linux 5.11 maps count against RLIMIT_MEMLOCK. Where raising it is not allowed, making the maps tells.
fn raise_memlock_limit() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

impl std::fmt::Debug for Sensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sensor").field("epoch", &self.epoch).field("totals", &self.totals()).finish_non_exhaustive()
    }
}
