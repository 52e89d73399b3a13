//! `endpoint`: where an OTLP server is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use config::Value;
use hyper::{Uri, http::uri::Scheme};
use tokio_rustls::rustls::pki_types::ServerName;

use super::super::super::table::FromValue;

/// Longest path of a socket, unix(7): `sun_path` without its NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// `endpoint`. There is no secret in it: who shows it shows no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `https://` or `http://`, a host, and nothing but a port and a path.
    Url(Uri),
    /// `unix:`: the absolute path of a socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Url(uri) if uri.scheme() == Some(&Scheme::HTTPS))
    }

    /// Whether it says more than where a server is.
    #[must_use]
    pub fn has_path(&self) -> bool {
        matches!(self, Self::Url(uri) if uri.path() != "/")
    }

    /// Whether what is sent there can be read on the way.
    pub(super) fn is_open_to_others(&self) -> bool {
        let Self::Url(uri) = self else { return false };
        let host = host(uri);
        let loopback = host.parse().map_or(host == "localhost", |ip: std::net::IpAddr| ip.is_loopback());
        !self.is_https() && !loopback
    }
}

/// Host of a URL, an IPv6 address without its brackets.
#[must_use]
pub fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // without the slash that nobody wrote
            Self::Url(uri) if !self.has_path() => f.write_str(uri.to_string().trim_end_matches('/')),
            Self::Url(uri) => uri.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromValue for Endpoint {
    fn allowed() -> String {
        "https://HOST[:PORT][/PATH], http://HOST[:PORT][/PATH] or unix:/PATH".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = String::from_value(value)?;
        match text.strip_prefix("unix:") {
            Some(path) => socket(path.strip_prefix("//").unwrap_or(path)).map(Self::Unix),
            None => url(&text).map(Self::Url),
        }
    }
}

fn socket(path: &str) -> Result<PathBuf, String> {
    if !Path::new(path).is_absolute() || path.contains('\0') {
        return Err(format!("{path:?} is not the absolute path of a socket"));
    }
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(format!("{path:?} is longer than the path of a socket can be, {LONGEST_SOCKET_PATH} bytes"));
    }
    Ok(path.into())
}

fn url(text: &str) -> Result<Uri, String> {
    // what may be a secret is not repeated
    if text.contains('@') {
        return Err("it has a user or a password in it; use bearer_token, or headers, with a credential".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("it has a ? or # in it; what a query would say belongs into headers".to_owned());
    }
    let uri: Uri = text.parse().map_err(|e| format!("{text:?} is no URL: {e}"))?;
    match uri.scheme_str() {
        Some("https") => {
            ServerName::try_from(host(&uri)).map_err(|e| format!("{text:?} names no host: {e}"))?;
        }
        Some("http") => {}
        Some(scheme) => return Err(format!("{text:?}: the scheme {scheme:?} is unknown")),
        None => return Err(format!("{text:?} has no scheme")),
    }
    let port = uri.authority().and_then(|a| a.as_str().strip_prefix(uri.host()?));
    if host(&uri).is_empty() || port.is_some_and(|p| !p.is_empty()) && matches!(uri.port_u16(), None | Some(0)) {
        return Err(format!("{text:?} names no host, or a port that is none"));
    }
    Ok(uri)
}
