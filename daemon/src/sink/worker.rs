//! What takes records out of the spool, for one sink: a thread of its own, so that a slow sink never slows another.
//!
//! A batch at a time: read, routed, delivered, and settled in the spool when the far side has it. What it does not have is tried again,
//! for ever, at growing intervals; what it will never take becomes a dead letter. Nothing is kept here that is not in the spool.

mod desk;

use std::{
    io,
    ops::Range,
    pin::pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::desk::{Control, Desk, Pending, Told};
use super::{Deliver, Health, Outgoing, Trouble, Verdict, dead_letters::DeadLetters};
use crate::{
    event::{DropReason, Dropped},
    record::Record,
    route::{Decision, Router},
    spool::{Chunk, DropKey, Fate, Reader},
};

/// The first wait after something went wrong, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// So long a worker rests after a batch that was not full: what comes in this time shares the next one, and its fdatasync.
const REST: Duration = Duration::from_millis(5);
/// So often the spool's account of a sink is made durable.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// A running worker.
#[derive(Debug)]
pub struct Worker<D> {
    control: mpsc::UnboundedSender<Control<D>>,
    thread: JoinHandle<()>,
    health: Health,
}

/// What a worker needs.
#[derive(Debug)]
pub struct Job<D> {
    /// Name of the sink.
    pub name: String,
    /// The sink.
    pub sink: D,
    /// What goes there.
    pub router: Router,
    /// Where it comes from.
    pub reader: Reader,
    /// Where refused records go.
    pub dead_letters: Arc<DeadLetters>,
    /// How it is.
    pub health: Health,
    /// Who wants to know what routes have held back.
    pub held_back: std::sync::mpsc::Sender<Dropped>,
}

impl<D: Deliver + Send + 'static> Worker<D> {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where there can't be another thread.
    pub fn start(job: Job<D>) -> io::Result<Self> {
        let (control, orders) = mpsc::unbounded_channel();
        let health = job.health.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // the kernel shows 15 bytes of it
        let thread = thread::Builder::new().name(format!("sink {}", job.name)).spawn(move || {
            runtime.block_on(Loop::new(job, orders).run());
        })?;
        Ok(Self { control, thread, health })
    }

    /// From the next batch on.
    pub fn configure(&self, router: Router, sink: Option<D>) {
        self.tell(Control::Configure { router, sink });
    }

    /// Open again what may have been rotated away; `pending` is dropped when that is done, and what was ordered before.
    pub fn reopen(&self, pending: Pending) {
        self.tell(Control::Reopen(pending));
    }

    /// Ends it; [`Self::join`] waits for the end.
    pub fn stop(&self, drain: Duration) {
        self.tell(Control::Stop { drain });
    }

    /// Waits until it has ended.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!(
                "a sink's thread has panicked: this is a bug in kmodtrail, please report it; its records are in the spool"
            );
        }
    }

    /// How its sink is.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    fn tell(&self, control: Control<D>) {
        // one that has ended needs to be told nothing
        let _ = self.control.send(control);
    }
}

/// A record of a batch that goes to this sink.
struct Item {
    /// Index in the chunk.
    entry: usize,
    /// Where in `changed` it lies, where a route has changed it.
    changed: Option<Range<usize>>,
    route: Arc<str>,
}

/// What has been read and not been settled.
#[derive(Default)]
struct Batch {
    chunk: Chunk,
    changed: Vec<u8>,
    items: Vec<Item>,
}

impl Batch {
    fn clear(&mut self) {
        self.chunk.clear();
        self.changed.clear();
        self.items.clear();
    }

    fn outgoing(&self, item: &Item) -> Option<Outgoing<'_>> {
        let entry = &self.chunk.entries[item.entry];
        let bytes = match &item.changed {
            Some(range) => &self.changed[range.clone()],
            None => &self.chunk.buffer[entry.range.clone()],
        };
        Some(Outgoing { resource: &entry.context, record: Record::parse(bytes).ok()? })
    }
}

/// Waits until there is something to read, and then until that is worth it.
async fn rested(reader: &mut Reader, rested: Instant) {
    reader.readable().await;
    if Instant::now() < rested {
        sleep_until(rested).await;
    }
}

/// Why a delivery was given up in the middle.
enum Interrupted {
    /// Another sink takes the place of this one.
    Replaced,
    /// The time to stop has come.
    Ended,
}

struct Loop<D> {
    name: String,
    sink: D,
    reader: Reader,
    dead_letters: Arc<DeadLetters>,
    health: Health,
    held_back: std::sync::mpsc::Sender<Dropped>,
    desk: Desk<D>,
    saved: Instant,
    unsaved: bool,
    /// When to begin the next batch, at the earliest.
    rested: Instant,
}

