//! What anybody can do often must not displace what matters, and what a full ring costs is told.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{
    GuestKind, Kernels, Scenario, Trial,
    told::{HELPER, LOAD, REQUEST, UNLOAD},
    watched::{Watched, watched},
};
use crate::{guest::Outcome, records::Records};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "flood_of_requests",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: |trial| flood_of_requests(trial, FLOOD / 4),
    },
    Scenario {
        name: "long_flood_of_requests",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: true,
        run: |trial| flood_of_requests(trial, FLOOD),
    },
    Scenario {
        name: "flood_of_attempts",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: flood_of_attempts,
    },
    Scenario { name: "lost_is_told", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: lost_is_told },
];

const FLOOD: u64 = 20_000;
/// A family that no kernel here has built in: each socket(2) asks for one module, net-pf-9 (AF_X25).
const FAMILY: u32 = 9;
/// The round of all of these scenarios.
const ROUND: &str = "flood";

/// Two processors, so that the flood and the victim run at the same time; all the floods' records have room.
fn with_room<'a>(trial: &Trial<'a>) -> Result<Watched<'a>> {
    let watched = watched(trial)?.guest(|guest| guest.processors(2).memory(1024));
    // Where there is no modprobe, thousands of requests a second are possible.
    Ok(watched.unwatched("mount -o remount,size=800M /out; echo /no/modprobe > /proc/sys/kernel/modprobe"))
}

fn flood_of_requests(trial: &Trial<'_>, number: u64) -> Result<()> {
    let outcome = with_room(trial)?
        .guest(|guest| guest.limit(Duration::from_secs(600)))
        .lossy_round(
            ROUND,
            "",
            &format!(
                "
                cd /sys/kernel/tracing
                echo 'p:asked security_kernel_module_request' > kprobe_events
                echo 1 > events/kprobes/asked/enable
                named flood drop-caps-run /actor request {number} {FAMILY} &
                flood=$!
                named pairs pairs 60 /fixtures/hello.ko hello
                wait $flood
                cat kprobe_profile > /out/asked
                "
            ),
        )
        .unwatched(&take_out(REQUEST))
        .unwatched(&take_out(HELPER))
        .run()?;
    outcome.named("flood")?.expect_success()?;
    outcome.named("pairs")?.expect_success()?;
    // Another kprobe on the same function has counted too: name, hits, misses.
    let asked = outcome.text("asked")?;
    let asked: Vec<_> = asked.split_whitespace().collect();
    ensure!(asked.get(1) == Some(&number.to_string().as_str()), "not {number} requests were made: {asked:?}");

    let records = outcome.records_in("flood.jsonl")?;
    expect_pairs(&outcome, &records, 60)?;
    expect_all(&outcome, &records, REQUEST, "module request", number)
}

fn flood_of_attempts(trial: &Trial<'_>) -> Result<()> {
    let outcome = with_room(trial)?
        .lossy_round(
            ROUND,
            "",
            &format!(
                "
                named flood drop-caps-run /actor attempts {FLOOD} /fixtures/hello.ko &
                flood=$!
                named pairs pairs 30 /fixtures/hello.ko hello
                wait $flood
                "
            ),
        )
        .unwatched(&format!(
            "
            grep -v '\"stringValue\":\"nobody\"' /out/{ROUND}.jsonl > /out/others
            grep '\"stringValue\":\"nobody\"' /out/{ROUND}.jsonl | grep -c '\"eventName\":\"{LOAD}\"' > /out/{LOAD}.number
            mv /out/others /out/{ROUND}.jsonl
            "
        ))
        .run()?;
    let flood = outcome.named("flood")?;
    flood.expect_error("EPERM")?;
    ensure!(flood.more["failures"] == FLOOD, "not every attempt failed: {:?}", flood.more);
    outcome.named("pairs")?.expect_success()?;
    let records = outcome.records_in("flood.jsonl")?;
    expect_pairs(&outcome, &records, 30)?;
    expect_all(&outcome, &records, LOAD, "finit_module", FLOOD)
}

