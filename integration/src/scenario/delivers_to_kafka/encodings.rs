//! What is in a message: three encodings, two ways to compress, the key, the headers, the topic. And a real reader of
//! it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use serde_json::{Map, Value};

use super::sinks::{FILE, KafkaSink, UID, configuration, expect_all, expect_once};
use crate::{
    records::{Record, Records},
    scenario::Host,
    services::{
        collector::Pipeline,
        daemon::{Daemon, Play},
        kafka::{Kafka, Listener, Login, Message},
        wait_for,
    },
};

/// Name of the sink and its topic, encoding, content type, compression and its number in Kafka's record format.
const SINKS: [(&str, &str, &str, &str, u8); 6] = [
    ("encoding-proto-zstd", "otlp_proto", "application/x-protobuf", "zstd", 4),
    ("encoding-otlp-zstd", "otlp_json", "application/json", "zstd", 4),
    ("encoding-json-zstd", "json", "application/json", "zstd", 4),
    ("encoding-proto-lz4", "otlp_proto", "application/x-protobuf", "lz4", 3),
    ("encoding-otlp-lz4", "otlp_json", "application/json", "lz4", 3),
    ("encoding-json-lz4", "json", "application/json", "lz4", 3),
];
/// The topics that the template of another sink makes.
const EVENTS: [&str; 3] = ["linux.kernel_module.load", "linux.kernel_module.unload", "linux.kernel_module.request"];
const BY_EVENT: &str = "by-event";

/// The records are whole in each encoding, with their keys and headers, and the collector reads those of OTLP.
pub(super) fn writes_each(host: &Host<'_>) -> Result<()> {
    let kafka = host.shared_kafka()?;
    let sinks = SINKS.map(|(name, encoding, _, compression, _)| {
        let sink = KafkaSink::new(host, &kafka, name, Login::Anonymous);
        let headers = "{ from = \"{host.name}\", what = \"a {severity}\" }".to_owned();
        sink.set("encoding", encoding).set("compression", compression).raw("headers", headers)
    });
    let by_event = KafkaSink::new(host, &kafka, BY_EVENT, Login::Anonymous).set("topic", "encoding-{event}");
    let by_event = by_event.raw("key", "\"linux.kernel_module.name\"".to_owned());
    let topics = SINKS.map(|(name, ..)| name.to_owned()).into_iter();
    for topic in topics.chain(EVENTS.map(|event| format!("encoding-{event}"))) {
        kafka.create_topic(&topic, 1, &[])?;
    }
    let mut daemon = host.daemon(&format!(
        "{}{}[[routes]]\nname = \"by event\"\nwhen = {{ event = {EVENTS:?} }}\nto = [{BY_EVENT:?}]\n",
        configuration(&sinks),
        by_event.table()
    ))?;
    // enough for some requests to be worth compressing
    daemon.start(Play::for_ever(400))?;
    for sink in &sinks {
        daemon.wait_for_sink(sink.name(), "deliveries", |sink| sink.count("delivered") > 200)?;
    }
    expect_all(&mut daemon, &kafka, &sinks)?;

    let written = by_id(&daemon.records(FILE)?)?;
    for (name, encoding, content_type, _, codec) in SINKS {
        let messages = kafka.read(name)?;
        for message in &messages {
            let id = &*message.header(UID);
            let record = written.get(id).with_context(|| format!("{name}: {id} is not in the file"))?;
            expect_message(message, record, content_type, encoding)
                .with_context(|| format!("{name}: the message of {id}"))?;
        }
        let codecs = kafka.codecs(name)?;
        ensure!(codecs == BTreeSet::from([codec]), "{name}: compressed by {codecs:?}");
    }
    expect_topics(&daemon, &kafka)?;
    expect_collector(host, &kafka, &written)
}

