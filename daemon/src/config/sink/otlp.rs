//! `type = "otlp"`

mod endpoint;
mod header;
mod proxy;

use std::time::Duration;

pub use self::{
    endpoint::{Endpoint, host},
    header::{Header, HeaderText, reveal},
    proxy::Proxy,
};
use super::super::{Encoding, Secret, Size, Tls, table::Table, tls, values::Span};

/// `[sinks.NAME]` with `type = "otlp"`: records go to an OpenTelemetry collector, or whatever else takes OTLP logs.
///
/// Secrets and certificates are read again for each connection, and a connection ends where the server does not accept them: who
/// changes one need not restart the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSink {
    /// `endpoint`: `https://HOST[:PORT][/PATH]`, `http://HOST[:PORT][/PATH]` or `unix:/PATH`, the path of a socket. Where none is given PORT is
    /// 443 or 80 and PATH is /v1/logs; there is no PATH with gRPC.
    pub endpoint: Endpoint,
    /// `protocol`, default "grpc": "grpc" (port 4317 as a rule), "http/protobuf" or "http/json" (port 4318).
    pub protocol: Protocol,
    /// `compression`, default "gzip": "none", "gzip" or "zstd".
    pub compression: Compression,
    /// `bearer_token`, default: none. Sent as `authorization: Bearer TOKEN`.
    pub bearer_token: Option<Secret>,
    /// `headers`, default {}: sent with each request. A value is a string, or a secret's place; where the name tells of a secret, only that.
    pub headers: Vec<Header>,
    /// `[sinks.NAME.tls]`, for https://.
    pub tls: Tls,
    /// `[sinks.NAME.proxy]`, default: none. Environment variables such as HTTPS_PROXY mean nothing here.
    pub proxy: Option<Proxy>,
    /// `connect_timeout`, default "10s", "100ms" to "10m": for a connection, TLS and all.
    pub connect_timeout: Duration,
    /// `timeout`, default "10s", "100ms" to "10m": for a request and its answer.
    pub timeout: Duration,
    /// `keep_alive`, default "30s", "1s" to "1h": how often a connection with nothing to do is tried, by TCP. (Not by HTTP/2 PING: servers close
    /// connections for that.)
    pub keep_alive: Duration,
    /// `max_batch_records`, default 1000, 1 to 100000: most records of a request.
    pub max_batch_records: u32,
    /// `max_batch_size`, default "1MiB", "64KiB" to "64MiB": most bytes of records in a request, as protobuf and before compression; JSON is
    /// about half as long again. A record that is longer goes alone. The collector's receiver takes 4 MiB by gRPC and 20 MiB by HTTP.
    pub max_batch_size: Size,
}

/// `protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Protobuf over gRPC.
    #[default]
    Grpc,
    /// Protobuf over HTTP/1.1.
    HttpProtobuf,
    /// JSON over HTTP/1.1.
    HttpJson,
}

impl Protocol {
    /// What a request looks like.
    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::Grpc | Self::HttpProtobuf => Encoding::OtlpProto,
            Self::HttpJson => Encoding::OtlpJson,
        }
    }
}

/// `compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As it is.
    None,
    /// Every OTLP server can read it.
    #[default]
    Gzip,
    /// Less work, and shorter.
    Zstd,
}

impl OtlpSink {
    const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
    const TIMEOUTS: (Span, Span) = (Span(Duration::from_millis(100)), Span(Duration::from_secs(600)));
    const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(30);
    const KEEP_ALIVES: (Span, Span) = (Span(Duration::from_secs(1)), Span(Duration::from_secs(3600)));
    const DEFAULT_RECORDS: u32 = 1000;
    const RECORDS: (u32, u32) = (1, 100_000);
    const DEFAULT_SIZE: Size = Size(1 << 20);
    const SIZES: (Size, Size) = (Size(64 << 10), Size(64 << 20));

    /// With this endpoint, and everything else as it is where nobody says it.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            protocol: Protocol::default(),
            compression: Compression::default(),
            bearer_token: None,
            headers: vec![],
            tls: Tls::default(),
            proxy: None,
            connect_timeout: Self::DEFAULT_TIMEOUT,
            timeout: Self::DEFAULT_TIMEOUT,
            keep_alive: Self::DEFAULT_KEEP_ALIVE,
            max_batch_records: Self::DEFAULT_RECORDS,
            max_batch_size: Self::DEFAULT_SIZE,
        }
    }
}

pub(in super::super) fn read(table: &mut Table<'_>) -> Option<OtlpSink> {
    let endpoint_place = table.place("endpoint");
    let endpoint = table.required("endpoint");
    let protocol = table.optional("protocol").unwrap_or_default();
    let compression = table.optional("compression").unwrap_or_default();
    let token_place = table.place("bearer_token");
    let bearer_token = table.optional::<Secret>("bearer_token");
    let headers = table.table("headers").map(|t| header::read(t, bearer_token.is_some())).unwrap_or_default();
    let tls_place = table.place("tls");
    let tls = table.table("tls").map(tls::read);
    let proxy_place = table.place("proxy");
    let proxy = table.table("proxy").and_then(proxy::read);
    let connect_timeout = table.between("connect_timeout", OtlpSink::TIMEOUTS);
    let timeout = table.between("timeout", OtlpSink::TIMEOUTS);
    let keep_alive = table.between("keep_alive", OtlpSink::KEEP_ALIVES);
    let max_batch_records = table.between("max_batch_records", OtlpSink::RECORDS);
    let max_batch_size = table.between("max_batch_size", OtlpSink::SIZES);

    if let Some(Err(e)) = bearer_token.as_ref().map(header::check) {
        table.wrong(&token_place, "bearer_token", e.what, e.allowed);
    }
    let endpoint: Endpoint = endpoint?;
    if protocol == Protocol::Grpc && endpoint.has_path() {
        let what = format!("{endpoint} has a path, and gRPC none");
        table.wrong(&endpoint_place, "endpoint", what, "no path; or the protocol \"http/protobuf\" or \"http/json\"");
    }
    if tls.is_some() && !endpoint.is_https() {
        table.wrong(
            &tls_place,
            "tls",
            format!("{endpoint} does not use TLS"),
            "an endpoint https://..., or no such table",
        );
    }
    if proxy.is_some() && matches!(endpoint, Endpoint::Unix(_)) {
        table.wrong(
            &proxy_place,
            "proxy",
            format!("{endpoint} is on this host"),
            "an endpoint behind the proxy, or no such table",
        );
    }
    let secret = bearer_token.is_some() || headers.iter().any(|h| matches!(h.value, HeaderText::Secret(_)));
    if secret && endpoint.is_open_to_others() {
        let what = format!("secrets are sent to {endpoint} for everybody on the way to read");
        table.doubtful(&endpoint_place, "endpoint", what, "https://");
    }
    let default = OtlpSink::new(endpoint);
    Some(OtlpSink {
        protocol,
        compression,
        bearer_token,
        headers,
        tls: tls.unwrap_or_default(),
        proxy,
        connect_timeout: connect_timeout.map_or(default.connect_timeout, |Span(time)| time),
        timeout: timeout.map_or(default.timeout, |Span(time)| time),
        keep_alive: keep_alive.map_or(default.keep_alive, |Span(time)| time),
        max_batch_records: max_batch_records.unwrap_or(default.max_batch_records),
        max_batch_size: max_batch_size.unwrap_or(default.max_batch_size),
        ..default
    })
}
