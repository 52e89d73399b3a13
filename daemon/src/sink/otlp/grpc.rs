//! OTLP over gRPC, <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    client::conn::http2,
    header::HeaderMap,
    http::uri::PathAndQuery,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use tokio::task::JoinHandle;
use tonic::{
    Status,
    body::Body,
    client::{Grpc as Client, GrpcService},
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::{
    answer::{self, Answer},
    connect::{ConnectError, causes, chain, connect},
    connection::Broken,
    secrets::{self, Secrets},
    stream::{Cause, Watched},
    tls,
};
use crate::config::{
    OtlpSink,
    otlp::{Compression, Endpoint},
};

const EXPORT: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");

/// A connection.
pub(super) struct Grpc {
    client: Client<Channel>,
    task: JoinHandle<()>,
    cause: Cause,
    timeout: std::time::Duration,
    secrets: Secrets,
}

impl Grpc {
    pub(super) async fn open(config: &OtlpSink) -> Result<Self, ConnectError> {
        let (headers, secrets) = secrets::headers(config)?;
        let (stream, cause) = Watched::new(connect(config, tls::HTTP2).await?);
        let failed = |e| ConnectError::Http { to: config.endpoint.to_string(), why: chain(&e) };
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
        // who waits for an answer is told of its error too
        let task = tokio::spawn(async { drop(connection.await) });
        let origin = match &config.endpoint {
            Endpoint::Url(uri) => uri.clone(),
            Endpoint::Unix(_) => Uri::from_static("http://localhost"),
        };
        let mut client = Client::with_origin(Channel { sender, headers }, origin);
        if let Some(encoding) = match config.compression {
            Compression::None => None,
            Compression::Gzip => Some(CompressionEncoding::Gzip),
            Compression::Zstd => Some(CompressionEncoding::Zstd),
        } {
            client = client.send_compressed(encoding).accept_compressed(encoding);
        }
        Ok(Self { client, task, cause, timeout: config.timeout, secrets })
    }

    pub(super) async fn send(&mut self, records: Bytes) -> Result<Answer, Broken> {
        let mut request = tonic::Request::new(records);
        request.set_timeout(self.timeout);
        self.client.ready().await.map_err(|e| Broken::unanswered(&e, &self.cause))?;
        let said = self.client.unary(request, EXPORT, BytesOut).await;
        match said.as_ref().err().and_then(Error::source) {
            // what a server says has no cause on this side
            None => Ok(answer::of_grpc(said.map(tonic::Response::into_inner), &self.secrets)),
            Some(e) if causes(e).any(<dyn Error>::is::<Unanswered>) => Err(Broken::unanswered(e, &self.cause)),
            Some(e) => Err(Broken::in_the_answer(e, &self.cause)),
        }
    }

    /// Gives what ends when the connection has.
    pub(super) fn end(self) -> JoinHandle<()> {
        self.task
    }
}

/// Adds the headers.
struct Channel {
    sender: http2::SendRequest<Body>,
    headers: HeaderMap,
}

/// The connection broke before an answer began.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Unanswered(#[from] hyper::Error);

impl GrpcService<Body> for Channel {
    type ResponseBody = Incoming;
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Unanswered>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unanswered>> {
        self.sender.poll_ready(context).map_err(Unanswered)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().extend(self.headers.clone());
        let answer = self.sender.send_request(request);
        Box::pin(async { answer.await.map_err(Unanswered) })
    }
}

/// A request is sent as the bytes that it is; only the response is decoded.
#[derive(Debug, Clone, Copy)]
struct BytesOut;

impl Codec for BytesOut {
    type Encode = Bytes;
    type Decode = ExportLogsServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesOut {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, request: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(out, request);
        Ok(())
    }
}

impl Decoder for BytesOut {
    type Item = ExportLogsServiceResponse;
    type Error = Status;

    fn decode(&mut self, response: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let no_response = |e| Status::internal(format!("that is no ExportLogsServiceResponse: {e}"));
        ExportLogsServiceResponse::decode(response).map(Some).map_err(no_response)
    }
}
