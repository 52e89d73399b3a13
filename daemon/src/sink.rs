//! Where records go: one file per kind of destination, and a worker for each that keeps trying.

mod dead_letters;
pub mod file;
mod frames;
mod health;
pub mod kafka;
pub mod otlp;
pub mod stdout;
mod verdict;
mod worker;

#[cfg(test)]
#[path = "../tests/records/numbered.rs"]
mod numbered;

use self::{file::FileSink, kafka::KafkaSink, otlp::OtlpSink, stdout::StdoutSink};
use std::{io, path::Path};

pub use self::{
    dead_letters::{DeadLetter, DeadLetters, DeadLettersError},
    health::{Health, State},
    verdict::{Limits, Outgoing, Trouble, Verdict},
    worker::{Job, Worker},
};
use crate::config::{self, SinkKind};

/// Why a sink can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("sink \"{sink}\": {why}")]
pub struct OpenError {
    /// Name of the sink.
    pub sink: String,
    /// What happened, where, and what to do.
    pub why: String,
}

impl OpenError {
    fn of_file(sink: &str, path: &Path, source: &io::Error) -> Self {
        let why = format!(
            "can't open {} for appending: {source}; allowed: a file that this user may read and write, in a folder where it may make files \
             (systemd makes /var/log/kmodtrail for the service)",
            path.display()
        );
        Self { sink: sink.to_owned(), why }
    }
}

/// What a worker does with a sink.
pub trait Deliver {
    /// What it takes at once.
    fn limits(&self) -> Limits;
    /// Tries to deliver all of them; says what became of each, in their order.
    fn deliver(&mut self, records: &[Outgoing<'_>]) -> impl Future<Output = Vec<Verdict>>;
    /// Opens again what may have been rotated away.
    fn reopen(&mut self);
    /// The last call.
    fn close(self) -> impl Future<Output = ()>;
}

/// A destination.
#[derive(Debug)]
pub enum Sink {
    /// `type = "file"`
    File(Box<FileSink>),
    /// `type = "kafka"`
    Kafka(Box<KafkaSink>),
    /// `type = "otlp"`
    Otlp(Box<OtlpSink>),
    /// `type = "stdout"`
    Stdout(Box<StdoutSink>),
}

impl Sink {
    /// Opens what the configuration says. The far side need not be there.
    ///
    /// # Errors
    /// Where something on this side is missing or wrong.
    pub fn open(config: &config::Sink, health: &Health) -> Result<Self, OpenError> {
        let (name, encoding, health) = (config.name.as_str(), config.encoding, health.clone());
        match &config.kind {
            SinkKind::File(file) => FileSink::open(name, file, encoding, health).map(|sink| Self::File(Box::new(sink))),
            SinkKind::Kafka(kafka) => {
                KafkaSink::open(name, kafka, encoding, health).map(|sink| Self::Kafka(Box::new(sink)))
            }
            SinkKind::Otlp(otlp) => match OtlpSink::open(name, otlp) {
                Ok(sink) => Ok(Self::Otlp(Box::new(sink))),
                Err(error) => Err(OpenError { sink: name.to_owned(), why: error.to_string() }),
            },
            SinkKind::Stdout => StdoutSink::open(name, encoding).map(|sink| Self::Stdout(Box::new(sink))),
        }
    }
}

impl Deliver for Sink {
    fn limits(&self) -> Limits {
        match self {
            Self::File(sink) => sink.limits(),
            Self::Kafka(sink) => sink.limits(),
            Self::Otlp(sink) => sink.limits(),
            Self::Stdout(sink) => sink.limits(),
        }
    }

    async fn deliver(&mut self, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        match self {
            Self::File(sink) => sink.deliver(records).await,
            Self::Kafka(sink) => sink.deliver(records).await,
            Self::Otlp(sink) => sink.deliver(records).await,
            Self::Stdout(sink) => sink.deliver(records).await,
        }
    }

    fn reopen(&mut self) {
        match self {
            Self::File(sink) => sink.reopen(),
            Self::Kafka(_) | Self::Otlp(_) | Self::Stdout(_) => {}
        }
    }

    async fn close(self) {
        match self {
            Self::File(sink) => sink.close().await,
            Self::Kafka(sink) => sink.close().await,
            Self::Otlp(sink) => sink.close().await,
            Self::Stdout(_) => {}
        }
    }
}
