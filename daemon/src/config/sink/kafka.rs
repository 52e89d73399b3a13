//! `type = "kafka"`

mod broker;
mod librdkafka;
mod native;
mod sasl;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use self::native::refusal;
pub(in super::super) use self::sasl::Mechanism;
pub use self::{
    broker::Broker,
    librdkafka::Extra,
    sasl::{Kerberos, Login, Sasl},
};
use super::super::{Size, Tls, table::Table, tls, values::Span};
use crate::route::template::{self, Template};

/// `[sinks.NAME]` with `type = "kafka"`: one message per record, by an idempotent producer that waits for all replicas (acks=all).
///
/// Every message has the headers log.record.uid, event.name, content-type and schema-url. Secrets and certificates are read again for each
/// new connection after one was refused: who changes one need not restart the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSink {
    /// `brokers`: `HOST` or `HOST:PORT` of at least one broker of the cluster, which knows the others. Where none is given PORT is 9092.
    pub brokers: Vec<Broker>,
    /// `topic`: the topic's name, or a template of it such as "kernel-{host.name}".
    pub topic: Template<template::Topic>,
    /// `key`, default: "host.id", or "host.name" where a host has no id. An attribute of the resource or the record: its value is the
    /// message's key, and messages of one key stay in their order. A record without it has no key, and goes to any partition.
    pub key: Option<String>,
    /// `headers`, default {}: strings or templates, sent with each message beside those that it has anyway.
    pub headers: Vec<(String, Template<template::Header>)>,
    /// `compression`, default "zstd": "none", "gzip", "snappy", "lz4" or "zstd".
    pub compression: Compression,
    /// `linger`, default "5ms", "1ms" to "1m": so long a message waits for others to share a request with.
    pub linger: Duration,
    /// `batch_size`, default 1000000, "16KiB" to "64MiB": most bytes of messages in a request, before compression. A broker compares what is
    /// left after compression with the topic's max.message.bytes.
    pub batch_size: Size,
    /// `max_message_size`, default 1000000, "16KiB" to "64MiB": a message that is longer becomes a dead letter. Broker and topic have a
    /// limit of their own (max.message.bytes, by default 1048588).
    pub max_message_size: Size,
    /// `[sinks.NAME.tls]`, default: no TLS. An empty table is TLS with the certificates that the system trusts.
    pub tls: Option<Tls>,
    /// `[sinks.NAME.sasl]`, default: none. How the daemon says who it is, where no certificate does.
    pub sasl: Option<Sasl>,
    /// `[sinks.NAME.librdkafka]`, default {}: any other option of librdkafka, by the name that its CONFIGURATION.md has.
    pub librdkafka: Vec<Extra>,
}

/// `compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As it is.
    None,
    /// For old brokers.
    Gzip,
    /// Little work, long messages.
    Snappy,
    /// Little work.
    Lz4,
    /// The shortest for its work.
    #[default]
    Zstd,
}

impl KafkaSink {
    const LINGER: Duration = Duration::from_millis(5);
    const LINGERS: (Span, Span) = (Span(Duration::from_millis(1)), Span(Duration::from_secs(60)));
    const SIZE: Size = Size(1_000_000);
    const SIZES: (Size, Size) = (Size(16 << 10), Size(64 << 20));

    /// With these, and everything else as it is where nobody says it.
    #[must_use]
    pub fn new(brokers: Vec<Broker>, topic: Template<template::Topic>) -> Self {
        Self {
            brokers,
            topic,
            key: None,
            headers: vec![],
            compression: Compression::default(),
            linger: Self::LINGER,
            batch_size: Self::SIZE,
            max_message_size: Self::SIZE,
            tls: None,
            sasl: None,
            librdkafka: vec![],
        }
    }
}

pub(super) fn read(table: &mut Table<'_>) -> Option<KafkaSink> {
    let brokers_place = table.place("brokers");
    let brokers = table.required::<Vec<Broker>>("brokers");
    let topic = table.required("topic");
    let key = table.optional("key");
    let headers = headers(table);
    let compression = table.optional("compression").unwrap_or_default();
    let linger = table.between("linger", KafkaSink::LINGERS);
    let batch_size = table.between("batch_size", KafkaSink::SIZES);
    let max_message_size = table.between("max_message_size", KafkaSink::SIZES);
    let tls = table.table("tls").map(tls::read);
    let sasl_place = table.place("sasl");
    let sasl = table.table("sasl").and_then(sasl::read);
    let options_place = table.place("librdkafka");
    let librdkafka = librdkafka::read(table);

    if brokers.as_ref().is_some_and(Vec::is_empty) {
        table.wrong(&brokers_place, "brokers", "it is empty", Broker::ALLOWED);
    }
    if tls.is_none() && sasl.as_ref().is_some_and(Sasl::shows_secret) {
        let what = "without TLS the secret is sent for everybody on the way to read";
        table.doubtful(
            &sasl_place,
            "sasl",
            what,
            "[sinks.NAME.tls], empty where the system trusts the brokers' certificates",
        );
    }
    if !librdkafka.is_empty()
        && let Err(what) = KafkaSink::try_out(&librdkafka)
    {
        table.wrong(
            &options_place,
            "librdkafka",
            what,
            "options that fit one another and what a producer without loss needs",
        );
    }
    let default = KafkaSink::new(brokers?, topic?);
    Some(KafkaSink {
        key,
        headers,
        compression,
        linger: linger.map_or(default.linger, |Span(linger)| linger),
        batch_size: batch_size.unwrap_or(default.batch_size),
        max_message_size: max_message_size.unwrap_or(default.max_message_size),
        tls,
        sasl,
        librdkafka,
        ..default
    })
}

fn headers(table: &mut Table<'_>) -> Vec<(String, Template<template::Header>)> {
    /// Those that every message has.
    const TAKEN: [&str; 4] = ["log.record.uid", "event.name", "content-type", "schema-url"];
    let headers = table.table("headers").map(Table::into_flat).unwrap_or_default();
    for (name, place, _) in headers.iter().filter(|(name, ..)| TAKEN.contains(&name.as_str())) {
        let what = "every message has this header already";
        table.wrong(place, &format!("headers.{name}"), what, format!("any name but {}", TAKEN.join(", ")));
    }
    headers.into_iter().map(|(name, _, value)| (name, value)).collect()
}
