//! An address of a broker.

use std::{fmt, str::FromStr};

use config::Value;

use super::super::super::table::FromValue;

/// `HOST` or `HOST:PORT`; an IPv6 address is in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker(String);

impl Broker {
    pub(super) const ALLOWED: &str =
        "\"HOST\" or \"HOST:PORT\", such as \"kafka-1.example.com:9093\" or \"[2001:db8::1]:9093\"";
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromValue for Broker {
    fn allowed() -> String {
        Self::ALLOWED.to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        String::from_value(value)?.parse()
    }
}

impl FromStr for Broker {
    type Err = String;

    /// What is wrong with it.
    fn from_str(given: &str) -> Result<Self, String> {
        if given.contains('@') {
            // what stands before it may be a password
            return Err(
                "it has an @: who the daemon is stands in [sinks.NAME.sasl], its password in a credential".to_owned()
            );
        }
        if given.contains("://") {
            return Err(format!("{given:?} is a URL; whether TLS is used says [sinks.NAME.tls]"));
        }
        let (host, port) = match given.rsplit_once(':') {
            // the colons are those of an IPv6 address
            Some(_) if given.ends_with(']') => (given, None),
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => {
                return Err(format!("{given:?} is an IPv6 address without brackets"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (given, None),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || !bare.chars().all(|c| c.is_ascii_alphanumeric() || "-._:%".contains(c)) {
            return Err(format!("{host:?} is no host"));
        }
        if let Some(port) = port
            && !matches!(port.parse::<u16>(), Ok(1..))
        {
            return Err(format!("{port:?} is no port"));
        }
        Ok(Self(given.to_owned()))
    }
}
