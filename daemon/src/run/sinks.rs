//! The workers of all sinks.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::mpsc::{Receiver, channel};

use crate::{
    config::{self, Config, SecretError},
    event::{DropReason, Dropped},
    route::Router,
    sink::{DeadLetters, Health, Job, OpenError, Sink, State, Worker},
    spool::{Begin, ReaderError, Spool},
};

/// Why the sinks can't be as the configuration wants them.
#[derive(Debug, thiserror::Error)]
pub enum SinksError {
    /// One of them can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What a route hashes with can't be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its place in the spool can't be had.
    #[error("sink {sink:?}: {source}")]
    Reader {
        /// Name of the sink.
        sink: String,
        /// Why not.
        source: ReaderError,
    },
    /// No thread.
    #[error(
        "sink {sink:?}: there can't be a thread for it: {source}; allowed: a few more tasks for this service (TasksMax=)"
    )]
    Thread {
        /// Name of the sink.
        sink: String,
        /// Why not.
        source: io::Error,
    },
}

#[derive(Debug)]
struct Running {
    config: config::Sink,
    worker: Worker<Sink>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sinks {
    spool: Spool,
    dead_letters: Arc<DeadLetters>,
    running: BTreeMap<String, Running>,
    held_back: (mpsc::Sender<Dropped>, mpsc::Receiver<Dropped>),
}

impl Sinks {
    /// None yet.
    #[must_use]
    pub(super) fn new(spool: Spool, config: &config::DeadLetters) -> Self {
        let dead_letters = Arc::new(DeadLetters::new(config.path.clone(), config.max_size.0));
        Self { spool, dead_letters, running: BTreeMap::new(), held_back: mpsc::channel() }
    }

    /// Makes them what the configuration says, all or nothing: new ones are started, gone ones ended, and one that has not changed keeps what it has in its hands
    /// and its connections.
    ///
    /// # Errors
    /// Where one can't be opened: then all stay as they are.
    pub(super) fn configure(&mut self, config: &Config) -> Result<(), SinksError> {
        // what came before a sink was configured is not its business, but what was said while the daemon started is
        let begin = if self.running.is_empty() { Begin::Opening } else { Begin::Now };
        // everything that can fail comes first
        let mut wanted = Vec::new();
        for sink in &config.sinks {
            let router = Router::new(config, &sink.name)?;
            let running = self.running.get(&sink.name);
            let health = running.map_or_else(|| Health::new(&sink.name), |running| running.worker.health().clone());
            let same = running.is_some_and(|running| running.config == *sink);
            let open = if same { None } else { Some(Sink::open(sink, &health)?) };
            wanted.push((sink, router, open, health));
        }
        for (sink, router, open, health) in wanted {
            if let Some(running) = self.running.get_mut(&sink.name) {
                running.config = sink.clone();
                running.worker.configure(router, open);
                continue;
            }
            // one that does not run has been opened
            let Some(open) = open else { continue };
            let name = sink.name.clone();
            let reader =
                self.spool.reader(&name, begin).map_err(|source| SinksError::Reader { sink: name.clone(), source })?;
            let dead_letters = Arc::clone(&self.dead_letters);
            let held_back = self.held_back.0.clone();
            let job = Job { name: name.clone(), sink: open, router, reader, dead_letters, health, held_back };
            let worker = Worker::start(job).map_err(|source| SinksError::Thread { sink: name.clone(), source })?;
            self.running.insert(name, Running { config: sink.clone(), worker });
        }
        let stays = |name: &str| config.sinks.iter().any(|sink| sink.name == name);
        for (_, gone) in self.running.extract_if(.., |name, _| !stays(name)) {
            gone.worker.stop(Duration::ZERO);
            gone.worker.join();
        }
        self.forget(stays);
        Ok(())
    }

    /// Readers of sinks that are no longer in the configuration would keep the spool from being emptied.
    fn forget(&self, stays: impl Fn(&str) -> bool) {
        for name in self.spool.readers().into_iter().filter(|name| !stays(name)) {
            match self.spool.forget(&name) {
                Ok(0) => tracing::info!(sink = &*name, "the sink is no longer in the configuration"),
                Ok(count) => {
                    tracing::warn!(
                        sink = &*name,
                        records = count,
                        "the sink is no longer in the configuration, and records that it had not delivered are dropped for it"
                    );
                    let (sink, reason) = (name.to_string(), DropReason::SinkRemoved);
                    // the receiver is here as well
                    let _ = self.held_back.0.send(Dropped { sink, route: None, event: None, reason, key: None, count });
                }
                Err(error) => {
                    tracing::warn!(sink = &*name, %error, "what the spool knows of a sink that is gone can't be deleted");
                }
            }
        }
    }

    /// Opens again what may have been rotated away. The channel is closed when all have done so, and do as they were last configured.
    pub(super) fn reopen(&self) -> Receiver<Infallible> {
        let (pending, over) = channel(1);
        for running in self.running.values() {
            running.worker.reopen(pending.clone());
        }
        over
    }

    /// Ends all of them: each may deliver what waits in this time.
    pub(super) fn stop(self, drain: Duration) {
        for running in self.running.values() {
            running.worker.stop(drain);
        }
        for running in self.running.into_values() {
            running.worker.join();
        }
    }

    /// How each of them is, by its name.
    pub(super) fn health(&self) -> impl Iterator<Item = (&str, &'static str, State)> {
        self.running
            .iter()
            .map(|(name, running)| (name.as_str(), running.config.kind.name(), running.worker.health().state()))
    }

    /// What routes have held back, and what was dropped for sinks that are gone, since the last call.
    pub(super) fn take_held_back(&self) -> impl Iterator<Item = Dropped> {
        self.held_back.1.try_iter()
    }

    /// Where refused records go.
    #[must_use]
    pub(super) fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }
}
