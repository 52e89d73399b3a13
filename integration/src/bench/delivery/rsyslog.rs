//! rsyslog, as Debian 12 has it, with its output to Kafka.

use std::{
    io::{BufWriter, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Cost, Work};
use crate::{
    bench::unpacked,
    cache::{self, Cache},
    services::{Log, Process, ports, wait_for},
};

const PROGRAMS: &[unpacked::Program] = &[(
    "rsyslog",
    &[
        "usr/sbin/rsyslogd",
        "usr/lib/x86_64-linux-gnu/rsyslog/imptcp.so",
        "usr/lib/x86_64-linux-gnu/rsyslog/lmnet.so",
        "usr/lib/x86_64-linux-gnu/rsyslog/omkafka.so",
    ],
)];

const MODULES: &str = "usr/lib/x86_64-linux-gnu/rsyslog";

/// Where it keeps what Kafka does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Lost with the process.
    Memory,
    /// In files that are never synced: lost with the machine.
    Disk,
}

/// Unpacks it, if need be, and returns the folder.
///
/// # Errors
/// When its packages can't be had.
pub(super) fn prepare(cache: &Cache) -> Result<PathBuf> {
    Ok(unpacked::programs(cache, "bench-delivery", "rsyslog,rsyslog-kafka", PROGRAMS)?.join("rsyslog"))
}

/// Its clients come by TCP, as that costs it less than reading a file.
pub(super) fn measure(work: &Work<'_>, queue: Queue) -> Result<Cost> {
    let place = tempfile::tempdir()?;
    let port = ports::free()?;
    let configuration = place.path().join("rsyslog.conf");
    cache::write_atomically(&configuration, configured(work, queue, place.path(), port))?;
    let log = Log::new("rsyslogd");
    let process = Process::start_silent(rsyslogd(&work.programs.rsyslog, &configuration), &log)?;
    let stream = wait_for("rsyslogd to listen", || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()));
    let deliver = |stream| {
        let before = process.cpu_time()?;
        let mut stream = BufWriter::new(stream);
        for line in work.records.take(work.number) {
            writeln!(stream, "{line}")?;
        }
        stream.flush()?;
        work.wait_for_messages(work.number)?;
        Ok(process.cpu_time()? - before)
    };
    let cpu = stream.and_then(deliver).with_context(|| log.evidence())?;
    Ok(Cost { records: work.number, cpu })
}

/// Nothing that it accepted may get lost while it runs: it tries for ever, and keeps what librdkafka gives back.
fn configured(work: &Work<'_>, queue: Queue, place: &Path, port: u16) -> String {
    let (brokers, topic, place) = (work.brokers(), work.topic, place.display());
    let queue = match queue {
        Queue::Memory => "queue.type=\"LinkedList\" queue.size=\"100000\"".to_owned(),
        Queue::Disk => format!(
            "queue.type=\"Disk\" queue.filename=\"delivery\" queue.spoolDirectory=\"{place}\" queue.maxFileSize=\"16m\""
        ),
    };
    format!(
        r#"
global(workDirectory="{place}" maxMessageSize="64k")
module(load="imptcp")
module(load="omkafka")
template(name="record" type="string" string="%rawmsg%")
input(type="imptcp" address="127.0.0.1" port="{port}" ruleset="deliver")
ruleset(name="deliver") {{
  action(type="omkafka" broker=["{brokers}"] topic="{topic}" template="record"
    confParam=["compression.codec=zstd", "enable.idempotence=true", "acks=all", "linger.ms=5"]
    resubmitOnFailure="on" keepFailedMessages="on" failedMsgFile="{place}/failed"
    action.resumeRetryCount="-1" {queue})
}}
"#
    )
}

/// With its own loader and libraries, whatever this machine has.
fn rsyslogd(folder: &Path, configuration: &Path) -> Command {
    let libraries = unpacked::LIBRARIES.iter().map(|library| folder.join(library).display().to_string());
    let mut rsyslogd = Command::new(folder.join(unpacked::LOADER));
    rsyslogd.arg("--library-path").arg(libraries.collect::<Vec<_>>().join(":"));
    rsyslogd.arg(folder.join("usr/sbin/rsyslogd")).arg("-n").arg("-M").arg(folder.join(MODULES));
    rsyslogd.arg("-f").arg(configuration).arg("-i").arg(configuration.with_extension("pid"));
    rsyslogd
}
