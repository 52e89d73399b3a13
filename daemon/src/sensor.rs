//! The kernel's side: loads the programs, attaches them, reads what they say and makes events of it, in order.
//!
//! Two ring buffers: one for what must never be displaced, one for what can come in floods. Both are read up to one moment and
//! merged by time, so that a thread's facts are in their order whichever ring they came by.

mod assemble;
mod attach;
mod btf;
mod capture;
mod causes;
mod clock;
mod counters;
mod cutover;
mod error;
mod fact;
mod feed;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod generation;
mod handover;
mod hierarchy;
mod hooks;
mod identity;
mod lately;
mod layout;
mod load;
mod marker;
mod perf;
mod play;
mod policy;
mod programs;
mod ring;
mod setting;
mod stream;
mod threads;
mod unload;
mod usermode_helper;

use std::{
    collections::BTreeSet,
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use attach::{attach, hold};
pub use error::SensorError;
pub use play::{Play, PlayError, Player};

use self::{
    capture::{Capture, Source},
    clock::Clock,
    counters::lost_as,
    cutover::{Border, Cutover},
    feed::Feed,
    frame::{Context, Shared},
    generation::{Found, Generation},
    handover::Open,
    layout::Layout,
    marker::Marker,
    policy::{Policy, Tainted},
    setting::WatchedSettings,
    stream::Stream,
};
use crate::{
    event::{Adopted, Coverage, Event, Lost, Origin, Probes, Taints, Text, Timestamps, What},
    spool::{LANES, Position},
    systemd::Store,
};

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

/// Attached probes and their ring buffers.
pub struct Sensor {
    /// What is attached for good.
    feed: Feed,
    /// Older generations: they tell what began before they were replaced, to its end.
    outgoing: Vec<Feed>,
    /// Those of which nothing more will come, until what came of them is safe.
    spent: Vec<Feed>,
    border: Border,
    store: Store,
    /// Why something that an earlier process had left was of no use.
    refused: Vec<String>,
    context: Context,
    clock: Clock,
    boot_id: Arc<str>,
    /// When this process began to watch, CLOCK_REALTIME: keeps apart what the daemon itself says.
    began: u64,
    own_sequence: u64,
    tainted: Tainted,
    /// When the kernel's taints were looked at, CLOCK_BOOTTIME, nanoseconds.
    tainted_seen: u64,
}

impl Sensor {
    /// Takes over what an earlier process has attached, or else loads and attaches everything. What is attached and is not as it should be
    /// is replaced, so that nothing happens unseen in between.
    ///
    /// # Errors
    /// Where an essential hook can't be attached, or something that all of them need is missing.
    pub fn open(settings: &Settings, mut store: Store) -> Result<Self, SensorError> {
        let clock = Clock::measure();
        let tainted = Tainted::of_running_kernel();
        let watched = WatchedSettings::new(&settings.watched_settings);
        let made_of = generation::made_of(settings);
        let Found { same, others, refused } = Generation::find(&mut store, &made_of);
        for why in &refused {
            tracing::warn!(
                "what an earlier process has attached to the kernel is of no use and is taken out: {why}; what it had seen last is lost"
            );
        }
        let generation = match same {
            Some(generation) => generation,
            None => {
                // where this process may not attach, the next `kmodtrail attach` does
                Marker::find().remove();
                generation::attach(settings, made_of, &store)?
            }
        };
        let boot_id: Arc<str> = read_line("/proc/sys/kernel/random/boot_id").into();
        let shared = Shared {
            boot_id: Arc::clone(&boot_id),
            taints: tainted.now(),
            policy: Arc::new(Policy::of_running_kernel()),
            settings: Arc::new(watched),
        };
        let context = shared.context(&generation);
        let mut until = generation.tells_from(others.is_empty());
        let feed = Feed::new(generation, context.clone(), Cutover { since: until, until: u64::MAX }, clock);
        let mut outgoing = Vec::new();
        for (number, generation) in others.into_iter().enumerate().rev() {
            let since = generation.tells_from(number == 0);
            let context = shared.context(&generation);
            outgoing.push(Feed::new(generation, context, Cutover { since, until }, clock));
            until = since;
        }
        Ok(Self {
            feed,
            outgoing,
            spent: Vec::new(),
            border: Border::default(),
            store,
            refused,
            context,
            clock,
            boot_id,
            began: clock.wall(clock.boot()),
            own_sequence: 0,
            tainted,
            tainted_seen: clock.boot(),
        })
    }

    /// Goes on where the process before was, if there was one; `ends`: the sequences that the spool's lanes give next. To be called once,
    /// before anything is read.
    pub fn resume(&mut self, ends: &[u64; LANES]) -> Probes {
        let clock = self.clock;
        let current = self.feed.resume(ends, clock);
        let before = self.outgoing.iter_mut().filter_map(|feed| feed.resume(ends, clock));
        let before = before.reduce(|one, other| Adopted {
            unread_for: one.unread_for.min(other.unread_for),
            waiting: one.waiting + other.waiting,
        });
        if self.feed.settings().is_empty()
            && let Some(before) = self.outgoing.first()
        {
            let settings = before.settings().to_vec();
            self.feed.set_settings(settings);
        }
        match (current, before) {
            (Some(left), _) => Probes::Adopted(left),
            (None, Some(left)) => Probes::Replaced(left),
            (None, None) => Probes::Attached { refused: self.refused.first().cloned(), unwatched_for: None },
        }
    }

    /// From here on every record of the kernel is also written to a file, for [`Player`].
    ///
    /// # Errors
    /// Where the file can't be made.
    pub fn capture(&mut self, file: &Path) -> io::Result<()> {
        self.feed.stream.capture(Capture::create(file, &Source::here(&self.kernel_release(), &self.context))?);
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
        self.feed.generation.coverage()
    }

    /// An origin for what the daemon itself says; each call gives another one.
    pub fn own_origin(&mut self) -> Origin {
        self.own_sequence += 1;
        Origin { boot_id: Arc::clone(&self.boot_id), epoch: self.began, cpu: NO_CPU, sequence: self.own_sequence }
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
        [self.feed.generation.critical.fd(), self.feed.generation.bulk.fd()]
    }

    /// Reads what is there now, without waiting, and appends the events it makes, in order of time. Gives whether there is more to be
    /// read at once. Must also be called about once a second when nothing is readable: what waits for an end that the kernel never told
    /// is finished then. Without `bulk` the ring of what can come in floods is left alone: what does not fit into it is lost, and counted.
    pub fn read(&mut self, bulk: bool, events: &mut Vec<Event>) -> bool {
        let first = events.len();
        self.clock = Clock::measure();
        let taints = self.look_at_taints();
        let cut = self.feed.fill(bulk);
        let until = cut.unwrap_or(u64::MAX).min(self.clock.boot());
        self.read_outgoing(until, bulk, events);
        self.feed.drain(until, bulk, &mut self.border, self.clock, events);
        let untold = taints.filter(|_| cut.is_none()).and_then(|taints| self.feed.stream.untold_taints(taints));
        if let Some(what) = untold {
            self.say(What::Taint(what), events);
        }
        self.feed.tell_lost(&self.boot_id, self.clock, events);
        self.tell_late(events);
        events[first..].sort_by_key(|e| e.time.boot);
        cut.is_some() || !self.feed.stream.is_empty()
    }

    /// What the generations before this one still have, and this one meanwhile. They go when nothing more can come of them.
    fn read_outgoing(&mut self, until: u64, bulk: bool, events: &mut Vec<Event>) {
        if self.outgoing.is_empty() {
            return;
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        for feed in &mut outgoing {
            while feed.fill(true).is_some() {}
        }
        let all = std::iter::once(&self.feed).chain(&outgoing);
        let times: BTreeSet<_> = all.flat_map(|feed| feed.stream.times()).filter(|time| *time <= until).collect();
        for time in times.into_iter().chain([until]) {
            self.feed.drain(time, bulk, &mut self.border, self.clock, events);
            for feed in &mut outgoing {
                feed.drain(time, true, &mut self.border, self.clock, events);
            }
            self.border.set_busy(outgoing.iter().flat_map(|feed| feed.stream.busy()));
        }
        for mut feed in outgoing {
            feed.tell_lost(&self.boot_id, self.clock, events);
            let since = until.saturating_sub(feed.stream.cutover().until);
            if since > cutover::LONGEST || since > cutover::NEAR && feed.is_idle() {
                feed.stream.end_all(self.clock, events);
                self.spent.push(feed);
            } else {
                self.outgoing.push(feed);
            }
        }
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

    fn tell_late(&mut self, events: &mut Vec<Event>) {
        let late: Vec<_> = self.feed.stream.take_late().collect();
        for (kind, count) in late {
            let (event, record) = lost_as(kind);
            self.say(What::Lost(Lost { event, record, count }), events);
        }
    }

    fn feeds(&mut self) -> impl Iterator<Item = &mut Feed> {
        std::iter::once(&mut self.feed).chain(&mut self.outgoing).chain(&mut self.spent)
    }

    /// These events have got these positions in the spool, and are about to be written there: a process that comes after this one knows by
    /// them whether they were. To be called also where [`Self::read`] has given nothing.
    pub fn prepare(&mut self, events: &[Event], positions: &[Position]) {
        let clock = self.clock;
        self.feeds().for_each(|feed| feed.prepare(events, positions, clock));
    }

    /// Values of settings, as an earlier process has told them; none where it is the first.
    #[must_use]
    pub fn settings_told(&self) -> &[(PathBuf, Option<Vec<u8>>)] {
        self.feed.settings()
    }

    /// Values of settings, as they were told: for the next process.
    pub fn tell_settings(&mut self, values: Vec<(PathBuf, Option<Vec<u8>>)>) {
        self.feed.set_settings(values);
    }

    /// All events that `read` has given are safe: the rings' memory is given back.
    pub fn commit(&mut self) {
        self.feeds().for_each(Feed::commit);
        for feed in self.spent.drain(..) {
            tracing::info!(
                epoch = format!("{:x}", feed.generation.about.epoch),
                "an earlier generation of probes has told everything and is taken out of the kernel"
            );
            feed.generation.forget(&self.store);
        }
    }

    /// Much has been read that has given no event, and so was not committed.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.feed.is_behind() || self.outgoing.iter().any(Feed::is_behind)
    }

    /// Somebody is there. To be called about once a second.
    pub fn alive(&mut self) {
        let clock = self.clock;
        self.feeds().for_each(|feed| feed.alive(clock));
    }

    /// Stops watching; appends what was still open, unless the next process will see its end. `last`: there is none that goes on.
    pub fn finish(&mut self, last: bool, events: &mut Vec<Event>) {
        // the kernel's taints are looked at for the last time, whenever that was done
        self.tainted_seen = 0;
        // what comes while the last of it is read is not waited for without end
        for _ in 0..FINISH_ROUNDS {
            if !self.read(true, events) {
                break;
            }
        }
        let clock = self.clock;
        for feed in self.feeds().filter(|feed| last || feed.generation.handover.is_none()) {
            feed.stream.end_all(clock, events);
        }
        if let Err(error) = self.feed.stream.finish_capture() {
            tracing::error!(%error, "the recording of the kernel's records could not be written to its end");
        }
    }

    /// What threads are in the middle of, for [`Self::end_attempts`] of a process that does not go on where this one was.
    #[must_use]
    pub fn open_attempts(&self) -> Vec<u8> {
        let feeds = std::iter::once(&self.feed).chain(&self.outgoing);
        let open: Vec<_> = feeds.flat_map(|feed| feed.stream.open()).collect();
        // can't fail: it is bytes and numbers
        postcard::to_allocvec(&open).unwrap_or_default()
    }

    /// Tells what threads were in the middle of when nobody watched any more: their ends were not seen.
    pub fn end_attempts(&self, open: &[u8], events: &mut Vec<Event>) {
        let open: Vec<Open> = postcard::from_bytes(open).unwrap_or_default();
        let mut stream = Stream::new(self.context.clone(), self.clock);
        stream.resume(self.context.taints, &open, &[], self.clock);
        stream.end_all(self.clock, events);
    }

    /// Takes everything out of the kernel when this process ends: nobody keeps it.
    pub fn detach(&mut self) {
        Marker::find().remove();
        for feed in std::iter::once(&self.feed).chain(&self.outgoing) {
            feed.generation.forget(&self.store);
        }
    }

    /// Counts since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { kernel_records: self.feed.generation.counters.made(), lost: self.feed.generation.counters.lost() }
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
        f.debug_struct("Sensor")
            .field("epoch", &self.feed.generation.about.epoch)
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}
