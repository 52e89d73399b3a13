//! Reading what kmodtrail writes: JSON Lines, each one OTLP `ExportLogsServiceRequest` in OTLP/JSON.
//!
//! It is read with a parser of its own, not with the daemon's types: what a collector sees is what is tested.

mod selection;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

pub(crate) use self::selection::Selection;

/// One log record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    /// The event's name: `linux.kernel_module.load`.
    pub(crate) event: String,
    /// The attributes as plain JSON values: 64-bit integers as numbers, arrays and maps as such.
    pub(crate) attributes: BTreeMap<String, Value>,
    /// The text of the body.
    pub(crate) body: String,
    /// severityText: `WARN`.
    pub(crate) severity: String,
    /// severityNumber.
    pub(crate) severity_number: i64,
    /// timeUnixNano.
    pub(crate) time: u64,
    /// observedTimeUnixNano.
    pub(crate) observed: u64,
    /// In hexadecimal; empty if the record has none.
    pub(crate) trace_id: String,
    /// In hexadecimal; empty if the record has none.
    pub(crate) span_id: String,
    /// The resource's attributes.
    pub(crate) resource: BTreeMap<String, Value>,
    /// Name, version and schema of the scope.
    pub(crate) scope: [String; 3],
    /// The line of the file it was on, from 1.
    pub(crate) line: usize,
}

/// The records of a file, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Vec<Record>);

impl Records {
    /// Parses the content of a file.
    ///
    /// # Errors
    /// With the line that is not OTLP/JSON.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut records = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let number = number + 1;
            let request = serde_json::from_str(line).map_err(anyhow::Error::from);
            let parsed = request.and_then(|request| records_of_request(&request, number));
            records.extend(parsed.with_context(|| format!("line {number} is no OTLP/JSON log request: {line}"))?);
        }
        Ok(Self(records))
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter()
    }

    /// All of them, to choose from.
    pub(crate) fn all(&self) -> Selection<'_> {
        Selection::new(self)
    }

    /// Those of one event.
    pub(crate) fn of(&self, event: &str) -> Selection<'_> {
        self.all().of(event)
    }
}

impl Record {
    /// An attribute, if the record has it.
    pub(crate) fn get(&self, attribute: &str) -> Option<&Value> {
        self.attributes.get(attribute)
    }

    /// A string attribute.
    ///
    /// # Errors
    /// When the record lacks it or it is something else.
    pub(crate) fn string(&self, attribute: &str) -> Result<&str> {
        self.typed(attribute, "string", Value::as_str)
    }

    /// An integer attribute.
    ///
    /// # Errors
    /// When the record lacks it or it is something else.
    pub(crate) fn integer(&self, attribute: &str) -> Result<i64> {
        self.typed(attribute, "integer", Value::as_i64)
    }

    /// A boolean attribute.
    ///
    /// # Errors
    /// When the record lacks it or it is something else.
    pub(crate) fn boolean(&self, attribute: &str) -> Result<bool> {
        self.typed(attribute, "boolean", Value::as_bool)
    }

    /// Fails unless the attribute has this value.
    ///
    /// # Errors
    /// With the whole record.
    pub(crate) fn expect(&self, attribute: &str, value: impl Into<Value>) -> Result<&Self> {
        let value = value.into();
        match self.get(attribute) {
            Some(found) if *found == value => Ok(self),
            Some(found) => bail!("expected {attribute} = {value}, but it is {found} in\n{self}"),
            None => bail!("expected {attribute} = {value}, but the record lacks it:\n{self}"),
        }
    }

    /// Fails if the record has the attribute.
    ///
    /// # Errors
    /// With the whole record.
    pub(crate) fn expect_without(&self, attribute: &str) -> Result<&Self> {
        match self.get(attribute) {
            Some(found) => bail!("expected no {attribute}, but it is {found} in\n{self}"),
            None => Ok(self),
        }
    }

