//! `[[tests]]`: whether records go where the configuration says they must.

use std::{fmt, fs::File, io::BufReader, path::Path};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value},
    logs::v1::LogRecord,
    resource::v1::Resource,
};
use prost::Message as _;
use serde::Serialize;

use super::{Explainer, Explanation, SinkExplained};
use crate::{
    config::{Attribute, Config, RouteTest, TestRecord, TestValue},
    event::{Severity, schema},
    record::{self, Malformed, OtlpJsonLines, Record},
};

/// What came of one test.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The test's name.
    pub test: String,
    /// What is wrong; empty where nothing is.
    pub failures: Vec<Failure>,
}

/// One thing that is not as it must be.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// What it is.
    pub what: String,
    /// Why it is so.
    pub explanation: Option<Explanation>,
}

/// Runs all tests of the configuration.
#[must_use]
pub fn run(config: &Config) -> Vec<Outcome> {
    let explainer = Explainer::new(config);
    config.tests.iter().map(|test| Outcome { test: test.name.clone(), failures: failures(&explainer, test) }).collect()
}

fn failures(explainer: &Explainer<'_>, test: &RouteTest) -> Vec<Failure> {
    let records = match &test.record {
        TestRecord::Attributes(attributes) => Ok(vec![of_attributes(attributes)]),
        TestRecord::File(path) => file(path),
    };
    let records = match records {
        Ok(records) if records.is_empty() => return vec![Failure::alone("there is no record in its file")],
        Ok(records) => records,
        Err(error) => return vec![Failure::alone(error)],
    };
    let mut failures = Vec::new();
    for (i, record::Read { resource, record }) in records.iter().enumerate() {
        let which = if records.len() > 1 { format!("record {}: ", i + 1) } else { String::new() };
        match Record::parse(record) {
            Ok(record) => {
                let explanation = explainer.explain(resource, &record);
                let wrong: Vec<_> = explanation.sinks.iter().filter_map(|sink| differs(test, sink)).collect();
                failures.extend(
                    (!wrong.is_empty()).then(|| Failure {
                        what: format!("{which}{}", wrong.join("; ")),
                        explanation: Some(explanation),
                    }),
                );
            }
            Err(Malformed) => failures.push(Failure::alone(format!("{which}{Malformed}"))),
        }
    }
    failures
}

/// What a sink gets that it must not, or the other way round.
fn differs(test: &RouteTest, found: &SinkExplained) -> Option<String> {
    let expected = test.expect.contains(&found.sink);
    let severity = test.severity.map(Severity::text).filter(|&s| expected && Some(s) != found.severity);
    match (expected, !found.routes.is_empty()) {
        (true, false) => Some(format!("it does not go to {:?}", found.sink)),
        (false, true) => Some(format!("it goes to {:?}, too, by the route {:?}", found.sink, found.routes[0])),
        _ => severity
            .map(|s| format!("it goes to {:?} as {}, not {s}", found.sink, found.severity.unwrap_or("no severity"))),
    }
}

impl Failure {
    fn alone(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), explanation: None }
    }
}

/// The records of a file of OTLP/JSON lines, or what is wrong with it.
fn file(path: &Path) -> Result<Vec<record::Read>, String> {
    let error = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
    let file = File::open(path).map_err(|e| error(&e))?;
    OtlpJsonLines::new(BufReader::new(file)).collect::<Result<_, _>>().map_err(|e| error(&e))
}

/// The record that a test describes.
fn of_attributes(attributes: &[(Attribute, TestValue)]) -> record::Read {
    let mut resource = Resource::default();
    let mut record = LogRecord::default();
    let mut severity = Severity::Info;
    for (attribute, value) in attributes {
        match (attribute, value) {
            (Attribute::Event, TestValue::Text(name)) => record.event_name.clone_from(name),
            (Attribute::Severity, TestValue::Int(number)) => severity = Severity::at_most(*number).unwrap_or(severity),
            (Attribute::Named(name), value) => {
                let pair = KeyValue { key: name.to_string(), value: Some(any_value(value)), ..Default::default() };
                match schema::of_record(name) {
                    Some(_) => record.attributes.push(pair),
                    None => resource.attributes.push(pair),
                }
            }
            _ => {}
        }
    }
    record.severity_number = severity as i32;
    severity.text().clone_into(&mut record.severity_text);
    record::Read { resource: resource.encode_to_vec().into(), record: record.encode_to_vec() }
}

fn any_value(value: &TestValue) -> AnyValue {
    use any_value::Value as Any;
    let text = |text: &String| Any::StringValue(text.clone());
    let value = match value {
        TestValue::Text(one) => text(one),
        TestValue::Int(int) => Any::IntValue(*int),
        TestValue::Bool(truth) => Any::BoolValue(*truth),
        TestValue::Texts(texts) => {
            let values = texts.iter().map(|t| AnyValue { value: Some(text(t)) }).collect();
            Any::ArrayValue(ArrayValue { values })
        }
    };
    AnyValue { value: Some(value) }
}