impl<D: Deliver> Loop<D> {
    fn new(job: Job<D>, orders: mpsc::UnboundedReceiver<Control<D>>) -> Self {
        let Job { name, sink, router, reader, dead_letters, health, held_back } = job;
        let desk = Desk::new(orders, router);
        let now = Instant::now();
        Self { name, sink, reader, dead_letters, health, held_back, desk, saved: now, unsaved: false, rested: now }
    }

    async fn run(mut self) {
        let mut batch = Batch::default();
        loop {
            self.obey().await;
            let (save_at, ending) = (self.saved + SAVE_INTERVAL, self.desk.end.is_some());
            let rested_at = if ending { self.saved } else { self.rested };
            tokio::select! {
                biased;
                told = self.desk.told() => match told {
                    Told::Order => continue,
                    Told::End => break,
                },
                () = rested(&mut self.reader, rested_at) => {}
                // nothing is readable any more
                () = async {}, if ending => break,
                () = sleep_until(save_at), if self.unsaved => {
                    self.save();
                    continue;
                }
            }
            batch.clear();
            let size = self.sink.limits().bytes;
            if let Err(error) = self.reader.read(&mut batch.chunk, size) {
                self.health.trouble(&format!("the spool can't be read: {error}; repair its disk"));
                if self.pause(WAITS.1).await.is_err() {
                    break;
                }
            }
            if batch.chunk.buffer.len() < size {
                self.rested = Instant::now() + REST;
            }
            self.route(&mut batch);
            let delivered = self.deliver(&batch).await;
            self.unsaved = true;
            if self.saved.elapsed() >= SAVE_INTERVAL {
                self.save();
            }
            if let Err(Interrupted::Ended) = delivered {
                break;
            }
        }
        self.save();
        self.sink.close().await;
    }

    /// Does what was ordered.
    async fn obey(&mut self) {
        if let Some(replacement) = self.desk.replacement.take() {
            std::mem::replace(&mut self.sink, replacement).close().await;
            self.desk.reopen = false;
        }
        if std::mem::take(&mut self.desk.reopen) {
            self.sink.reopen();
        }
        self.desk.pending = None;
    }

    /// Finds what of the batch goes to this sink, and settles the rest.
    fn route(&mut self, batch: &mut Batch) {
        let Batch { chunk, changed, items } = batch;
        for (entry, read) in chunk.entries.iter().enumerate() {
            let Ok(record) = Record::parse(&chunk.buffer[read.range.clone()]) else {
                let nobody_knows: Arc<str> = "".into();
                let key =
                    DropKey { route: Arc::clone(&nobody_knows), event: nobody_knows, reason: DropReason::Damaged };
                self.reader.settle(read.position, &Fate::Dropped(key));
                continue;
            };
            let begin = changed.len();
            match self.desk.router.route(&read.context, &record, changed) {
                Decision::Nowhere => self.reader.settle(read.position, &Fate::RoutedNowhere),
                Decision::HeldBack { route, reason } => {
                    let key = DropKey { route: Arc::clone(route), event: record.event_name.into(), reason };
                    self.reader.settle(read.position, &Fate::Dropped(key));
                }
                Decision::Deliver { route, changed: is_changed } => {
                    let range = is_changed.then_some(begin..changed.len());
                    items.push(Item { entry, changed: range, route: Arc::clone(route) });
                }
            }
        }
    }

    /// Until all of it is settled, or something else is to be done.
    async fn deliver(&mut self, batch: &Batch) -> Result<(), Interrupted> {
        let mut waiting: Vec<_> = batch.items.iter().filter_map(|item| Some((item, batch.outgoing(item)?))).collect();
        let mut waits = waits();
        while !waiting.is_empty() {
            let most = self.sink.limits().records.max(1);
            let outgoing: Vec<_> = waiting.iter().take(most).map(|(_, outgoing)| *outgoing).collect();
            let verdicts = match self.attempt(&outgoing).await {
                Ok(verdicts) => verdicts,
                Err(Interrupted::Replaced) => {
                    self.obey().await;
                    continue;
                }
                Err(ended) => return Err(ended),
            };
            let before = waiting.len();
            let trouble = self.settle(batch, &mut waiting, verdicts);
            if waiting.len() < before {
                waits = self::waits();
            }
            if let Some(trouble) = trouble {
                self.health.trouble(&trouble.why);
                let wait = trouble.after.or_else(|| waits.next()).unwrap_or(WAITS.1);
                self.pause(wait).await?;
            }
        }
        Ok(())
    }

