//! Who delivers.

use anyhow::Result;

use super::{Cost, Work, collector, kmodtrail, librdkafka, rsyslog};

/// A way to bring records to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Subject {
    /// Ours, from recorded records of the kernel, through its spool and its routes.
    Kmodtrail,
    /// A loop around librdkafka.
    Librdkafka,
    /// Debian's rsyslog with a queue in memory.
    RsyslogMemory,
    /// Debian's rsyslog with a queue on disk.
    RsyslogDisk,
    /// A collector with a queue on disk, whose clients send 1,000 records at once.
    #[value(name = "collector-1000")]
    Collector1000,
    /// As that, 100 at once.
    #[value(name = "collector-100")]
    Collector100,
    /// As that, one by one.
    #[value(name = "collector-1")]
    Collector1,
}

impl Subject {
    /// All of them; ours is the first.
    pub(super) const ALL: &'static [Self] = &[
        Self::Kmodtrail,
        Self::Librdkafka,
        Self::RsyslogMemory,
        Self::RsyslogDisk,
        Self::Collector1000,
        Self::Collector100,
        Self::Collector1,
    ];

    /// All but ours.
    pub(super) fn peers() -> &'static [Self] {
        &Self::ALL[1..]
    }

    /// What it is called, in JSON and as a topic.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kmodtrail => "kmodtrail",
            Self::Librdkafka => "librdkafka",
            Self::RsyslogMemory => "rsyslog-memory",
            Self::RsyslogDisk => "rsyslog-disk",
            Self::Collector1000 => "collector-1000",
            Self::Collector100 => "collector-100",
            Self::Collector1 => "collector-1",
        }
    }

    /// A part of the records is enough for one that takes minutes for all of them.
    pub(super) const fn slowness(self) -> usize {
        if matches!(self, Self::Collector1) { 50 } else { 1 }
    }

    /// Lets it deliver.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn measure(self, work: &Work<'_>) -> Result<Cost> {
        match self {
            Self::Kmodtrail => kmodtrail::measure(work),
            Self::Librdkafka => librdkafka::measure(work),
            Self::RsyslogMemory => rsyslog::measure(work, rsyslog::Queue::Memory),
            Self::RsyslogDisk => rsyslog::measure(work, rsyslog::Queue::Disk),
            Self::Collector1000 => collector::measure(work, 1000),
            Self::Collector100 => collector::measure(work, 100),
            Self::Collector1 => collector::measure(work, 1),
        }
    }
}
