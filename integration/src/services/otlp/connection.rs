//! One connection of a scripted server: HTTP/1.1 or HTTP/2, whatever the client speaks.

use std::{
    io::Read as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{DefaultBodyLimit, State as Shared},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use http_body::Frame;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
    logs_service_server::{LogsService, LogsServiceServer},
};
use prost::Message as _;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{
    Protocol,
    server::{Received, Refusal, State, Verdict},
};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// Takes connections until it is dropped.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        state.connected();
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

/// Serves one connection to its end, which an answer may bring about.
async fn serve(stream: TcpStream, state: Arc<State>) {
    let cut = Arc::new(Notify::new());
    let service = TowerToHyperService::new(routes(state, Arc::clone(&cut)));
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased; // what was written until the cut goes out first
        _ = connection => {}
        () = cut.notified() => {}
    }
}

fn routes(state: Arc<State>, cut: Arc<Notify>) -> Router {
    let grpc = LogsServiceServer::new(Grpc(Arc::clone(&state)))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(usize::MAX);
    let http = Router::new().route("/v1/logs", post(http)).layer(DefaultBodyLimit::disable()).with_state(state);
    let cut_short = move |response| cut_short(response, Arc::clone(&cut));
    Routes::new(grpc).into_axum_router().merge(http).layer(axum::middleware::map_response(cut_short))
}

struct Grpc(Arc<State>);

#[tonic::async_trait]
impl LogsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        let headers = readable(&request.metadata().clone().into_headers());
        let received = Received::now(Protocol::Grpc, headers, request.into_inner());
        match self.0.take(received).await {
            Verdict::Accepted { response, cut } => {
                let mut response = tonic::Response::new(response);
                if cut {
                    response.extensions_mut().insert(Cut);
                }
                Ok(response)
            }
            Verdict::Refused(Refusal { code, retry_after, message, .. }) => {
                let mut details = ErrorDetails::new();
                if retry_after.is_some() {
                    details.set_retry_info(retry_after);
                }
                Err(tonic::Status::with_error_details(code, message, details))
            }
        }
    }
}

async fn http(Shared(state): Shared<Arc<State>>, headers: HeaderMap, body: Bytes) -> Response {
    let is = |name, value: &str| headers.get(name).is_some_and(|found| found == value);
    let json = is(header::CONTENT_TYPE, JSON);
    if !json && !is(header::CONTENT_TYPE, PROTOBUF) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let Some(request) = decompressed(&headers, &body).and_then(|body| decoded(&body, json)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match state.take(Received::now(Protocol::Http, readable(&headers), request)).await {
        Verdict::Accepted { response, cut } => {
            let mut response = if json {
                answer(StatusCode::OK, JSON, serde_json::to_vec(&response).unwrap_or_default())
            } else {
                answer(StatusCode::OK, PROTOBUF, response.encode_to_vec())
            };
            if cut {
                response.extensions_mut().insert(Cut);
            }
            response
        }
        Verdict::Refused(Refusal { code, status, retry_after, message }) => {
            let body = tonic_types::Status { code: code.into(), message: message.to_owned(), details: Vec::new() };
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = if json {
                // the type of google.rpc.Status has no JSON
                answer(status, JSON, serde_json::json!({"code": body.code, "message": body.message}).to_string())
            } else {
                answer(status, PROTOBUF, body.encode_to_vec())
            };
            if let Some(after) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, after.as_secs().into());
            }
            response
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

fn decompressed(headers: &HeaderMap, body: &Bytes) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match headers.get(header::CONTENT_ENCODING).map(|value| value.to_str()) {
        None => return Some(body.to_vec()),
        Some(Ok("gzip")) => flate2::read::GzDecoder::new(&**body).read_to_end(&mut plain).ok()?,
        Some(Ok("zstd")) => zstd::Decoder::new(&**body).ok()?.read_to_end(&mut plain).ok()?,
        Some(_) => return None,
    };
    Some(plain)
}

fn decoded(body: &[u8], json: bool) -> Option<ExportLogsServiceRequest> {
    if json { serde_json::from_slice(body).ok() } else { ExportLogsServiceRequest::decode(body).ok() }
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Says of a response that the connection is to end in the middle of it.
#[derive(Clone)]
struct Cut;

async fn cut_short(response: Response, cut: Arc<Notify>) -> Response {
    if response.extensions().get::<Cut>().is_none() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut response = Response::from_parts(parts, Body::new(Half { half: Some(whole.slice(..whole.len() / 2)), cut }));
    // Of the whole, so that a client knows that something is missing.
    response.headers_mut().insert(header::CONTENT_LENGTH, whole.len().max(1).into());
    response
}

/// The first half of a body; then it never ends, as the connection does.
struct Half {
    half: Option<Bytes>,
    cut: Arc<Notify>,
}

impl HttpBody for Half {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.half.take() {
            Some(half) => Poll::Ready(Some(Ok(Frame::data(half)))),
            None => {
                self.cut.notify_one();
                Poll::Pending
            }
        }
    }
}
