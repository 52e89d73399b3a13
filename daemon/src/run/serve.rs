//! Waits for what may happen, and lets it happen.

use std::{
    future::poll_fn,
    io,
    os::fd::OwnedFd,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{Pipeline, RunError, Watch};
use crate::{
    event::{Event, Started, Stopped, What},
    systemd::{Notify, Status},
};

/// How often to look whether something that waits has become possible.
const TICK: Duration = Duration::from_secs(1);
/// Memory for events that is kept; a burst may need more for a moment.
const KEPT_EVENTS: usize = 256;

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    status: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            status: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Why the loop woke up.
enum Wake {
    Stop(&'static str),
    Reload,
    Status,
    Tick(Instant),
    Readable,
}

struct Daemon<W> {
    watch: W,
    pipeline: Pipeline,
    notify: Notify,
    events: Vec<Event>,
    /// The pipeline has records of events that the sensor still keeps.
    uncommitted: bool,
    /// The sensor has more that can be read at once.
    more: bool,
}

/// Watches until SIGTERM or SIGINT.
///
/// # Errors
/// Where it can't wait, or sinks did not take everything until the end.
pub async fn serve<W: Watch>(watch: W, pipeline: Pipeline) -> Result<(), RunError> {
    let mut signals = Signals::new().map_err(RunError::Loop)?;
    let rings = rings(&watch).map_err(RunError::Loop)?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut daemon = Daemon {
        watch,
        pipeline,
        notify: Notify::from_environment(),
        events: Vec::new(),
        uncommitted: false,
        more: false,
    };
    daemon.started();
    give_back_memory();
    daemon.notify.ready(&daemon.status());
    loop {
        let reading = !daemon.pipeline.is_stuck();
        match wake(&mut signals, &mut tick, &rings, reading, reading && daemon.more).await.map_err(RunError::Loop)? {
            Wake::Readable => daemon.cycle(),
            Wake::Tick(now) => {
                daemon.cycle();
                daemon.notify.tick(now, &daemon.status());
            }
            Wake::Reload => daemon.reload(),
            Wake::Status => tracing::info!("{}", daemon.status()),
            Wake::Stop(reason) => return daemon.stop(reason),
        }
    }
}

/// The kernel's BTF and what is made of it take several megabytes at the start and never again; the C library would keep them.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches nothing but the allocator's own free memory.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// Copies of the descriptors: they tell when the sensor's are readable, and live as long as they are waited for.
fn rings(watch: &impl Watch) -> io::Result<[AsyncFd<OwnedFd>; 2]> {
    let [critical, bulk] = watch.descriptors().map(|descriptor| {
        let copy = descriptor.try_clone_to_owned()?;
        // SAFETY: the copy is owned by the AsyncFd, which deregisters it before it is closed.
        unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) }.map_err(io::Error::from)
    });
    Ok([critical?, bulk?])
}

async fn wake(
    signals: &mut Signals,
    tick: &mut Interval,
    rings: &[AsyncFd<OwnedFd>; 2],
    reading: bool,
    more: bool,
) -> io::Result<Wake> {
    let readable = pin!(poll_fn(|context| poll_rings(rings, context)));
    Ok(tokio::select! {
        biased;
        _ = signals.terminate.recv() => Wake::Stop("SIGTERM"),
        _ = signals.interrupt.recv() => Wake::Stop("SIGINT"),
        _ = signals.hangup.recv() => Wake::Reload,
        _ = signals.status.recv() => Wake::Status,
        now = tick.tick() => Wake::Tick(now),
        // signals and the tick have their turn between two pieces of a flood
        () = tokio::task::yield_now(), if more => Wake::Readable,
        result = readable, if reading => { result?; Wake::Readable },
    })
}

/// Ready when one of them is readable. Readiness is taken back before anything is read: what comes while we read makes it ready again.
fn poll_rings(rings: &[AsyncFd<OwnedFd>; 2], context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut result = Poll::Pending;
    for ring in rings {
        if let Poll::Ready(guard) = ring.poll_read_ready(context) {
            guard?.clear_ready();
            result = Poll::Ready(Ok(()));
        }
    }
    result
}

impl<W: Watch> Daemon<W> {
    /// What the kernel has, through to the sinks.
    fn cycle(&mut self) {
        self.pipeline.deliver();
        if !self.pipeline.is_stuck() {
            self.more = self.watch.read(&mut self.events);
            self.take();
        }
        self.commit();
    }

    fn take(&mut self) {
        if !self.events.is_empty() {
            self.pipeline.take(&mut self.events);
            self.events.shrink_to(KEPT_EVENTS);
            self.uncommitted = true;
        }
    }

    fn commit(&mut self) {
        if self.uncommitted && !self.pipeline.is_stuck() {
            self.watch.commit();
            self.uncommitted = false;
        }
    }

    /// Something about the daemon itself.
    fn say(&mut self, what: What) {
        let (time, origin) = (self.watch.now(), self.watch.own_origin());
        self.events.push(Event { time, origin, trace: None, process: None, what, missing: Vec::new() });
    }

    fn started(&mut self) {
        let kernel = self.watch.kernel_release();
        self.say(What::Started(Started { version: env!("CARGO_PKG_VERSION"), kernel }));
        let coverage = self.watch.coverage();
        self.say(What::Coverage(coverage));
        self.take();
        self.commit();
    }

    fn reload(&mut self) {
        self.notify.reloading();
        self.pipeline.reopen();
        self.cycle();
        self.notify.ready(&self.status());
    }

    fn stop(mut self, reason: &'static str) -> Result<(), RunError> {
        tracing::info!(reason, "stopping");
        self.notify.stopping();
        self.pipeline.deliver();
        self.watch.finish(&mut self.events);
        let Status { events, lost, kernel_records, .. } = self.status();
        let events = events + self.events.len() as u64;
        self.say(What::Stopped(Stopped { reason: reason.to_owned(), events, kernel_records, lost }));
        self.take();
        self.commit();
        let waiting: Vec<_> = self.pipeline.waiting().collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let sinks: Vec<_> = waiting.iter().map(|(name, records)| format!("{name}: {records}")).collect();
        Err(RunError::Undelivered { records: waiting.iter().map(|w| w.1).sum(), sinks: sinks.join(", ") })
    }

    fn status(&self) -> Status {
        let (totals, figures) = (self.watch.totals(), self.pipeline.figures());
        Status {
            events: figures.events,
            waiting: figures.waiting,
            kernel_records: totals.kernel_records,
            lost: totals.lost,
        }
    }
}
