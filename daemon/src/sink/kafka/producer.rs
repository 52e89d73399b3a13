//! A producer, and the thread that takes what librdkafka has to say.
//!
//! Not [`rdkafka::producer::ThreadedProducer`]: its thread wakes ten times a second whatever happens, and spins for a millisecond each time
//! (rdkafka 0.39, `BaseProducer::poll` with less than a millisecond left). This one sleeps until something has been said.

use std::{
    ffi::c_void,
    io,
    ops::Deref,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    bindings::{
        rd_kafka_queue_cb_event_enable, rd_kafka_queue_destroy, rd_kafka_queue_get_main, rd_kafka_queue_length,
        rd_kafka_t,
    },
    producer::{BaseProducer, Producer as _},
};

use tokio::time::sleep;

use super::reports::Reports;
use crate::config::kafka::refusal;

/// See the module. Where it is dropped what is on its way is given up, and the thread ends it beside everything else: librdkafka's own threads
/// may be in the middle of something, such as asking for a host's address.
pub(super) struct Producer {
    /// `None` when it has been given up.
    base: Option<Arc<BaseProducer<Reports>>>,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProducerError {
    /// librdkafka does not take the configuration.
    #[error("librdkafka says: {0}; allowed: what `kmodtrail check` accepts")]
    Native(String),
    /// There is no thread to be had.
    #[error("no thread can be started: {0}; allowed: a few threads more (TasksMax= of the unit)")]
    Thread(#[from] io::Error),
}

impl Producer {
    pub(super) fn new(native: &ClientConfig, reports: Reports) -> Result<Self, ProducerError> {
        let base: Arc<BaseProducer<_>> =
            Arc::new(native.create_with_context(reports).map_err(|e| ProducerError::Native(refusal(e)))?);
        let ended = Arc::new(AtomicBool::new(false));
        let (served, end) = (Arc::clone(&base), Arc::clone(&ended));
        let thread = thread::Builder::new().name("kafka-reports".to_owned()).spawn(move || serve(&served, &end))?;
        Ok(Self { base: Some(base), ended, thread })
    }

    /// What it has said.
    pub(super) fn reports(&self) -> &Arc<Reports> {
        self.client().context()
    }

    /// Ends it, and waits until that is done, though not for long.
    pub(super) async fn end(mut self) {
        const LONGEST: Duration = Duration::from_secs(2);
        self.give_up();
        let began = Instant::now();
        while !self.thread.is_finished() && began.elapsed() < LONGEST {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn give_up(&mut self) {
        // the thread's is the last reference: what takes time happens there
        self.base = None;
        self.ended.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }
}

impl Deref for Producer {
    type Target = BaseProducer<Reports>;

    fn deref(&self) -> &Self::Target {
        self.base.as_ref().expect("it is there until it is given up")
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Calls back [`Reports`] for all that librdkafka says, until `ended`.
fn serve(producer: &BaseProducer<Reports>, ended: &AtomicBool) {
    let this = thread::current();
    // SAFETY: the client lives at least as long as `producer`, and so does its main queue.
    let queue = unsafe { rd_kafka_queue_get_main(producer.client().native_ptr()) };
    // SAFETY: `wake` gets a pointer to `this`, which lives until the callback has been taken away again below.
    unsafe { rd_kafka_queue_cb_event_enable(queue, Some(wake), ptr::from_ref(&this).cast_mut().cast()) };
    while !ended.load(Ordering::Acquire) {
        // SAFETY: the queue is destroyed below.
        while unsafe { rd_kafka_queue_length(queue) } > 0 {
            producer.poll(Duration::ZERO);
        }
        thread::park();
    }
    // SAFETY: librdkafka takes the callback away under the lock under which it calls it; nothing uses the queue after this.
    unsafe {
        rd_kafka_queue_cb_event_enable(queue, None, ptr::null_mut());
        rd_kafka_queue_destroy(queue);
    }
}

/// librdkafka calls it, on any of its threads, when something is in an empty queue.
unsafe extern "C" fn wake(_client: *mut rd_kafka_t, thread: *mut c_void) {
    // SAFETY: `serve` gave the pointer, and what it points to is still there.
    unsafe { &*thread.cast::<Thread>() }.unpark();
}