/// The daemon stands still, and far more happens than the smallest rings can hold.
fn lost_is_told(trial: &Trial<'_>) -> Result<()> {
    let outcome = with_room(trial)?
        .lossy_round(
            ROUND,
            "critical_ring_size = \"64KiB\"\nbulk_ring_size = \"64KiB\"",
            &format!(
                "
                kill -STOP $daemon
                named flood request 2000 {FAMILY}
                named pairs pairs 40 /fixtures/hello.ko hello
                kill -CONT $daemon
                "
            ),
        )
        .run()?;
    let flood = outcome.named("flood")?;
    let pairs = outcome.named("pairs")?;
    pairs.expect_success()?;
    let records = outcome.records_in("flood.jsonl")?;
    let expect = |what: &str, seen: usize, record: &str, made: u64| {
        let lost = lost(&records, record)?;
        ensure!(seen as u64 + lost == made, "{what}: {seen} seen + {lost} lost are not the {made} that were made");
        ensure!(lost > 0, "{what}: nothing lost, as if the ring had no end");
        anyhow::Ok(())
    };
    expect("requests", records.of(REQUEST).with("process.pid", flood.pid).len(), "module request", 2000)?;
    expect("helpers", records.of(HELPER).len(), "helper", 2000)?;
    // Where its beginning was lost an attempt is told by its middle, and then nobody knows which call it was.
    let loads = records.of(LOAD).having("linux.kernel_module.syscall").with("process.pid", pairs.pid).len();
    expect("loads", loads, "finit_module", 40)?;
    let unloads = records.of(UNLOAD).with("process.pid", pairs.pid).len();
    expect("unloads", unloads, "delete_module", 40)?;

    let all: i64 =
        records.of("kmodtrail.lost").iter().map(|lost| lost.integer("kmodtrail.lost.count")).sum::<Result<_>>()?;
    let stopped = records.of("kmodtrail.stopped").one()?;
    stopped.expect("kmodtrail.stopped.lost", all)?;
    expect_numbered(&records, stopped.integer("kmodtrail.stopped.kernel_records")?)
}

/// No two events come from one kernel record, and there are no more than the kernel made.
fn expect_numbered(records: &Records, made: i64) -> Result<()> {
    let mut last = 0;
    for cpu in 0..2 {
        let of_cpu = records.all().with("kmodtrail.cpu", cpu).that("of the kernel", |r| r.event != "kmodtrail.lost");
        let numbers: Vec<_> =
            of_cpu.iter().map(|record| record.integer("kmodtrail.sequence")).collect::<Result<_>>()?;
        last += numbers.iter().copied().max().unwrap_or(0);
    }
    ensure!(last <= made, "the records' numbers reach {last}, but the kernel made {made}");
    Ok(())
}

/// The shell commands that count the records of an event in the guest and leave only the others: /out goes through a serial port.
fn take_out(event: &str) -> String {
    format!(
        "
        grep -c '\"eventName\":\"{event}\"' /out/{ROUND}.jsonl > /out/{event}.number
        grep -v '\"eventName\":\"{event}\"' /out/{ROUND}.jsonl > /out/others
        mv /out/others /out/{ROUND}.jsonl
        "
    )
}

/// Each load and each unload of the other process is there, whole.
fn expect_pairs(outcome: &Outcome, records: &Records, number: usize) -> Result<()> {
    let pid = outcome.named("pairs")?.pid;
    for event in [LOAD, UNLOAD] {
        let of_pairs = records.of(event).with("process.pid", pid).with("linux.kernel_module.outcome", "success");
        let whole = of_pairs.with("linux.kernel_module.name", "hello").with("linux.kernel_module.taints.letters", "OE");
        let told = whole.len();
        ensure!(told == number, "{told} of {number} records {event} of the process beside the flood");
    }
    Ok(())
}

/// What was told and what was lost is what was made.
fn expect_all(outcome: &Outcome, records: &Records, event: &str, record: &str, made: u64) -> Result<()> {
    let told: u64 = outcome.text(&format!("{event}.number"))?.trim().parse().context("grep counts")?;
    let lost = lost(records, record)?;
    ensure!(told + lost == made, "{told} records {event} and {lost} lost are not the {made} that were made");
    Ok(())
}

/// Records of this kind that are told to be lost.
pub(super) fn lost(records: &Records, record: &str) -> Result<u64> {
    let told = records.of("kmodtrail.lost").with("kmodtrail.lost.record", record);
    told.iter().map(|lost| Ok(lost.integer("kmodtrail.lost.count")?.unsigned_abs())).sum()
}
