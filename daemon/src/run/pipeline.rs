//! From events to the spool. What takes them out of it are the workers of the sinks.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc::Receiver;

use super::{
    Print,
    sinks::{Sinks, SinksError},
};
use crate::{
    config::{self, Config, Fsync, WhenFull},
    enrich::Enrich,
    event::{Dropped, Event, Severity, What},
    record::{self, Record},
    resource::Resource,
    route::RoutingTable,
    spool::{self, Classify, Durability, LANES, Lane, Loss, Options, Position, Spool},
    status,
};

/// What would have become of a record that the spool has no room for.
#[derive(Debug)]
struct Classifier(RoutingTable);

impl Classify for Classifier {
    fn fate(&self, sink: &str, resource: &[u8], record: &[u8]) -> Option<(Arc<str>, Arc<str>)> {
        let record = Record::parse(record).ok()?;
        let route = self.0.first_route(sink, resource, &record)?;
        Some((Arc::clone(route), record.event_name.into()))
    }
}

/// Why there can't be a way for the records.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] spool::OpenError),
    /// The sinks.
    #[error(transparent)]
    Sinks(#[from] SinksError),
}

/// Everything after the sensor.
#[derive(Debug)]
pub struct Pipeline {
    config: Config,
    kernel_release: String,
    enrich: Enrich,
    writer: record::Writer,
    record: Vec<u8>,
    queue: spool::Writer,
    /// Where in the spool the events are that were pushed last.
    positions: Vec<Position>,
    /// The spool could not take all of it: nothing more may come.
    stuck: bool,
    spool: Spool,
    routing: Classifier,
    sinks: Sinks,
    print: Option<Print>,
    events: u64,
    started: SystemTime,
}

impl Pipeline {
    /// Opens the spool and starts the sinks.
    ///
    /// # Errors
    /// Where one of them can't be opened.
    pub fn open(config: Config, kernel_release: &str, print: Option<Print>) -> Result<Self, PipelineError> {
        let (spool, queue) = Spool::open(&config.spool.path, options(&config.spool))?;
        let sinks = Sinks::new(spool.clone(), &config.dead_letters);
        let mut pipeline = Self {
            kernel_release: kernel_release.to_owned(),
            enrich: Enrich::new(&config.enrich),
            writer: record::Writer::default(),
            record: Vec::new(),
            queue,
            positions: Vec::new(),
            stuck: false,
            spool,
            routing: Classifier(RoutingTable::new(&config)),
            sinks,
            print,
            events: 0,
            started: SystemTime::now(),
            config,
        };
        pipeline.set_resource();
        pipeline.sinks.configure(&pipeline.config)?;
        Ok(pipeline)
    }

    /// Where all records come from.
    #[must_use]
    pub fn resource(&self) -> Resource {
        let mut resource = Resource::detect(&self.kernel_release);
        for (name, value) in &self.config.resource.attributes {
            resource.set(name, value);
        }
        resource
    }

    fn set_resource(&mut self) {
        let resource = self.resource();
        if let Err(error) = self.queue.set_context(&record::resource(&resource)) {
            tracing::error!(%error, "the resource is too long for the spool and stays as it was; allowed: fewer or shorter [resource] attributes");
        }
    }

    /// Enriches the events, and gives each the position that it will have in the spool: [`Self::commit`] puts them there. What is too long for
    /// the spool is left out.
    pub fn push(&mut self, events: &mut Vec<Event>) -> &[Position] {
        self.enrich.enrich(events);
        self.positions.clear();
        events.retain(|event| {
            self.events += 1;
            self.record.clear();
            self.writer.write(event, &mut self.record);
            if let Some(print) = &mut self.print {
                print.push(event);
            }
            let position = self.queue.push(lane(event), &self.record).inspect_err(|error| {
                // can't happen: what the kernel sends is smaller by far
                let event = event.what.name();
                tracing::error!(%error, event, "a record is too long for the spool and is lost: a bug in kmodtrail, please report it");
            });
            self.positions.extend(position.as_ref().ok().copied());
            position.is_ok()
        });
        if let Some(print) = &mut self.print
            && !print.flush()
        {
            self.print = None;
        }
        &self.positions
    }

    /// The sequences that the spool's lanes give next.
    #[must_use]
    pub fn ends(&self) -> [u64; LANES] {
        self.queue.ends()
    }

