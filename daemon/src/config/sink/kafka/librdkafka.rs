//! `[sinks.NAME.librdkafka]`: options of librdkafka that have no key of their own here, and those that nobody may change.

use config::{Value, ValueKind};
use rdkafka::{ClientConfig, error::KafkaError};

use super::super::super::table::{FromValue, Table, describe};

/// An option of librdkafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// As its CONFIGURATION.md calls it.
    pub name: String,
    /// Its value, as text.
    pub value: String,
}

/// Options that are refused, and why. A name that ends with a dot stands for all that begin with it.
const REFUSED: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "it is the sink's key `brokers`"),
    (&["compression.codec", "compression.type"], "it is the sink's key `compression`"),
    (&["linger.ms", "queue.buffering.max.ms"], "it is the sink's key `linger`"),
    (&["batch.size"], "it is the sink's key `batch_size`"),
    (&["message.max.bytes"], "it is the sink's key `max_message_size`"),
    (
        &["queue.buffering.max.kbytes", "queue.buffering.max.messages"],
        "one request is filled at a time: the sink's keys `batch_size` and `max_message_size` say how long it is",
    ),
    (&["security.protocol"], "[sinks.NAME.tls] and [sinks.NAME.sasl] say it"),
    (&["sasl."], "who the daemon is stands in [sinks.NAME.sasl], with secrets from credentials or files"),
    (
        &["ssl.ca.", "ssl.certificate.", "ssl.key.", "ssl.keystore."],
        "certificates stand in [sinks.NAME.tls], with the key from a credential or file",
    ),
    (
        &["enable.ssl.certificate.verification"],
        "anybody could pretend to be the broker; tls.ca_file says whom to trust",
    ),
    (
        &["acks", "request.required.acks", "enable.idempotence", "delivery.report.only.error", "queuing.strategy"],
        "without its value here records could be lost, be there twice, or change their order",
    ),
    (
        &["message.timeout.ms", "delivery.timeout.ms"],
        "a message that is given up may be stored all the same; it is tried until a broker answers",
    ),
    (&["transactional.id", "transaction.timeout.ms"], "every message is delivered by itself"),
    (&["test.", "plugin.library.paths", "log.queue", "enable.random.seed"], "it is for those who work on librdkafka"),
];

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>) -> Vec<Extra> {
    let entries = table.table("librdkafka").map(Table::into_flat::<Scalar>).unwrap_or_default();
    let mut options = Vec::new();
    for (name, place, Scalar(value)) in entries {
        match allowed(&name, &value) {
            Ok(()) => options.push(Extra { name, value }),
            Err((what, allowed)) => table.wrong(&place, &format!("librdkafka.{name}"), what, allowed),
        }
    }
    options
}

/// Whether the option may be set, as far as it can be told without the others. Else what is wrong and what is allowed: where it may be a
/// secret the value is not repeated.
fn allowed(name: &str, value: &str) -> Result<(), (String, &'static str)> {
    const OTHERS: &str = "any other option of a producer in librdkafka's CONFIGURATION.md";
    let is = |refused: &&str| name == *refused || (refused.ends_with('.') && name.starts_with(*refused));
    if let Some((_, why)) = REFUSED.iter().find(|(names, _)| names.iter().any(is)) {
        return Err(((*why).to_owned(), OTHERS));
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, why, ..)) => Err((why, OTHERS)),
        Err(e) => Err((e.to_string(), OTHERS)),
    }
}

/// A string, a number or a truth value, as text.
struct Scalar(String);

impl FromValue for Scalar {
    fn allowed() -> String {
        "a string, a number or a truth value".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        match &value.kind {
            ValueKind::String(text) => Ok(Self(text.clone())),
            ValueKind::Boolean(truth) => Ok(Self(truth.to_string())),
            ValueKind::I64(number) => Ok(Self(number.to_string())),
            ValueKind::Float(number) => Ok(Self(number.to_string())),
            other => Err(format!("it is {}", describe(other))),
        }
    }
}
