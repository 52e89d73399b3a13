//! Ours: a recording of a kernel through decoding, spool and routes.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{Cost, Work};
use crate::{services::daemon::Daemon, testbed::Testbed};

/// What it says of itself: its start, its hooks and its end.
const OWN: usize = 3;

/// What is left of a record has 800 bytes or so: who acted is told by his name, without his ancestors.
const ROUTE: &str = r#"
[[routes]]
name = "short"
to = ["out"]
drop_attributes = [
    "file.*", "linux.process.*", "linux.kernel_module.file.*", "linux.kernel_module.taints.*", "linux.kernel_module.*version",
    "process.command_args", "process.creation.time", "process.real_user.*", "process.vpid", "process.working_directory",
    "kmodtrail.boot_time_ns", "kmodtrail.enrichment.missing", "thread.*",
]
"#;

/// Room for everything, however far behind Kafka is, and time to catch up.
const ROOM: &str = "spool.max_size = \"16GiB\"\nshutdown.drain = \"1h\"\n";

/// The lines that it makes of the recording, played so often; and how many that are each time.
///
/// # Errors
/// When the daemon fails.
pub(super) fn lines(testbed: &Testbed, times: u64) -> Result<(Vec<String>, usize)> {
    let sink = "[sinks.out]\ntype = \"file\"\npath = \"FOLDER/lines\"\nencoding = \"json\"\n";
    let mut daemon = Daemon::new(testbed, &format!("{ROOM}{sink}{ROUTE}"))?;
    daemon.play(times)?;
    let text = fs::read_to_string(daemon.path("lines")).context("reading what the daemon wrote")?;
    let lines: Vec<_> = text.lines().filter(|line| line.contains("linux.kernel_module")).map(str::to_owned).collect();
    ensure!(!lines.is_empty() && lines.len() % times as usize == 0, "{} lines of {times} times", lines.len());
    let each = lines.len() / times as usize;
    Ok((lines, each))
}

/// It ends when all that it made is acknowledged.
pub(super) fn measure(work: &Work<'_>) -> Result<Cost> {
    let sink = format!(
        "[sinks.out]\ntype = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{}\"\nencoding = \"json\"\ncompression = \"zstd\"\n",
        work.brokers(),
        work.topic
    );
    let times = work.number.div_ceil(work.records.each);
    let mut daemon = Daemon::new(work.testbed, &format!("{ROOM}{sink}{ROUTE}"))?;
    let cpu = daemon.play(times as u64).with_context(|| daemon.log().evidence())?;
    let number = times * work.records.each;
    // its own records tell of its start and end
    work.wait_for_messages(number + OWN)?;
    Ok(Cost { records: number, cpu })
}
