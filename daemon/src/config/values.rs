//! What a value can be.

use std::{fmt, num::NonZeroU64, time::Duration};

use config::{Value, ValueKind};

use super::{
    Match, layers,
    problem::did_you_mean,
    sink::{
        FileCompression, FileFsync, kafka,
        otlp::{Compression, Protocol},
    },
    spool::{Fsync, WhenFull},
    table::{FromValue, describe},
};
use crate::{
    event::{Severity, What},
    route::template::{Place, Template},
};

/// A size in bytes, written "512KiB", "1MiB" or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytesize::ByteSize(self.0).display().iec().fmt(f)
    }
}

/// A length of time, written "500ms", "30s", "1h" or "7d".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// Size of a ring buffer: a power of two between 64 KiB and 16 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSize(u32);

impl RingSize {
    /// 512 KiB.
    pub const DEFAULT: Self = Self(512 << 10);
    const SMALLEST: u64 = 64 << 10;
    const LARGEST: u64 = 16 << 20;

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// Permissions of a file, written "0640".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FileMode {
    /// Owner may write, group may read: "0640".
    pub const DEFAULT: Self = Self(0o640);
}

/// `log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What makes the daemon fail.
    Error,
    /// What somebody should look at.
    Warn,
    /// Start, stop, reload.
    #[default]
    Info,
    /// For finding an error.
    Debug,
    /// More of it.
    Trace,
}

/// `sinks.NAME.encoding`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// OTLP/JSON: an `ExportLogsServiceRequest` with one log record.
    #[default]
    OtlpJson,
    /// OTLP/protobuf: the same in protobuf.
    OtlpProto,
    /// One flat JSON object with all attributes, those of the resource among them.
    Json,
}

/// Name of an event: one of [`What::NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventName(&'static str);

impl EventName {
    const PREFIX: &str = "linux.kernel_module.";

