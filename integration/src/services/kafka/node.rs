//! One node of Kafka: broker and controller at once.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result};

use super::{
    disk::{self, Disk},
    listener::{Listener, SUPER_USERS},
};
use crate::{
    cache,
    services::{
        pki::Pki,
        ports,
        process::{Log, Process},
    },
};

/// What a node writes when it serves.
const READY: &str = "Kafka Server started";

/// What all nodes share. A dead one is noticed sooner than by default (session 9 s, lag 30 s).
const PROPERTIES: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
auto.create.topics.enable=false
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
# by default it takes 128 MB of heap
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.threads=1
num.network.threads=1
num.io.threads=2
background.threads=2
ssl.keystore.type=PEM
ssl.truststore.type=PEM
ssl.client.auth=none
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
";

/// See the module. Its ports, its data and its log stay the same from start to start.
#[derive(Debug)]
pub(super) struct Node {
    // Before the disk, so that it ends before the disk goes.
    process: Option<Process>,
    pub(super) disk: Disk,
    pub(super) id: i32,
    pub(super) log: Arc<Log>,
    controller: u16,
    ports: Vec<(Listener, u16)>,
}

impl Node {
    /// One that never ran.
    ///
    /// # Errors
    /// When there are no free ports.
    pub(super) fn new(id: i32, disk: Disk) -> Result<Self> {
        let ports = Listener::ALL.iter().map(|&listener| Ok((listener, ports::free()?))).collect::<Result<_>>()?;
        let log = Log::new(format!("node {id} of Kafka"));
        Ok(Self { id, disk, log, controller: ports::free()?, ports, process: None })
    }

    /// Where clients find one of its listeners.
    pub(super) fn address(&self, listener: Listener) -> String {
        let port = self.ports.iter().find(|(known, _)| *known == listener).map_or(0, |(_, port)| *port);
        format!("{}:{port}", listener.host())
    }

    /// Its place in the list of the controllers, the same list for each of them.
    pub(super) fn voter(&self) -> String {
        format!("{}@127.0.0.1:{}", self.id, self.controller)
    }

    /// Writes its settings. `voters` are the controllers, itself among them.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn configure(&self, voters: &[String], pki: &Pki) -> Result<()> {
        cache::write_atomically(&self.settings(), self.properties(voters, pki))
    }

    /// The file of its settings.
    pub(super) fn settings(&self) -> PathBuf {
        self.disk.path().join("server.properties")
    }

    /// The folder of its data.
    pub(super) fn data(&self) -> PathBuf {
        self.disk.path().join("data")
    }

    /// Gives it the data folder of a node that never ran.
    ///
    /// # Errors
    /// When it can't be copied.
    pub(super) fn take_data(&self, formatted: &Path) -> Result<()> {
        disk::copy(formatted, &self.data())
    }

    /// Starts it and waits until it serves; in a cluster that takes a majority of the nodes.
    ///
    /// # Errors
    /// When it ends at once, with what it said.
    pub(super) fn start(&mut self, mut java: Command) -> Result<()> {
        java.arg("kafka.Kafka").arg(self.settings()).current_dir(self.disk.path());
        self.process = Some(Process::start(java, &self.log, READY)?);
        Ok(())
    }

    /// The process of a node that runs.
    ///
    /// # Errors
    /// When it was ended.
    pub(super) fn process(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("node {} of Kafka does not run", self.id))
    }

    /// As [`Self::process`], to end it.
    ///
    /// # Errors
    /// When it was ended before.
    pub(super) fn take_process(&mut self) -> Result<Process> {
        self.process.take().with_context(|| format!("node {} of Kafka does not run", self.id))
    }

    fn properties(&self, voters: &[String], pki: &Pki) -> String {
        let replicas = voters.len();
        let in_sync = replicas.div_ceil(2);
        let each = |line: &dyn Fn(Listener, u16) -> String| {
            self.ports.iter().map(|(listener, port)| line(*listener, *port)).collect::<Vec<_>>().join(",")
        };
        let listeners = each(&|listener, port| format!("{}://127.0.0.1:{port}", listener.name()));
        let advertised = each(&|listener, port| format!("{}://{}:{port}", listener.name(), listener.host()));
        let protocols = each(&|listener, _| format!("{}:{}", listener.name(), listener.protocol()));
        let own = [
            ("node.id", self.id.to_string()),
            ("log.dirs", self.data().display().to_string()),
            ("controller.quorum.voters", voters.join(",")),
            ("listeners", format!("{listeners},CONTROLLER://127.0.0.1:{}", self.controller)),
            ("advertised.listeners", advertised),
            ("listener.security.protocol.map", format!("{protocols},CONTROLLER:PLAINTEXT")),
            ("default.replication.factor", replicas.to_string()),
            ("min.insync.replicas", in_sync.to_string()),
            ("offsets.topic.replication.factor", replicas.to_string()),
            ("transaction.state.log.replication.factor", replicas.to_string()),
            ("transaction.state.log.min.isr", in_sync.to_string()),
            // a node that is alone has nobody to hand its partitions to
            ("controlled.shutdown.enable", (replicas > 1).to_string()),
            ("ssl.keystore.location", pki.server().both.display().to_string()),
            ("ssl.truststore.location", pki.ca().display().to_string()),
            ("super.users", SUPER_USERS.to_owned()),
        ];
        let mut text = PROPERTIES.to_owned();
        for (name, value) in own {
            _ = writeln!(text, "{name}={value}");
        }
        for (listener, _) in &self.ports {
            for (name, value) in listener.properties(pki) {
                _ = writeln!(text, "listener.name.{}.{name}={value}", listener.name().to_lowercase());
            }
        }
        text
    }
}
