//! From a record to a message.

use std::sync::Arc;

use opentelemetry_semantic_conventions::{
    SCHEMA_URL,
    attribute::{HOST_ID, HOST_NAME, LOG_RECORD_UID},
};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};

use crate::{
    config::{self, Encoding},
    encode::Encoder,
    record::{Attributes, Value, resource_attributes},
    route::template::{self, Template},
    sink::Outgoing,
};

/// Makes messages.
#[derive(Debug)]
pub(super) struct Messages {
    topic: Template<template::Topic>,
    /// The topic of the last message.
    topic_name: String,
    encoder: Encoder,
    keys: Keys,
    headers: Vec<(String, Template<template::Header>)>,
    /// The value of a header.
    header: String,
    payload: Vec<u8>,
}

/// What is sent.
pub(super) struct Message<'m> {
    pub(super) topic: &'m str,
    pub(super) key: Option<&'m [u8]>,
    pub(super) headers: OwnedHeaders,
    pub(super) payload: &'m [u8],
}

impl Message<'_> {
    /// What librdkafka puts around a message and each of its headers in a request, at most.
    const OVERHEAD: usize = 64;
    const HEADER_OVERHEAD: usize = 10;

    /// Bytes that it takes of a request, at most, before compression.
    pub(super) fn size(&self) -> usize {
        let header = |h: Header<'_, &[u8]>| Self::HEADER_OVERHEAD + h.key.len() + h.value.map_or(0, <[u8]>::len);
        let headers: usize = self.headers.iter().map(header).sum();
        Self::OVERHEAD + self.key.map_or(0, <[u8]>::len) + headers + self.payload.len()
    }
}

/// A long record needs more for a moment; that memory is given back.
const KEPT_CAPACITY: usize = 64 << 10;

impl Messages {
    pub(super) fn new(config: &config::KafkaSink, encoding: Encoding) -> Self {
        let encoder = Encoder::from(encoding);
        Self {
            topic: config.topic.clone(),
            topic_name: String::new(),
            encoder,
            keys: Keys::new(config.key.as_deref()),
            headers: config.headers.clone(),
            header: String::new(),
            payload: Vec::new(),
        }
    }

    /// The message of a record.
    pub(super) fn make(&mut self, outgoing: &Outgoing<'_>) -> Message<'_> {
        let record = &outgoing.record;
        let mut headers = OwnedHeaders::new_with_capacity(4 + self.headers.len())
            .insert(Header { key: LOG_RECORD_UID, value: Some(record.uid()) })
            .insert(Header { key: "event.name", value: Some(record.event_name) })
            .insert(Header { key: "content-type", value: Some(self.encoder.content_type()) })
            .insert(Header { key: "schema-url", value: Some(SCHEMA_URL) });
        for (name, value) in &self.headers {
            self.header.clear();
            value.render(outgoing.resource, record, &mut self.header);
            headers = headers.insert(Header { key: name, value: Some(&self.header) });
        }
        if self.topic_name.is_empty() || !self.topic.is_constant() {
            self.topic_name.clear();
            self.topic.render(outgoing.resource, record, &mut self.topic_name);
        }
        self.payload.clear();
        self.payload.shrink_to(KEPT_CAPACITY);
        self.encoder.encode(outgoing.resource, record, &mut self.payload);
        Message { topic: &self.topic_name, key: self.keys.of(outgoing), headers, payload: &self.payload }
    }

    /// Where the message of a record goes.
    pub(super) fn topic(&self, outgoing: &Outgoing<'_>) -> String {
        let mut name = String::new();
        self.topic.render(outgoing.resource, &outgoing.record, &mut name);
        name
    }
}

/// Finds the keys of messages.
#[derive(Debug)]
struct Keys {
    /// Attributes of which the first that there is becomes the key.
    names: Vec<String>,
    /// Whose key `of_resource` is: the records of one process share it.
    resource: Option<Arc<[u8]>>,
    of_resource: Option<Vec<u8>>,
    of_record: Option<Vec<u8>>,
}

impl Keys {
    fn new(name: Option<&str>) -> Self {
        let names = name.map_or_else(|| vec![HOST_ID.to_owned(), HOST_NAME.to_owned()], |name| vec![name.to_owned()]);
        Self { names, resource: None, of_resource: None, of_record: None }
    }

    /// What the resource says comes before what the record says: it is looked up once, and to look through a record's fifty attributes
    /// costs more than to send it.
    fn of(&mut self, outgoing: &Outgoing<'_>) -> Option<&[u8]> {
        let find = |attributes: Attributes<'_>| self.names.iter().find_map(|name| text(attributes, name));
        if !self.resource.as_ref().is_some_and(|known| Arc::ptr_eq(known, outgoing.resource)) {
            self.of_resource = find(resource_attributes(outgoing.resource));
            self.resource = Some(Arc::clone(outgoing.resource));
        }
        if self.of_resource.is_none() {
            self.of_record = find(outgoing.record.attributes());
        }
        self.of_resource.as_deref().or(self.of_record.as_deref())
    }
}

/// An attribute that can be a key, as bytes.
fn text(mut attributes: Attributes<'_>, name: &str) -> Option<Vec<u8>> {
    match attributes.find(|(n, _)| *n == name)?.1 {
        Value::String(text) => Some(text.into()),
        Value::Int(int) => Some(int.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Empty | Value::Double(_) | Value::Bytes(_) | Value::Array(_) | Value::Map(_) => None,
    }
}
