//! A connection to a server, by one protocol or the other.

use std::{error::Error, time::Duration};

use hyper::body::Bytes;
use tokio::time::timeout;

use super::{answer::Answer, connect::ConnectError, grpc::Grpc, http::Http, stream::Cause};
use crate::config::{OtlpSink, otlp::Protocol};

/// For the last words of TLS and HTTP/2.
const END: Duration = Duration::from_secs(1);

/// One request at a time.
pub(super) enum Connection {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

/// It broke: nobody knows what became of the request.
pub(super) struct Broken {
    /// What happened, and what to do.
    pub(super) why: String,
    /// Nothing of an answer had come.
    pub(super) unanswered: bool,
}

impl Broken {
    pub(super) fn unanswered(error: &(dyn Error + 'static), cause: &Cause) -> Self {
        Self { why: format!("the connection broke without an answer: {}", cause.or(error)), unanswered: true }
    }

    pub(super) fn in_the_answer(error: &(dyn Error + 'static), cause: &Cause) -> Self {
        Self {
            why: format!("the connection broke in the middle of the answer: {}", cause.or(error)),
            unanswered: false,
        }
    }
}

impl Connection {
    pub(super) async fn open(config: &OtlpSink) -> Result<Self, ConnectError> {
        let opened = timeout(config.connect_timeout, async {
            Ok(match config.protocol {
                Protocol::Grpc => Self::Grpc(Box::new(Grpc::open(config).await?)),
                Protocol::HttpProtobuf | Protocol::HttpJson => Self::Http(Box::new(Http::open(config).await?)),
            })
        });
        opened.await.unwrap_or_else(|_| Err(ConnectError::late(config)))
    }

    pub(super) async fn send(&mut self, request: Bytes) -> Result<Answer, Broken> {
        match self {
            Self::Grpc(grpc) => grpc.send(request).await,
            Self::Http(http) => http.send(request).await,
        }
    }

    /// Says good-bye.
    pub(super) async fn close(self) {
        let end = match self {
            Self::Grpc(grpc) => grpc.end(),
            Self::Http(http) => http.end(),
        };
        // where the server does not listen any more, it does not matter to it
        drop(timeout(END, end).await);
    }
}
