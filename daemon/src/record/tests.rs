use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
    logs::v1::LogRecord,
};
use prost::Message as _;

use super::*;
use crate::event::{self, Event, samples};

fn written(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::default().write(event, &mut bytes);
    bytes
}

/// What OpenTelemetry's own types make of a value of the event.
fn expected_value(value: &event::Value<'_>) -> AnyValue {
    use any_value::Value as Any;
    let any = match value {
        event::Value::String(text) => Any::StringValue((*text).to_owned()),
        event::Value::Format(text) => Any::StringValue(text.to_string()),
        event::Value::Int(int) => Any::IntValue(*int),
        event::Value::Bool(truth) => Any::BoolValue(*truth),
        event::Value::Array(each) => {
            let mut values = vec![];
            each(&mut |value| values.push(expected_value(&value)));
            Any::ArrayValue(ArrayValue { values })
        }
        event::Value::Map(each) => {
            let mut values = vec![];
            each(&mut |name, value| values.push(expected(name, &value)));
            Any::KvlistValue(KeyValueList { values })
        }
    };
    AnyValue { value: Some(any) }
}

fn expected(name: &str, value: &event::Value<'_>) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(expected_value(value)), ..Default::default() }
}

/// What OpenTelemetry's own types make of a value that was read in place.
fn read_value(value: Value<'_>) -> AnyValue {
    use any_value::Value as Any;
    let read = |(name, value): (&str, _)| KeyValue {
        key: name.to_owned(),
        value: Some(read_value(value)),
        ..Default::default()
    };
    let any = match value {
        Value::Empty => return AnyValue::default(),
        Value::String(text) => Any::StringValue(text.to_owned()),
        Value::Bool(truth) => Any::BoolValue(truth),
        Value::Int(int) => Any::IntValue(int),
        Value::Double(double) => Any::DoubleValue(double),
        Value::Bytes(bytes) => Any::BytesValue(bytes.to_owned()),
        Value::Array(list) => Any::ArrayValue(ArrayValue { values: list.into_iter().map(read_value).collect() }),
        Value::Map(map) => Any::KvlistValue(KeyValueList { values: map.map(read).collect() }),
    };
    AnyValue { value: Some(any) }
}

#[test]
fn every_event_is_written_as_opentelemetry_reads_it() {
    for event in samples::all() {
        let record = LogRecord::decode(&*written(&event)).unwrap_or_else(|e| panic!("{e}: {event:?}"));
        assert_eq!(record.time_unix_nano, event.time.wall);
        assert_eq!(record.observed_time_unix_nano, event.time.observed);
        assert_eq!(record.event_name, event.what.name());
        assert_eq!(record.severity_number, event.severity() as i32);
        assert_eq!(record.severity_text, event.severity().text());
        assert_eq!(record.body, Some(expected_value(&(&event.sentence()).into())));
        assert_eq!(record.trace_id, event.trace.map(|t| t.bytes().to_vec()).unwrap_or_default());
        assert_eq!(record.span_id, event.span_id().map(|s| s.bytes().to_vec()).unwrap_or_default());
        let mut attributes = vec![];
        event.attributes(&mut |name, value| attributes.push(expected(name, &value)));
        assert!(!attributes.is_empty());
        assert_eq!(record.attributes, attributes, "{}", event.what.name());
    }
}

#[test]
fn what_is_read_in_place_is_what_opentelemetry_reads() {
    for event in samples::all() {
        let bytes = written(&event);
        let (here, there) =
            (Record::parse(&bytes).expect("we wrote it"), LogRecord::decode(&*bytes).expect("we wrote it"));
        assert_eq!((here.time, here.observed), (there.time_unix_nano, there.observed_time_unix_nano));
        assert_eq!((i32::from(here.severity), here.severity_text), (there.severity_number, &*there.severity_text));
        assert_eq!((here.event_name, here.trace_id), (&*there.event_name, &*there.trace_id));
        assert_eq!(here.span_id, there.span_id);
        assert_eq!(read_value(Value::String(here.body)), there.body.expect("it has a body"));
        let attributes: Vec<_> = here.attributes().map(|(name, value)| (name.to_owned(), read_value(value))).collect();
        let other: Vec<_> = there.attributes.into_iter().map(|a| (a.key, a.value.unwrap_or_default())).collect();
        assert_eq!(attributes, other);
        assert_eq!(here.uid(), event.id().to_string());
    }
}

#[test]
fn lengths_of_every_size_are_written() {
    for length in [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
        let mut bytes = b"before".to_vec();
        wire::put_message(&mut bytes, 5, |out| out.resize(out.len() + length, b'x'));
        let mut fields = Fields::new(&bytes[6..]);
        let Ok(Some((5, Field::Bytes(found)))) = fields.next() else { panic!("{length}") };
        assert_eq!((found.len(), fields.next()), (length, Ok(None)));
        assert!(found.iter().all(|&b| b == b'x'));
    }
}

#[test]
fn a_cut_or_altered_record_is_malformed_or_shorter_and_never_a_panic() {
    let bytes = written(&samples::load());
    let walk = |bytes: &[u8]| {
        let Ok(record) = Record::parse(bytes) else { return };
        for (_, value) in record.attributes() {
            read_value(value);
        }
    };
    for end in 0..bytes.len() {
        walk(&bytes[..end]);
    }
    let mut altered = bytes.clone();
    for i in 0..bytes.len() {
        for value in [0, 0x7f, 0x80, 0xff, bytes[i] ^ 1, bytes[i] ^ 0x10] {
            altered[i] = value;
            walk(&altered);
        }
        altered[i] = bytes[i];
    }
    assert_eq!(Record::parse(&[0xff; 11]).expect_err("no key is that long"), Malformed);
}

#[test]
fn what_the_events_of_a_process_share_is_written_for_each_of_them() {
    let mut writer = Writer::default();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let event = samples::load();
    writer.write(&event, &mut first);
    writer.write(&event, &mut second);
    assert_eq!(first, second);
    let mut another = event.clone();
    let mut process = samples::process();
    process.id.pid += 1;
    another.process = Some(std::sync::Arc::new(process));
    let mut third = Vec::new();
    writer.write(&another, &mut third);
    assert_eq!(third, written(&another));
    assert_ne!(third, first);
}

#[test]
fn the_resource_comes_back() {
    let mut here = crate::resource::Resource::default();
    here.set("host.name", "h\"ost\u{1b}");
    here.set("deployment.environment.name", "");
    let bytes = resource(&here);
    let back: Vec<_> = resource_attributes(&bytes).collect();
    assert_eq!(
        back,
        [("host.name", Value::String("h\"ost\u{1b}")), ("deployment.environment.name", Value::String(""))]
    );
}
