//! From an event to a wire format: one file per format, no I/O.

mod otlp_json;
pub mod terminal;

pub use otlp_json::OtlpJson;

use crate::{
    config::Encoding,
    event::{Event, Severity},
    resource::Resource,
};

/// All encodings, ready to be used.
#[derive(Debug)]
pub struct Encoders {
    otlp_json: OtlpJson,
}

impl Encoders {
    /// What all records share is encoded here, once.
    #[must_use]
    pub fn new(resource: &Resource) -> Self {
        Self { otlp_json: OtlpJson::new(resource) }
    }

    /// Appends one record to `out`, with what ends it.
    pub fn encode(&mut self, encoding: Encoding, event: &Event, severity: Severity, out: &mut Vec<u8>) {
        match encoding {
            Encoding::OtlpJson => self.otlp_json.encode(event, severity, out),
        }
    }
}
