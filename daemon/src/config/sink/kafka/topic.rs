//! Where messages go.

use std::str::FromStr;

use config::Value;

use super::super::super::table::FromValue;

/// Name of a topic, as org.apache.kafka.common.internals.Topic has it: 1 to 249 of a-z, A-Z, 0-9, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic(String);

impl Topic {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromValue for Topic {
    fn allowed() -> String {
        "1 to 249 of a-z, A-Z, 0-9, `.`, `_` and `-`, such as \"kernel-modules\"".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        String::from_value(value)?.parse()
    }
}

impl FromStr for Topic {
    type Err = String;

    /// What is wrong with it.
    fn from_str(name: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 249 || !name.chars().all(fits) || name == "." || name == ".." {
            return Err(format!("{name:?} is no topic's name"));
        }
        Ok(Self(name.to_owned()))
    }
}
