//! A stream that remembers why it broke.

use std::{
    error::Error,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{connect::chain, tls};

/// TCP, a Unix socket, a tunnel, or TLS over one of them.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why a stream broke, and what to do about it. HTTP tells who waits for an answer only that it did; a server that knows no client without
/// a certificate says so to whoever reads next.
#[derive(Debug, Clone, Default)]
pub(super) struct Cause(Arc<OnceLock<String>>);

impl Cause {
    /// What is known, or else what `error` says.
    pub(super) fn or(&self, error: &(dyn Error + 'static)) -> String {
        self.0.get().cloned().unwrap_or_else(|| words(error))
    }
}

fn words(error: &(dyn Error + 'static)) -> String {
    format!("{}; allowed: {}", chain(error), tls::cure(error))
}

/// See the module.
pub(super) struct Watched {
    stream: Box<dyn Stream>,
    cause: Cause,
}

impl Watched {
    pub(super) fn new(stream: Box<dyn Stream>) -> (Self, Cause) {
        let cause = Cause::default();
        (Self { stream, cause: cause.clone() }, cause)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if let Err(e) = &read {
            self.cause.0.get_or_init(|| words(e));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