    /// Puts into the spool what was pushed, and what could not be put there before. It is safe when [`Self::is_stuck`] says no.
    pub fn commit(&mut self) {
        match self.queue.commit(&self.routing) {
            Ok(()) if self.stuck => {
                self.stuck = false;
                tracing::info!(
                    "the spool can be written again; what was dropped to make room, if anything, is told by kmodtrail.dropped"
                );
            }
            Ok(()) => {}
            Err(error) if !self.stuck => {
                self.stuck = true;
                tracing::error!(
                    "{error}; records are kept in memory and in the kernel's ring buffers and tried again every second, no more are read until then"
                );
            }
            Err(_) => {}
        }
    }

    /// Nothing more may be taken now.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// What can come in floods may be taken now.
    #[must_use]
    pub fn takes_bulk(&self) -> bool {
        self.queue.takes_bulk()
    }

    /// To be called about once a second. Gives what there is to say about records that were dropped.
    pub fn tick(&mut self) -> impl Iterator<Item = What> {
        if self.stuck {
            self.commit();
        }
        self.queue.tick(&self.routing);
        let lost = self.spool.take_losses().into_iter().map(dropped);
        lost.chain(self.sinks.take_held_back()).map(What::Dropped)
    }

    /// Another configuration, all or nothing.
    ///
    /// # Errors
    /// Where a sink can't be opened: then all is as before.
    pub fn configure(&mut self, config: Config) -> Result<(), SinksError> {
        self.sinks.configure(&config)?;
        self.routing = Classifier(RoutingTable::new(&config));
        self.config = config;
        self.set_resource();
        Ok(())
    }

    /// The configuration that is in use.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Opens again what may have been rotated away. The channel is closed when that is done, and the last configuration in use.
    pub fn reopen(&self) -> Receiver<Infallible> {
        self.sinks.reopen()
    }

    /// Events, the daemon's own among them.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// How everything is.
    #[must_use]
    pub fn status(&self) -> status::Pipeline {
        let mut spool = self.spool.status();
        // they are shown with the sinks
        let ledgers = std::mem::take(&mut spool.readers);
        let sinks = self.sinks.health().map(|(name, r#type, health)| {
            let ledger = ledgers.iter().find(|ledger| &*ledger.reader == name).cloned();
            status::Sink { name: name.to_owned(), r#type, health, ledger }
        });
        let dead_letters = self.sinks.dead_letters();
        status::Pipeline {
            started: self.started,
            events: self.events,
            missing: self.enrich.missing().clone(),
            sinks: sinks.collect(),
            dead_letters: status::DeadLetters { path: dead_letters.path().to_owned(), bytes: dead_letters.size() },
            spool,
        }
    }

    /// Delivers what can be delivered in the configured time. What could not be put into the spool is lost with this process: gives how
    /// many records that are, and where the rest waits.
    pub fn stop(mut self) -> Result<(), Undelivered> {
        self.commit();
        let lost = Lane::ALL.into_iter().map(|lane| self.queue.waiting(lane)).sum();
        self.sinks.stop(self.config.shutdown.drain);
        if lost == 0 { Ok(()) } else { Err(Undelivered { records: lost, spool: self.config.spool.path }) }
    }
}

/// Records that are lost with the process.
#[derive(Debug, thiserror::Error)]
#[error("{records} records could not be put into the spool {} before the end and are lost; make room there, or repair its disk", spool.display())]
pub struct Undelivered {
    records: u64,
    spool: PathBuf,
}

fn options(config: &config::Spool) -> Options {
    Options {
        max_size: config.max_size.0,
        max_age: config.max_age.unwrap_or(Duration::MAX),
        when_full: match config.when_full {
            WhenFull::DropOldest => spool::WhenFull::DropOldest,
            WhenFull::BlockBulk => spool::WhenFull::BlockBulk,
        },
        durability: match config.fsync {
            Fsync::Always => Durability::Always,
            Fsync::Interval => Durability::Interval(config.fsync_interval),
            Fsync::None => Durability::None,
        },
    }
}

/// Where an event waits: what is in a lower lane is dropped first. What anybody can make happen as often as he likes is below all the rest, however severe, so
/// that a flood displaces nothing else.
fn lane(event: &Event) -> Lane {
    let rank = match event.severity() {
        Severity::Debug | Severity::Info => 0,
        Severity::Warn => 1,
        Severity::Error | Severity::Fatal => 2,
    };
    if event.may_flood() { Lane::BULK[rank] } else { Lane::ALL[Lane::BULK.len() + rank] }
}

fn dropped(loss: Loss) -> Dropped {
    let spool::Dropped { key, count } = loss.dropped;
    let known = |name: &str| (name != spool::UNKNOWN).then(|| name.to_owned());
    Dropped {
        sink: loss.reader.to_string(),
        route: known(&key.route),
        event: known(&key.event),
        reason: key.reason,
        key: None,
        count,
    }
}
