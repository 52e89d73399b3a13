//! The disk below the spool is full, or breaks: the daemon goes on, says so, and what it has promised arrives.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Host, HostScenario,
    arrived::{Arrived, expect_no_less, settle, settle_running},
};
use crate::{
    records::Records,
    services::{
        collector::{Collector, Pipeline},
        daemon::{Daemon, Play, Sink},
        kafka::disk::Disk,
        otlp::Protocol::Grpc,
        wait_for,
        zram::BreakableDisk,
    },
};

pub(super) const SCENARIOS: &[HostScenario] = &[
    HostScenario { name: "spool_drops_on_a_full_disk", full: false, run: drops_on_a_full_disk },
    HostScenario { name: "spool_waits_on_a_full_disk", full: false, run: waits_on_a_full_disk },
    HostScenario { name: "spool_on_a_broken_disk", full: false, run: on_a_broken_disk },
];

/// Kernel records per second.
const RATE: u64 = 1000;

/// A file sink on another disk, and a collector.
fn daemon(host: &Host<'_>, collector: &Collector, spool: &Path, settings: &str) -> Result<Daemon> {
    let daemon = host.daemon(&format!(
        "[sinks.out]\ntype = \"file\"\npath = \"FOLDER/events.jsonl\"\n\
         [sinks.collector]\ntype = \"otlp\"\nendpoint = \"{}\"\n\
         [[routes]]\nname = \"all\"\nto = [\"out\", \"collector\"]\n",
        collector.endpoint(0, Grpc)
    ))?;
    daemon.drop_in("spool.toml", &format!("[spool]\npath = {:?}\n{settings}\n", spool.join("spool")))?;
    Ok(daemon)
}

/// The collector is down until the spool has no room: what is least is dropped for it and counted,
/// and for the file only what it has not had yet.
fn drops_on_a_full_disk(host: &Host<'_>) -> Result<()> {
    let disk = Disk::new(Some(4 << 20))?;
    let mut collector = host.collector(&[Pipeline::otlp()])?;
    let mut daemon = daemon(host, &collector, disk.path(), "when_full = \"drop_oldest\"")?;
    let (mut out, mut far) = (Arrived::in_file(&daemon, "events.jsonl"), Arrived::at_collector(&collector, &[0]));
    collector.stop()?;
    daemon.start(Play::for_ever(RATE))?;
    daemon.wait_for_sink("collector", "records that are dropped", |sink| sink.dropped() > 1000)?;
    collector.start_again()?;
    daemon.wait_for_sink("collector", "the end of its trouble", |sink| sink.trouble().is_empty())?;
    daemon.stop()?;
    daemon.start(Play::QUIETLY)?;
    let ledgers = settle_running(&daemon, &mut [("out", &mut out), ("collector", &mut far)])?;
    let (all, some) = (&ledgers["out"], &ledgers["collector"]);
    ensure!(some.dropped() > 1000 && some.reasons().all(|reason| reason == "spool_full"), "no such drops: {some:?}");
    // Of what is least only the last is left in the spool: that goes, too, and now and then before the file has it.
    ensure!(all.dropped() * 2 < some.dropped(), "the file suffers as well: {all:?}");
    let missing = far.ids().difference(&out.ids()).count() as u64;
    ensure!(
        missing <= all.dropped(),
        "{missing} records are at the collector, not in the file, and not dropped: {all:?}"
    );
    // What is told of it is in the records themselves, but for those of them that are dropped.
    wait_for("what is told of drops", || Ok((told(&daemon, "collector")? >= some.dropped() / 2).then_some(())))?;
    ensure!(told(&daemon, "collector")? <= some.dropped(), "more is told than is dropped: {some:?}");
    daemon.stop()
}

/// How many records the daemon's own records say were dropped for a sink.
fn told(daemon: &Daemon, sink: &str) -> Result<u64> {
    let text = fs::read_to_string(daemon.path("events.jsonl"))?;
    let lines: Vec<_> = text.lines().filter(|line| line.contains("\"eventName\":\"kmodtrail.dropped\"")).collect();
    let records = Records::parse(&lines.join("\n"))?;
    let told = records.all().with("kmodtrail.dropped.sink", sink);
    Ok(told.iter().map(|record| record.integer("kmodtrail.dropped.count")).sum::<Result<i64>>()?.cast_unsigned())
}

