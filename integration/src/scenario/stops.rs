//! The daemon under systemd is stopped and started again, taken out of the kernel, or gone for so long that a ring is full: what nobody saw
//! is told.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::{
    GuestKind, Kernels, Scenario, Trial,
    floods::lost,
    service::exposed_at_most,
    told::{LOAD, UNLOAD},
};
use crate::{
    guest::{Outcome, systemd::Root},
    records::{Record, Records},
    story, workspace,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stop_and_start",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1"]),
        full: false,
        run: stop_and_start,
    },
    Scenario {
        name: "stop_and_start_keeps_watching",
        guest: GuestKind::SystemdWith(Root::Newer),
        kernels: Kernels::Only(&["6.12", "7"]),
        full: false,
        run: stop_and_start_keeps_watching,
    },
    Scenario {
        name: "upgrade_fails",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1"]),
        full: false,
        run: upgrade_fails,
    },
    Scenario {
        name: "another_abi",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1"]),
        full: false,
        run: another_abi,
    },
    Scenario {
        name: "full_ring_while_down",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["5.10", "7"]),
        full: false,
        run: full_ring_while_down,
    },
];

const KEEP_WATCHING: &str = "systemd/kmodtrail.service.d/keep-watching.conf";

/// One pair before the stop, five while it is stopped, one after it; then it is taken out of the kernel, and one more happens before it is
/// put back.
const SCRIPT: &str = r#"
events=/var/log/kmodtrail/events.jsonl
kprobes() { mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; wc -l < /sys/kernel/debug/kprobes/list; }
stored() { systemctl show -p NFileDescriptorStore --value kmodtrail; }
pairs() { /actor pairs $1 /fixtures/hello.ko hello > /run/pairs || { echo "no pairs"; exit 1; }; }
# systemd forgets what a unit has kept that nobody refers to
systemctl enable -q kmodtrail
systemctl start kmodtrail || exit 1
kprobes > /out/watching
pairs 1
systemctl stop kmodtrail || exit 2
kprobes > /out/stopped
pairs 5
sleep 1
systemctl start kmodtrail || exit 3
pairs 1
/usr/bin/kmodtrail detach > /out/said || exit 4
kprobes > /out/detached
stored > /out/stored
systemctl show -p ActiveState --value kmodtrail > /out/state
cp $events /out/detached.jsonl
pairs 1
/usr/bin/kmodtrail detach > /out/nobody 2>&1 && exit 5
systemctl start kmodtrail || exit 6
pairs 1
systemctl stop kmodtrail
systemd-analyze security kmodtrail | tail -n 1 > /out/exposure
cp $events /out/records.jsonl
journalctl -u kmodtrail -o cat --no-pager > /out/journal
"#;

/// systemd 252 keeps nothing over a stop: the gap is told with its length.
fn stop_and_start(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd())?.script(&story::script(SCRIPT)).run()?;
    outcome.expect_success()?;
    ensure!(number(&outcome, "stopped")? == 0, "{} kprobes while it is stopped", number(&outcome, "stopped")?);
    let records = outcome.records()?;
    pairs(&records, 3)?;
    let [first, second, third] = starts(&records)?[..] else { unreachable!("there are three") };
    first.expect("kmodtrail.started.probes", "attached")?.expect_without("kmodtrail.started.unwatched_for_ns")?;
    second.expect("kmodtrail.started.probes", "attached")?;
    detached(&outcome, &records, third)?;
    let gap = gap(second)?;
    ensure!(gap > 1_000_000_000, "a gap of more than a second has {gap} ns");
    Ok(())
}

/// systemd 254 and later keep what is attached over a stop: there is no gap.
fn stop_and_start_keeps_watching(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd().root(Root::Newer))?
        .file("/usr/lib/systemd/system/kmodtrail.service.d/keep-watching.conf", workspace::root().join(KEEP_WATCHING))
        .script(&story::script(SCRIPT))
        .run()?;
    outcome.expect_success()?;
    let (watching, stopped) = (number(&outcome, "watching")?, number(&outcome, "stopped")?);
    ensure!(watching == stopped, "{watching} kprobes, and {stopped} while it is stopped");
    let records = outcome.records()?;
    pairs(&records, 8)?;
    let [_, second, third] = starts(&records)?[..] else { unreachable!("there are three") };
    second.expect("kmodtrail.started.probes", "adopted")?;
    let waiting = second.integer("kmodtrail.started.waiting")?;
    ensure!(waiting >= 10, "{waiting} records have waited, of five loads and unloads");
    detached(&outcome, &records, third)?;
    exposed_at_most(1.0, &outcome.text("exposure")?)
}

