//! OTLP over HTTP/1.1, <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use std::io::Write as _;

use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::{
    answer::{self, Answer},
    connect::{ConnectError, chain, connect},
    connection::Broken,
    secrets::{self, Secrets},
    stream::{Cause, Watched},
    tls,
};
use crate::{
    config::{
        OtlpSink,
        otlp::{Compression, Endpoint, Protocol},
    },
    encode::otlp_proto,
};

/// Where `endpoint` has none.
const PATH: &str = "/v1/logs";
/// What an answer has behind so many bytes is not read.
const LONGEST_ANSWER: usize = 64 << 10;

/// A connection.
pub(super) struct Http {
    sender: http1::SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
    cause: Cause,
    path: Uri,
    headers: HeaderMap,
    compression: Compression,
    secrets: Secrets,
}

impl Http {
    pub(super) async fn open(config: &OtlpSink) -> Result<Self, ConnectError> {
        let (mut headers, secrets) = secrets::headers(config)?;
        let (host, path) = match &config.endpoint {
            Endpoint::Url(uri) => (uri.authority().map_or("", |a| a.as_str()), uri.path()),
            Endpoint::Unix(_) => ("localhost", "/"),
        };
        headers.insert(HOST, HeaderValue::from_str(host).expect("part of a URL fits in a header"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(config.protocol)));
        if let Some(encoding) = content_encoding(config.compression) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let path = if path == "/" { Uri::from_static(PATH) } else { path.parse().expect("part of a URL is one too") };
        let (stream, cause) = Watched::new(connect(config, tls::HTTP1).await?);
        let failed = |e| ConnectError::Http { to: config.endpoint.to_string(), why: chain(&e) };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // who waits for an answer is told of its error too
        let task = tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, task, cause, path, headers, compression: config.compression, secrets })
    }

    pub(super) async fn send(&mut self, records: Bytes) -> Result<Answer, Broken> {
        let mut request = Request::new(Full::new(compress(self.compression, records)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        self.sender.ready().await.map_err(|e| Broken::unanswered(&e, &self.cause))?;
        let answer = self.sender.send_request(request).await.map_err(|e| Broken::unanswered(&e, &self.cause))?;
        let (head, mut body) = answer.into_parts();
        let mut said = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Broken::in_the_answer(&e, &self.cause))?;
            said.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if said.len() > LONGEST_ANSWER {
                break;
            }
        }
        Ok(answer::of_http(&head, &said, &self.secrets))
    }

    /// Gives what ends when the connection has.
    pub(super) fn end(self) -> JoinHandle<()> {
        self.task
    }
}

const fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::HttpJson => "application/json",
        Protocol::Grpc | Protocol::HttpProtobuf => otlp_proto::CONTENT_TYPE,
    }
}

const fn content_encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
    }
}

fn compress(compression: Compression, bytes: Bytes) -> Bytes {
    match compression {
        Compression::None => bytes,
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&bytes).and_then(|()| encoder.finish()).expect("writing to a Vec does not fail").into()
        }
        Compression::Zstd => {
            zstd::bulk::compress(&bytes, zstd::DEFAULT_COMPRESSION_LEVEL).expect("there is memory for it").into()
        }
    }
}
