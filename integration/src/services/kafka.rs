//! Apache Kafka (KRaft): one node, or a cluster of three, with every kind of listener, and what can go wrong with them.
//!
//! Faults take `&mut self`: who shares a broker can't disturb it.

mod client;
pub(crate) mod disk;
mod distribution;
mod listener;
mod node;

use std::{collections::BTreeSet, fs, sync::Arc, thread};

use anyhow::{Context as _, Result, anyhow};

pub(crate) use self::{
    client::{Login, Mechanism, Message, send},
    distribution::Distribution,
    listener::{ALICE, BOB, Listener, User},
};
use self::{disk::Disk, node::Node};
use super::{Log, pki::Pki};
use crate::{cache::Cache, command};

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    nodes: usize,
    disk: Option<u64>,
}

/// Brokers that are there until this is dropped.
#[derive(Debug)]
pub(crate) struct Kafka {
    nodes: Vec<Node>,
    distribution: Distribution,
    pki: Arc<Pki>,
}

impl Setup {
    /// One node.
    pub(crate) fn single() -> Self {
        Self { nodes: 1, disk: None }
    }

    /// Three nodes: three replicas of everything, two of which must have a message before it is acknowledged.
    pub(crate) fn cluster() -> Self {
        Self { nodes: 3, disk: None }
    }

    /// Each node on a disk of its own of this many bytes.
    pub(crate) fn disk(self, bytes: u64) -> Self {
        Self { disk: Some(bytes), ..self }
    }
}

impl Kafka {
    /// Starts it; it serves when this returns.
    ///
    /// # Errors
    /// When Kafka can't be had, or a node ends at once, with its log.
    pub(crate) fn start(cache: &Cache, pki: &Arc<Pki>, setup: &Setup) -> Result<Self> {
        let distribution = Distribution::prepare(cache)?;
        let mut kafka = Self::configured(setup, distribution, Arc::clone(pki))?;
        kafka.start_all()?;
        Ok(kafka)
    }

    /// Nodes that were never started.
    fn configured(setup: &Setup, distribution: Distribution, pki: Arc<Pki>) -> Result<Self> {
        let nodes = distribution::NODES.take(setup.nodes).map(|id| Node::new(id, Disk::new(setup.disk)?));
        let nodes: Vec<_> = nodes.collect::<Result<_>>()?;
        let voters: Vec<_> = nodes.iter().map(Node::voter).collect();
        for node in &nodes {
            node.configure(&voters, &pki)?;
            node.take_data(&distribution.formatted(node.id))?;
        }
        Ok(Self { nodes, distribution, pki })
    }

    /// All nodes at once.
    fn start_all(&mut self) -> Result<()> {
        let all: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        self.start_together(&all)
    }

