//! The brokers that other scenarios stand on: that they are real, and that what can go wrong with them does.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Statistics,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig},
};

use super::{Host, HostScenario};
use crate::services::{
    self, PATIENCE,
    kafka::{ALICE, BOB, Kafka, Listener, Login, Mechanism, Setup, User},
};

pub(super) const SCENARIOS: &[HostScenario] = &[
    HostScenario { name: "kafka_takes_each_login", full: false, run: takes_each_login },
    HostScenario { name: "kafka_refuses", full: false, run: refuses },
    HostScenario { name: "kafka_limits_a_producer", full: false, run: limits_a_producer },
    HostScenario { name: "kafka_replaces_a_dead_leader", full: false, run: replaces_a_dead_leader },
    HostScenario { name: "kafka_keeps_what_it_acknowledged", full: true, run: keeps_what_it_acknowledged },
    HostScenario { name: "kafka_disk_is_full", full: false, run: disk_is_full },
];

fn takes_each_login(host: &Host<'_>) -> Result<()> {
    let topic = "takes-each-login";
    let kafka = host.shared_kafka()?;
    kafka.create_topic(topic, 1, &[])?;
    let logins = [
        Login::Anonymous,
        Login::Tls,
        Login::Certificate,
        Login::Password(Mechanism::Plain, ALICE),
        Login::Password(Mechanism::ScramSha256, ALICE),
        Login::Password(Mechanism::ScramSha512, ALICE),
        Login::Token(ALICE),
    ];
    for login in logins {
        let name = format!("{login:?}");
        kafka.send(login, topic, &name, name.as_bytes()).map_err(|error| error.context(name))?;
    }
    let messages = kafka.read(topic)?;
    ensure!(messages.len() == logins.len(), "{} messages for {} logins", messages.len(), logins.len());
    for (login, message) in logins.iter().zip(&messages) {
        let name = format!("{login:?}").into_bytes();
        ensure!(message.key.as_ref() == Some(&name) && message.payload == name, "{login:?} became {message:?}");
        ensure!(message.headers == [("content-type".to_owned(), b"text/plain".to_vec())], "the headers of {message:?}");
    }
    Ok(())
}

/// Each refusal as it reaches a producer: by the report for its message, or as an error of the whole client.
fn refuses(host: &Host<'_>) -> Result<()> {
    let kafka = host.shared_kafka()?;
    kafka.create_topic("refuses", 1, &[("max.message.bytes", "1000")])?;
    kafka.create_topic("refuses-deleted", 1, &[])?;
    kafka.delete_topic("refuses-deleted")?;
    let refused = |client: &ClientConfig, topic, code| {
        let (told, why) = first_error(client, topic)?;
        ensure!(told == Some(code), "{topic}: not {code:?} but {told:?}: {why}");
        Ok::<_, anyhow::Error>(why)
    };

    refused(&kafka.client(Login::Anonymous), "refuses", RDKafkaErrorCode::MessageSizeTooLarge)?;
    let mut impatient = kafka.client(Login::Anonymous);
    impatient.set("topic.metadata.propagation.max.ms", "100");
    refused(&impatient, "refuses-deleted", RDKafkaErrorCode::UnknownTopicOrPartition)?;
    let bob = Login::Password(Mechanism::ScramSha512, BOB);
    refused(&kafka.client(bob), "refuses", RDKafkaErrorCode::TopicAuthorizationFailed)?;
    let imposter = User { password: "guessed", ..ALICE };
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let login = Login::Password(mechanism, imposter);
        refused(&kafka.client(login), "refuses", RDKafkaErrorCode::Authentication)?;
    }

    let mut expired = kafka.client(Login::Tls);
    expired.set("bootstrap.servers", kafka.brokers(Listener::Expired));
    let mut distrustful = kafka.client(Login::Tls);
    distrustful.set("ssl.ca.location", host.pki().foreign_ca().display().to_string());
    for client in [expired, distrustful] {
        // as an error of TLS or of the connection, as it happens; the words are the same
        let (told, why) = first_error(&client, "refuses")?;
        let code = told.context("the broker took it")?;
        ensure!(
            why.contains("certificate has expired") || why.contains("certificate verify failed"),
            "{code:?}: {why}"
        );
    }
    for identity in [None, Some(host.pki().expired_client()), Some(host.pki().foreign_client())] {
        let mut client = kafka.client(Login::Tls);
        client.set("bootstrap.servers", kafka.brokers(Listener::MutualTls));
        if let Some(identity) = &identity {
            client.set("ssl.certificate.location", identity.certificate.display().to_string());
            client.set("ssl.key.location", identity.key.display().to_string());
        }
        let (told, why) = first_error(&client, "refuses")?;
        let code = told.context("the broker took it")?;
        ensure!(why.contains("SSL alert"), "with the certificate {identity:?}: {code:?}: {why}");
    }
    let messages = kafka.read("refuses")?;
    ensure!(messages.is_empty(), "the broker kept what it refused: {messages:?}");
    Ok(())
}

