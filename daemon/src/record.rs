//! A record: an event as the spool keeps it and sinks get it, one OTLP `LogRecord` in protobuf.
//!
//! It is written once, straight from the event, and read where it lies: routes look at a few of its attributes, the encoding `otlp_proto` copies it,
//! the others walk over it. Nothing builds a tree of it.

mod from_otlp_json;
mod value;
pub(crate) mod wire;
mod write;

pub(crate) use self::value::KeyValue;
use self::wire::{Field, Fields};
pub use self::{
    from_otlp_json::{LineError, NotOtlp, OtlpJsonLines, Read, from_otlp_json},
    value::{Attributes, List, Value},
    write::{Writer, resource},
};

/// Numbers of the fields, opentelemetry/proto/logs/v1/logs.proto and common/v1/common.proto.
pub(crate) mod number {
    pub(crate) mod log_record {
        pub(crate) const TIME: u32 = 1;
        pub(crate) const SEVERITY_NUMBER: u32 = 2;
        pub(crate) const SEVERITY_TEXT: u32 = 3;
        pub(crate) const BODY: u32 = 5;
        pub(crate) const ATTRIBUTES: u32 = 6;
        pub(crate) const TRACE_ID: u32 = 9;
        pub(crate) const SPAN_ID: u32 = 10;
        pub(crate) const OBSERVED_TIME: u32 = 11;
        pub(crate) const EVENT_NAME: u32 = 12;
    }
    pub(crate) mod any_value {
        pub(crate) const STRING: u32 = 1;
        pub(crate) const BOOL: u32 = 2;
        pub(crate) const INT: u32 = 3;
        pub(crate) const DOUBLE: u32 = 4;
        pub(crate) const ARRAY: u32 = 5;
        pub(crate) const MAP: u32 = 6;
        pub(crate) const BYTES: u32 = 7;
    }
    /// Of ArrayValue, KeyValueList and Resource alike.
    pub(crate) const VALUES: u32 = 1;
    /// Of KeyValue.
    pub(crate) const KEY: u32 = 1;
    pub(crate) const VALUE: u32 = 2;
}

/// Bytes that are no `LogRecord`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no OTLP LogRecord")]
pub struct Malformed;

/// A view of the bytes of one `LogRecord`.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// All of it, as it is.
    pub bytes: &'a [u8],
    /// `time_unix_nano`: when it happened, nanoseconds since the epoch of Unix.
    pub time: u64,
    /// `observed_time_unix_nano`: when the daemon saw it.
    pub observed: u64,
    /// SeverityNumber: 1 to 24, 0 where nobody said.
    pub severity: u8,
    /// `severity_text`
    pub severity_text: &'a str,
    /// EventName
    pub event_name: &'a str,
    /// The body's text.
    pub body: &'a str,
    /// 16 bytes, or none.
    pub trace_id: &'a [u8],
    /// 8 bytes, or none.
    pub span_id: &'a [u8],
}

impl<'a> Record<'a> {
    /// Looks through the bytes once. What a newer protocol adds is passed over.
    ///
    /// # Errors
    /// Where they are no `LogRecord`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        use number::log_record as log;
        let mut record = Self {
            bytes,
            time: 0,
            observed: 0,
            severity: 0,
            severity_text: "",
            event_name: "",
            body: "",
            trace_id: &[],
            span_id: &[],
        };
        let mut fields = Fields::new(bytes);
        loop {
            fields.skip_short(log::ATTRIBUTES);
            let Some((number, field)) = fields.next()? else { return Ok(record) };
            match (number, field) {
                (log::TIME, Field::Fixed64(time)) => record.time = time,
                (log::OBSERVED_TIME, Field::Fixed64(time)) => record.observed = time,
                (log::SEVERITY_NUMBER, Field::Varint(number)) => record.severity = number.try_into().unwrap_or(0),
                (log::SEVERITY_TEXT, Field::Bytes(bytes)) => record.severity_text = wire::text(bytes)?,
                (log::EVENT_NAME, Field::Bytes(bytes)) => record.event_name = wire::text(bytes)?,
                (log::TRACE_ID, Field::Bytes(bytes)) => record.trace_id = bytes,
                (log::SPAN_ID, Field::Bytes(bytes)) => record.span_id = bytes,
                (log::BODY, Field::Bytes(bytes)) => {
                    if let Value::String(text) = Value::parse(bytes)? {
                        record.body = text;
                    }
                }
                _ => {}
            }
        }
    }

    /// The attributes, in their order.
    #[must_use]
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.bytes, number::log_record::ATTRIBUTES)
    }

    /// The attribute of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.attributes().get(name)
    }

    /// `log.record.uid`: the same on every try to deliver it; empty where there is none.
    #[must_use]
    pub fn uid(&self) -> &'a str {
        match self.get(opentelemetry_semantic_conventions::attribute::LOG_RECORD_UID) {
            Some(Value::String(uid)) => uid,
            _ => "",
        }
    }
}

/// The attributes of an encoded `Resource`, as [`resource`] makes it.
#[must_use]
pub const fn resource_attributes(resource: &[u8]) -> Attributes<'_> {
    Attributes::new(resource, number::VALUES)
}

#[cfg(test)]
mod tests;
