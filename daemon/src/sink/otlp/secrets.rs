//! What is read anew for each connection: the secrets in its headers. And how they are kept out of what is shown.

use base64::Engine as _;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};

use crate::config::{
    OtlpSink, SecretError,
    otlp::{HeaderText, Proxy, reveal},
};

/// Of a server's words so many characters are shown.
const LONGEST_WORDS: usize = 500;
/// What is shorter stands in every text.
const SHORTEST_SECRET: usize = 4;

/// The secrets that a server is told, and may repeat.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// A server's words in one line, not too long, and without secrets.
    pub(super) fn shown(&self, words: &str) -> String {
        let mut words = words.replace(char::is_control, " ");
        for secret in &self.0 {
            words = words.replace(secret, "(secret)");
        }
        let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = line.char_indices().nth(LONGEST_WORDS) {
            line.truncate(end);
            line.push_str("...");
        }
        line
    }

    fn of(headers: &HeaderMap) -> Self {
        let values = headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
        // without "Bearer" before it
        let secrets =
            values.filter_map(|text| text.rsplit(' ').next()).filter(|secret| secret.len() >= SHORTEST_SECRET);
        Self(secrets.map(str::to_owned).collect())
    }
}

/// The headers that each request has, and what in them is secret.
pub(super) fn headers(config: &OtlpSink) -> Result<(HeaderMap, Secrets), SecretError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kmodtrail/", env!("CARGO_PKG_VERSION"))));
    if let Some(token) = &config.bearer_token {
        headers.insert(AUTHORIZATION, reveal("Bearer ", token)?);
    }
    for header in &config.headers {
        let value = match &header.value {
            HeaderText::Plain(text) => text.clone(),
            HeaderText::Secret(secret) => reveal("", secret)?,
        };
        headers.insert(header.name.clone(), value);
    }
    let secrets = Secrets::of(&headers);
    Ok((headers, secrets))
}

/// `Proxy-Authorization`, RFC 7617.
pub(super) fn proxy_authorization(proxy: &Proxy) -> Result<Option<HeaderValue>, SecretError> {
    let Some((username, password)) = &proxy.login else { return Ok(None) };
    let login = format!("{username}:{}", password.reveal()?.expose());
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login));
    let mut value = HeaderValue::try_from(basic).expect("base64 fits in a header");
    value.set_sensitive(true);
    Ok(Some(value))
}
