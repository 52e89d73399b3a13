//! A recording in the place of the kernel, which the other scenarios without a guest stand on.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::{Host, HostScenario};

pub(super) const SCENARIOS: &[HostScenario] =
    &[HostScenario { name: "a_recording_is_played", full: false, run: a_recording_is_played }];

/// What the kernel said comes through decoding, spool and route into a file, every time it is played.
fn a_recording_is_played(host: &Host<'_>) -> Result<()> {
    let mut daemon = host.daemon(
        "[sinks.out]\ntype = \"file\"\npath = \"FOLDER/events.jsonl\"\n[[routes]]\nname = \"all\"\nto = [\"out\"]\n",
    )?;
    daemon.play(3)?;
    let records = daemon.records("events.jsonl")?;
    for (event, number) in [("load", 22), ("unload", 21), ("request", 10)] {
        records.of(&format!("linux.kernel_module.{event}")).count(3 * number)?;
    }
    let ids: BTreeSet<_> = records.iter().map(|record| record.string("log.record.uid")).collect::<Result<_>>()?;
    ensure!(ids.len() == records.iter().count(), "two records have one id");
    Ok(())
}
