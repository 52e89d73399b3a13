//! A channel of tonic's over connections as a sink has them, for a client that is not ours: TLS, proxies and secrets are the same.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::{
    Request, Status,
    metadata::MetadataMap,
    service::Interceptor,
    transport::{Channel, Endpoint as Transport},
};

use super::{
    connect::{ConnectError, connect},
    secrets,
    stream::Stream,
    tls,
};
use crate::config::{OtlpSink, otlp::Endpoint};

/// See the module. It connects when it is used, and again after the connection broke; in the runtime in which it was made.
pub(crate) struct Opened {
    pub(crate) channel: Channel,
    pub(crate) headers: Headers,
    pub(crate) trouble: LastTrouble,
}

/// Why there was no connection, for the one who tells it: tonic's errors say that there was none.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastTrouble(Arc<Mutex<Option<String>>>);

impl LastTrouble {
    /// What it was since the last time.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, why: &ConnectError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_string());
    }
}

/// Makes it.
pub(crate) fn channel(config: &OtlpSink) -> Opened {
    let trouble = LastTrouble::default();
    let connector = Connector { config: Arc::new(config.clone()), trouble: trouble.clone() };
    let origin = match &config.endpoint {
        Endpoint::Url(uri) => uri.clone(),
        Endpoint::Unix(_) => Uri::from_static("http://localhost"),
    };
    // where it goes is the connector's to know; TLS is, too
    let transport = Transport::from_static("http://collector").origin(origin).timeout(config.timeout);
    let channel = transport.connect_with_connector_lazy(connector);
    Opened { channel, headers: Headers(Arc::new(config.clone())), trouble }
}

/// Adds the headers to each request, with secrets as they are then.
#[derive(Debug, Clone)]
pub(crate) struct Headers(Arc<OtlpSink>);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let (headers, _) = secrets::headers(&self.0).map_err(|e| Status::unauthenticated(e.to_string()))?;
        let all = std::mem::take(request.metadata_mut()).into_headers();
        let all = headers.into_iter().fold(all, |mut all, (name, value)| {
            if let Some(name) = name {
                all.insert(name, value);
            }
            all
        });
        *request.metadata_mut() = MetadataMap::from_headers(all);
        Ok(request)
    }
}

#[derive(Clone)]
struct Connector {
    config: Arc<OtlpSink>,
    trouble: LastTrouble,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { config, trouble } = self.clone();
        Box::pin(async move {
            let connected = timeout(config.connect_timeout, connect(&config, tls::HTTP2)).await;
            let connected = connected.unwrap_or_else(|_| Err(ConnectError::late(&config)));
            connected.map(TokioIo::new).inspect_err(|error| trouble.set(error))
        })
    }
}
