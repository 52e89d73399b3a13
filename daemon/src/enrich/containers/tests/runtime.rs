//! A runtime that answers by a script.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, body::Bytes, body::Incoming, header::HeaderMap, server::conn::http2, service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

use super::super::cri::api::*;

/// See the module.
pub(super) struct Runtime {
    /// How often it was called.
    pub(super) calls: Arc<AtomicUsize>,
}

/// What is wrong with its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    Not,
    /// An error with a text of 1 MB.
    Refuses,
    /// No protobuf.
    IsNoMessage,
    /// Of another container.
    IsAnother,
    /// Longer than anything that makes sense.
    IsEndless,
    /// With an annotation of 1 MB.
    IsLong,
}

impl Runtime {
    pub(super) fn start(socket: &Path) -> Self {
        Self::odd(socket, Odd::Not)
    }

    pub(super) fn odd(socket: &Path, odd: Odd) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
        listener.set_nonblocking(true).expect("tokio wants it so");
        let counted = Arc::clone(&calls);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
                while let Ok((stream, _)) = listener.accept().await {
                    let counted = Arc::clone(&counted);
                    let service = service_fn(move |request| {
                        counted.fetch_add(1, Relaxed);
                        answer(request, odd)
                    });
                    let connection =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                    tokio::spawn(async { drop(connection.await) });
                }
            });
        });
        Self { calls }
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, hyper::Error>;

async fn answer(request: Request<Incoming>, odd: Odd) -> hyper::Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let message = request.into_body().collect().await?.to_bytes().slice(5..);
    let said = match odd {
        Odd::Refuses => return Ok(response(Bytes::new(), "2", &"x".repeat(1 << 20))),
        Odd::IsNoMessage => vec![0xff; 100],
        Odd::IsEndless => vec![0; 64 << 20],
        Odd::Not | Odd::IsAnother | Odd::IsLong => encoded(&path, message, odd),
    };
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(said.len()).expect("it is short").to_be_bytes());
    framed.extend(said);
    Ok(response(framed.into(), "0", ""))
}

fn response(body: Bytes, status: &str, message: &str) -> Response<Body> {
    let trailers =
        HeaderMap::from_iter([("grpc-status", status), ("grpc-message", message)].map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), value.parse().expect("a header's value"))
        }));
    let body = Full::new(body).with_trailers(async { Some(Ok(trailers)) }).map_err(|never| match never {});
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).expect("a response")
}

/// What containerd would say of the container of the pod web-6d4cf56db6-x7k2p.
fn encoded(path: &str, message: Bytes, odd: Odd) -> Vec<u8> {
    let text = str::to_owned;
    match path {
        LIST_CONTAINERS => {
            let asked = ListContainersRequest::decode(message).expect("a request").filter.unwrap_or_default().id;
            let id = if odd == Odd::IsAnother { format!("{asked}0") } else { asked };
            let containers = vec![Container { id, pod_sandbox_id: text("sandbox") }];
            ListContainersResponse { containers }.encode_to_vec()
        }
        CONTAINER_STATUS => {
            let status = ContainerStatus {
                metadata: Some(ContainerMetadata { name: text("web") }),
                started_at: 1_694_299_569_000_000_000,
                image: Some(ImageSpec { image: text("docker.io/cilium/starwars:latest") }),
                image_ref: text("docker.io/cilium/starwars@sha256:f92c"),
            };
            ContainerStatusResponse { status: Some(status) }.encode_to_vec()
        }
        POD_SANDBOX_STATUS => {
            let asked = PodSandboxStatusRequest::decode(message).expect("a request").pod_sandbox_id;
            assert_eq!(asked, "sandbox");
            let mut labels = HashMap::from(
                [("app", "web"), ("secret", "1"), ("pod-template-hash", "6d4cf56db6")]
                    .map(|(key, value)| (text(key), text(value))),
            );
            if odd == Odd::IsLong {
                labels.insert(text("long"), "x".repeat(1 << 20));
            }
            let metadata = PodSandboxMetadata {
                name: text("web-6d4cf56db6-x7k2p"),
                uid: text("uid"),
                namespace: text("demo-app"),
            };
            PodSandboxStatusResponse { status: Some(PodSandboxStatus { metadata: Some(metadata), labels }) }
                .encode_to_vec()
        }
        other => panic!("{other} is not asked for"),
    }
}
