//! A copy of a record with the changes that its routes make; where they make none, no copy.

use super::{
    edit::{Combined, Edit},
    redact::{Hidden, Redaction},
};
use crate::{
    event::Severity,
    record::{
        Attributes, KeyValue, Malformed, Record, Value, number,
        number::{any_value as any, log_record as log},
        wire::{self, Field, Fields},
    },
};

/// Appends the record with its changes to `out`, and says whether there are any; if not, nothing is appended.
///
/// # Errors
/// Where the record is malformed. What was appended then means nothing.
pub(super) fn rewrite(record: &Record<'_>, edits: Combined<'_, '_>, out: &mut Vec<u8>) -> Result<bool, Malformed> {
    let severity = edits.severity().filter(|s| (*s as u8, s.text()) != (record.severity, record.severity_text));
    if severity.is_none() && !edits.touch_attributes() {
        return Ok(false);
    }
    let body = if edits.redact() { hidden(record, edits).replace(record.body) } else { None };
    // what lies before `copied` has been copied or replaced
    let (mut copied, mut at, mut changed) = (0, 0, false);
    let mut fields = Fields::new(record.bytes);
    while let Some((number, field)) = fields.next()? {
        let begin = std::mem::replace(&mut at, record.bytes.len() - fields.rest().len());
        let mut copy_before = |out: &mut Vec<u8>| {
            out.extend_from_slice(&record.bytes[copied..begin]);
            copied = at;
            changed = true;
        };
        match (number, field) {
            (log::SEVERITY_NUMBER | log::SEVERITY_TEXT, _) if severity.is_some() => copy_before(out),
            (log::BODY, _) if body.is_some() => copy_before(out),
            (log::ATTRIBUTES, Field::Bytes(pair)) => {
                let (name, value) = KeyValue::new(pair).parse()?;
                if edits.of(name).is_some() || has_edited(value, edits) {
                    copy_before(out);
                    put_attribute(out, log::ATTRIBUTES, name, value, None, edits);
                }
            }
            _ => {}
        }
    }
    if changed || severity.is_some() {
        out.extend_from_slice(&record.bytes[copied..]);
        put_changed(out, severity, body.as_deref());
        changed = true;
    }
    Ok(changed)
}

/// The order of a message's fields means nothing.
fn put_changed(out: &mut Vec<u8>, severity: Option<Severity>, body: Option<&str>) {
    if let Some(severity) = severity {
        wire::put_varint(out, log::SEVERITY_NUMBER, severity as u64);
        wire::put_bytes(out, log::SEVERITY_TEXT, severity.text().as_bytes());
    }
    if let Some(body) = body {
        wire::put_message(out, log::BODY, |out| wire::put_bytes(out, any::STRING, body.as_bytes()));
    }
}

/// The values that are redacted, and what stands in their place: the body may tell them too.
fn hidden(record: &Record<'_>, edits: Combined<'_, '_>) -> Hidden {
    fn of_value(value: Value<'_>, redaction: Option<&Redaction>, edits: Combined<'_, '_>, hidden: &mut Hidden) {
        match (value, redaction) {
            (Value::String(text), Some(redaction)) => hidden.push(text.to_owned(), redaction.text(text)),
            (Value::Int(int), Some(redaction)) => hidden.push(int.to_string(), redaction.int(int).to_string()),
            (Value::Array(items), _) => items.into_iter().for_each(|item| of_value(item, redaction, edits, hidden)),
            (Value::Map(map), _) => of_map(map, redaction, edits, hidden),
            _ => {}
        }
    }
    fn of_map(map: Attributes<'_>, outer: Option<&Redaction>, edits: Combined<'_, '_>, hidden: &mut Hidden) {
        for (name, value) in map {
            match edits.of(name) {
                Some(Edit::Redact(redaction)) => of_value(value, Some(redaction), edits, hidden),
                _ => of_value(value, outer, edits, hidden),
            }
        }
    }
    let mut hidden = Hidden::default();
    of_map(record.attributes(), None, edits, &mut hidden);
    hidden
}

/// A map in it has an attribute that is edited: what has the same name there is the same kind of value, an ancestor's user for example.
fn has_edited(value: Value<'_>, edits: Combined<'_, '_>) -> bool {
    match value {
        Value::Array(items) => items.into_iter().any(|item| has_edited(item, edits)),
        Value::Map(mut map) => map.any(|(name, value)| edits.of(name).is_some() || has_edited(value, edits)),
        _ => false,
    }
}

/// `outer` is the redaction of what it stands in.
fn put_attribute(
    out: &mut Vec<u8>,
    number: u32,
    name: &str,
    value: Value<'_>,
    outer: Option<&Redaction>,
    edits: Combined<'_, '_>,
) {
    let redaction = match edits.of(name) {
        Some(Edit::Drop) => return,
        Some(Edit::Redact(redaction)) => Some(redaction),
        None => outer,
    };
    wire::put_message(out, number, |out| {
        wire::put_bytes(out, number::KEY, name.as_bytes());
        wire::put_message(out, number::VALUE, |out| put_value(out, value, redaction, edits));
    });
}

fn put_value(out: &mut Vec<u8>, value: Value<'_>, redaction: Option<&Redaction>, edits: Combined<'_, '_>) {
    match (value, redaction) {
        (Value::Array(items), _) => wire::put_message(out, any::ARRAY, |out| {
            for item in items {
                wire::put_message(out, number::VALUES, |out| put_value(out, item, redaction, edits));
            }
        }),
        (Value::Map(map), _) => wire::put_message(out, any::MAP, |out| {
            for (name, value) in map {
                put_attribute(out, number::VALUES, name, value, redaction, edits);
            }
        }),
        (Value::String(text), Some(redaction)) => wire::put_bytes(out, any::STRING, redaction.text(text).as_bytes()),
        (Value::Int(int), Some(redaction)) => wire::put_varint(out, any::INT, redaction.int(int).cast_unsigned()),
        // no other type can be redacted and stay what it is
        (_, Some(_)) | (Value::Empty, None) => {}
        (Value::String(text), None) => wire::put_bytes(out, any::STRING, text.as_bytes()),
        (Value::Int(int), None) => wire::put_varint(out, any::INT, int.cast_unsigned()),
        (Value::Bool(truth), None) => wire::put_varint(out, any::BOOL, truth.into()),
        (Value::Double(double), None) => wire::put_fixed64(out, any::DOUBLE, double.to_bits()),
        (Value::Bytes(bytes), None) => wire::put_bytes(out, any::BYTES, bytes),
    }
}
