//! What a scenario has on this machine itself: servers, beside its guests or without any.

use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};

use crate::{
    evidence::Evidence,
    services::{
        Log,
        collector::{Collector, Pipeline},
        daemon::Daemon,
        kafka::{Kafka, Setup},
        pki::Pki,
    },
    testbed::Testbed,
};

/// One behaviour that needs no guest.
pub(crate) struct HostScenario {
    /// What the user types after `--only`.
    pub(crate) name: &'static str,
    /// Whether it only runs with `--full`.
    pub(crate) full: bool,
    /// The story. An error or a panic is a failure, reported with everything that the servers said.
    pub(crate) run: fn(&Host<'_>) -> Result<()>,
}

/// Servers that all trials of a run use together, started when the first of them asks.
#[derive(Debug)]
pub(crate) struct Shared {
    pki: Arc<Pki>,
    kafka: Mutex<Option<Arc<Kafka>>>,
}

/// See the module.
pub(crate) struct Host<'a> {
    testbed: &'a Testbed,
    shared: &'a Shared,
    evidence: Evidence,
}

impl Shared {
    /// Certificates, and no server yet.
    ///
    /// # Errors
    /// When there is no place for the certificates.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { pki: Arc::new(Pki::new()?), kafka: Mutex::default() })
    }
}

impl<'a> Host<'a> {
    /// One whose servers' logs are kept in `evidence`.
    pub(crate) fn new(testbed: &'a Testbed, shared: &'a Shared, evidence: Evidence) -> Self {
        Self { testbed, shared, evidence }
    }

    /// A broker that others use, too: nothing can be done to it, and a topic's name should be the scenario's.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn shared_kafka(&self) -> Result<Arc<Kafka>> {
        let mut place = self.shared.kafka.lock().map_err(|_| anyhow!("starting Kafka panicked in another thread"))?;
        let kafka = match &*place {
            Some(kafka) => Arc::clone(kafka),
            None => Arc::clone(place.insert(Arc::new(self.start_kafka(&Setup::single())?))),
        };
        kafka.logs().for_each(|log| self.keep(log));
        Ok(kafka)
    }

    /// Brokers to do anything to.
    ///
    /// # Errors
    /// When they can't be started.
    pub(crate) fn kafka(&self, setup: &Setup) -> Result<Kafka> {
        let kafka = self.start_kafka(setup)?;
        kafka.logs().for_each(|log| self.keep(log));
        Ok(kafka)
    }

    /// A collector to do anything to.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn collector(&self, pipelines: &[Pipeline]) -> Result<Collector> {
        let collector = Collector::start(self.testbed.cache(), self.pki(), pipelines)?;
        self.keep(collector.log());
        Ok(collector)
    }

    /// A daemon that was never started, with these sinks and routes; see [`Daemon::new`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn daemon(&self, sinks: &str) -> Result<Daemon> {
        let daemon = Daemon::new(self.testbed, sinks)?;
        self.keep(daemon.log());
        Ok(daemon)
    }

    /// The certificates of all these servers.
    pub(crate) fn pki(&self) -> &Pki {
        &self.shared.pki
    }

    fn start_kafka(&self, setup: &Setup) -> Result<Kafka> {
        Kafka::start(self.testbed.cache(), &self.shared.pki, setup)
    }

    fn keep(&self, log: &Arc<Log>) {
        let log = Arc::clone(log);
        self.evidence.keep(move || log.evidence());
    }
}