    /// As [`Self::start_again`], nodes of which none serves before most of the cluster is there.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn start_together(&mut self, nodes: &[i32]) -> Result<()> {
        let distribution = &self.distribution;
        thread::scope(|scope| {
            let chosen = self.nodes.iter_mut().filter(|node| nodes.contains(&node.id));
            let starts = chosen.map(|node| scope.spawn(|| node.start(distribution.java())));
            let starts: Vec<_> = starts.collect();
            let mut ends = starts.into_iter().map(thread::ScopedJoinHandle::join);
            ends.try_for_each(|end| end.unwrap_or_else(|_| Err(anyhow!("starting Kafka panicked"))))
        })
    }

    /// The list of brokers (`HOST:PORT,...`) for clients of a listener.
    pub(crate) fn brokers(&self, listener: Listener) -> String {
        self.nodes.iter().map(|node| node.address(listener)).collect::<Vec<_>>().join(",")
    }

    /// What the nodes say, for the report of a failure.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Arc<Log>> {
        self.nodes.iter().map(|node| &node.log)
    }

    /// Ends a node with SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn kill(&mut self, node: i32) -> Result<()> {
        self.node(node)?.take_process()?.kill()
    }

    /// Starts a node that was ended, on its old ports and data.
    ///
    /// # Errors
    /// When it ends at once, with its log.
    pub(crate) fn start_again(&mut self, node: i32) -> Result<()> {
        let java = self.distribution.java();
        self.node(node)?.start(java)
    }

    /// Stops a node as its administrator would, and starts it again.
    ///
    /// # Errors
    /// When it does not run, or ends at once as it starts.
    pub(crate) fn restart(&mut self, node: i32) -> Result<()> {
        self.node(node)?.take_process()?.stop()?;
        self.start_again(node)
    }

    /// Restarts one node after the other, each when `topic` has all of its replicas again.
    ///
    /// # Errors
    /// As [`Self::restart`].
    pub(crate) fn rolling_restart(&mut self, topic: &str) -> Result<()> {
        for node in distribution::NODES.take(self.nodes.len()) {
            self.restart(node)?;
            self.wait_for_replicas(topic, self.nodes.len())?;
        }
        Ok(())
    }

    /// Stops a node in the middle of whatever it does (SIGSTOP).
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn pause(&mut self, node: i32) -> Result<()> {
        self.node(node)?.process()?.pause()
    }

    /// Lets a paused node go on.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn resume(&mut self, node: i32) -> Result<()> {
        self.node(node)?.process()?.resume()
    }

    /// Gives the disk of each node another size, where [`Setup::disk`] gave it one.
    ///
    /// # Errors
    /// When more than that is in use.
    pub(crate) fn resize_disks(&mut self, bytes: u64) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.disk.resize(bytes))
    }

    /// Waits until a node ends by itself, as one does whose disk is full.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn wait_for_end(&mut self, node: i32) -> Result<()> {
        self.node(node)?.take_process()?.wait_for_end()
    }

    /// Lets clients that call themselves so (`client.id`) send at most this many bytes a second.
    ///
    /// # Errors
    /// When Kafka's own tool fails.
    pub(crate) fn limit_producer(&self, client: &str, bytes_per_second: u64) -> Result<()> {
        let limit = format!("producer_byte_rate={bytes_per_second}");
        self.configure("clients", client, &["--add-config", &limit])
    }

    /// Takes [`Self::limit_producer`] back.
    ///
    /// # Errors
    /// When Kafka's own tool fails.
    pub(crate) fn unlimit_producer(&self, client: &str) -> Result<()> {
        self.configure("clients", client, &["--delete-config", "producer_byte_rate"])
    }

    /// How the batches of a topic's first partition are compressed, by the numbers of Kafka's record format. Only the first node's segment
    /// is looked at.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn codecs(&self, topic: &str) -> Result<BTreeSet<u8>> {
        // of a batch: what comes before the bytes that its length counts, the place of the attributes, and their bits of the codec
        const HEAD: usize = 12;
        const ATTRIBUTES: usize = 22;
        const CODEC: u8 = 0b111;
        let path = self.nodes[0].data().join(format!("{topic}-0/00000000000000000000.log"));
        let segment = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let (mut codecs, mut rest) = (BTreeSet::new(), &segment[..]);
        while let (Some(length), Some(attributes)) = (rest.get(8..HEAD), rest.get(ATTRIBUTES)) {
            codecs.insert(attributes & CODEC);
            let length = u32::from_be_bytes(length.try_into()?);
            rest = rest.get(HEAD + usize::try_from(length)?..).unwrap_or_default();
        }
        Ok(codecs)
    }

    /// Sets an option of a topic (`max.message.bytes=1000`).
    ///
    /// # Errors
    /// When Kafka's own tool fails.
    pub(crate) fn configure_topic(&self, topic: &str, option: &str) -> Result<()> {
        self.configure("topics", topic, &["--add-config", option])
    }

    /// Lets a user write into a topic.
    ///
    /// # Errors
    /// When Kafka's own tool fails.
    pub(crate) fn allow_to_write(&self, user: User, topic: &str) -> Result<()> {
        let user = format!("User:{}", user.name);
        let what = ["--add", "--allow-principal", &user, "--producer", "--topic", topic];
        self.administrate("org.apache.kafka.tools.AclCommand", &what)
    }

    fn configure(&self, kind: &str, name: &str, change: &[&str]) -> Result<()> {
        let what = [&["--alter", "--entity-type", kind, "--entity-name", name], change].concat();
        self.administrate("kafka.admin.ConfigCommand", &what)
    }

    /// Runs one of Kafka's own tools.
    fn administrate(&self, class: &str, arguments: &[&str]) -> Result<()> {
        let mut java = self.distribution.java();
        java.arg(class).args(["--bootstrap-server", &self.brokers(Listener::Plaintext)]).args(arguments);
        command::run(&mut java)
    }

    fn node(&mut self, id: i32) -> Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id).with_context(|| format!("Kafka has no node {id}"))
    }
}
