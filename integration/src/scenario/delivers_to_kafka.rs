//! The daemon's sink for Kafka, and real brokers: every way in, every encoding, every way to be refused or kept
//! waiting.

mod encodings;
mod outages;
mod refusals;
mod sinks;

use anyhow::Result;

use self::sinks::{KafkaSink, configuration, expect_all};
use super::{Host, HostScenario};
use crate::services::{
    daemon::Play,
    kafka::{ALICE, Login, Mechanism},
};

pub(super) const SCENARIOS: &[HostScenario] = &[
    HostScenario { name: "kafka_sink_comes_in_each_way", full: false, run: comes_in_each_way },
    HostScenario { name: "kafka_sink_writes_each_encoding", full: false, run: encodings::writes_each },
    HostScenario { name: "kafka_sink_heals", full: false, run: refusals::heal },
    HostScenario {
        name: "kafka_sink_keeps_dead_letters",
        full: false,
        run: refusals::dead_letters_of_what_is_too_large,
    },
    HostScenario { name: "kafka_sink_outlives_dead_brokers", full: false, run: outages::outlives_dead_brokers },
    HostScenario { name: "kafka_sink_outlives_restarts", full: true, run: outages::outlives_restarts },
    HostScenario { name: "kafka_sink_waits_for_room_and_quota", full: false, run: outages::waits_for_room_and_quota },
];

/// With TLS, by certificate, by password and by token: everything arrives, and the secrets are nowhere but in the
/// credentials.
fn comes_in_each_way(host: &Host<'_>) -> Result<()> {
    let kafka = host.shared_kafka()?;
    let (password, token) = (ALICE.password.to_owned(), ALICE.token());
    let ways = [
        ("way-plaintext", Login::Anonymous),
        ("way-tls", Login::Tls),
        ("way-mtls", Login::Certificate),
        ("way-plain", Login::Password(Mechanism::Plain, ALICE)),
        ("way-scram-256", Login::Password(Mechanism::ScramSha256, ALICE)),
        ("way-scram-512", Login::Password(Mechanism::ScramSha512, ALICE)),
        ("way-token", Login::Token(ALICE)),
    ];
    let sinks = ways.map(|(name, login)| KafkaSink::new(host, &kafka, name, login));
    let mut daemon = host.daemon(&configuration(&sinks))?;
    for (name, login) in ways {
        kafka.create_topic(name, 1, &[])?;
        daemon.credential(name, if let Login::Token(_) = login { &token } else { &password })?;
    }
    daemon.start(Play::for_ever(100))?;
    for sink in &sinks {
        daemon.wait_for_sink(sink.name(), "a delivery", |sink| sink.count("delivered") > 0)?;
    }
    daemon.expect_no_secret(&[&password, &token])?;
    expect_all(&mut daemon, &kafka, &sinks)
}
