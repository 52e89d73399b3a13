//! What a broker refuses: it is told in the broker's words, nothing is dropped, and after the cure everything arrives.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::sinks::{BESIDE, FILE, KafkaSink, UID, configuration, expect_all, expect_once, ids_beside};
use crate::{
    records::Records,
    scenario::Host,
    services::{
        daemon::{Daemon, Play, Sink},
        kafka::{ALICE, BOB, Listener, Login, Mechanism},
        wait_for,
    },
};

const GUESSED: &str = "guessed-secret";

/// What is refused, and what the broker or librdkafka says of it, with the daemon's advice.
const REFUSED: [(&str, &[&str]); 7] = [
    ("refused-scram", &["invalid credentials", "SCRAM-SHA-512", "correct [sinks.NAME.sasl]"]),
    ("refused-plain", &["Invalid username or password", "correct [sinks.NAME.sasl]"]),
    ("refused-authority", &["certificate verify failed", "compare [sinks.NAME.tls]"]),
    ("refused-topic", &["Unknown topic", "refused-topic", "make the topic"]),
    ("refused-access", &["authorization failed", "ACL"]),
    ("refused-expired", &["certificate verify failed", "compare [sinks.NAME.tls]"]),
    ("refused-client", &["SSL alert", "compare [sinks.NAME.tls]"]),
];

/// Each sink is refused for a reason of its own. Those of a secret, a certificate's file, a topic and a right heal by
/// themselves, those of the configuration by SIGHUP.
pub(super) fn heal(host: &Host<'_>) -> Result<()> {
    let kafka = host.shared_kafka()?;
    let scram = Login::Password(Mechanism::ScramSha512, ALICE);
    let new = |name: &str, login| KafkaSink::new(host, &kafka, name, login);
    let by_themselves = [
        new("refused-scram", scram),
        new("refused-plain", Login::Password(Mechanism::Plain, ALICE)),
        new("refused-authority", Login::Tls).raw("tls", "{ ca_file = \"FOLDER/authority.crt\" }".to_owned()),
        new("refused-topic", Login::Anonymous),
        new("refused-access", Login::Password(Mechanism::ScramSha512, BOB)),
    ];
    let wrong = [
        new("refused-expired", Login::Tls).brokers(&kafka, Listener::Expired),
        new("refused-client", Login::Tls).brokers(&kafka, Listener::MutualTls),
    ];
    let right = [new("refused-expired", Login::Tls), new("refused-client", Login::Certificate)];
    let sinks = |rest: &[KafkaSink]| [&by_themselves[..], rest].concat();
    let mut daemon = host.daemon("")?;
    for (name, _) in REFUSED.iter().filter(|(name, _)| *name != "refused-topic") {
        kafka.create_topic(name, 1, &[])?;
    }
    daemon.credential("refused-scram", GUESSED)?;
    daemon.credential("refused-plain", GUESSED)?;
    daemon.credential("refused-access", BOB.password)?;
    fs::copy(host.pki().foreign_ca(), daemon.path("authority.crt"))?;
    daemon.configure(&configuration(&sinks(&wrong)))?;
    daemon.start(Play::for_ever(50))?;

    for (name, words) in REFUSED {
        let told = |sink: &Sink| words.iter().all(|word| sink.trouble().contains(word));
        daemon.wait_for_sink(name, &format!("trouble with {words:?}"), told)?;
    }
    daemon.wait_for_sink(BESIDE, "all records", |sink| sink.count("delivered") > 200 && sink.count("pending") == 0)?;
    for (name, _) in REFUSED {
        expect_waiting(&daemon.sink(name)?)?;
    }
    daemon.expect_no_secret(&[GUESSED, ALICE.password, BOB.password])?;

    daemon.credential("refused-scram", ALICE.password)?;
    daemon.credential("refused-plain", ALICE.password)?;
    fs::copy(host.pki().ca(), daemon.path("authority.crt"))?;
    kafka.create_topic("refused-topic", 1, &[])?;
    kafka.allow_to_write(BOB, "refused-access")?;
    for sink in &by_themselves {
        expect_healed(&daemon, sink.name())?;
    }
    for sink in &wrong {
        expect_waiting(&daemon.sink(sink.name())?)?;
    }
    daemon.configure(&configuration(&sinks(&right)))?;
    daemon.signal(Signal::SIGHUP)?;
    for sink in &right {
        expect_healed(&daemon, sink.name())?;
    }
    daemon.expect_no_secret(&[GUESSED, ALICE.password, BOB.password])?;
    expect_all(&mut daemon, &kafka, &sinks(&right))
}