fn limits_a_producer(host: &Host<'_>) -> Result<()> {
    let kafka = host.shared_kafka()?;
    kafka.create_topic("limits-a-producer", 1, &[])?;
    kafka.limit_producer("limited", 100_000)?;
    let mut client = kafka.client(Login::Anonymous);
    client.set("client.id", "limited").set("statistics.interval.ms", "50");
    let (tell, told) = mpsc::channel();
    let producer: BaseProducer<Listening> = client.create_with_context(Listening(tell))?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        _ = producer.send(BaseRecord::<(), _>::to("limits-a-producer").payload(&[b'x'; 10_000]));
        producer.poll(Duration::from_millis(20));
        if told.try_iter().any(|event| matches!(event, Event::Throttled)) {
            return Ok(());
        }
    }
    bail!("the broker let it send without a limit")
}

fn replaces_a_dead_leader(host: &Host<'_>) -> Result<()> {
    let topic = "replaces-a-dead-leader";
    let mut kafka = host.kafka(&Setup::cluster())?;
    kafka.create_topic(topic, 1, &[])?;
    let send = |kafka: &Kafka, text: &str| kafka.send(Login::Anonymous, topic, "key", text.as_bytes());
    send(&kafka, "by all")?;
    let dead = kafka.leader(topic)?;
    kafka.kill(dead)?;
    send(&kafka, "by two")?;
    ensure!(kafka.leader(topic)? != dead, "node {dead} leads, and is dead");
    kafka.start_again(dead)?;
    kafka.wait_for_replicas(topic, 3)?;
    expect_texts(&kafka, topic, &["by all", "by two"])
}

/// Two of three nodes dead, one that hangs, and a restart of one after the other: what is acknowledged stays.
fn keeps_what_it_acknowledged(host: &Host<'_>) -> Result<()> {
    let topic = "keeps-what-it-acknowledged";
    let mut kafka = host.kafka(&Setup::cluster())?;
    kafka.create_topic(topic, 1, &[])?;
    let send = |kafka: &Kafka, text: &str| kafka.send(Login::Anonymous, topic, "key", text.as_bytes());

    let first = kafka.leader(topic)?;
    kafka.kill(first)?;
    send(&kafka, "by two")?;
    let second = kafka.leader(topic)?;
    kafka.kill(second)?;
    let mut hasty = kafka.client(Login::Anonymous);
    hasty.set("message.timeout.ms", "1000");
    let sent = services::kafka::send(&hasty, topic, "key", b"by one");
    let code = sent.as_ref().err().and_then(KafkaError::rdkafka_error_code);
    ensure!(code == Some(RDKafkaErrorCode::MessageTimedOut), "one node of three: {sent:?}");
    for node in [first, second] {
        kafka.start_again(node)?;
    }
    kafka.wait_for_replicas(topic, 3)?;

    let hanging = kafka.leader(topic)?;
    kafka.pause(hanging)?;
    send(&kafka, "while one hangs")?;
    kafka.resume(hanging)?;
    kafka.wait_for_replicas(topic, 3)?;
    kafka.rolling_restart(topic)?;
    send(&kafka, "after a rolling restart")?;
    expect_texts(&kafka, topic, &["by two", "while one hangs", "after a rolling restart"])
}

