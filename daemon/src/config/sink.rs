//! `[sinks.NAME]`: one file per type, and one line here.

mod file;
pub mod kafka;
pub mod otlp;

pub use self::{
    file::{FileCompression, FileFsync, FilePath, FileSink},
    kafka::KafkaSink,
    otlp::OtlpSink,
};
use super::{Encoding, Sink, SinkKind, problem::did_you_mean, table::Table};

/// Every type of sink.
const TYPES: &[&str] = &["file", "kafka", "otlp", "stdout"];

pub(super) fn read(name: &str, mut table: Table<'_>) -> Option<Sink> {
    let place = table.place("type");
    let given = table.required::<String>("type")?;
    let encoding_place = table.place("encoding");
    let kind = match given.as_str() {
        "file" => file::read(&mut table).map(SinkKind::File),
        "kafka" => kafka::read(&mut table).map(|kafka| SinkKind::Kafka(Box::new(kafka))),
        "otlp" => otlp::read(&mut table).map(|otlp| SinkKind::Otlp(Box::new(otlp))),
        "stdout" => Some(SinkKind::Stdout),
        unknown => {
            let what = format!("there is no type {unknown:?}{}", did_you_mean(unknown, TYPES.iter().copied()));
            table.wrong(&place, "type", what, TYPES.join(", "));
            // which keys it may have is not known
            return None;
        }
    };
    // the protocol of OTLP says it
    let encoding = match &kind {
        Some(SinkKind::Otlp(otlp)) => otlp.protocol.encoding(),
        _ if given == "otlp" => Encoding::default(),
        _ => table.optional("encoding").unwrap_or_default(),
    };
    if encoding == Encoding::OtlpProto && given == "stdout" {
        let what = "standard output gets lines of text";
        table.wrong(&encoding_place, "encoding", what, "\"otlp_json\", \"json\"");
    }
    table.finish();
    Some(Sink { name: name.to_owned(), encoding, kind: kind? })
}
