//! OTLP/JSON: one `ExportLogsServiceRequest` with one `LogRecord` per line, as the collector's otlpjsonfile receiver reads it, or one with
//! many.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: lowerCamelCase keys, 64-bit integers as decimal strings, trace ids
//! as hexadecimal digits, enums as numbers. Written straight into the buffer: an event has some fifty attributes, and a tree of
//! them would be built only to be thrown away.

use std::sync::Arc;

use base64::Engine as _;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use serde_json::ser::{CompactFormatter, Formatter as _};

use super::shared_end::SharedEnd;
use crate::record::{Record, Value, resource_attributes};

/// See the module. What is the same for all records of a resource is encoded once.
#[derive(Debug, Default)]
pub struct OtlpJson {
    /// A resource, and what stands before its records.
    resource: Option<(Arc<[u8]>, Vec<u8>)>,
    end: SharedEnd,
}

impl OtlpJson {
    /// Appends one request with one record.
    pub fn encode(&mut self, resource: &Arc<[u8]>, record: &Record<'_>, out: &mut Vec<u8>) {
        self.request([(resource, *record)], out);
    }

    /// Appends one request with all these records, each beside its resource; those that follow one another share it.
    pub fn request<'r>(&mut self, records: impl IntoIterator<Item = (&'r Arc<[u8]>, Record<'r>)>, out: &mut Vec<u8>) {
        raw(out, r#"{"resourceLogs":["#);
        let mut last: Option<&Arc<[u8]>> = None;
        for (resource, record) in records {
            match last.replace(resource) {
                Some(last) if Arc::ptr_eq(last, resource) => raw(out, ","),
                last => {
                    if last.is_some() {
                        end_of_records(out);
                        raw(out, ",");
                    }
                    out.extend_from_slice(self.begin_of_records(resource));
                }
            }
            // JSON is about half as long again as protobuf
            out.reserve(2 * record.bytes.len());
            log_record(out, &record, &mut self.end);
        }
        if last.is_some() {
            end_of_records(out);
        }
        raw(out, "]}");
    }

    /// What stands before the records of a resource.
    fn begin_of_records(&mut self, resource: &Arc<[u8]>) -> &[u8] {
        let known = self.resource.take().filter(|(known, _)| Arc::ptr_eq(known, resource));
        let known = known.unwrap_or_else(|| (Arc::clone(resource), begin_of_records(resource)));
        &self.resource.insert(known).1
    }
}

