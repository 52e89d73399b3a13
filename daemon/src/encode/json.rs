//! Flat JSON: one object per record, its attributes by their full names beside those of the resource, as Splunk and Elasticsearch index it.
//!
//! What is no attribute is named as Elastic Common Schema and most pipelines want it: `@timestamp` and `message`; the rest as
//! OpenTelemetry's log data model does, in snake case.

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use humantime::format_rfc3339_nanos;

use super::{
    otlp_json::{hex, number, raw, string},
    shared_end::SharedEnd,
};
use crate::record::{KeyValue, Record, Value, resource_attributes};

/// See the module. What is the same for all records of a resource is encoded once.
#[derive(Debug, Default)]
pub struct Json {
    resource: Option<OfResource>,
    end: SharedEnd,
}

/// What a resource says.
#[derive(Debug)]
struct OfResource {
    resource: Arc<[u8]>,
    /// Its attributes' names.
    names: Vec<Box<str>>,
    /// All of its attributes, as members.
    members: Vec<u8>,
}

impl OfResource {
    fn new(resource: &Arc<[u8]>) -> Self {
        let mut all = Vec::new();
        members(&mut all, resource_attributes(resource));
        let names = resource_attributes(resource).map(|(name, _)| name.into()).collect();
        Self { resource: Arc::clone(resource), names, members: all }
    }

    /// A record has an attribute of the same name.
    fn is_overridden(&self, record: &Record<'_>) -> bool {
        let mut attributes = record.attributes();
        let of_record = std::iter::from_fn(|| attributes.next_encoded()).filter_map(KeyValue::leading_name);
        of_record.into_iter().any(|name| self.names.iter().any(|other| other.as_bytes() == name))
    }
}

impl Json {
    /// Appends one object.
    pub fn encode(&mut self, resource: &Arc<[u8]>, record: &Record<'_>, out: &mut Vec<u8>) {
        let known = self.resource.take().filter(|known| Arc::ptr_eq(&known.resource, resource));
        let known = self.resource.insert(known.unwrap_or_else(|| OfResource::new(resource)));
        // JSON is no longer than protobuf by much
        out.reserve(2 * record.bytes.len());
        begin(record, out);
        if known.is_overridden(record) {
            // what a record says of itself comes before what all of this host's say
            members(out, resource_attributes(resource).filter(|(name, _)| record.get(name).is_none()));
        } else {
            out.extend_from_slice(&known.members);
        }
        self.end.write(record, out, |out, _, name, value| member(out, name, value));
        raw(out, "}");
    }
}

/// What is no attribute.
fn begin(record: &Record<'_>, out: &mut Vec<u8>) {
    let [time, observed] = [record.time, record.observed]
        .map(|nanoseconds| format_rfc3339_nanos(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)));
    write!(out, r#"{{"@timestamp":"{time}","observed_timestamp":"{observed}","severity_number":"#)
        .expect("writing to a Vec does not fail");
    number(out, record.severity);
    raw(out, r#","severity_text":"#);
    string(out, record.severity_text);
    raw(out, r#","event.name":"#);
    string(out, record.event_name);
    raw(out, r#","message":"#);
    string(out, record.body);
    if !record.trace_id.is_empty() {
        raw(out, r#","trace_id":""#);
        hex(out, record.trace_id);
        raw(out, r#"""#);
    }
    if !record.span_id.is_empty() {
        raw(out, r#","span_id":""#);
        hex(out, record.span_id);
        raw(out, r#"""#);
    }
}

/// Members behind others.
fn members<'a>(out: &mut Vec<u8>, attributes: impl Iterator<Item = (&'a str, Value<'a>)>) {
    attributes.for_each(|(name, value)| member(out, name, value));
}

fn member(out: &mut Vec<u8>, name: &str, value: Value<'_>) {
    raw(out, ",");
    string(out, name);
    raw(out, ":");
    any(out, value);
}

fn any(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Empty => raw(out, "null"),
        Value::String(text) => string(out, text),
        Value::Bool(true) => raw(out, "true"),
        Value::Bool(false) => raw(out, "false"),
        Value::Int(int) => number(out, int),
        // JSON has no infinity
        Value::Double(double) if !double.is_finite() => raw(out, "null"),
        Value::Double(double) => raw(out, &double.to_string()),
        Value::Bytes(bytes) => {
            raw(out, r#"""#);
            hex(out, bytes);
            raw(out, r#"""#);
        }
        Value::Array(values) => {
            raw(out, "[");
            for (i, value) in values.into_iter().enumerate() {
                if i > 0 {
                    raw(out, ",");
                }
                any(out, value);
            }
            raw(out, "]");
        }
        Value::Map(map) => {
            raw(out, "{");
            for (i, (name, value)) in map.enumerate() {
                raw(out, if i == 0 { "" } else { "," });
                string(out, name);
                raw(out, ":");
                any(out, value);
            }
            raw(out, "}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{event::samples, record, resource::Resource};

    fn encoded(event: &crate::event::Event) -> serde_json::Value {
        let mut resource = Resource::default();
        resource.set("host.name", "h\"ost");
        resource.set("service.version", "of the resource");
        let resource: Arc<[u8]> = record::resource(&resource).into();
        let mut bytes = Vec::new();
        record::Writer::default().write(event, &mut bytes);
        let mut out = Vec::new();
        Json::default().encode(&resource, &Record::parse(&bytes).expect("we wrote it"), &mut out);
        assert!(!out.contains(&b'\n'), "one line");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        assert_eq!(text.matches(r#""service.version":"#).count(), 1, "no member is there twice: {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn every_attribute_is_a_member_under_its_own_name() {
        for event in samples::all() {
            let json = encoded(&event);
            assert_eq!(json["event.name"], event.what.name());
            assert_eq!(json["message"], event.sentence());
            assert_eq!(json["severity_text"], event.severity().text());
            assert_eq!(json["host.name"], "h\"ost");
            event.attributes(&mut |name, _| assert!(json.get(name).is_some(), "{name}: {json}"));
        }
    }

    #[test]
    fn integers_truths_lists_and_maps_are_json_s_own_and_times_can_be_read() {
        let event = samples::load();
        let json = encoded(&event);
        assert!(json["process.pid"].is_i64() && json["linux.kernel_module.signature.ok"].is_boolean(), "{json}");
        assert!(json["linux.kernel_module.taints.names"].is_array(), "{json}");
        assert_eq!(json["linux.process.ancestors"][0]["thread.name"], "bash");
        let time = json["@timestamp"].as_str().and_then(|t| humantime::parse_rfc3339(t).ok()).expect("it is a time");
        assert_eq!(time, SystemTime::UNIX_EPOCH + Duration::from_nanos(event.time.wall));
    }

    #[test]
    fn what_a_record_says_itself_comes_before_the_resource() {
        let started = samples::all().into_iter().find(|e| e.what.name() == "kmodtrail.started").expect("a sample");
        assert_eq!(encoded(&started)["service.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(encoded(&samples::load())["service.version"], "of the resource");
    }
}
