//! `[sinks.NAME.headers]`: what is sent with each request.

use config::{Value, ValueKind};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::super::super::{
    Secret, SecretError,
    secret::Revealed,
    table::{FromValue, Table},
};

/// One of `headers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// In lower case.
    pub name: HeaderName,
    /// What is sent.
    pub value: HeaderText,
}

/// Value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// Stands in the configuration.
    Plain(HeaderValue),
    /// Is read when a connection is made.
    Secret(Secret),
}

/// A secret as the value of a header, with `scheme` before it. It is never shown.
///
/// # Errors
/// Where it can't be read, or no header can have it.
pub fn reveal(scheme: &str, secret: &Secret) -> Result<HeaderValue, SecretError> {
    value(scheme, secret, &secret.reveal()?)
}

/// As [`reveal`], where that is possible.
pub(super) fn check(secret: &Secret) -> Result<(), SecretError> {
    secret.reveal_if_possible()?.map_or(Ok(()), |revealed| value("", secret, &revealed).map(drop))
}

fn value(scheme: &str, secret: &Secret, revealed: &Revealed) -> Result<HeaderValue, SecretError> {
    let text = format!("{scheme}{}", revealed.expose());
    let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    let value = HeaderValue::try_from(text).ok().filter(|_| printable);
    let mut value = value.ok_or_else(|| SecretError {
        what: format!("{secret} has characters that no header can have"),
        allowed: "one line of printable ASCII",
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl FromValue for HeaderText {
    fn allowed() -> String {
        format!("a string of printable ASCII, {}", Secret::allowed())
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        if let ValueKind::Table(_) = value.kind {
            return Secret::from_value(value).map(Self::Secret);
        }
        let text = String::from_value(value)?;
        let value = HeaderValue::from_str(&text).map_err(|_| "it has characters that no header can have".to_owned())?;
        Ok(Self::Plain(value))
    }
}

/// Names that the protocol has, or the proxy.
fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 11] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    RESERVED.contains(&name) || name.starts_with("grpc-") || name.ends_with("-bin")
}

/// Names whose values are secrets, as far as a name tells.
fn is_secret(name: &str) -> bool {
    ["auth", "cookie", "key", "password", "secret", "token"].iter().any(|word| name.contains(word))
}

pub(super) fn read(mut table: Table<'_>, bearer_token: bool) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (key, place, value) in table.values::<HeaderText>() {
        let wrong = |what: &str, allowed: &str| table.wrong(&place, &key, what, allowed);
        let Ok(name) = HeaderName::from_bytes(key.as_bytes()) else {
            wrong("that is no header's name", "letters, digits and -");
            continue;
        };
        if is_reserved(name.as_str()) {
            wrong("the protocol says what is in this header", "another header");
        }
        if bearer_token && name == AUTHORIZATION {
            wrong("bearer_token is sent in this header", "one of the two");
        }
        if headers.iter().any(|h| h.name == name) {
            wrong("it is there twice", "each header once, in capitals or not");
        }
        match &value {
            HeaderText::Plain(_) if is_secret(name.as_str()) => {
                wrong("by its name it is a secret, and it stands in the configuration", &Secret::allowed());
            }
            HeaderText::Plain(_) => {}
            HeaderText::Secret(secret) => {
                if let Err(e) = check(secret) {
                    wrong(&e.what, e.allowed);
                }
            }
        }
        headers.push(Header { name, value });
    }
    headers
}
