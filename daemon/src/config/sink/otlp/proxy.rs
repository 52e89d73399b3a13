//! `[sinks.NAME.proxy]`

use hyper::Uri;

use super::Endpoint;
use crate::config::{Secret, table::Table};

/// `[sinks.NAME.proxy]`: an HTTP proxy that makes the connection (CONNECT). TLS, where the endpoint is https://, goes through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `url`: `http://HOST[:PORT]`.
    pub url: Uri,
    /// `username` and `password`, default: none. Sent to the proxy as HTTP's basic authentication.
    pub login: Option<(String, Secret)>,
}

pub(super) fn read(mut table: Table<'_>) -> Option<Proxy> {
    let url_place = table.place("url");
    let url = table.required("url");
    let username_place = table.place("username");
    let username = table.optional::<String>("username");
    let password_place = table.place("password");
    let password = table.optional::<Secret>("password");
    if username.is_some() != password.is_some() {
        table.wrong(&username_place, "username", "one of username and password is missing", "both, or none");
    }
    if username.as_ref().is_some_and(|name| name.contains(|c: char| c == ':' || c.is_control())) {
        table.wrong(&username_place, "username", "it has a colon in it, or what can't be printed", "another name");
    }
    if let Some(Err(e)) = password.as_ref().map(Secret::reveal_if_possible) {
        table.wrong(&password_place, "password", e.what, e.allowed);
    }
    let url = match url? {
        Endpoint::Url(url) if url.scheme_str() == Some("http") && url.path() == "/" => Some(url),
        other => {
            let what = format!("{other} is not what a proxy can be reached at");
            table.wrong(&url_place, "url", what, "http://HOST[:PORT]");
            None
        }
    };
    table.finish();
    Some(Proxy { url: url?, login: username.zip(password) })
}
