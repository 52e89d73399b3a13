//! From an event to its record.

use std::{io::Write as _, sync::Arc};

use super::{number, wire};
use crate::{
    event::{Event, Process, Value},
    resource::Resource,
};

/// A process, and the one behind it.
type Last = [Option<Arc<Process>>; 2];

/// Writes records, and remembers what the next one may have in common with the last.
#[derive(Debug, Default)]
pub struct Writer {
    /// The attributes of the last process and of the one behind it: the records of one attempt share them, and they are most of each.
    last: Last,
    attributes: Vec<u8>,
}

impl Writer {
    /// Appends one record to `out`.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        use number::log_record as log;
        let severity = event.severity();
        wire::put_fixed64(out, log::TIME, event.time.wall);
        wire::put_fixed64(out, log::OBSERVED_TIME, event.time.observed);
        wire::put_varint(out, log::SEVERITY_NUMBER, severity as u64);
        wire::put_bytes(out, log::SEVERITY_TEXT, severity.text().as_bytes());
        wire::put_bytes(out, log::EVENT_NAME, event.what.name().as_bytes());
        if let Some(trace) = &event.trace {
            wire::put_bytes(out, log::TRACE_ID, trace.bytes());
        }
        if let Some(span) = &event.span_id() {
            wire::put_bytes(out, log::SPAN_ID, span.bytes());
        }
        wire::put_message(out, log::BODY, |out| any_value(out, &Value::String(&event.sentence())));
        event.attributes_but_process(&mut |name, value| key_value(out, log::ATTRIBUTES, name, &value));
        if event.process.is_some() || event.requester.is_some() {
            out.extend_from_slice(self.process_attributes(event));
        }
    }

    fn process_attributes(&mut self, event: &Event) -> &[u8] {
        let both = [&event.process, &event.requester];
        let same = |(known, process): (&Option<Arc<Process>>, _)| match (known, process) {
            (Some(known), Some(process)) => Arc::ptr_eq(known, process),
            (None, None) => true,
            _ => false,
        };
        if !self.last.iter().zip(both.map(Option::as_ref)).all(same) {
            self.last = both.map(Clone::clone);
            self.attributes.clear();
            event.process_attributes(&mut |name, value| {
                key_value(&mut self.attributes, number::log_record::ATTRIBUTES, name, &value);
            });
        }
        &self.attributes
    }
}

/// The resource as an encoded `Resource`: what all records of this process share.
#[must_use]
pub fn resource(resource: &Resource) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in resource.attributes() {
        key_value(&mut out, number::VALUES, name, &value.into());
    }
    out
}

fn key_value(out: &mut Vec<u8>, number: u32, name: &str, value: &Value<'_>) {
    // of most the length is known beforehand
    let any = match value {
        Value::String(text) => Some(wire::field_length(text.len())),
        Value::Int(int) => Some(1 + wire::varint_length(int.cast_unsigned())),
        Value::Bool(_) => Some(2),
        Value::Format(_) | Value::Array(_) | Value::Map(_) => None,
    };
    if let Some(any) = any {
        let key = wire::field_length(name.len());
        out.reserve(16 + key + any);
        wire::put_length(out, number, key + wire::field_length(any));
        wire::put_bytes(out, number::KEY, name.as_bytes());
        wire::put_length(out, number::VALUE, any);
        return any_value(out, value);
    }
    wire::put_message(out, number, |out| {
        wire::put_bytes(out, number::KEY, name.as_bytes());
        wire::put_message(out, number::VALUE, |out| any_value(out, value));
    });
}

fn any_value(out: &mut Vec<u8>, value: &Value<'_>) {
    use number::any_value as any;
    match value {
        Value::String(text) => wire::put_bytes(out, any::STRING, text.as_bytes()),
        Value::Format(text) => {
            wire::put_message(out, any::STRING, |out| out.write_fmt(*text).expect("writing to a Vec does not fail"));
        }
        Value::Int(int) => wire::put_varint(out, any::INT, int.cast_unsigned()),
        Value::Bool(truth) => wire::put_varint(out, any::BOOL, (*truth).into()),
        Value::Array(each) => wire::put_message(out, any::ARRAY, |out| {
            each(&mut |value| wire::put_message(out, number::VALUES, |out| any_value(out, &value)));
        }),
        Value::Map(each) => wire::put_message(out, any::MAP, |out| {
            each(&mut |name, value| key_value(out, number::VALUES, name, &value));
        }),
    }
}
