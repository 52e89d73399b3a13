//! Servers that say what a test wants.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, header::HeaderMap, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
    logs_service_server::{LogsService, LogsServiceServer},
};
use prost::Message as _;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tonic::{Status, codec::CompressionEncoding, metadata::MetadataMap};

use super::*;
use crate::sink::otlp::stream::Stream;

/// A request, as the server has read it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) headers: HeaderMap,
    pub(super) path: String,
    pub(super) request: ExportLogsServiceRequest,
}

impl Seen {
    /// The bodies of its records.
    pub(super) fn bodies(&self) -> Vec<String> {
        let records = self.request.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records);
        records.map(body).collect()
    }
}

type GrpcScript = Box<dyn FnMut(&Seen) -> Result<ExportLogsServiceResponse, Status> + Send>;
type HttpScript = Box<dyn FnMut(&Seen) -> Response<String> + Send>;

enum Script {
    Grpc(GrpcScript),
    Http(HttpScript),
}

struct Inner {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

/// A server on a port of its own.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    inner: Arc<Inner>,
}

impl Server {
    pub(super) async fn grpc(
        script: impl FnMut(&Seen) -> Result<ExportLogsServiceResponse, Status> + Send + 'static,
    ) -> Self {
        Self::start(Script::Grpc(Box::new(script)), None).await
    }

    pub(super) async fn http(script: impl FnMut(&Seen) -> Response<String> + Send + 'static) -> Self {
        Self::start(Script::Http(Box::new(script)), None).await
    }

    /// Takes everything, by the protocol of the configuration.
    pub(super) async fn taking(protocol: Protocol, tls: Option<TlsAcceptor>) -> Self {
        let script = match protocol {
            Protocol::Grpc => Script::Grpc(Box::new(|_| Ok(ExportLogsServiceResponse::default()))),
            Protocol::HttpProtobuf | Protocol::HttpJson => Script::Http(Box::new(|_| Response::new(String::new()))),
        };
        Self::start(script, tls).await
    }

    async fn start(script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let server = Self::new(script, listener.local_addr().expect("it is bound"));
        let inner = Arc::clone(&server.inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, &inner),
                        Err(_) => continue,
                    },
                    None => serve(stream, &inner),
                }
            }
        });
        server
    }

    /// On a socket.
    pub(super) fn on_socket(path: &std::path::Path) -> Self {
        let listener = UnixListener::bind(path).expect("the folder is there");
        let script = Script::Grpc(Box::new(|_| Ok(ExportLogsServiceResponse::default())));
        let server = Self::new(script, SocketAddr::from(([0, 0, 0, 0], 0)));
        let inner = Arc::clone(&server.inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &inner);
            }
        });
        server
    }

    fn new(script: Script, address: SocketAddr) -> Self {
        let inner = Inner { script: Mutex::new(script), seen: Mutex::default(), connections: AtomicUsize::new(0) };
        Self { address, inner: Arc::new(inner) }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().expect("no test holds it").clone()
    }

    /// The bodies of the records of each request.
    pub(super) fn requests(&self) -> Vec<Vec<String>> {
        self.seen().iter().map(Seen::bodies).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }
}

fn serve(stream: impl Stream + 'static, inner: &Arc<Inner>) {
    inner.connections.fetch_add(1, Ordering::Relaxed);
    let io = TokioIo::new(stream);
    let inner = Arc::clone(inner);
    let grpc = matches!(*inner.script.lock().expect("no test holds it"), Script::Grpc(_));
    tokio::spawn(async move {
        if grpc {
            let service = LogsServiceServer::new(Grpc(inner))
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(connection.serve_connection(io, TowerToHyperService::new(service)).await);
        } else {
            let service = service_fn(move |request| answer(Arc::clone(&inner), request));
            drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
        }
    });
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut plain = Vec::new();
    match head.headers.get("content-encoding").map(|v| v.as_bytes()) {
        Some(b"gzip") => drop(std::io::Read::read_to_end(&mut GzDecoder::new(&*body), &mut plain).expect("it is gzip")),
        Some(b"zstd") => plain = zstd::decode_all(&*body).expect("it is zstd"),
        _ => plain = body.to_vec(),
    }
    let request = match head.headers["content-type"].as_bytes() {
        b"application/json" => serde_json::from_slice(&plain).expect("it is a request"),
        b"application/x-protobuf" => ExportLogsServiceRequest::decode(&*plain).expect("it is a request"),
        other => panic!("{}", other.escape_ascii()),
    };
    let seen = Seen { headers: head.headers, path: head.uri.path().to_owned(), request };
    inner.seen.lock().expect("no test holds it").push(seen.clone());
    let Script::Http(script) = &mut *inner.script.lock().expect("no test holds it") else { unreachable!() };
    Ok(script(&seen).map(|text| Full::new(text.into())))
}

struct Grpc(Arc<Inner>);

#[tonic::async_trait]
impl LogsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let seen = Seen { headers: MetadataMap::into_headers(metadata), path: String::new(), request };
        self.0.seen.lock().expect("no test holds it").push(seen.clone());
        let Script::Grpc(script) = &mut *self.0.script.lock().expect("no test holds it") else { unreachable!() };
        script(&seen).map(tonic::Response::new)
    }
}