/// It has trouble, and keeps everything.
fn expect_waiting(sink: &Sink) -> Result<()> {
    let waits = sink.count("pending") > 0 && sink.count("delivered") == 0 && sink.dropped() == 0;
    ensure!(waits && !sink.trouble().is_empty() && sink.is_balanced(), "it does not wait: {sink:?}");
    Ok(())
}

fn expect_healed(daemon: &Daemon, name: &str) -> Result<()> {
    let healed = |sink: &Sink| sink.trouble().is_empty() && sink.count("delivered") > 200;
    daemon.wait_for_sink(name, "an end of its trouble", healed).map(drop)
}

/// Bytes: some of a recording's records are longer as messages of OTLP/JSON, some shorter.
const LIMIT: usize = 5900;
/// What a message has beside its record at the most: its headers, its key, a batch of its own.
const BESIDE_THE_RECORD: usize = 400;

/// What the topic has no room for becomes a dead letter, and nothing else does, in whatever batch it was; after the
/// limit was raised the letters are delivered, too.
pub(super) fn dead_letters_of_what_is_too_large(host: &Host<'_>) -> Result<()> {
    let name = "too-large";
    let kafka = host.shared_kafka()?;
    kafka.create_topic(name, 1, &[("max.message.bytes", &LIMIT.to_string())])?;
    let sink = KafkaSink::new(host, &kafka, name, Login::Anonymous);
    let sink = sink.set("encoding", "otlp_json").set("compression", "none");
    let mut daemon = host.daemon(&configuration(&[sink]))?;
    daemon.play(2)?;
    let ledgers = daemon.settle()?;
    let (ledger, letters) = (&ledgers[name], dead_letters(&daemon)?);
    ensure!(ledger.trouble().is_empty(), "it can't be delivered, and nothing is wrong: {ledger:?}");
    ensure!(ledger.dropped() == letters.len() as u64, "{} dead letters, and {ledger:?}", letters.len());
    ensure!(ledger.count("seen") == ledger.count("delivered") + ledger.dropped(), "what was seen is gone: {ledger:?}");

    let all = ids_beside(&daemon)?;
    expect_once(&kafka.read(name)?, &(&all - &letters))?;
    // the file has the messages' own text
    let (text, records) = (fs::read_to_string(daemon.path(FILE))?, daemon.records(FILE)?);
    let lines: Vec<_> = text.lines().collect();
    for record in records.iter() {
        let length = lines[record.line - 1].len();
        let refused = letters.contains(record.string(UID)?);
        ensure!(refused || length <= LIMIT, "{length} bytes, and it was taken:\n{record}");
        ensure!(!refused || length + BESIDE_THE_RECORD > LIMIT, "{length} bytes, and it was refused:\n{record}");
    }
    ensure!(!letters.is_empty() && letters.len() < records.iter().count(), "{} letters", letters.len());

    let in_vain = daemon.ask("replay", &["--sink", name]).err().context("the limit is as it was")?;
    let number = letters.len();
    ensure!(format!("{in_vain:#}").contains(&format!("0 delivered, {number} are dead letters again")), "{in_vain:#}");
    ensure!(dead_letters(&daemon)? == letters, "the letters are others now");
    kafka.configure_topic(name, "max.message.bytes=1000000")?;
    // the controller has it; the brokers take it over a moment later
    let said = wait_for("the new limit", || Ok(daemon.ask("replay", &["--sink", name]).ok()))?;
    ensure!(said.contains(" delivered, 0 are dead letters again"), "replay says {said}");
    ensure!(!daemon.path(LETTERS).exists(), "there are letters left");
    expect_once(&kafka.read(name)?, &all)
}

const LETTERS: &str = "dead-letters.jsonl";

/// The ids of the dead letters. Each must have the broker's words and what to do.
fn dead_letters(daemon: &Daemon) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(daemon.path(LETTERS))?;
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let letter: Value = serde_json::from_str(line)?;
        let reason = letter["reason"].as_str().unwrap_or_default();
        let told = reason.contains("Message size too large") && reason.contains("max.message.bytes");
        ensure!(told && letter["sink"] == "too-large", "the letter is {line}");
        let records = Records::parse(&letter["record"].to_string())?;
        for record in records.iter() {
            ensure!(ids.insert(record.string(UID)?.to_owned()), "a record has two letters: {record}");
        }
    }
    Ok(ids)
}
