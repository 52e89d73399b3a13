//! OTLP/JSON: one `ExportLogsServiceRequest` with one `LogRecord` per line, as the collector's otlpjsonfile receiver reads it.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: lowerCamelCase keys, 64-bit integers as decimal strings, trace ids
//! as hexadecimal digits, enums as numbers. Written straight into the buffer: an event has some fifty attributes, and a tree of
//! them would be built only to be thrown away.

use std::{io::Write as _, sync::Arc};

use opentelemetry_semantic_conventions::SCHEMA_URL;
use serde_json::ser::{CompactFormatter, Formatter as _};

use crate::{
    event::{Event, Process, Severity, Value},
    resource::Resource,
};

/// Everything of a line that is the same in all of them.
#[derive(Debug)]
pub struct OtlpJson {
    before: Vec<u8>,
    after: Vec<u8>,
    /// The last process and its attributes: the records of one attempt share it, and it is two thirds of each.
    process: Option<(Arc<Process>, Vec<u8>)>,
}

impl OtlpJson {
    /// Encodes the resource.
    #[must_use]
    pub fn new(resource: &Resource) -> Self {
        let mut before = Vec::new();
        raw(&mut before, r#"{"resourceLogs":[{"resource":{"attributes":["#);
        for (i, (name, value)) in resource.attributes().enumerate() {
            // unlike ours, a configured name may have anything in it
            raw(&mut before, if i == 0 { r#"{"key":"# } else { r#",{"key":"# });
            string(&mut before, name);
            raw(&mut before, r#","value":"#);
            any_value(&mut before, &Value::from(value));
            raw(&mut before, "}");
        }
        raw(&mut before, r#"]},"scopeLogs":[{"scope":{"name":"kmodtrail","version":"#);
        string(&mut before, env!("CARGO_PKG_VERSION"));
        raw(&mut before, r#"},"logRecords":["#);
        let mut after = Vec::new();
        raw(&mut after, r#"],"schemaUrl":"#);
        string(&mut after, SCHEMA_URL);
        raw(&mut after, r#"}],"schemaUrl":"#);
        string(&mut after, SCHEMA_URL);
        raw(&mut after, "}]}\n");
        Self { before, after, process: None }
    }

    /// Appends one line.
    pub fn encode(&mut self, event: &Event, severity: Severity, out: &mut Vec<u8>) {
        // what a load takes: the buffer grows once
        out.reserve(self.before.len() + 8192);
        out.extend_from_slice(&self.before);
        raw(out, r#"{"timeUnixNano":""#);
        number(out, event.time.wall);
        raw(out, r#"","observedTimeUnixNano":""#);
        number(out, event.time.observed);
        raw(out, r#"","severityNumber":"#);
        number(out, severity as u8);
        raw(out, r#","severityText":"#);
        string(out, severity.text());
        raw(out, r#","eventName":"#);
        string(out, event.what.name());
        raw(out, r#","body":{"stringValue":"#);
        string(out, &event.sentence());
        raw(out, r#"},"attributes":["#);
        let mut first = true;
        event.attributes_but_process(&mut |name, value| {
            key_value(out, first, name, &value);
            first = false;
        });
        if let Some(process) = &event.process {
            // every event has attributes of its own: these do not come first
            out.extend_from_slice(self.process_attributes(event, process));
        }
        raw(out, "]");
        if let Some(trace) = &event.trace {
            raw(out, r#","traceId":""#);
            write!(out, "{trace}").expect("writing to a Vec does not fail");
            raw(out, r#"""#);
        }
        raw(out, "}");
        out.extend_from_slice(&self.after);
    }
}

impl OtlpJson {
    fn process_attributes(&mut self, event: &Event, process: &Arc<Process>) -> &[u8] {
        let (known, mut bytes) = self.process.take().unwrap_or_else(|| (Arc::clone(process), Vec::new()));
        if bytes.is_empty() || !Arc::ptr_eq(&known, process) {
            bytes.clear();
            event.process_attributes(process, &mut |name, value| key_value(&mut bytes, false, name, &value));
        }
        &self.process.insert((Arc::clone(process), bytes)).1
    }
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A JSON string: quotes and what must be escaped.
fn string(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        plain(out, text);
    } else {
        serde_json::to_writer(out, text).expect("a string can be written to a Vec");
    }
}

/// Nothing in it must be escaped. Without an early end, so that the compiler makes vector instructions of it: most strings are plain, and
/// to look at them byte by byte was a third of all work.
fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |special, b| special | (b < 0x20) | (b == b'"') | (b == b'\\'))
}

fn plain(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, number: impl Into<i128>) {
    let number: i128 = number.into();
    match u64::try_from(number) {
        Ok(number) => CompactFormatter.write_u64(out, number),
        Err(_) => CompactFormatter.write_i128(out, number),
    }
    .expect("a number can be written to a Vec");
}

/// `name` is one of the registry's.
fn key_value(out: &mut Vec<u8>, first: bool, name: &'static str, value: &Value<'_>) {
    debug_assert!(is_plain(name), "{name}");
    raw(out, if first { r#"{"key":""# } else { r#",{"key":""# });
    raw(out, name);
    raw(out, r#"","value":"#);
    any_value(out, value);
    raw(out, "}");
}

fn any_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::String(text) => {
            raw(out, r#"{"stringValue":"#);
            string(out, text);
            raw(out, "}");
        }
        Value::Int(int) => {
            raw(out, r#"{"intValue":""#);
            number(out, *int);
            raw(out, r#""}"#);
        }
        Value::Bool(true) => raw(out, r#"{"boolValue":true}"#),
        Value::Bool(false) => raw(out, r#"{"boolValue":false}"#),
        Value::Array(values) => {
            raw(out, r#"{"arrayValue":{"values":["#);
            for (i, value) in values.iter().enumerate() {
                raw(out, if i == 0 { "" } else { "," });
                any_value(out, value);
            }
            raw(out, "]}}");
        }
        Value::Map(entries) => {
            raw(out, r#"{"kvlistValue":{"values":["#);
            for (i, (name, value)) in entries.iter().enumerate() {
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
        common::v1::{AnyValue, KeyValue, any_value},
        logs::v1::LogRecord,
    };

    use super::*;
    use crate::event::samples;

    fn encode(event: &Event) -> Vec<u8> {
        let mut resource = Resource::default();
        resource.set("host.name", "h\"ost\u{1b}");
        let mut line = b"what was there before stays\n".to_vec();
        let before = line.len();
        OtlpJson::new(&resource).encode(event, event.severity(), &mut line);
        line.split_off(before)
    }

    /// What a receiver makes of the line.
    fn decode(line: &[u8]) -> LogRecord {
        let text = str::from_utf8(line).expect("JSON is UTF-8");
        assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
        assert!(text.ends_with('\n'), "a whole line: {text}");
        let request: ExportLogsServiceRequest = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let [logs] = &request.resource_logs[..] else { panic!("one resource: {text}") };
        assert_eq!(logs.schema_url, SCHEMA_URL);
        let resource = logs.resource.as_ref().expect("there is a resource");
        assert_eq!(resource.attributes, [expected("host.name", &"h\"ost\u{1b}".into())]);
        let [scope] = &logs.scope_logs[..] else { panic!("one scope: {text}") };
        assert_eq!(scope.schema_url, SCHEMA_URL);
        let name = scope.scope.as_ref().map(|s| (s.name.as_str(), s.version.as_str()));
        assert_eq!(name, Some(("kmodtrail", env!("CARGO_PKG_VERSION"))));
        let [record] = &scope.log_records[..] else { panic!("one record: {text}") };
        record.clone()
    }

    fn expected_value(value: &Value<'_>) -> AnyValue {
        use any_value::Value as Any;
        let any = match value {
            Value::String(text) => Any::StringValue(text.to_string()),
            Value::Int(int) => Any::IntValue(*int),
            Value::Bool(truth) => Any::BoolValue(*truth),
            Value::Array(values) => {
                let values = values.iter().map(expected_value).collect();
                Any::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue { values })
            }
            Value::Map(entries) => {
                let values = entries.iter().map(|(name, value)| expected(name, value)).collect();
                Any::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList { values })
            }
        };
        AnyValue { value: Some(any) }
    }

    fn expected(name: &str, value: &Value<'_>) -> KeyValue {
        KeyValue { key: name.to_owned(), value: Some(expected_value(value)), ..Default::default() }
    }

    #[test]
    fn every_event_comes_back_as_it_was() {
        for event in samples::all() {
            let line = encode(&event);
            let record = decode(&line);
            assert_eq!(record.time_unix_nano, event.time.wall);
            assert_eq!(record.observed_time_unix_nano, event.time.observed);
            assert_eq!(record.event_name, event.what.name());
            assert_eq!(record.severity_number, event.severity() as i32);
            assert_eq!(record.severity_text, event.severity().text());
            assert_eq!(record.body, Some(expected_value(&event.sentence().into())));
            let trace: String = record.trace_id.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(trace, event.trace.map(|t| t.to_string()).unwrap_or_default());
            assert!(record.span_id.is_empty());
            let mut attributes = vec![];
            event.attributes(&mut |name, value| attributes.push(expected(name, &value)));
            assert!(!attributes.is_empty());
            assert_eq!(record.attributes, attributes, "{}", event.what.name());
        }
    }

    #[test]
    fn sixty_four_bit_integers_are_strings() {
        let mut out = vec![];
        any_value(&mut out, &Value::Int(i64::MIN));
        any_value(&mut out, &Value::Int(i64::MAX));
        let expected = r#"{"intValue":"-9223372036854775808"}{"intValue":"9223372036854775807"}"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);
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
        let event = samples::hostile(hostile);
        let line = encode(&event);
        assert!(!line.contains(&0x1b) && line.iter().filter(|&&b| b == b'\n').count() == 1, "{}", line.escape_ascii());
        let record = decode(&line);
        let name = record.attributes.iter().find(|a| a.key == "linux.kernel_module.name").expect("it has a name");
        let text = crate::event::Text::from_bytes(hostile);
        assert_eq!(name.value, Some(expected_value(&Value::from(&text))));
        assert_eq!(text.bytes(), hostile);
    }

    #[test]
    fn the_severity_is_the_one_that_was_asked_for() {
        let mut line = vec![];
        OtlpJson::new(&Resource::default()).encode(&samples::load(), Severity::Fatal, &mut line);
        let text = String::from_utf8_lossy(&line);
        assert!(text.contains(r#""severityNumber":21,"severityText":"FATAL""#), "{text}");
    }
}
