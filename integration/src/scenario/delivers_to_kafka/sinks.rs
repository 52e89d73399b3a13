//! The daemon's configuration for these scenarios, and what is compared at their ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    scenario::Host,
    services::{
        daemon::Daemon,
        kafka::{Kafka, Listener, Login, Message},
    },
};

/// The file sink that is beside those of Kafka and takes every record.
pub(super) const BESIDE: &str = "beside";
pub(super) const FILE: &str = "events.jsonl";
/// The attribute, and the header, that tells one record from all others.
pub(super) const UID: &str = "log.record.uid";

/// A sink of Kafka, as the daemon's configuration has it. Its topic is called as it.
#[derive(Clone, Debug)]
pub(super) struct KafkaSink {
    name: String,
    settings: BTreeMap<&'static str, String>,
    may_repeat: bool,
}

impl KafkaSink {
    /// One that comes into these brokers. Its secret, where it has one, is the credential of its name.
    pub(super) fn new(host: &Host<'_>, kafka: &Kafka, name: &str, login: Login) -> Self {
        let sink = Self { name: name.to_owned(), settings: BTreeMap::new(), may_repeat: false };
        let listener = login.listener();
        let sink = sink.set("type", "kafka").set("topic", name).set("encoding", "json").brokers(kafka, listener);
        let pki = host.pki();
        let (ca, identity) = (pki.ca().display().to_string(), pki.client());
        let tls = match login {
            Login::Anonymous => return sink,
            Login::Certificate => format!(
                "{{ ca_file = {ca:?}, certificate_file = {:?}, key = {{ file = {:?} }} }}",
                identity.certificate, identity.key
            ),
            Login::Tls | Login::Password(..) | Login::Token(_) => format!("{{ ca_file = {ca:?} }}"),
        };
        let sink = sink.raw("tls", tls);
        match login {
            Login::Anonymous | Login::Tls | Login::Certificate => sink,
            Login::Password(mechanism, user) => sink.raw(
                "sasl",
                format!(
                    "{{ mechanism = {:?}, username = {:?}, password = {{ credential = {name:?} }} }}",
                    mechanism.name(),
                    user.name
                ),
            ),
            Login::Token(_) => {
                sink.raw("sasl", format!("{{ mechanism = \"OAUTHBEARER\", token = {{ credential = {name:?} }} }}"))
            }
        }
    }

    /// Sets one of its keys to a string.
    pub(super) fn set(self, key: &'static str, text: &str) -> Self {
        self.raw(key, format!("{text:?}"))
    }

    /// Sets one of its keys to any TOML.
    pub(super) fn raw(mut self, key: &'static str, toml: String) -> Self {
        self.settings.insert(key, toml);
        self
    }

    /// Sends it to another listener.
    pub(super) fn brokers(self, kafka: &Kafka, listener: Listener) -> Self {
        let brokers = kafka.brokers(listener);
        self.raw("brokers", format!("{:?}", brokers.split(',').collect::<Vec<_>>()))
    }

    /// A record may be in its topic more than once.
    pub(super) fn may_repeat(self) -> Self {
        Self { may_repeat: true, ..self }
    }

    /// Its table in the configuration.
    pub(super) fn table(&self) -> String {
        let settings = self.settings.iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("[sinks.{}]\n{}", self.name, settings.collect::<String>())
    }

    /// Its name, and its topic's.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// A configuration with these sinks, each of which takes every record, and a file beside them.
pub(super) fn configuration(sinks: &[KafkaSink]) -> String {
    // what waits at the end may wait for a slow machine
    let mut text = "[shutdown]\ndrain = \"1min\"\n[log]\nlevel = \"debug\"\n".to_owned();
    _ = writeln!(text, "[sinks.{BESIDE}]\ntype = \"file\"\npath = \"FOLDER/{FILE}\"");
    text.extend(sinks.iter().map(KafkaSink::table));
    let names: Vec<_> = sinks.iter().map(KafkaSink::name).chain([BESIDE]).collect();
    _ = writeln!(text, "[[routes]]\nname = \"everything\"\nto = {names:?}");
    text
}

/// Ends the load, and expects in each sink's topic what is in the file: each record, once unless
/// [`KafkaSink::may_repeat`].
pub(super) fn expect_all(daemon: &mut Daemon, kafka: &Kafka, sinks: &[KafkaSink]) -> Result<()> {
    let ledgers = daemon.settle()?;
    let beside = &ledgers[BESIDE];
    for sink in sinks {
        let ledger = &ledgers[sink.name()];
        for sum in ["seen", "delivered"] {
            let (here, there) = (ledger.count(sum), beside.count(sum));
            ensure!(here == there, "{sum}: {here}, and by the file's ledger {there}: {ledger:?}");
        }
        ensure!(ledger.dropped() == 0 && ledger.trouble().is_empty(), "something was dropped or is wrong: {ledger:?}");
    }
    let expected = ids_beside(daemon)?;
    for sink in sinks {
        let mut messages = kafka.read(sink.name())?;
        if sink.may_repeat {
            messages = without_repetitions(messages)?;
        }
        expect_once(&messages, &expected).with_context(|| format!("in the topic {}", sink.name()))?;
    }
    Ok(())
}

/// The first message of each record. Those that follow must say the same.
fn without_repetitions(messages: Vec<Message>) -> Result<Vec<Message>> {
    let mut by_id: BTreeMap<String, Message> = BTreeMap::new();
    for message in messages {
        let first = by_id.entry(message.header(UID).into_owned()).or_insert_with(|| message.clone());
        ensure!(first.payload == message.payload, "two messages of one record: {first:?} and {message:?}");
    }
    Ok(by_id.into_values().collect())
}

/// The ids of all records: those in the file.
pub(super) fn ids_beside(daemon: &Daemon) -> Result<BTreeSet<String>> {
    let records = daemon.records(FILE)?;
    let ids: BTreeSet<_> = records.iter().map(|record| Ok(record.string(UID)?.to_owned())).collect::<Result<_>>()?;
    ensure!(ids.len() == records.iter().count(), "a record is in the file twice");
    Ok(ids)
}

/// Each of these ids, and no other, is in the header of one message.
pub(super) fn expect_once(messages: &[Message], expected: &BTreeSet<String>) -> Result<()> {
    let found: BTreeSet<_> = messages.iter().map(|message| message.header(UID).into_owned()).collect();
    let (missing, foreign) = (expected - &found, &found - expected);
    ensure!(missing.is_empty(), "{} of {} records are missing: {missing:?}", missing.len(), expected.len());
    ensure!(foreign.is_empty(), "{} records came from nowhere: {foreign:?}", foreign.len());
    ensure!(messages.len() == found.len(), "{} messages for {} records", messages.len(), found.len());
    Ok(())
}
