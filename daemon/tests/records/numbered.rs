//! Records with a number as their body, and how they are found again in what a sink has written.

use std::{ops::Range, sync::Arc};

use kmodtrail::{
    config::Encoding,
    record::Record,
    sink::{Outgoing, Verdict},
};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, any_value::Value},
    logs::v1::LogRecord,
};
use prost::Message as _;

/// Encoded records of one resource.
#[derive(Debug)]
pub(crate) struct Numbered {
    resource: Arc<[u8]>,
    records: Vec<Vec<u8>>,
}

impl Numbered {
    /// One for each number. Their lengths differ.
    pub(crate) fn new(numbers: Range<u64>) -> Self {
        let record = |number: u64| {
            let body = Some(AnyValue { value: Some(Value::StringValue(number.to_string())) });
            let severity_text = "x".repeat((number % 50) as usize);
            LogRecord { body, severity_text, ..LogRecord::default() }.encode_to_vec()
        };
        Self { resource: [].into(), records: numbers.map(record).collect() }
    }

    pub(crate) fn outgoing(&self) -> Vec<Outgoing<'_>> {
        let record = |bytes| Record::parse(bytes).expect("it is a record");
        self.records.iter().map(|bytes| Outgoing { resource: &self.resource, record: record(bytes) }).collect()
    }
}

/// How many of the first were delivered. The others must be told to be tried again.
#[track_caller]
pub(crate) fn delivered(verdicts: &[Verdict]) -> usize {
    let count = verdicts.iter().take_while(|v| **v == Verdict::Delivered).count();
    assert!(verdicts[count..].iter().all(|v| matches!(v, Verdict::Retry(_))), "{verdicts:?}");
    count
}

/// The numbers of the records in a file, which must have nothing else in it.
#[track_caller]
pub(crate) fn numbers(encoding: Encoding, mut file: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    while !file.is_empty() {
        let (message, rest) = match encoding {
            Encoding::OtlpProto => {
                let (length, rest) = file.split_first_chunk().expect("the length is torn");
                rest.split_at_checked(u32::from_be_bytes(*length) as usize).expect("the message is torn")
            }
            Encoding::OtlpJson | Encoding::Json => {
                let end = file.iter().position(|&byte| byte == b'\n').expect("the line is torn");
                (&file[..end], &file[end + 1..])
            }
        };
        found.push(number(encoding, message));
        file = rest;
    }
    found
}

fn number(encoding: Encoding, message: &[u8]) -> u64 {
    let shown = String::from_utf8_lossy(message);
    let request = match encoding {
        Encoding::OtlpProto => ExportLogsServiceRequest::decode(message).unwrap_or_else(|e| panic!("{e}: {shown}")),
        Encoding::OtlpJson => serde_json::from_slice(message).unwrap_or_else(|e| panic!("{e}: {shown}")),
        Encoding::Json => {
            let json: serde_json::Value = serde_json::from_slice(message).unwrap_or_else(|e| panic!("{e}: {shown}"));
            return json["message"].as_str().and_then(|body| body.parse().ok()).expect("a number");
        }
    };
    let body = request.resource_logs[0].scope_logs[0].log_records[0].body.clone().and_then(|body| body.value);
    match body {
        Some(Value::StringValue(body)) => body.parse().expect("a number"),
        other => panic!("a number is expected: {other:?}"),
    }
}
