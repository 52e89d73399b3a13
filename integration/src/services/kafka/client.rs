//! What tests ask of brokers, as a client of theirs (librdkafka).

use std::{
    borrow::Cow,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Header, Headers as _, OwnedHeaders},
    metadata::Metadata,
    producer::{FutureProducer, FutureRecord},
};

use super::{Kafka, Listener, User};
use crate::services::{PATIENCE, runtime, wait_for};

/// Who comes in, and by which listener.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Login {
    /// Nobody in particular, by [`Listener::Plaintext`].
    Anonymous,
    /// Nobody in particular, by [`Listener::Tls`].
    Tls,
    /// The client of the certificate, by [`Listener::MutualTls`].
    Certificate,
    /// By [`Listener::Sasl`].
    Password(Mechanism, User),
    /// By [`Listener::Sasl`], with a token (OAUTHBEARER) that nobody signed.
    Token(User),
}

/// How a password is shown to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// As it is.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What chose its partition.
    pub(crate) key: Option<Vec<u8>>,
    /// Names and values, in order.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// What it says.
    pub(crate) payload: Vec<u8>,
    /// The partition that it is in.
    pub(crate) partition: i32,
    /// Its place there.
    pub(crate) offset: i64,
    /// When it was sent, or appended, as its topic has it: milliseconds since 1970.
    pub(crate) timestamp: i64,
}

impl Message {
    /// A header as text; empty where it has none of that name.
    pub(crate) fn header(&self, name: &str) -> Cow<'_, str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or(Cow::Borrowed(""), |(_, value)| String::from_utf8_lossy(value))
    }
}

impl Kafka {
    /// The options of librdkafka with which a client comes in.
    pub(crate) fn client(&self, login: Login) -> ClientConfig {
        let mut client = ClientConfig::new();
        let listener = login.listener();
        client.set("bootstrap.servers", self.brokers(listener)).set("security.protocol", listener.protocol());
        client.set("ssl.ca.location", self.pki.ca().display().to_string());
        match login {
            Login::Anonymous | Login::Tls => {}
            Login::Certificate => {
                let identity = self.pki.client();
                client.set("ssl.certificate.location", identity.certificate.display().to_string());
                client.set("ssl.key.location", identity.key.display().to_string());
            }
            Login::Password(mechanism, user) => {
                client.set("sasl.mechanisms", mechanism.name());
                client.set("sasl.username", user.name).set("sasl.password", user.password);
            }
            Login::Token(user) => {
                client.set("sasl.mechanisms", "OAUTHBEARER").set("enable.sasl.oauthbearer.unsecure.jwt", "true");
                client.set("sasl.oauthbearer.config", format!("principal={}", user.name));
            }
        }
        client
    }

    /// Makes a topic with these settings (`max.message.bytes`, ...) and as many replicas as there are nodes.
    ///
    /// # Errors
    /// What the broker says.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let replicas = TopicReplication::Fixed(i32::try_from(self.nodes.len())?);
        let new =
            settings.iter().fold(NewTopic::new(topic, partitions, replicas), |new, (name, value)| new.set(name, value));
        let created = runtime().block_on(self.administrator()?.create_topics([&new], &options()))?;
        settled(created).with_context(|| format!("creating the topic {topic}"))
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// What the broker says.
    pub(crate) fn delete_topic(&self, topic: &str) -> Result<()> {
        let deleted = runtime().block_on(self.administrator()?.delete_topics(&[topic], &options()))?;
        settled(deleted).with_context(|| format!("deleting the topic {topic}"))
    }

    /// The node that leads a topic's first partition, when there is one.
    ///
    /// # Errors
    /// When no broker answers.
    pub(crate) fn leader(&self, topic: &str) -> Result<i32> {
        wait_for("a leader", || {
            let metadata = self.metadata(topic)?;
            let leader =
                metadata.topics().iter().flat_map(|topic| topic.partitions()).next().map(|first| first.leader());
            Ok(leader.filter(|id| self.nodes.iter().any(|node| node.id == *id && node.process().is_ok())))
        })
    }