fn expect_texts(kafka: &Kafka, topic: &str, texts: &[&str]) -> Result<()> {
    let messages = kafka.read(topic)?;
    for text in texts {
        let found = messages.iter().any(|message| message.payload == text.as_bytes());
        ensure!(found, "`{text}` was acknowledged and is lost: {messages:?}");
    }
    Ok(())
}

fn disk_is_full(host: &Host<'_>) -> Result<()> {
    const MIB: u64 = 1 << 20;
    let topic = "disk-is-full";
    let mut kafka = host.kafka(&Setup::single().disk(32 * MIB))?;
    kafka.create_topic(topic, 1, &[])?;
    let mut client = kafka.client(Login::Anonymous);
    client.set("message.timeout.ms", "3000");
    let send = |client: &ClientConfig| services::kafka::send(client, topic, "key", &[b'x'; 1 << 19]);
    let mut acknowledged = 0;
    while send(&client).is_ok() {
        acknowledged += 1;
        ensure!(acknowledged < 64, "{acknowledged} messages of half a MiB are on a disk of 32");
    }
    kafka.wait_for_end(1)?;
    kafka.resize_disks(64 * MIB)?;
    kafka.start_again(1)?;
    kafka.send(Login::Anonymous, topic, "key", b"there is room again")?;
    let found = kafka.read(topic)?.len();
    ensure!(found > acknowledged, "{found} messages, and {} were acknowledged", acknowledged + 1);
    Ok(())
}

/// What librdkafka tells by its callbacks.
enum Event {
    Delivered,
    Failed(KafkaError, String),
    Throttled,
}

struct Listening(mpsc::Sender<Event>);

impl ClientContext for Listening {
    fn error(&self, error: KafkaError, reason: &str) {
        _ = self.0.send(Event::Failed(error, reason.to_owned()));
    }

    fn stats(&self, statistics: Statistics) {
        let windows = statistics.brokers.values().filter_map(|broker| broker.throttle.as_ref());
        if windows.into_iter().any(|throttle| throttle.max > 0) {
            _ = self.0.send(Event::Throttled);
        }
    }
}

impl ProducerContext for Listening {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let event = match result {
            Ok(_) => Event::Delivered,
            Err((error, message)) => Event::Failed(error.clone(), format!("of {}", message.topic())),
        };
        _ = self.0.send(event);
    }
}

/// Sends 2,000 bytes and returns the first error that is told, and its text; no code where they were taken.
fn first_error(client: &ClientConfig, topic: &str) -> Result<(Option<RDKafkaErrorCode>, String)> {
    let (tell, told) = mpsc::channel();
    let producer: BaseProducer<Listening> = client.create_with_context(Listening(tell))?;
    producer.send(BaseRecord::<(), _>::to(topic).payload(&[b'x'; 2000])).map_err(|(error, _)| error)?;
    let begun = Instant::now();
    let event = loop {
        producer.poll(Duration::from_millis(20));
        match told.try_recv() {
            // it says that all connections failed, and not why
            Ok(Event::Failed(error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) => {}
            Ok(Event::Throttled) => {}
            Ok(event) => break event,
            Err(_) => ensure!(begun.elapsed() < PATIENCE, "no answer about {topic} for {} s", PATIENCE.as_secs()),
        }
    };
    producer.purge(PurgeConfig::default().queue().inflight());
    Ok(match event {
        Event::Failed(error, reason) => (error.rdkafka_error_code(), format!("{error} {reason}")),
        Event::Delivered | Event::Throttled => (None, "it was taken".to_owned()),
    })
}
