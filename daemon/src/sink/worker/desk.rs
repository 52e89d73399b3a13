//! Where a worker is told what to do.

use std::{convert::Infallible, future::pending, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::route::Router;

/// Comes with an order, and is dropped when that has been carried out: who has the other end hears of the last one.
pub(super) type Pending = mpsc::Sender<Infallible>;

/// What a worker is told.
pub(super) enum Control<D> {
    /// Another configuration; another sink only where that has changed.
    Configure { router: Router, sink: Option<D> },
    /// Open again what may have been rotated away.
    Reopen(Pending),
    /// Deliver what can be delivered in this time, and end.
    Stop { drain: Duration },
}

/// What the worker has been told and not done yet.
pub(super) struct Desk<D> {
    orders: mpsc::UnboundedReceiver<Control<D>>,
    pub(super) router: Router,
    pub(super) replacement: Option<D>,
    pub(super) reopen: bool,
    /// Who waits for what was ordered so far.
    pub(super) pending: Option<Pending>,
    /// When to end, once that is decided.
    pub(super) end: Option<Instant>,
    /// Whoever gave orders is gone.
    closed: bool,
}

/// What there is to do.
pub(super) enum Told {
    Order,
    End,
}

impl<D> Desk<D> {
    pub(super) const fn new(orders: mpsc::UnboundedReceiver<Control<D>>, router: Router) -> Self {
        Self { orders, router, replacement: None, reopen: false, pending: None, end: None, closed: false }
    }

    /// Waits for the next order, or for the end.
    pub(super) async fn told(&mut self) -> Told {
        let end = self.end;
        let ended = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended => Told::End,
            order = self.orders.recv(), if !self.closed => {
                self.note(order);
                Told::Order
            }
        }
    }

    fn note(&mut self, order: Option<Control<D>>) {
        match order {
            Some(Control::Configure { router, sink }) => {
                self.router = router;
                self.replacement = sink.or(self.replacement.take());
            }
            Some(Control::Reopen(pending)) => {
                self.reopen = true;
                self.pending = Some(pending);
            }
            Some(Control::Stop { drain }) => self.end = Some(Instant::now() + drain),
            None => {
                self.closed = true;
                self.end.get_or_insert_with(Instant::now);
            }
        }
    }
}
