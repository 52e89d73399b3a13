//! `[[tests]]`: where a record must go, run by `kmodtrail check --tests`.

use std::path::{Path, PathBuf};

use config::{Value, ValueKind};

use super::{
    super::{
        problem::Report,
        table::{FromValue as _, Leaf, Table, describe},
    },
    vocabulary::{Attribute, Kind, Vocabulary},
};
use crate::event::{Severity, schema::Type};

/// `[[tests]]`: these routes must bring this record to these sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTest {
    /// `name`
    pub name: String,
    /// `record`
    pub record: TestRecord,
    /// `expect`: names of sinks, in any order; [] where it must go nowhere. Of `sample`, `rate_limit` and `dedupe` nothing is expected.
    pub expect: Vec<String>,
    /// `severity`, default: not expected. As how severe it must reach each of these sinks.
    pub severity: Option<Severity>,
}

/// `tests.record`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestRecord {
    /// A string: a file of records in OTLP/JSON, as the file sink writes it, by its path from the configuration file on. What is expected
    /// is expected of each record in it.
    File(PathBuf),
    /// A table: attributes by the names that conditions have, `event` and `severity` (default "INFO") among them.
    Attributes(Vec<(Attribute, TestValue)>),
}

/// What an attribute of a test's record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestValue {
    /// A string.
    Text(String),
    /// A number, or a severity.
    Int(i64),
    /// A truth.
    Bool(bool),
    /// Several strings.
    Texts(Vec<String>),
}

pub(super) fn read(mut table: Table<'_>, vocabulary: Vocabulary<'_>, report: &Report) -> Option<RouteTest> {
    let name = table.required("name");
    let record = record(&mut table, vocabulary, report);
    let expect = table.required("expect");
    let severity = table.optional("severity");
    table.finish();
    Some(RouteTest { name: name?, record: record?, expect: expect?, severity })
}

fn record(table: &mut Table<'_>, vocabulary: Vocabulary<'_>, report: &Report) -> Option<TestRecord> {
    const ALLOWED: &str = "a table of attributes with `event`, or the path of a file of OTLP/JSON lines";
    let place = table.place("record");
    match table.peek("record").map(|value| &value.kind) {
        Some(ValueKind::String(_)) => {
            let path = PathBuf::from(table.optional::<String>("record")?);
            let folder = Path::new(&place).parent().unwrap_or(Path::new(""));
            Some(TestRecord::File(folder.join(path)))
        }
        Some(ValueKind::Table(_)) => {
            let leaves = table.table("record")?.into_leaves();
            let attributes: Vec<_> =
                leaves.into_iter().filter_map(|leaf| attribute(leaf, vocabulary, report)).collect();
            if !attributes.iter().any(|(attribute, _)| *attribute == Attribute::Event) {
                table.wrong(&place, "record", "`event` is missing", "the name of an event");
            }
            Some(TestRecord::Attributes(attributes))
        }
        other => {
            let what = other.map_or("it is missing".to_owned(), |kind| format!("it is {}", describe(kind)));
            table.take("record");
            table.wrong(&place, "record", what, ALLOWED);
            None
        }
    }
}

fn attribute(leaf: Leaf, vocabulary: Vocabulary<'_>, report: &Report) -> Option<(Attribute, TestValue)> {
    let found = vocabulary.require(&leaf.name).map_err(|what| (what, "the name of an attribute")).and_then(
        |(attribute, kind)| match value(kind, &leaf.value) {
            Ok(value) => Ok((attribute, value)),
            Err(what) => Err((what, kind.describe())),
        },
    );
    found.map_err(|(what, allowed)| report.error(&leaf.place, &leaf.key, what, allowed)).ok()
}

fn value(kind: Kind, value: &Value) -> Result<TestValue, String> {
    let text = |value: &Value| match &value.kind {
        ValueKind::String(text) => kind.text(text).map(String::from),
        other => Err(format!("it is {}", describe(other))),
    };
    match (kind, &value.kind) {
        (Kind::Severity, _) => Severity::from_value(value).map(|severity| TestValue::Int(severity as i64)),
        (Kind::Attribute(Type::Int), ValueKind::I64(number)) => Ok(TestValue::Int(*number)),
        (Kind::Attribute(Type::Bool), ValueKind::Boolean(truth)) => Ok(TestValue::Bool(*truth)),
        (Kind::Attribute(Type::Texts | Type::Taints), ValueKind::Array(items)) => {
            items.iter().map(text).collect::<Result<_, _>>().map(TestValue::Texts)
        }
        (Kind::Event | Kind::Attribute(Type::Text | Type::Word(_)), _) => text(value).map(TestValue::Text),
        (_, other) => Err(format!("it is {}", describe(other))),
    }
}
