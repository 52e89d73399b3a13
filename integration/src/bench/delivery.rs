//! `cargo xtask bench delivery`: what it costs to bring records to Kafka.
//!
//! All subjects send the same records of about 800 bytes to one broker, one after the other in one run: each is a message of its own (but for
//! the collector, whose messages have as many as its clients send at once), acknowledged by all replicas, idempotent, compressed
//! with zstd. What is measured is the CPU time of the subject's own process, in user space and in the kernel, from when it is ready until
//! the broker has everything. It depends on the machine, the ratios of one run do not.

mod alone;
mod collector;
mod figure;
mod kmodtrail;
mod librdkafka;
mod print;
mod records;
mod rsyslog;
mod subject;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::{figure::Figure, records::Records, subject::Subject};
use crate::{
    command,
    kernels::Freshness,
    prepare,
    progress::say,
    services::{
        kafka::{Kafka, Listener, Setup},
        pki::Pki,
    },
    testbed::Testbed,
    workspace,
};

/// How much to measure, and how to print it.
#[derive(Args, Debug)]
pub(crate) struct DeliveryArguments {
    /// How many records each subject sends; the slowest one sends fewer
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    records: usize,
    /// Only this subject; may be given several times
    #[arg(long = "subject", value_name = "NAME", value_enum)]
    subjects: Vec<Subject>,
    /// A JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// What each subject gets to work with.
pub(super) struct Work<'a> {
    testbed: &'a Testbed,
    programs: &'a Programs,
    kafka: &'a Kafka,
    pki: &'a Pki,
    records: &'a Records,
    /// The topic to send them to, which is empty.
    topic: &'a str,
    /// How many records to send.
    number: usize,
}

/// What is run, beside what tests run too.
struct Programs {
    producer: PathBuf,
    rsyslog: PathBuf,
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// For this many records.
    records: usize,
    /// The time of all its threads.
    cpu: Duration,
}

/// Measures it.
///
/// # Errors
/// When a server or a peer can't be had, or a figure of kmodtrail misses its target.
pub(super) fn run(arguments: &DeliveryArguments) -> Result<()> {
    let testbed = Testbed::open(Freshness::Cached)?;
    prepare::tools(&testbed)?;
    prepare::services(&testbed)?;
    let programs = Programs { producer: workspace::build_producer()?, rsyslog: rsyslog::prepare(testbed.cache())? };
    let (pki, records) = (Arc::new(Pki::new()?), Records::new(&testbed)?);
    let kafka = Kafka::start(testbed.cache(), &pki, &Setup::single())?;
    let subjects = if arguments.subjects.is_empty() { Subject::ALL } else { &arguments.subjects };
    let work = |topic, number| Work {
        testbed: &testbed,
        programs: &programs,
        kafka: &kafka,
        pki: &pki,
        records: &records,
        topic,
        number,
    };
    let mut costs = Vec::new();
    for &subject in subjects {
        let topic = subject.name();
        kafka.create_topic(topic, 1, &[])?;
        let number = (arguments.records / subject.slowness()).max(1);
        let begun = Instant::now();
        match subject.measure(&work(topic, number)).with_context(|| format!("measuring {topic}")) {
            Ok(cost) => costs.push((subject, cost)),
            // that another program does not work here says nothing about ours
            Err(error) => say(command::explained(&error)),
        }
        say(format_args!("{topic}: {number} records in {:.1} s", begun.elapsed().as_secs_f64()));
        kafka.delete_topic(topic)?;
    }
    let figures = Figure::all(&costs);
    let ours = costs.iter().find(|(subject, _)| *subject == Subject::Kmodtrail).map(|(_, cost)| *cost);
    let alone = match ours {
        Some(many) => {
            let topic = "alone";
            kafka.create_topic(topic, 1, &[])?;
            let work = work(topic, 0);
            alone::figures(&work, many)?
        }
        None => Vec::new(),
    };
    let all: Vec<_> = figures.iter().chain(&alone).collect();
    if arguments.json {
        print::json(&all)?;
    } else {
        print::table(&figures, &alone, figure::target(&costs), records.length());
    }
    let missed: Vec<_> =
        all.into_iter().filter(|figure| figure.ok == Some(false)).map(|figure| figure.shown()).collect();
    if !missed.is_empty() {
        bail!("{} figures miss their targets:\n  {}", missed.len(), missed.join("\n  "));
    }
    Ok(())
}

impl Cost {
    /// CPU seconds for each.
    fn per_record(self) -> f64 {
        self.cpu.as_secs_f64() / self.records as f64
    }
}

impl Work<'_> {
    /// The brokers to send to.
    fn brokers(&self) -> String {
        self.kafka.brokers(Listener::Plaintext)
    }

    /// Waits until the topic has so many messages.
    fn wait_for_messages(&self, number: usize) -> Result<()> {
        self.kafka.wait_for_messages(self.topic, number)
    }
}