    /// The whole name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// What a configuration calls it.
    fn short(name: &'static str) -> &'static str {
        name.strip_prefix(Self::PREFIX).unwrap_or(name)
    }
}

/// One of a few words.
fn one_of<T: Copy>(value: &Value, words: &[(&'static str, T)]) -> Result<T, String> {
    let ValueKind::String(given) = &value.kind else { return Err(format!("it is {}", describe(&value.kind))) };
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(given));
    let names = words.iter().map(|&(word, _)| word);
    found.map(|&(_, t)| t).ok_or_else(|| format!("{given:?} is unknown{}", did_you_mean(given, names)))
}

fn list_words<T>(words: &[(&'static str, T)]) -> String {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    quoted.join(", ")
}

macro_rules! words {
    ($type:ty: $($word:literal = $value:expr),+ $(,)?) => {
        impl FromValue for $type {
            fn allowed() -> String {
                list_words::<$type>(&[$(($word, $value)),+])
            }
            fn from_value(value: &Value) -> Result<Self, String> {
                one_of(value, &[$(($word, $value)),+])
            }
        }
    };
}

words!(Fsync: "always" = Self::Always, "interval" = Self::Interval, "none" = Self::None);
words!(WhenFull: "drop_oldest" = Self::DropOldest, "block_bulk" = Self::BlockBulk);
words!(FileFsync: "batch" = Self::Batch, "none" = Self::None);
words!(FileCompression: "none" = Self::None, "gzip" = Self::Gzip, "zstd" = Self::Zstd);
words!(Compression: "none" = Self::None, "gzip" = Self::Gzip, "zstd" = Self::Zstd);
words!(Protocol: "grpc" = Self::Grpc, "http/protobuf" = Self::HttpProtobuf, "http/json" = Self::HttpJson);
words!(
    kafka::Compression:
    "none" = Self::None,
    "gzip" = Self::Gzip,
    "snappy" = Self::Snappy,
    "lz4" = Self::Lz4,
    "zstd" = Self::Zstd,
);
words!(
    kafka::Mechanism:
    "PLAIN" = Self::Plain,
    "SCRAM-SHA-256" = Self::ScramSha256,
    "SCRAM-SHA-512" = Self::ScramSha512,
    "OAUTHBEARER" = Self::OauthBearer,
    "GSSAPI" = Self::Gssapi,
);
words!(LogLevel: "error" = Self::Error, "warn" = Self::Warn, "info" = Self::Info, "debug" = Self::Debug, "trace" = Self::Trace);
words!(Match: "all" = Self::All, "first" = Self::First);
words!(Encoding: "otlp_json" = Self::OtlpJson, "otlp_proto" = Self::OtlpProto, "json" = Self::Json);
words!(Severity: "DEBUG" = Self::Debug, "INFO" = Self::Info, "WARN" = Self::Warn, "ERROR" = Self::Error, "FATAL" = Self::Fatal);

impl FromValue for EventName {
    fn allowed() -> String {
        What::NAMES.map(|n| format!("\"{}\"", Self::short(n))).join(", ")
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        let given = String::from_value(value)?;
        let found = What::NAMES.into_iter().find(|&n| n == given || Self::short(n) == given);
        let suggestion = || did_you_mean(&given, What::NAMES.map(Self::short));
        found.map(Self).ok_or_else(|| format!("there is no event {given:?}{}", suggestion()))
    }
}

impl FromValue for String {
    fn allowed() -> String {
        "a string that is not empty".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match &value.kind {
            ValueKind::String(text) if text.trim().is_empty() => Err("it is empty".to_owned()),
            ValueKind::String(text) => Ok(text.clone()),
            other => Err(format!("it is {}", describe(other))),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn allowed() -> String {
        format!("an array of: {}", T::allowed())
    }
    /// From an environment variable: items with commas between them.
    fn from_value(value: &Value) -> Result<Self, String> {
        let item = |(i, v): (usize, &Value)| T::from_value(v).map_err(|e| format!("item {}: {e}", i + 1));
        match &value.kind {
            ValueKind::Array(items) => items.iter().enumerate().map(item).collect(),
            ValueKind::String(text) if value.origin() == Some(layers::ENVIRONMENT) => {
                let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
                let values: Vec<_> = parts.map(|p| Value::new(None, ValueKind::String(p.to_owned()))).collect();
                values.iter().enumerate().map(item).collect()
            }
            other => Err(format!("it is {}", describe(other))),
        }
    }
}

impl FromValue for bool {
    fn allowed() -> String {
        "true or false".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match &value.kind {
            ValueKind::Boolean(truth) => Ok(*truth),
            ValueKind::String(text) if value.origin() == Some(layers::ENVIRONMENT) => {
                text.parse().map_err(|_| format!("it is {text:?}"))
            }
            other => Err(format!("it is {}", describe(other))),
        }
    }
}

impl FromValue for NonZeroU64 {
    fn allowed() -> String {
        "a number, at least 1".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        let number = match &value.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::String(text) if value.origin() == Some(layers::ENVIRONMENT) => text.parse().ok(),
            _ => None,
        };
        number.and_then(Self::new).ok_or_else(|| format!("it is {}", describe(&value.kind)))
    }
}

impl<P: Place> FromValue for Template<P> {
    fn allowed() -> String {
        Self::allowed()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = String::from_value(value)?;
        Self::parse(&text).map_err(|e| format!("{text:?}: {}", e.why))
    }
}

impl FromValue for Size {
    fn allowed() -> String {
        "a size such as \"512KiB\" or \"1MiB\"".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match &value.kind {
            ValueKind::I64(bytes) if *bytes >= 0 => Ok(Self(bytes.unsigned_abs())),
            ValueKind::String(text) => match text.parse::<bytesize::ByteSize>() {
                Ok(size) => Ok(Self(size.0)),
                Err(e) => Err(format!("{text:?} is not a size: {e}")),
            },
            other => Err(format!("it is {}", describe(other))),
        }
    }
}

impl FromValue for Span {
    fn allowed() -> String {
        "a length of time with its unit, such as \"500ms\", \"30s\", \"1h\" or \"7d\"".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        let ValueKind::String(text) = &value.kind else { return Err(format!("it is {}", describe(&value.kind))) };
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err("it is no time at all".to_owned()),
            Ok(span) => Ok(Self(span)),
            Err(e) => Err(format!("{text:?} is no length of time: {e}")),
        }
    }
}

impl FromValue for u32 {
    fn allowed() -> String {
        "a whole number".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match &value.kind {
            ValueKind::I64(number) => Self::try_from(*number).map_err(|_| format!("{number} is out of range")),
            ValueKind::String(text) if value.origin() == Some(layers::ENVIRONMENT) => {
                text.trim().parse().map_err(|_| format!("{text:?} is no whole number"))
            }
            other => Err(format!("it is {}", describe(other))),
        }
    }
}

impl FromValue for RingSize {
    fn allowed() -> String {
        let [smallest, largest] = [Self::SMALLEST, Self::LARGEST].map(Size);
        format!("a power of two between {smallest} and {largest}, such as \"512KiB\"")
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        let Size(bytes) = Size::from_value(value)?;
        if !bytes.is_power_of_two() {
            return Err(format!("{bytes} bytes are not a power of two"));
        }
        if !(Self::SMALLEST..=Self::LARGEST).contains(&bytes) {
            return Err(format!("{} is out of range", Size(bytes)));
        }
        u32::try_from(bytes).map(Self).map_err(|e| e.to_string())
    }
}

impl FromValue for FileMode {
    fn allowed() -> String {
        "three octal digits after a 0, as a string, the owner may read and write: \"0640\"".to_owned()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        let ValueKind::String(text) = &value.kind else { return Err(format!("it is {}", describe(&value.kind))) };
        let octal = text.strip_prefix('0').filter(|digits| digits.len() == 3 && !digits.starts_with(['+', '-']));
        match octal.and_then(|digits| u32::from_str_radix(digits, 8).ok()) {
            Some(mode) if mode & 0o600 == 0o600 => Ok(Self(mode)),
            Some(_) => Err(format!("with {text:?} the owner may not read and write")),
            None => Err(format!("{text:?} is not a file mode")),
        }
    }
}
