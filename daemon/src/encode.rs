//! From a record to a wire format: one file per format, no I/O.

pub mod json;
pub mod otlp_json;
pub mod otlp_proto;
mod shared_end;
pub mod terminal;

use std::sync::Arc;

use self::{json::Json, otlp_json::OtlpJson};
use crate::{config::Encoding, record::Record};

/// Makes messages of one encoding.
#[derive(Debug)]
pub enum Encoder {
    /// OTLP/JSON.
    OtlpJson(OtlpJson),
    /// OTLP/protobuf.
    OtlpProto,
    /// Flat JSON.
    Json(Json),
}

impl From<Encoding> for Encoder {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::OtlpJson => Self::OtlpJson(OtlpJson::default()),
            Encoding::OtlpProto => Self::OtlpProto,
            Encoding::Json => Self::Json(Json::default()),
        }
    }
}

impl Encoder {
    /// Appends one record to `out`, as a message of its own. Nothing ends it: where messages are lines, the caller adds the newline; no
    /// message of a text encoding has one in it.
    pub fn encode(&mut self, resource: &Arc<[u8]>, record: &Record<'_>, out: &mut Vec<u8>) {
        match self {
            Self::OtlpJson(encoder) => encoder.encode(resource, record, out),
            Self::OtlpProto => otlp_proto::request(resource, [record.bytes], out),
            Self::Json(encoder) => encoder.encode(resource, record, out),
        }
    }

    /// The media type of its messages.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::OtlpProto => otlp_proto::CONTENT_TYPE,
            Self::OtlpJson(_) | Self::Json(_) => "application/json",
        }
    }
}
