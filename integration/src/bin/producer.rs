//! The least that delivering costs: librdkafka in a loop, for `cargo xtask bench delivery`.
//!
//! `producer BROKERS TOPIC FILE COUNT` sends COUNT messages, the lines of FILE again and again, and prints the CPU time that it took, in
//! nanoseconds.
#![expect(clippy::print_stdout, reason = "that is how it tells")]

use std::{
    env, fs,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
};

/// How often it looks for reports of what was delivered.
const MESSAGES_PER_POLL: usize = 256;

#[derive(Default)]
struct Delivered(AtomicU64);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [brokers, topic, file, count] = arguments.as_slice() else {
        anyhow::bail!("usage: producer BROKERS TOPIC FILE COUNT");
    };
    let count: usize = count.parse().with_context(|| format!("no number: {count}"))?;
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let lines: Vec<_> = text.lines().collect();

    let begun = cpu_time()?;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("acks", "all").set("enable.idempotence", "true");
    client.set("compression.type", "zstd").set("linger.ms", "5");
    let producer: BaseProducer<Delivered> = client.create_with_context(Delivered::default())?;
    for (number, line) in lines.iter().cycle().take(count).enumerate() {
        let mut record = BaseRecord::<(), str>::to(topic).payload(line);
        while let Err((error, rejected)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(10));
            record = rejected;
        }
        if number % MESSAGES_PER_POLL == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(600))?;
    let delivered = producer.context().0.load(Ordering::Relaxed);
    ensure!(delivered == count as u64, "{delivered} of {count} messages were delivered");
    println!("{}", (cpu_time()? - begun).as_nanos());
    Ok(())
}

/// What all threads took so far, in user space and in the kernel.
fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs()))
}