/// Somebody else takes all the room: with both policies what comes then waits in the daemon's hands and the kernel's; it says what is
/// wrong, and goes on when there is room.
fn waits_on_a_full_disk(host: &Host<'_>) -> Result<()> {
    for policy in ["drop_oldest", "block_bulk"] {
        waits(host, policy).with_context(|| format!("by {policy}"))?;
    }
    Ok(())
}

fn waits(host: &Host<'_>, policy: &str) -> Result<()> {
    let disk = Disk::new(Some(4 << 20))?;
    let collector = host.collector(&[Pipeline::otlp()])?;
    let mut daemon = daemon(host, &collector, disk.path(), &format!("when_full = {policy:?}"))?;
    let (mut out, mut far) = (Arrived::in_file(&daemon, "events.jsonl"), Arrived::at_collector(&collector, &[0]));
    daemon.start(Play::for_ever(RATE))?;
    daemon.wait_for_sink("collector", "records", |sink| sink.count("delivered") > 100)?;
    let hog = disk.path().join("hog");
    wait_for("a spool that has no room", || {
        // Again and again, as the spool gives back what it does not need.
        fill(&hog)?;
        Ok(stands_still(&daemon)?.then_some(()))
    })?;
    fs::remove_file(&hog)?;
    let before = daemon.sink("out")?;
    goes_on(&daemon, &before)?;
    daemon.stop()?;
    let ledgers = settle(&mut daemon, &mut [("out", &mut out), ("collector", &mut far)])?;
    // For what is worth more the last of what is least may have gone, before one of the two had it.
    for (name, here, there) in [("out", &out, &far), ("collector", &far, &out)] {
        let missing = there.ids().difference(&here.ids()).count() as u64;
        ensure!(
            missing <= ledgers[name].dropped() && missing < 100,
            "{missing} records are lost for {name}: {ledgers:?}"
        );
    }
    Ok(())
}

/// EIO from the disk itself: the daemon says so and reads no more of what the kernel keeps; when the disk is repaired it goes on, and
/// nothing is lost; where it has to be killed meanwhile, and the disk forgets what was not written, what it had promised is there.
fn on_a_broken_disk(host: &Host<'_>) -> Result<()> {
    let disk = BreakableDisk::new("64M")?;
    let collector = host.collector(&[Pipeline::otlp()])?;
    let mut daemon = daemon(host, &collector, disk.path(), "fsync = \"always\"")?;
    let (mut out, mut far) = (Arrived::in_file(&daemon, "events.jsonl"), Arrived::at_collector(&collector, &[0]));
    daemon.start(Play::for_ever(RATE))?;
    daemon.wait_for_sink("collector", "records", |sink| sink.count("delivered") > 100)?;
    disk.break_down()?;
    wait_for(
        "trouble with the spool",
        || Ok(Some(trouble(&daemon)?).filter(|why| why.contains("Input/output error"))),
    )?;
    let before = daemon.sink("out")?;
    disk.repair()?;
    goes_on(&daemon, &before)?;
    ensure!(daemon.log().find("the spool can be written again").is_some(), "it does not say that the disk works again");

    disk.break_down()?;
    wait_for(
        "trouble with the spool",
        || Ok(Some(trouble(&daemon)?).filter(|why| why.contains("Input/output error"))),
    )?;
    let promised = daemon.sink("out")?;
    daemon.kill()?;
    disk.repair()?;
    disk.remount()?;
    daemon.start(Play::for_ever(RATE))?;
    expect_no_less(&promised, &daemon.sink("out")?)?;
    daemon.stop()?;
    settle(&mut daemon, &mut [("out", &mut out), ("collector", &mut far)])?;
    out.expect_same(&far)
}

/// What the status says of the spool.
fn trouble(daemon: &Daemon) -> Result<String> {
    let status: Value = daemon.status()?;
    Ok(status["spool"]["error"].as_str().unwrap_or_default().to_owned())
}

/// Takes all the room that is left.
fn fill(hog: &Path) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(hog)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(())
}

/// Nothing comes into the spool, and the status says why.
fn stands_still(daemon: &Daemon) -> Result<bool> {
    let (before, after) = (daemon.sink("out")?, daemon.sink("out")?);
    Ok(before.count("seen") == after.count("seen") && trouble(daemon)?.contains("No space left"))
}

fn goes_on(daemon: &Daemon, before: &Sink) -> Result<()> {
    let seen = before.count("seen") + 1000;
    daemon.wait_for_sink("out", "records that come in again", |sink| sink.count("seen") > seen).map(drop)?;
    wait_for("the end of the spool's trouble", || Ok(trouble(daemon)?.is_empty().then_some(())))
}