    fn typed<'a, T>(&'a self, attribute: &str, kind: &str, convert: impl FnOnce(&'a Value) -> Option<T>) -> Result<T> {
        let value = self.get(attribute).with_context(|| format!("the record lacks {attribute}:\n{self}"))?;
        convert(value).with_context(|| format!("{attribute} is {value}, no {kind}, in\n{self}"))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} {} {:?}", self.line, self.event, self.severity, self.body)?;
        if !self.trace_id.is_empty() {
            write!(f, " trace={}", self.trace_id)?;
        }
        self.attributes.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

fn records_of_request(request: &Value, line: usize) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for resource_logs in array(request, "resourceLogs")? {
        let resource = resource_logs.get("resource").map(attributes).transpose()?.unwrap_or_default();
        for scope_logs in array(resource_logs, "scopeLogs")? {
            let scope = [&scope_logs["scope"]["name"], &scope_logs["scope"]["version"], &scope_logs["schemaUrl"]];
            let scope = scope.map(|text| text.as_str().unwrap_or_default().to_owned());
            for log_record in array(scope_logs, "logRecords")? {
                records.push(record(log_record, &resource, &scope, line)?);
            }
        }
    }
    Ok(records)
}

fn array<'a>(value: &'a Value, name: &str) -> Result<&'a [Value]> {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).with_context(|| format!("no array {name}"))
}

fn record(value: &Value, resource: &BTreeMap<String, Value>, scope: &[String; 3], line: usize) -> Result<Record> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // 64-bit integers are strings in OTLP/JSON, absent if 0.
    let time = |name: &str| match value.get(name) {
        None => Ok(0),
        Some(time) => time
            .as_str()
            .and_then(|time| time.parse().ok())
            .with_context(|| format!("{name} is {time}, no string with a number")),
    };
    let body = value.get("body").map(any_value).transpose()?.unwrap_or_default();
    Ok(Record {
        event: text("eventName"),
        attributes: attributes(value)?,
        body: body.as_str().map_or_else(|| body.to_string(), str::to_owned),
        severity: text("severityText"),
        severity_number: value.get("severityNumber").and_then(Value::as_i64).unwrap_or_default(),
        time: time("timeUnixNano")?,
        observed: time("observedTimeUnixNano")?,
        trace_id: text("traceId"),
        span_id: text("spanId"),
        resource: resource.clone(),
        scope: scope.clone(),
        line,
    })
}

fn attributes(holder: &Value) -> Result<BTreeMap<String, Value>> {
    holder.get("attributes").map_or_else(|| Ok(BTreeMap::new()), key_values)
}

fn key_values(list: &Value) -> Result<BTreeMap<String, Value>> {
    let mut map = BTreeMap::new();
    for pair in list.as_array().context("attributes that are no array")? {
        let key =
            pair.get("key").and_then(Value::as_str).with_context(|| format!("an attribute without a key: {pair}"))?;
        let value =
            any_value(pair.get("value").unwrap_or(&Value::Null)).with_context(|| format!("the attribute {key}"))?;
        if map.insert(key.to_owned(), value).is_some() {
            bail!("the attribute {key} is there twice");
        }
    }
    Ok(map)
}

/// Turns OTLP's AnyValue into the JSON value it stands for.
fn any_value(value: &Value) -> Result<Value> {
    let Some((kind, content)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Ok(Value::Null);
    };
    let values = || content.get("values").unwrap_or(&Value::Null);
    Ok(match kind.as_str() {
        "stringValue" | "boolValue" | "doubleValue" | "bytesValue" => content.clone(),
        "intValue" => match content.as_str() {
            Some(digits) => digits.parse::<i64>().with_context(|| format!("intValue {digits}"))?.into(),
            None => content.clone(),
        },
        "arrayValue" => {
            values().as_array().map_or(Ok(Value::Array(Vec::new())), |items| items.iter().map(any_value).collect())?
        }
        "kvlistValue" if values().is_null() => Value::Object(serde_json::Map::new()),
        "kvlistValue" => Value::Object(key_values(values())?.into_iter().collect()),
        _ => bail!("{kind} is no kind of AnyValue"),
    })
}

#[cfg(test)]
mod tests;