    /// Waits until each partition of a topic has this many replicas that are in sync.
    ///
    /// # Errors
    /// When no broker answers.
    pub(crate) fn wait_for_replicas(&self, topic: &str, number: usize) -> Result<()> {
        wait_for("replicas in sync", || {
            let metadata = self.metadata(topic)?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            Ok(partitions.all(|partition| partition.isr().len() == number).then_some(()))
        })
    }

    /// Sends one message, with one header, and waits for its acknowledgement.
    ///
    /// # Errors
    /// Why it was not acknowledged, in librdkafka's words.
    pub(crate) fn send(&self, login: Login, topic: &str, key: &str, payload: &[u8]) -> Result<()> {
        let mut client = self.client(login);
        client.set("message.timeout.ms", "30000");
        send(&client, topic, key, payload).map_err(Into::into)
    }

    /// Waits until a topic has this many messages.
    ///
    /// # Errors
    /// When a broker refuses, or when they stop coming.
    pub(crate) fn wait_for_messages(&self, topic: &str, number: usize) -> Result<()> {
        let consumer: BaseConsumer = self.client(Login::Anonymous).create()?;
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let partitions: Vec<_> = partitions.map(|partition| partition.id()).collect();
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let mut found = 0;
            for &partition in &partitions {
                let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
                found += high - low;
            }
            if usize::try_from(found).is_ok_and(|found| found >= number) {
                return Ok(());
            }
            if found > last {
                (last, since) = (found, Instant::now());
            }
            ensure!(since.elapsed() < PATIENCE, "{topic} has {found} messages of {number}, and no more come");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// All messages that are in a topic now, partition by partition.
    ///
    /// # Errors
    /// When a broker refuses.
    pub(crate) fn read(&self, topic: &str) -> Result<Vec<Message>> {
        let mut client = self.client(Login::Anonymous);
        client.set("group.id", "tests").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = client.create()?;
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let mut partitions = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            partitions.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let (mut messages, mut at_their_end) = (Vec::new(), 0);
        while at_their_end < partitions.count() {
            match consumer.poll(PATIENCE) {
                Some(Ok(message)) => messages.push(Message::from(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => at_their_end += 1,
                Some(Err(error)) => return Err(error).with_context(|| format!("reading the topic {topic}")),
                None => bail!("reading the topic {topic}: no answer for {} s", PATIENCE.as_secs()),
            }
        }
        messages.sort_by_key(|message| (message.partition, message.offset));
        Ok(messages)
    }

    fn administrator(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.client(Login::Anonymous).create()?)
    }

    fn metadata(&self, topic: &str) -> Result<Metadata> {
        Ok(self.administrator()?.inner().fetch_metadata(Some(topic), PATIENCE)?)
    }
}

/// As [`Kafka::send`], with any options of librdkafka.
///
/// # Errors
/// Why it was not acknowledged.
pub(crate) fn send(client: &ClientConfig, topic: &str, key: &str, payload: &[u8]) -> Result<(), KafkaError> {
    let producer: FutureProducer = client.create()?;
    let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some("text/plain") });
    let record = FutureRecord::to(topic).key(key).payload(payload).headers(headers);
    let sent = runtime().block_on(producer.send(record, Duration::ZERO));
    sent.map(drop).map_err(|(error, _)| error)
}

impl Login {
    /// Where it comes in.
    pub(crate) const fn listener(self) -> Listener {
        match self {
            Self::Anonymous => Listener::Plaintext,
            Self::Tls => Listener::Tls,
            Self::Certificate => Listener::MutualTls,
            Self::Password(..) | Self::Token(_) => Listener::Sasl,
        }
    }
}

impl Mechanism {
    /// Its name in SASL.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl From<&BorrowedMessage<'_>> for Message {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            key: message.key().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
            payload: message.payload().unwrap_or_default().to_vec(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or_default(),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

fn settled(results: Vec<rdkafka::admin::TopicResult>) -> Result<()> {
    results
        .into_iter()
        .try_for_each(|result| result.map(drop).map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}")))
}
