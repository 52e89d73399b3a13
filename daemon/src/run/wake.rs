//! What the loop waits for.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    io,
    os::fd::OwnedFd,
    pin::pin,
    task::{Context, Poll},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::Receiver,
    time::{self, Interval},
};

use super::Watch;
use crate::status::{Question, Socket};

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    status: Signal,
    detach: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            status: signal(SignalKind::user_defined1())?,
            detach: signal(SignalKind::user_defined2())?,
        })
    }
}

/// Why the loop woke up.
pub(super) enum Wake {
    Stop(&'static str),
    Detach,
    Reload,
    /// All sinks have done what a reload has told them, or the time for it is over.
    Reloaded(bool),
    Status,
    Asked(Question),
    Tick,
    Readable,
}

/// A reload that has not ended.
pub(super) struct Reloading {
    /// Is closed when the last of them has done what it was told.
    pub(super) sinks: Receiver<Infallible>,
    pub(super) until: time::Instant,
}

impl Reloading {
    /// Waits for the end; whether all sinks have come to it.
    async fn over(&mut self) -> bool {
        time::timeout_at(self.until, self.sinks.recv()).await.is_ok()
    }
}

/// Copies of the descriptors: they tell when the sensor's are readable, and live as long as they are waited for.
pub(super) fn rings(watch: &impl Watch) -> io::Result<[AsyncFd<OwnedFd>; 2]> {
    let [critical, bulk] = watch.descriptors().map(|descriptor| {
        let copy = descriptor.try_clone_to_owned()?;
        // SAFETY: the copy is owned by the AsyncFd, which deregisters it before it is closed.
        unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) }.map_err(io::Error::from)
    });
    Ok([critical?, bulk?])
}

pub(super) async fn wake(
    signals: &mut Signals,
    tick: &mut Interval,
    rings: &[AsyncFd<OwnedFd>; 2],
    reloading: Option<&mut Reloading>,
    socket: Option<&Socket>,
    reading: bool,
    more: bool,
) -> io::Result<Wake> {
    let asked = async {
        match socket {
            Some(socket) => socket.asked().await,
            None => pending().await,
        }
    };
    let reloaded = async {
        match reloading {
            Some(reloading) => reloading.over().await,
            None => pending().await,
        }
    };
    let readable = pin!(poll_fn(|context| poll_rings(rings, context)));
    Ok(tokio::select! {
        biased;
        _ = signals.terminate.recv() => Wake::Stop("SIGTERM"),
        _ = signals.interrupt.recv() => Wake::Stop("SIGINT"),
        _ = signals.detach.recv() => Wake::Detach,
        _ = signals.hangup.recv() => Wake::Reload,
        by_all = reloaded => Wake::Reloaded(by_all),
        _ = signals.status.recv() => Wake::Status,
        _ = tick.tick() => Wake::Tick,
        question = asked => Wake::Asked(question),
        // signals and the tick have their turn between two pieces of a flood
        () = tokio::task::yield_now(), if more => Wake::Readable,
        result = readable, if reading => { result?; Wake::Readable },
    })
}

/// Ready when one of them is readable. Readiness is taken back before anything is read: what comes while we read makes it ready again.
fn poll_rings(rings: &[AsyncFd<OwnedFd>; 2], context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut result = Poll::Pending;
    for ring in rings {
        if let Poll::Ready(guard) = ring.poll_read_ready(context) {
            guard?.clear_ready();
            result = Poll::Ready(Ok(()));
        }
    }
    result
}