    /// Once.
    async fn attempt(&mut self, outgoing: &[Outgoing<'_>]) -> Result<Vec<Verdict>, Interrupted> {
        let mut delivery = pin!(self.sink.deliver(outgoing));
        loop {
            tokio::select! {
                biased;
                verdicts = &mut delivery => return Ok(verdicts),
                told = self.desk.told() => match told {
                    Told::Order if self.desk.replacement.is_some() => return Err(Interrupted::Replaced),
                    // the answer of a far side may take long, and a sink that has one has no file
                    Told::Order => self.desk.pending = None,
                    Told::End => return Err(Interrupted::Ended),
                },
            }
        }
    }

    /// Waits, unless another sink takes the place of this one, or the end comes.
    async fn pause(&mut self, wait: Duration) -> Result<(), Interrupted> {
        let until = Instant::now() + wait;
        loop {
            tokio::select! {
                biased;
                told = self.desk.told() => match told {
                    Told::Order if self.desk.replacement.is_some() => {
                        self.obey().await;
                        return Ok(());
                    }
                    Told::Order => self.obey().await,
                    Told::End => return Err(Interrupted::Ended),
                },
                () = sleep_until(until) => return Ok(()),
            }
        }
    }

    /// Settles what is settled, and keeps in `waiting` what must be tried again; gives why.
    fn settle<'b>(
        &mut self,
        batch: &'b Batch,
        waiting: &mut Vec<(&'b Item, Outgoing<'b>)>,
        verdicts: Vec<Verdict>,
    ) -> Option<Trouble> {
        let mut trouble = None;
        let mut refused = Vec::new();
        let mut works = false;
        let mut verdicts = verdicts.into_iter();
        let tried = std::mem::take(waiting);
        for (item, outgoing) in tried {
            // beyond what the sink takes at once
            let Some(verdict) = verdicts.next() else {
                waiting.push((item, outgoing));
                continue;
            };
            match verdict {
                Verdict::Delivered => {
                    works = true;
                    self.reader.settle(batch.chunk.entries[item.entry].position, &Fate::Delivered);
                }
                Verdict::Retry(why) => {
                    trouble = Some(why);
                    waiting.push((item, outgoing));
                }
                Verdict::Refused(why) => refused.push((item, outgoing, why)),
            }
        }
        if works && trouble.is_none() {
            self.health.works();
        }
        if refused.is_empty() {
            return trouble;
        }
        let letters: Vec<_> = refused.iter().map(|(_, outgoing, why)| (*outgoing, &**why)).collect();
        match self.dead_letters.keep(&self.name, &letters) {
            Ok(()) => {
                let why = letters[0].1;
                let count = letters.len();
                tracing::error!(
                    sink = self.name, count, reason = why, place = %self.dead_letters.path().display(),
                    "records were refused and are dead letters now; repair the cause, then `kmodtrail replay` sends them again"
                );
                for (item, outgoing, _) in refused {
                    let event = outgoing.record.event_name.into();
                    let key = DropKey { route: Arc::clone(&item.route), event, reason: DropReason::Refused };
                    self.reader.settle(batch.chunk.entries[item.entry].position, &Fate::Dropped(key));
                }
                trouble
            }
            Err(error) => {
                waiting.extend(refused.into_iter().map(|(item, outgoing, _)| (item, outgoing)));
                waiting.sort_unstable_by_key(|(item, _)| item.entry);
                Some(Trouble::new(error))
            }
        }
    }

    /// Notes what was settled, and tells what was held back.
    fn save(&mut self) {
        self.saved = Instant::now();
        for held in self.desk.router.summaries(now()) {
            let route = Some(held.route.to_string());
            let key = Some(held.key).filter(|key| !key.is_empty());
            let dropped =
                Dropped { sink: self.name.clone(), route, event: None, reason: held.reason, key, count: held.count };
            // nobody listens at the very end: the ledger has them
            let _ = self.held_back.send(dropped);
        }
        match self.reader.save() {
            Ok(()) => self.unsaved = false,
            Err(error) => tracing::warn!(
                sink = self.name, %error,
                "what has been delivered can't be noted in the spool: after a crash it would be delivered again, with the same ids"
            ),
        }
    }
}

/// Growing, with jitter, without end.
fn waits() -> impl Iterator<Item = Duration> {
    let (first, longest) = WAITS;
    let waits = ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).with_jitter();
    waits.without_max_times().build()
}

/// Nanoseconds since the epoch of Unix.
fn now() -> u64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
