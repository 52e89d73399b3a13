//! From an event to its record.

use std::{io::Write as _, sync::Arc};

use super::{number, wire};
use crate::{
    event::{Event, Process, Value},
    resource::Resource,
};

/// Writes records, and remembers what the next one may have in common with the last.
#[derive(Debug, Default)]
pub struct Writer {
    /// The last process and its attributes: the records of one attempt share it, and it is two thirds of each.
    process: Option<(Arc<Process>, Vec<u8>)>,
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
        wire::put_message(out, log::BODY, |out| any_value(out, &Value::String(&event.sentence())));
        event.attributes_but_process(&mut |name, value| key_value(out, log::ATTRIBUTES, name, &value));
        if let Some(process) = &event.process {
            out.extend_from_slice(self.process_attributes(event, process));
        }
    }

    fn process_attributes(&mut self, event: &Event, process: &Arc<Process>) -> &[u8] {
        let (known, mut bytes) = self.process.take().unwrap_or_else(|| (Arc::clone(process), Vec::new()));
        if bytes.is_empty() || !Arc::ptr_eq(&known, process) {
            bytes.clear();
            event.process_attributes(process, &mut |name, value| {
                key_value(&mut bytes, number::log_record::ATTRIBUTES, name, &value);
            });
        }
        &self.process.insert((Arc::clone(process), bytes)).1
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
    // most are strings: their lengths are known beforehand
    if let Value::String(text) = value {
        let key = wire::field_length(name.len());
        let any = wire::field_length(text.len());
        out.reserve(16 + key + any);
        wire::put_length(out, number, key + wire::field_length(any));
        wire::put_bytes(out, number::KEY, name.as_bytes());
        wire::put_length(out, number::VALUE, any);
        return wire::put_bytes(out, number::any_value::STRING, text.as_bytes());
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
