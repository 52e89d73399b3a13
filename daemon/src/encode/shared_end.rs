//! The end that records have in common.

use opentelemetry_semantic_conventions::attribute::PROCESS_PID;

use crate::record::{Record, Value};

/// What is longer is not kept.
const LONGEST: usize = 16 << 10;

/// The attributes of the last record's process, and the text that was made of them: they are two thirds of a record, stand at its end, and
/// are the same in all records of one attempt to load a module.
#[derive(Debug, Default)]
pub(super) struct SharedEnd {
    attributes: Vec<u8>,
    text: Vec<u8>,
}

impl SharedEnd {
    /// Appends the text of all attributes; `write` appends that of one, and is told whether it is the first.
    pub(super) fn write(
        &mut self,
        record: &Record<'_>,
        out: &mut Vec<u8>,
        write: impl Fn(&mut Vec<u8>, bool, &str, Value<'_>),
    ) {
        let mut attributes = record.attributes();
        let mut first = true;
        loop {
            let rest = attributes.rest();
            let Some((name, value)) = attributes.next() else { return };
            if first || name != PROCESS_PID {
                write(out, first, name, value);
                first = false;
                continue;
            }
            if rest == self.attributes {
                out.extend_from_slice(&self.text);
                return;
            }
            let begin = out.len();
            write(out, false, name, value);
            attributes.for_each(|(name, value)| write(out, false, name, value));
            self.attributes.clear();
            self.text.clear();
            if rest.len() <= LONGEST {
                self.attributes.extend_from_slice(rest);
                self.text.extend_from_slice(&out[begin..]);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        config::Encoding,
        encode::Encoder,
        event::samples,
        record::{Record, Writer},
    };

    #[test]
    fn a_record_is_the_same_whatever_came_before_it() {
        let resource: Arc<[u8]> = Arc::from([]);
        let mut writer = Writer::default();
        let mut records: Vec<Vec<u8>> = Vec::new();
        for event in samples::all() {
            let mut bytes = Vec::new();
            writer.write(&event, &mut bytes);
            records.push(bytes);
        }
        // again, as they are and with another last byte of their last string
        let others = records.clone().into_iter().map(|mut bytes| {
            if let Some(last) = bytes.last_mut().filter(|last| last.is_ascii_alphanumeric()) {
                *last = b'x';
            }
            bytes
        });
        records.extend(others.collect::<Vec<_>>());
        records.extend(records.clone());
        for encoding in [Encoding::OtlpJson, Encoding::Json] {
            let mut used = Encoder::from(encoding);
            for bytes in &records {
                let record = Record::parse(bytes).expect("we wrote it");
                let [mut text, mut expected] = [Vec::new(), Vec::new()];
                used.encode(&resource, &record, &mut text);
                Encoder::from(encoding).encode(&resource, &record, &mut expected);
                assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&expected));
            }
        }
    }
}