/// After `kmodtrail detach` nothing is attached, until it is started again.
fn detached(outcome: &Outcome, records: &Records, again: &Record) -> Result<()> {
    ensure!(number(outcome, "watching")? > 20, "{} kprobes while it watches", number(outcome, "watching")?);
    ensure!(number(outcome, "detached")? == 0, "{} kprobes after it", number(outcome, "detached")?);
    ensure!(number(outcome, "stored")? == 0, "systemd keeps {} descriptors", number(outcome, "stored")?);
    ensure!(outcome.text("state")?.trim() == "inactive", "the unit is {}", outcome.text("state")?);
    ensure!(outcome.text("said")?.contains("nobody watches"), "it said {:?}", outcome.text("said")?);
    ensure!(
        outcome.text("nobody")?.contains("systemctl clean --what=fdstore"),
        "it said {:?}",
        outcome.text("nobody")?
    );
    let before = Records::parse(&outcome.text("detached.jsonl")?)?;
    let last = before.iter().last().context("no record")?;
    ensure!(last.event == "kmodtrail.stopped", "the last record is {last}");
    last.expect("kmodtrail.stopped.reason", "detached")?;
    again.expect("kmodtrail.started.probes", "attached")?;
    gap(again)?;
    records.of("kmodtrail.lost").none()?;
    Ok(())
}

fn gap(started: &Record) -> Result<i64> {
    started.integer("kmodtrail.started.unwatched_for_ns")
}

fn number(outcome: &Outcome, file: &str) -> Result<usize> {
    outcome.text(file)?.trim().parse().with_context(|| format!("{file} is no number"))
}

fn pairs(records: &Records, expected: usize) -> Result<()> {
    for event in [LOAD, UNLOAD] {
        records.of(event).with("linux.kernel_module.name", "hello").count(expected)?;
    }
    Ok(())
}

fn starts(records: &Records) -> Result<Vec<&Record>> {
    records.of("kmodtrail.started").count(3)
}

/// An upgrade that can't start, and its rollback: what happens meanwhile waits in the kernel.
fn upgrade_fails(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd())?
        .file("/etc/systemd/system/kmodtrail.service.d/soon.conf", "[Service]\nRestartSec=100ms\n")
        .script(&story::script(
            "
            events=/var/log/kmodtrail/events.jsonl
            restarts() { systemctl show -p NRestarts --value kmodtrail; }
            pairs() { /actor pairs $1 /fixtures/hello.ko hello > /run/pairs || exit 9; }
            systemctl start kmodtrail || exit 1
            pairs 1
            cp /usr/bin/kmodtrail /usr/bin/kmodtrail.before
            printf '#!/bin/sh\nexit 1\n' > /run/new
            install -m 755 /run/new /usr/bin/kmodtrail.new
            mv /usr/bin/kmodtrail.new /usr/bin/kmodtrail
            systemctl restart kmodtrail && exit 2
            pairs 5
            for i in $(seq 600); do [ $(restarts) -ge 3 ] && break; sleep 0.1; done
            restarts > /out/restarts
            mv /usr/bin/kmodtrail.before /usr/bin/kmodtrail
            for i in $(seq 600); do systemctl -q is-active kmodtrail && break; sleep 0.1; done
            pairs 1
            systemctl stop kmodtrail
            cp $events /out/records.jsonl
            ",
        ))
        .run()?;
    outcome.expect_success()?;
    ensure!(number(&outcome, "restarts")? >= 3, "systemd has tried {} times", number(&outcome, "restarts")?);
    let records = outcome.records()?;
    pairs(&records, 7)?;
    let [_, again] = records.of("kmodtrail.started").count(2)?[..] else { unreachable!("there are two") };
    again.expect("kmodtrail.started.probes", "adopted")?;
    records.of("kmodtrail.lost").none()
}

