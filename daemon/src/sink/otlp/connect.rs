//! From an endpoint to a stream: TCP or a Unix socket, through a proxy or not, with TLS or without.

use std::{error::Error, io, sync::Arc};

use http_body_util::Empty;
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1,
    header::{HOST, PROXY_AUTHORIZATION},
};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tower_service::Service as _;

use super::{secrets, stream::Stream, tls};
use crate::config::{
    OtlpSink, SecretError,
    otlp::{Endpoint, Proxy, host},
};

/// So often TCP's keep-alive may stay without an answer.
const KEEP_ALIVE_TRIES: u32 = 3;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// A secret can't be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Certificates or keys can't be read.
    #[error(transparent)]
    Certificates(#[from] tls::ClientError),
    /// Nobody there, no such name, no way to it.
    #[error("can't connect to {to}: {why}; allowed: an address where a server listens, and no firewall on the way")]
    Unreachable { to: String, why: String },
    /// It does not want to, or is no proxy.
    #[error(
        "the proxy {proxy} does not connect to {to}: {why}; allowed: a proxy that may, and the login that it asks for"
    )]
    Proxy { proxy: String, to: String, why: String },
    /// We don't trust who answers, or it does not trust us, or speaks no TLS.
    #[error("no TLS with {to}: {why}; allowed: {cure}")]
    Tls { to: String, why: String, cure: &'static str },
    /// gRPC is made of it.
    #[error(
        "{to} does not speak HTTP/2, as gRPC needs it; allowed: a receiver of OTLP/gRPC (port 4317 as a rule), or another `protocol`"
    )]
    NoHttp2 { to: String },
    /// It took too long.
    #[error(
        "no connection with {to} within {within} (connect_timeout); allowed: an address where a server answers, and no firewall on the way"
    )]
    Timeout { to: String, within: humantime::FormattedDuration },
    /// HTTP did not begin.
    #[error("no HTTP with {to}: {why}; allowed: an `endpoint` that speaks the `protocol`")]
    Http { to: String, why: String },
}

impl ConnectError {
    /// It took longer than it may.
    pub(super) fn late(config: &OtlpSink) -> Self {
        let within = humantime::format_duration(config.connect_timeout);
        Self::Timeout { to: config.endpoint.to_string(), within }
    }
}

/// Connects, to speak the protocol of that ALPN name.
pub(super) async fn connect(config: &OtlpSink, alpn: &[u8]) -> Result<Box<dyn Stream>, ConnectError> {
    let to = &config.endpoint;
    let uri = match to {
        Endpoint::Url(uri) => uri,
        Endpoint::Unix(path) => {
            let unreachable = |e: io::Error| ConnectError::Unreachable { to: to.to_string(), why: e.to_string() };
            return Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?));
        }
    };
    let stream: Box<dyn Stream> = match &config.proxy {
        Some(proxy) => Box::new(tunnel(config, proxy, uri).await?),
        None => Box::new(tcp(config, uri).await?),
    };
    if !to.is_https() {
        return Ok(stream);
    }
    let failed =
        |e: &(dyn Error + 'static)| ConnectError::Tls { to: to.to_string(), why: chain(e), cure: tls::cure(e) };
    let name = ServerName::try_from(host(uri)).map_err(|e| failed(&e))?.to_owned();
    let connector = TlsConnector::from(Arc::new(tls::client(&config.tls, alpn)?));
    let stream = connector.connect(name, stream).await.map_err(|e| failed(&e))?;
    if alpn == tls::HTTP2 && stream.get_ref().1.alpn_protocol() != Some(tls::HTTP2) {
        return Err(ConnectError::NoHttp2 { to: to.to_string() });
    }
    Ok(Box::new(stream))
}

async fn tcp(config: &OtlpSink, to: &Uri) -> Result<TcpStream, ConnectError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(config.keep_alive));
    connector.set_keepalive_interval(Some(config.keep_alive));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_TRIES));
    let unreachable = |e: &(dyn Error + 'static)| ConnectError::Unreachable { to: shown(to), why: chain(e) };
    connector.call(to.clone()).await.map(TokioIo::into_inner).map_err(|e| unreachable(&e))
}

/// CONNECT, RFC 9110, 9.3.6.
async fn tunnel(config: &OtlpSink, proxy: &Proxy, to: &Uri) -> Result<impl Stream + use<>, ConnectError> {
    let failed = |why: String| ConnectError::Proxy { proxy: shown(&proxy.url), to: config.endpoint.to_string(), why };
    let port = to.port_u16().unwrap_or(if config.endpoint.is_https() { 443 } else { 80 });
    let authority = format!("{}:{port}", to.host().unwrap_or_default());
    let mut request = Request::connect(&authority).header(HOST, &authority);
    if let Some(login) = secrets::proxy_authorization(proxy)? {
        request = request.header(PROXY_AUTHORIZATION, login);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| failed(e.to_string()))?;
    let stream = TokioIo::new(tcp(config, &proxy.url).await?);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(|e| failed(chain(&e)))?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(|e| failed(chain(&e)))?;
    if !response.status().is_success() {
        return Err(failed(response.status().to_string()));
    }
    hyper::upgrade::on(response).await.map(TokioIo::new).map_err(|e| failed(chain(&e)))
}

fn shown(uri: &Uri) -> String {
    uri.to_string().trim_end_matches('/').to_owned()
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in causes(error) {
        let text = cause.to_string();
        // many repeat their cause
        if !line.ends_with(&text) {
            line = if line.is_empty() { text } else { format!("{line}: {text}") };
        }
    }
    line
}

/// An error and what caused it.
pub(super) fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // what is inside of an io::Error is not its source
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map(|e| e as &(dyn Error + 'static)).or_else(move || error.source())
    })
}
