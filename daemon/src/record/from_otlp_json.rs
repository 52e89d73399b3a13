//! From OTLP/JSON, as the file sink and the collector's file exporter write it, to records.

use std::{
    io::{self, BufRead},
    sync::Arc,
    vec,
};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;

/// A record that was read, and the encoded resource it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Shared by the records of one resource of one request.
    pub resource: Arc<[u8]>,
    /// One encoded `LogRecord`, for [`super::Record::parse`].
    pub record: Vec<u8>,
}

/// Text that is no `ExportLogsServiceRequest` in JSON.
#[derive(Debug, thiserror::Error)]
pub enum NotOtlp {
    /// It is no JSON, or something in it is of another type.
    #[error("this is no OTLP/JSON log request: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON of another kind, or an empty request.
    #[error("this is no OTLP/JSON log request: there is no log record in it")]
    Empty,
}

/// The records of one `ExportLogsServiceRequest`: one line of a file, or the body of a request.
///
/// # Errors
/// Where the text is something else.
pub fn from_otlp_json(text: &[u8]) -> Result<Vec<Read>, NotOtlp> {
    let request: ExportLogsServiceRequest = serde_json::from_slice(text)?;
    let mut records = Vec::new();
    for logs in request.resource_logs {
        let resource: Arc<[u8]> = logs.resource.unwrap_or_default().encode_to_vec().into();
        for record in logs.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            records.push(Read { resource: Arc::clone(&resource), record: record.encode_to_vec() });
        }
    }
    if records.is_empty() { Err(NotOtlp::Empty) } else { Ok(records) }
}

/// The records of a file of such lines, one after the other.
#[derive(Debug)]
pub struct OtlpJsonLines<R> {
    reader: R,
    text: Vec<u8>,
    line: usize,
    waiting: vec::IntoIter<Read>,
    ended: bool,
}

/// A line of a file that gives no record.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The file can't be read on; nothing comes after it.
    #[error("line {line}: {source}")]
    Read {
        /// Which line, from 1 on.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// It is something else; other lines may come after it.
    #[error("line {line}: {source}; allowed: OTLP/JSON, as the file sink writes it")]
    NotOtlp {
        /// Which line, from 1 on.
        line: usize,
        /// Why.
        source: NotOtlp,
    },
}

impl<R: BufRead> OtlpJsonLines<R> {
    /// The lines that this reader gives; empty ones are passed over.
    pub fn new(reader: R) -> Self {
        Self { reader, text: Vec::new(), line: 0, waiting: Vec::new().into_iter(), ended: false }
    }
}

impl<R: BufRead> Iterator for OtlpJsonLines<R> {
    type Item = Result<Read, LineError>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.waiting.next() {
                return Some(Ok(record));
            }
            if self.ended {
                return None;
            }
            self.text.clear();
            self.line += 1;
            match self.reader.read_until(b'\n', &mut self.text) {
                Ok(0) => self.ended = true,
                Ok(_) if self.text.trim_ascii().is_empty() => {}
                Ok(_) => match from_otlp_json(&self.text) {
                    Ok(records) => self.waiting = records.into_iter(),
                    Err(source) => return Some(Err(LineError::NotOtlp { line: self.line, source })),
                },
                Err(source) => {
                    self.ended = true;
                    return Some(Err(LineError::Read { line: self.line, source }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Encoding,
        encode::Encoder,
        event::samples,
        record::{Record, Writer, resource},
        resource::Resource,
    };

    #[test]
    fn what_the_file_sink_writes_is_read_as_it_was() {
        let mut here = Resource::default();
        here.set("host.name", "h\"ost\u{1b}");
        let here: Arc<[u8]> = resource(&here).into();
        let mut encoder = Encoder::from(Encoding::OtlpJson);
        for event in samples::all().into_iter().chain([samples::hostile(b"\xff\n\x1b\"\\")]) {
            let (mut written, mut json, mut again) = (Vec::new(), Vec::new(), Vec::new());
            Writer::default().write(&event, &mut written);
            encoder.encode(&here, &Record::parse(&written).expect("we wrote it"), &mut json);
            let read = from_otlp_json(&json).unwrap_or_else(|e| panic!("{e}"));
            let [Read { resource, record }] = &read[..] else { panic!("one record: {read:?}") };
            assert_eq!(*resource, here);
            let record = Record::parse(record).expect("it was encoded");
            encoder.encode(&here, &record, &mut again);
            assert_eq!(String::from_utf8(again), String::from_utf8(json));
            assert_eq!(record.uid(), event.id().to_string());
        }
    }

    #[test]
    fn records_of_several_resources_keep_theirs() {
        let text = br#"{"resourceLogs":[
            {"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"a"}}]},
             "scopeLogs":[{"logRecords":[{"eventName":"x"}]},{"logRecords":[{"eventName":"y"}]}]},
            {"scopeLogs":[{"logRecords":[{"eventName":"z","futureField":[1]}]}]}]}"#;
        let read = from_otlp_json(text).unwrap_or_else(|e| panic!("{e}"));
        let names: Vec<_> = read.iter().map(|r| Record::parse(&r.record).expect("it was encoded").event_name).collect();
        assert_eq!(names, ["x", "y", "z"]);
        assert!(Arc::ptr_eq(&read[0].resource, &read[1].resource));
        assert_eq!((read[0].resource.is_empty(), read[2].resource.is_empty()), (false, true));
    }

    #[test]
    fn what_is_something_else_is_an_error_that_says_so() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "5",
            r#"{"resourceLogs":5}"#,
            "\u{0}",
            "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"x\"}]}]}]}",
        ] {
            let error = from_otlp_json(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with("this is no OTLP/JSON log request: "), "{error}");
        }
    }

    #[test]
    fn a_line_that_is_something_else_costs_itself_only() {
        let record =
            |name| format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"eventName":"{name}"}}]}}]}}]}}"#);
        let text = format!("{}\n\n  \nnonsense\n{}", record("a"), record("b"));
        let found: Vec<_> = OtlpJsonLines::new(text.as_bytes()).map(|r| r.map_err(|e| e.to_string())).collect();
        let [Ok(a), Err(error), Ok(b)] = &found[..] else { panic!("{found:?}") };
        assert!(error.starts_with("line 4: this is no OTLP/JSON log request: "), "{error}");
        let name = |read: &Read| Record::parse(&read.record).expect("it was encoded").event_name.to_owned();
        assert_eq!((name(a), name(b)), ("a".to_owned(), "b".to_owned()));
    }
}