/// An upgrade to a version that does not know the records of the one before, by the number in what systemd keeps of it: what was attached is
/// refused, with a record, and what happens from then on is told from its first moment.
fn another_abi(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd())?
        .file("/next", story::next_version(trial.testbed())?)
        .script(&story::script(
            r#"
            events=/var/log/kmodtrail/events.jsonl
            pairs() { /actor pairs $1 /fixtures/hello.ko hello > /run/pairs || exit 9; }
            systemctl start kmodtrail || exit 1
            pairs 1
            about=$(ls -l /proc/1/fd | sed -n 's/.* \([0-9]*\) -> .memfd:kmodtrail about.*/\1/p')
            head -c 7 /proc/1/fd/$about > /out/about
            printf 9 | dd of=/proc/1/fd/$about bs=1 seek=7 conv=notrunc status=none || exit 2
            install -m 755 /next /usr/bin/kmodtrail.new
            mv /usr/bin/kmodtrail.new /usr/bin/kmodtrail
            systemctl restart kmodtrail || exit 3
            pairs 3
            systemctl show -p NRestarts --value kmodtrail > /out/restarts
            systemctl stop kmodtrail
            cp $events /out/records.jsonl
            "#,
        ))
        .run()?;
    outcome.expect_success()?;
    ensure!(outcome.text("about")? == "{\"abi\":", "it begins with {:?}", outcome.text("about")?);
    ensure!(number(&outcome, "restarts")? == 0, "it has failed {} times", number(&outcome, "restarts")?);
    let records = outcome.records()?;
    pairs(&records, 4)?;
    let [_, upgraded] = records.of("kmodtrail.started").count(2)?[..] else { unreachable!("there are two") };
    upgraded.expect("kmodtrail.started.probes", "attached")?;
    let refused = upgraded.string("kmodtrail.started.refused")?;
    ensure!(refused.contains("made by another version of kmodtrail"), "it says {refused:?}");
    records.of("kmodtrail.lost").none()
}

/// As many as fill the smallest ring several times.
const REQUESTS: u64 = 100;

/// The daemon stands still, a flood of requests fills its ring, and it is killed: what did not fit is told by the next one, exactly, and no load
/// is lost to it.
fn full_ring_while_down(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd())?
        .file("/etc/systemd/system/kmodtrail.service.d/soon.conf", "[Service]\nRestartSec=100ms\nWatchdogSec=0\n")
        .file("/etc/kmodtrail/conf.d/ring.toml", "[sensor]\nbulk_ring_size = \"64KiB\"\n")
        .script(&story::script(&format!(
            "
            events=/var/log/kmodtrail/events.jsonl
            main() {{ systemctl show -p MainPID --value kmodtrail; }}
            systemctl start kmodtrail || exit 1
            pid=$(main)
            kill -STOP $pid
            /actor request {REQUESTS} 42 > /run/requests || exit 2
            /actor pairs 5 /fixtures/hello.ko hello > /run/pairs || exit 3
            kill -KILL $pid
            for i in $(seq 600); do [ \"$(main)\" != $pid ] && systemctl -q is-active kmodtrail && break; sleep 0.1; done
            /actor pairs 1 /fixtures/hello.ko hello > /run/pairs || exit 4
            systemctl stop kmodtrail
            # a helper whose return did not fit was still open
            systemctl start kmodtrail || exit 5
            systemctl stop kmodtrail
            cp $events /out/records.jsonl
            "
        )))
        .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    pairs(&records, 6)?;
    let told = |event: &str| -> Result<u64> {
        let of = records.of(&format!("linux.kernel_module.{event}"));
        let ours = of.iter().filter(|r| r.to_string().contains("net-pf-42"));
        let uids: Result<BTreeSet<_>> = ours.map(|r| r.string("log.record.uid")).collect();
        Ok(uids?.len() as u64)
    };
    for (event, record) in [("request", "module request"), ("helper", "helper")] {
        let (told, lost) = (told(event)?, lost(&records, record)?);
        ensure!(
            told > 0 && lost > 0,
            "{told} records of a {event}, {lost} lost: the ring was not full, or nothing was in it"
        );
        ensure!(
            told + lost == REQUESTS,
            "{REQUESTS} requests, {told} records of a {event}, and {lost} told to be lost"
        );
    }
    Ok(())
}