/// Each event is in the topic of its name, with the module as the key.
fn expect_topics(daemon: &Daemon, kafka: &Kafka) -> Result<()> {
    let records = daemon.records(FILE)?;
    for event in EVENTS {
        let messages = kafka.read(&format!("encoding-{event}"))?;
        let ids = records.of(event).iter().map(|record| Ok(record.string(UID)?.to_owned())).collect::<Result<_>>()?;
        expect_once(&messages, &ids).with_context(|| format!("in the topic of {event}"))?;
        for message in messages {
            let json: Map<_, _> = serde_json::from_slice(&message.payload)?;
            let module =
                json.get("linux.kernel_module.name").and_then(Value::as_str).map(|name| name.as_bytes().to_vec());
            ensure!(message.key == module, "{event}: the key of {message:?}");
        }
    }
    Ok(())
}

/// The collector's receiver writes the same records.
fn expect_collector(host: &Host<'_>, kafka: &Kafka, written: &BTreeMap<String, Record>) -> Result<()> {
    let of_otlp = SINKS.into_iter().filter(|(_, encoding, ..)| encoding.starts_with("otlp_"));
    let pipelines: Vec<_> = of_otlp
        .map(|(topic, encoding, ..)| Pipeline::kafka(kafka.brokers(Listener::Plaintext), topic, encoding))
        .collect();
    let collector = host.collector(&pipelines)?;
    for index in 0..pipelines.len() {
        let records = wait_for("what the collector reads", || {
            let records = by_id(&Records::parse(&collector.text(index)?)?)?;
            Ok((records.len() >= written.len()).then_some(records))
        })?;
        for (id, record) in written {
            let found = records.get(id).with_context(|| format!("pipeline {index} has no {id}"))?;
            ensure!(found == record, "pipeline {index} read\n{found}\nwhich was\n{record}");
        }
        ensure!(records.len() == written.len(), "pipeline {index} has {} records", records.len());
    }
    Ok(())
}

/// The records by their ids, without the lines that they were on.
fn by_id(records: &Records) -> Result<BTreeMap<String, Record>> {
    records.iter().map(|record| Ok((record.string(UID)?.to_owned(), Record { line: 0, ..record.clone() }))).collect()
}

fn expect_message(message: &Message, record: &Record, content_type: &str, encoding: &str) -> Result<()> {
    let host = record.resource.get("host.id").and_then(Value::as_str).context("the host has no id")?;
    ensure!(message.key.as_deref() == Some(host.as_bytes()), "its key is {:?} and not {host}", message.key);
    let name = record.resource.get("host.name").and_then(Value::as_str).unwrap_or("unknown");
    let severity = format!("a {}", record.severity);
    let expected = [
        (UID, record.string(UID)?),
        ("event.name", &record.event),
        ("content-type", content_type),
        ("schema-url", "https://opentelemetry.io/schemas/"),
        ("from", name),
        ("what", &severity),
    ];
    for (header, value) in expected {
        let found = message.header(header);
        ensure!(found.starts_with(value), "the header {header} is {found} and not {value}");
    }
    ensure!(message.headers.len() == expected.len(), "other headers than {expected:?}");
    let line = match encoding {
        "otlp_proto" => serde_json::to_string(&ExportLogsServiceRequest::decode(&message.payload[..])?)?,
        "otlp_json" => String::from_utf8(message.payload.clone())?,
        "json" => return expect_flat(&serde_json::from_slice(&message.payload)?, record),
        other => bail!("nobody reads {other} here"),
    };
    let sent = by_id(&Records::parse(&line)?)?;
    ensure!(sent.len() == 1 && sent.values().next() == Some(record), "it is not the record in the file: {record}");
    Ok(())
}

/// Every attribute is a member of its own name.
fn expect_flat(json: &Map<String, Value>, record: &Record) -> Result<()> {
    let own = [("event.name", &record.event), ("message", &record.body), ("severity_text", &record.severity)];
    let own = own.map(|(name, text)| (name.to_owned(), Value::from(text.as_str())));
    // what the record says itself hides what its resource says
    let resource = record.resource.iter().filter(|(name, _)| record.get(name).is_none());
    let all = resource.chain(&record.attributes).map(|(name, value)| (name.clone(), value.clone())).chain(own);
    for (name, value) in all {
        ensure!(json.get(&name) == Some(&value), "{name} is {:?} and not {value}", json.get(&name));
    }
    ensure!(json.contains_key("@timestamp"), "there is no @timestamp");
    Ok(())
}