fn begin_of_records(resource: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    raw(&mut out, r#"{"resource":{"attributes":["#);
    for (i, (name, value)) in resource_attributes(resource).enumerate() {
        key_value(&mut out, i == 0, name, value);
    }
    raw(&mut out, r#"]},"scopeLogs":[{"scope":{"name":"kmodtrail","version":"#);
    string(&mut out, env!("CARGO_PKG_VERSION"));
    raw(&mut out, r#"},"logRecords":["#);
    out
}

/// What stands behind them.
fn end_of_records(out: &mut Vec<u8>) {
    raw(out, r#"],"schemaUrl":"#);
    plain(out, SCHEMA_URL);
    raw(out, r#"}],"schemaUrl":"#);
    plain(out, SCHEMA_URL);
    raw(out, "}");
}

fn log_record(out: &mut Vec<u8>, record: &Record<'_>, end: &mut SharedEnd) {
    raw(out, r#"{"timeUnixNano":""#);
    number(out, record.time);
    raw(out, r#"","observedTimeUnixNano":""#);
    number(out, record.observed);
    raw(out, r#"","severityNumber":"#);
    number(out, record.severity);
    raw(out, r#","severityText":"#);
    string(out, record.severity_text);
    raw(out, r#","eventName":"#);
    string(out, record.event_name);
    raw(out, r#","body":{"stringValue":"#);
    string(out, record.body);
    raw(out, r#"},"attributes":["#);
    end.write(record, out, key_value);
    raw(out, "]");
    for (name, id) in [("traceId", record.trace_id), ("spanId", record.span_id)] {
        if !id.is_empty() {
            raw(out, r#",""#);
            raw(out, name);
            raw(out, r#"":""#);
            hex(out, id);
            raw(out, r#"""#);
        }
    }
    raw(out, "}");
}

/// Lower-case digits.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

pub(super) fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A JSON string: quotes and what must be escaped.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        plain(out, text);
    } else {
        serde_json::to_writer(out, text).expect("a string can be written to a Vec");
    }
}

/// Nothing in it must be escaped. Eight bytes at a time and without an early end: most strings are plain and short.
fn is_plain(text: &str) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // the highest bit of each byte below `limit`, which is at most 128 (Hacker's Delight, 6-1); one above 127 hides none behind it
    let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word;
    let special = |word: u64| {
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
        (below(word, 0x20) | is(b'"') | is(b'\\')) & (EACH << 7)
    };
    let (words, rest) = text.as_bytes().as_chunks();
    let found = words.iter().fold(0, |found, word| found | special(u64::from_ne_bytes(*word)));
    found == 0 && !rest.iter().any(|&b| b < 0x20 || b == b'"' || b == b'\\')
}

fn plain(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

pub(super) fn number(out: &mut Vec<u8>, number: impl Into<i128>) {
    let number: i128 = number.into();
    match u64::try_from(number) {
        Ok(number) => CompactFormatter.write_u64(out, number),
        Err(_) => CompactFormatter.write_i128(out, number),
    }
    .expect("a number can be written to a Vec");
}

fn key_value(out: &mut Vec<u8>, first: bool, name: &str, value: Value<'_>) {
    raw(out, if first { r#"{"key":"# } else { r#",{"key":"# });
    string(out, name);
    raw(out, r#","value":"#);
    any_value(out, value);
    raw(out, "}");
}

fn any_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Empty => raw(out, "{}"),
        Value::String(text) => {
            raw(out, r#"{"stringValue":"#);
            string(out, text);
            raw(out, "}");
        }
        Value::Int(int) => {
            raw(out, r#"{"intValue":""#);
            number(out, int);
            raw(out, r#""}"#);
        }
        Value::Double(double) => {
            raw(out, r#"{"doubleValue":"#);
            // JSON has no infinity: protobuf's mapping makes a string of it
            match double.is_finite() {
                true => raw(out, &double.to_string()),
                false => string(
                    out,
                    if double.is_nan() {
                        "NaN"
                    } else if double > 0.0 {
                        "Infinity"
                    } else {
                        "-Infinity"
                    },
                ),
            }
            raw(out, "}");
        }
        Value::Bytes(bytes) => {
            raw(out, r#"{"bytesValue":"#);
            string(out, &base64::engine::general_purpose::STANDARD.encode(bytes));
            raw(out, "}");
        }
        Value::Bool(true) => raw(out, r#"{"boolValue":true}"#),
        Value::Bool(false) => raw(out, r#"{"boolValue":false}"#),
        Value::Array(values) => {
            raw(out, r#"{"arrayValue":{"values":["#);
            for (i, value) in values.into_iter().enumerate() {
                raw(out, if i == 0 { "" } else { "," });
                any_value(out, value);
            }
            raw(out, "]}}");
        }
        Value::Map(entries) => {
            raw(out, r#"{"kvlistValue":{"values":["#);
            for (i, (name, value)) in entries.enumerate() {
                key_value(out, i == 0, name, value);
            }
            raw(out, "]}}");
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::logs::v1::ExportLogsServiceRequest,
        common::v1::{AnyValue, any_value},
        logs::v1::LogRecord,
    };
    use prost::Message as _;

    use super::*;
    use crate::{
        event::{Event, samples},
        record,
        resource::Resource,
    };

    fn written(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        record::Writer::default().write(event, &mut bytes);
        bytes
    }

    fn encode(bytes: &[u8]) -> Vec<u8> {
        let mut resource = Resource::default();
        resource.set("host.name", "h\"ost\u{1b}");
        let resource: Arc<[u8]> = record::resource(&resource).into();
        let mut out = b"what was there before stays\n".to_vec();
        let before = out.len();
        OtlpJson::default().encode(&resource, &Record::parse(bytes).expect("we wrote it"), &mut out);
        out.split_off(before)
    }

    #[test]
    fn strings_are_escaped_wherever_what_must_be_stands() {
        for special in ('\0'..='\u{a0}').chain(['é', '𝄞', '\u{2028}']) {
            for before in 0..18 {
                let text = format!("{}{special}{}", "a".repeat(before), "\u{7f}z".repeat(before % 5));
                let mut out = Vec::new();
                string(&mut out, &text);
                assert_eq!(serde_json::from_slice::<String>(&out).ok().as_ref(), Some(&text), "{out:?}");
            }
        }
    }

    /// What a receiver makes of it.
    fn decode(line: &[u8]) -> LogRecord {
        let text = str::from_utf8(line).expect("JSON is UTF-8");
        assert!(!text.contains('\n'), "one line: {text}");
        let request: ExportLogsServiceRequest = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let [logs] = &request.resource_logs[..] else { panic!("one resource: {text}") };
        assert_eq!(logs.schema_url, SCHEMA_URL);
        let resource = logs.resource.as_ref().expect("there is a resource");
        let [host] = &resource.attributes[..] else { panic!("one attribute: {text}") };
        let name = AnyValue { value: Some(any_value::Value::StringValue("h\"ost\u{1b}".to_owned())) };
        assert_eq!((&*host.key, host.value.as_ref()), ("host.name", Some(&name)));
        let [scope] = &logs.scope_logs[..] else { panic!("one scope: {text}") };
        assert_eq!(scope.schema_url, SCHEMA_URL);
        let name = scope.scope.as_ref().map(|s| (s.name.as_str(), s.version.as_str()));
        assert_eq!(name, Some(("kmodtrail", env!("CARGO_PKG_VERSION"))));
        let [record] = &scope.log_records[..] else { panic!("one record: {text}") };
        record.clone()
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        for event in samples::all() {
            let bytes = written(&event);
            assert_eq!(decode(&encode(&bytes)), LogRecord::decode(&*bytes).expect("we wrote it"));
        }
    }

    #[test]
    fn a_request_has_all_records_each_with_its_resource() {
        let written: Vec<_> = samples::all().iter().take(4).map(written).collect();
        let [one, other]: [Arc<[u8]>; 2] = ["one", "other"].map(|host| {
            let mut resource = Resource::default();
            resource.set("host.name", host);
            record::resource(&resource).into()
        });
        let records = written.iter().zip([&one, &one, &other, &one]);
        let parsed: Vec<_> = records.map(|(b, r)| (r, Record::parse(b).expect("we wrote it"))).collect();
        let mut json = Vec::new();
        OtlpJson::default().request(parsed.iter().copied(), &mut json);
        let request: ExportLogsServiceRequest = serde_json::from_slice(&json).expect("it is a request");
        // the same in protobuf, as its own test knows it
        let mut proto = Vec::new();
        for part in parsed.chunk_by(|a, b| Arc::ptr_eq(a.0, b.0)) {
            crate::encode::otlp_proto::request(part[0].0, part.iter().map(|(_, r)| r.bytes), &mut proto);
        }
        assert_eq!(request, ExportLogsServiceRequest::decode(&*proto).expect("it is a request"));
        assert_eq!(request.resource_logs.len(), 3);
        let mut empty = Vec::new();
        OtlpJson::default().request([], &mut empty);
        assert_eq!(str::from_utf8(&empty), Ok(r#"{"resourceLogs":[]}"#));
    }

    #[test]
    fn values_that_our_events_do_not_have_come_back_too() {
        use any_value::Value as Any;
        let values = [
            Some(Any::DoubleValue(-1.5e300)),
            Some(Any::BytesValue(vec![0, 255, 254, 1])),
            Some(Any::IntValue(i64::MIN)),
            Some(Any::IntValue(i64::MAX)),
            None,
        ];
        let attributes = values.map(|value| opentelemetry_proto::tonic::common::v1::KeyValue {
            key: "a \"key\"".to_owned(),
            value: Some(AnyValue { value }),
            ..Default::default()
        });
        let span_id = vec![1, 2, 3, 4, 5, 6, 7, 0xf8];
        let record = LogRecord { attributes: attributes.to_vec(), span_id, ..Default::default() };
        let back = decode(&encode(&record.encode_to_vec()));
        assert_eq!((back.attributes, back.span_id), (record.attributes, record.span_id));
    }

    #[test]
    fn every_character_comes_back() {
        for code in 0..=0x2fff {
            let Some(c) = char::from_u32(code) else { continue };
            for text in [c.to_string(), format!("a long text before it and {c} after it, longer than a vector is wide")]
            {
                let mut out = vec![];
                string(&mut out, &text);
                let back: String = serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{code:#x}: {e}"));
                assert_eq!(back, text);
            }
        }
    }

    #[test]
    fn hostile_names_stay_data() {
        let hostile = b"\x1b[2J\r\n\"}]}\\u0041\\\x00\x7f\xff\xfe\xe2\x80\xae\xe2\x80\xa8'";
        let line = encode(&written(&samples::hostile(hostile)));
        assert!(!line.contains(&0x1b) && !line.contains(&b'\n'), "{}", line.escape_ascii());
        let record = decode(&line);
        let name = record.attributes.iter().find(|a| a.key == "linux.kernel_module.name").expect("it has a name");
        let text = crate::event::Text::from_bytes(hostile);
        let expected = AnyValue { value: Some(any_value::Value::StringValue(text.as_str().to_owned())) };
        assert_eq!(name.value, Some(expected));
        assert_eq!(text.bytes(), hostile);
    }
}
