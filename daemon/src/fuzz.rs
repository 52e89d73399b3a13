//! What must hold of every input that comes from outside, whatever its bytes are: for the fuzz targets in `daemon/fuzz`, and for the tests.
//!
//! Each function takes an input to its end, up to the record, panics where something does not hold, and gives whether there was something
//! to be read in it. No part of the library's interface.

use std::sync::Arc;

use crate::{
    config::Encoding,
    encode::{Encoder, terminal},
    event::Event,
    record::{Record, Writer, from_otlp_json},
};
pub use crate::{
    enrich::fuzz::{compressed, module_file, signature},
    sensor::fuzz::kernel_records,
};

/// The event can be told in every way that it may be told; gives how many bytes its record has.
pub(crate) fn told(event: &Event) -> usize {
    let mut bytes = Vec::new();
    Writer::default().write(event, &mut bytes);
    let record = Record::parse(&bytes).expect("a record that was written can be read");
    assert_eq!(record.uid(), event.id().to_string());
    assert_eq!(record.event_name, event.what.name());

    let resource: Arc<[u8]> = Arc::default();
    let (mut line, mut again) = (Vec::new(), Vec::new());
    let mut encoder = Encoder::from(Encoding::OtlpJson);
    encoder.encode(&resource, &record, &mut line);
    let read = from_otlp_json(&line).expect("a line that was written can be read");
    let [read] = &read[..] else { panic!("one line has {} records", read.len()) };
    encoder.encode(&resource, &Record::parse(&read.record).expect("it was encoded"), &mut again);
    assert!(line == again, "a line that was read says something else than before");
    assert!(!line.contains(&b'\n'), "a line is one line");

    let mut flat = Vec::new();
    Encoder::from(Encoding::Json).encode(&resource, &record, &mut flat);
    let flat: serde_json::Value = serde_json::from_slice(&flat).expect("flat JSON is JSON");
    assert!(flat.is_object());

    let mut text = String::new();
    terminal::render(event, event.severity(), false, &mut text);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?} has a control character");
    bytes.len()
}

#[cfg(test)]
mod tests;
