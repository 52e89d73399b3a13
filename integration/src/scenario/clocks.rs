//! When it was, on the clock that never jumps and on the one that may.

use anyhow::{Context as _, Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial, told::load_by, watched::watched};
use crate::{
    guest::{Action, fast::Guest},
    records::Record,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "clocks_that_step", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: steps },
    Scenario { name: "clocks_of_sleepers", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: sleeps },
];

const HOUR_NS: u64 = 3_600_000_000_000;
/// The two clocks are read one after the other, by the actor and by the daemon, on a machine that may be stopped in between.
const TOLERANCE_NS: u64 = 500_000_000;
/// `date +%s` cuts the second off that has begun.
const CUT_NS: u64 = 1_000_000_000;

/// Somebody sets the wall clock.
fn steps(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .script(
            "
            named before finit /fixtures/dummy.ko; act delete dummy
            /actor wait-for /out/records.jsonl '\"eventName\":\"linux.kernel_module.unload\"' 1 60
            date -s @$(($(date +%s) + 3600)) > /dev/null
            named after finit /fixtures/dummy.ko; act delete dummy
            /actor wait-for /out/records.jsonl '\"eventName\":\"linux.kernel_module.unload\"' 2 60
            date -s @$(($(date +%s) - 7200)) > /dev/null
            named back finit /fixtures/dummy.ko
            ",
        )
        .run()?;
    let records = outcome.records()?;
    let mut seen = Vec::new();
    for label in ["before", "after", "back"] {
        let action = outcome.named(label)?;
        // That the boot time is between the caller's two readings is checked of every load.
        let record = load_by(&records, &action)?;
        expect_wall_clock(record, &action).with_context(|| format!("the load {label} the step"))?;
        seen.push((record.time, record.integer("kmodtrail.boot_time_ns")?.unsigned_abs()));
    }
    let [(first, first_boot), (second, second_boot), (third, third_boot)] = seen[..] else {
        anyhow::bail!("three loads were made")
    };
    ensure!(first_boot < second_boot && second_boot < third_boot, "boot times jump: {seen:?}");
    ensure!(second_boot - first_boot < HOUR_NS, "a step of the wall clock moved the boot time: {seen:?}");
    ensure!(second - first >= HOUR_NS - CUT_NS && third < first, "the steps are not told: {seen:?}");
    Ok(())
}

/// The machine sleeps, in ACPI's S3, and a load of before is read only after it.
fn sleeps(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .guest(Guest::sleeps)
        .script(
            "
            kill -STOP $daemon
            named before finit /fixtures/dummy.ko
            echo +4 > /sys/class/rtc/rtc0/wakealarm
            echo mem > /sys/power/state || exit 91
            kill -CONT $daemon
            named after finit /fixtures/hello.ko
            ",
        )
        .run()?;
    let records = outcome.records()?;
    let (before, after) = (outcome.named("before")?, outcome.named("after")?);
    for action in [&before, &after] {
        expect_wall_clock(load_by(&records, action)?, action)?;
    }
    let passed = after.boottime_before_ns - before.boottime_after_ns;
    let awake = after.monotonic_before_ns - before.monotonic_after_ns;
    ensure!(passed > awake + 2_000_000_000, "of {passed} ns it was awake {awake}: it did not sleep");
    Ok(())
}

fn expect_wall_clock(record: &Record, action: &Action) -> Result<()> {
    let latest = action.realtime_ns + (action.boottime_after_ns - action.boottime_before_ns) + TOLERANCE_NS;
    let earliest = action.realtime_ns - TOLERANCE_NS;
    let (time, observed) = (record.time, record.observed);
    ensure!((earliest..=latest).contains(&time), "{time} is not in {earliest}..={latest}:\n{record}");
    ensure!(time <= observed && observed - time < HOUR_NS, "{time} was observed at {observed}:\n{record}");

    // The process began as long before the load on the one clock as on the other.
    let exec_id = record.string("linux.process.exec_id")?;
    let start: u64 = exec_id.split(':').nth(1).context("no start in exec_id")?.parse()?;
    let age = record.integer("kmodtrail.boot_time_ns")?.unsigned_abs() - start;
    let created = nanoseconds(record.string("process.creation.time")?)?;
    ensure!(created.abs_diff(time - age) < 1_000_000, "the process was not {age} ns old:\n{record}");
    Ok(())
}

/// `2026-01-02T03:04:05.000000006Z` as nanoseconds since 1970.
fn nanoseconds(text: &str) -> Result<u64> {
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [year, month, day, hour, minute, second, fraction] = numbers[..] else { anyhow::bail!("{text} is no time") };
    // Howard Hinnant's days_from_civil: years begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Ok((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(nanoseconds("1970-01-01T00:00:00.000000007Z").expect("a time"), 7);
        assert_eq!(nanoseconds("2024-02-29T12:00:00.500000000Z").expect("a time"), 1_709_208_000_500_000_000);
    }
}
