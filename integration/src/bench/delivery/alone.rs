//! What is measured of kmodtrail alone: memory, latency, and whether what a record costs depends on how many there are.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use super::{Cost, Work, figure::Figure, kmodtrail};
use crate::{
    records::Records,
    services::{
        collector::{Collector, Pipeline},
        daemon::{Daemon, Play},
        otlp::Protocol,
    },
};

/// linger of the sink, by default, in milliseconds.
const LINGER: f64 = 5.0;
/// What the recording has of kernel records for each record that is made of them, about.
const KERNEL_RECORDS: f64 = 2.4;
/// Times that the recording is played to find what a record costs with few and with many sinks.
const TIMES: u64 = 1000;

/// All of it; `many` is what it took to deliver the most records.
///
/// # Errors
/// When a server or the daemon fails.
pub(super) fn figures(work: &Work<'_>, many: Cost) -> Result<Vec<Figure>> {
    let mut figures = vec![resident(work)?];
    let (slow, fast) = (latencies(work, 10, 300)?, latencies(work, 1000, 10_000)?);
    let figure = |name, title, value, unit, target| Figure::of_ours(name, title, value, unit, target);
    figures.push(figure(
        "latency_10_median",
        "latency at 10 records a second, median",
        slow.0,
        "ms",
        Some(2.0 * LINGER),
    ));
    figures.push(figure("latency_10_p99", "latency at 10 records a second, p99", slow.1, "ms", None));
    figures.push(figure("latency_1000_median", "latency at 1,000 records a second, median", fast.0, "ms", None));
    figures.push(figure("latency_1000_p99", "latency at 1,000 records a second, p99", fast.1, "ms", None));
    let few = kmodtrail::measure(&Work { number: 10_000, ..*work })?;
    let ratio = many.per_record() / few.per_record();
    figures.push(figure("cost_of_many", "what a record costs of all of them, to one of 10,000", ratio, "", Some(1.2)));
    let ratio = to_files(work, 3)? / to_files(work, 1)?;
    figures.push(figure("cost_of_three_sinks", "what a record costs with three sinks, to one", ratio, "", Some(1.2)));
    Ok(figures)
}

/// With a sink for Kafka and one for a collector that have delivered something.
fn resident(work: &Work<'_>) -> Result<Figure> {
    let collector = Collector::start(work.testbed.cache(), work.pki, &[Pipeline::otlp()])?;
    let mut daemon = Daemon::new(
        work.testbed,
        &format!(
            r#"
            [sinks.kafka]
            type = "kafka"
            brokers = ["{}"]
            topic = "{}"
            [sinks.collector]
            type = "otlp"
            endpoint = "{}"
            [[routes]]
            name = "all"
            to = ["kafka", "collector"]
            "#,
            work.brokers(),
            work.topic,
            collector.endpoint(0, Protocol::Grpc)
        ),
    )?;
    daemon.start(Play::QUIETLY)?;
    for sink in ["kafka", "collector"] {
        daemon.wait_for_sink(sink, "a delivered record", |sink| sink.count("delivered") > 5)?;
    }
    let path = format!("/proc/{}/status", daemon.running()?.id());
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.trim_end_matches("kB").trim().parse()?;
    let megabytes = kibibytes * 1024.0 / 1e6;
    daemon.stop()?;
    let title = "resident memory, idle, with a sink for Kafka and one for OTLP";
    Ok(Figure::of_ours("resident_idle", title, megabytes, "MB", Some(24.0)))
}

/// Milliseconds from when a kernel record is read until the broker has the message, by the broker's clock, which is ours: median and 99th
/// percentile of this many, at so many records a second.
fn latencies(work: &Work<'_>, rate: u64, number: usize) -> Result<(f64, f64)> {
    let topic = format!("latency-{rate}");
    work.kafka.create_topic(&topic, 1, &[("message.timestamp.type", "LogAppendTime")])?;
    let mut daemon = Daemon::new(
        work.testbed,
        &format!(
            "[sinks.out]\ntype = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{topic}\"\n\
             [[routes]]\nname = \"all\"\nto = [\"out\"]\n",
            work.brokers()
        ),
    )?;
    daemon.start(Play::for_ever((rate as f64 * KERNEL_RECORDS) as u64))?;
    work.kafka.wait_for_messages(&topic, number)?;
    daemon.stop()?;
    let mut latencies = Vec::new();
    for message in work.kafka.read(&topic)? {
        for record in Records::parse(&String::from_utf8(message.payload)?)?.iter() {
            latencies.push(message.timestamp as f64 - record.observed as f64 / 1e6);
        }
    }
    work.kafka.delete_topic(&topic)?;
    latencies.sort_by(f64::total_cmp);
    let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize];
    Ok((at(0.5), at(0.99)))
}

/// CPU seconds to write what a recording says into so many files.
fn to_files(work: &Work<'_>, number: usize) -> Result<f64> {
    let names: Vec<_> = (0..number).map(|number| format!("file{number}")).collect();
    let mut sinks = "spool.max_size = \"4GiB\"\nshutdown.drain = \"1h\"\n".to_owned();
    for name in &names {
        sinks += &format!("[sinks.{name}]\ntype = \"file\"\npath = \"FOLDER/{name}\"\nfsync = \"none\"\n");
    }
    sinks += &format!("[[routes]]\nname = \"all\"\nto = {names:?}\n");
    Daemon::new(work.testbed, &sinks)?.play(TIMES).map(|cpu: Duration| cpu.as_secs_f64())
}
