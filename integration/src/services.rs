//! Real servers for tests, demos and benchmarks: Apache Kafka, the OpenTelemetry Collector, and a server of OTLP that follows a script
//! where a real one can't be made to do what must be survived; and the daemon itself, beside them.
//!
//! All listen on 127.0.0.1, keep their data in temporary folders, and end with us.

pub(crate) mod collector;
pub(crate) mod daemon;
mod go;
pub(crate) mod kafka;
pub(crate) mod otlp;
pub(crate) mod pki;
pub(crate) mod ports;
mod process;
pub(crate) mod zram;

use std::{
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

pub(crate) use self::process::{Log, PATIENCE, Process};

/// Where all that is async of our clients and servers runs.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads can be started"));
    &RUNTIME
}

/// Asks again and again until the answer is there.
///
/// # Errors
/// Those of `ask`, and when [`PATIENCE`] ends; `what` names what was waited for.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(begun.elapsed() < PATIENCE, "waited {} s for {what}", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}
