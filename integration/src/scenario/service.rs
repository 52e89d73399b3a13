//! The daemon under systemd, installed as a package installs it.

mod reloads;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial};
use crate::{
    guest::systemd::Root,
    story::{self, SEEDS},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "seeds", guest: GuestKind::Systemd, kernels: Kernels::All, full: false, run: seeds },
    Scenario {
        name: "service",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["5.10", "6.12"]),
        full: false,
        run: service,
    },
    Scenario {
        name: "service_fails",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: service_fails,
    },
    Scenario {
        name: "service_reloads",
        guest: GuestKind::SystemdWith(Root::Newer),
        kernels: Kernels::Only(&["6.12", "7"]),
        full: false,
        run: reloads::service_reloads,
    },
];

/// The seven events of the user's documents, by the unit as it is shipped.
fn seeds(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::tell(trial.systemd(), false)?.run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    for seed in SEEDS {
        (seed.record)(&records).map_err(|error| error.context(seed.shows))?;
    }
    let load = records.of("linux.kernel_module.load").with("linux.kernel_module.name", "xfs").at_least(1)?[0];
    for event in ["request", "helper", "read", "verify", "load"] {
        records.of(&format!("linux.kernel_module.{event}")).in_trace_of(load).at_least(1)?;
    }
    // the program that the kernel runs can be looked at from within the unit's sandbox
    let helper = records.of("linux.kernel_module.helper").with("linux.kernel_module.alias", "fs-xfs").one()?;
    helper.expect_without("kmodtrail.enrichment.missing")?.expect_without("linux.kernel_module.helper.unexpected")?;
    // a signed module of the distribution taints nothing
    let dummy = records.of("linux.kernel_module.load").with("linux.kernel_module.name", "dummy").one()?;
    dummy.expect("linux.kernel_module.taints.mask", 0)?.expect("linux.kernel_module.signature.state", "valid")?;
    records.of("kmodtrail.lost").none()?;
    Ok(())
}

/// It starts as a user of its own, is ready when it watches, opens its file again on reload, and writes everything before it ends.
fn service(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd())?
        .script(&story::script(
            "
            events=/var/log/kmodtrail/events.jsonl
            systemctl start kmodtrail
            act pairs 1 /fixtures/hello.ko hello
            /actor wait-for $events linux.kernel_module.unload 1 60
            pid=$(systemctl show -p MainPID --value kmodtrail)
            cat /proc/$pid/status > /out/status
            stat -c '%U %a' $events > /out/mode
            systemd-analyze security kmodtrail | tail -1 > /out/exposure
            mv $events $events.1
            systemctl reload kmodtrail
            act pairs 1 /fixtures/hello.ko hello
            /actor wait-for $events linux.kernel_module.unload 1 60
            cp $events /out/after-reload.jsonl
            for i in $(seq 300); do systemctl show -p StatusText kmodtrail > /out/status-text; grep -q event /out/status-text && break; sleep 0.1; done
            act pairs 20 /fixtures/hello.ko hello
            systemctl stop kmodtrail
            cat $events.1 $events > /out/records.jsonl
            systemctl show kmodtrail -p ExecMainStatus,Result > /out/end
            journalctl -u kmodtrail -o json --no-pager > /out/journal.jsonl
            ",
        ))
        .run()?;
    outcome.expect_success()?;

    sandboxed(&outcome.text("status")?)?;
    exposed_at_most(1.0, &outcome.text("exposure")?)?;
    ensure!(outcome.text("mode")?.trim() == "kmodtrail 640", "the file is {}", outcome.text("mode")?);
    ensure!(outcome.text("status-text")?.contains("event"), "STATUS= says {}", outcome.text("status-text")?);

    let after = outcome.text("after-reload.jsonl")?;
    ensure!(
        !after.contains("kmodtrail.started") && after.contains("linux.kernel_module.load"),
        "not opened again:\n{after}"
    );
    let records = outcome.records()?;
    for event in ["linux.kernel_module.load", "linux.kernel_module.unload"] {
        // the first of them came right after the unit had said that it is ready
        records.of(event).with("linux.kernel_module.name", "hello").count(22)?;
    }
    let last = records.iter().last().map(|record| record.event.as_str());
    ensure!(last == Some("kmodtrail.stopped"), "the last record is {last:?}");
    ensure!(outcome.text("end")?.contains("ExecMainStatus=0"), "it ended with {}", outcome.text("end")?);
    let journal = outcome.text("journal.jsonl")?;
    ensure!(journal.contains("\"F_REASON\":\"SIGTERM\""), "the journal has no fields of the daemon's:\n{journal}");
    Ok(())
}

/// By the daemon's `/proc/PID/status` it is not root, and may do no more than it needs.
fn sandboxed(status: &str) -> Result<()> {
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    ensure!(!line("Uid:").contains("\t0\t"), "it runs as root: {}", line("Uid:"));
    // CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE: include/uapi/linux/capability.h
    let allowed = 1_u64 << 2 | 1 << 19;
    for name in ["CapEff:", "CapBnd:"] {
        let mask = u64::from_str_radix(line(name).trim_start_matches(name).trim(), 16)?;
        ensure!(mask & !allowed == 0, "more capabilities than it needs: {}", line(name));
    }
    ensure!(line("NoNewPrivs:").ends_with('1') && line("Seccomp:").ends_with('2'), "no sandbox:\n{status}");
    Ok(())
}

/// The last line of `systemd-analyze security`.
pub(super) fn exposed_at_most(most: f64, line: &str) -> Result<()> {
    let level = line
        .split_whitespace()
        .find_map(|word| word.parse::<f64>().ok())
        .with_context(|| format!("no level in {line:?}"))?;
    ensure!(level <= most, "its exposure is {level}, allowed: {most}\n{line}");
    Ok(())
}

/// A wrong configuration is told and not tried again; a daemon that hangs or is killed comes back.
fn service_fails(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd())?
        .file("/etc/systemd/system/kmodtrail.service.d/watchdog.conf", "[Service]\nWatchdogSec=5\nRestartSec=100ms\n")
        .script(&story::script(
            "
            events=/var/log/kmodtrail/events.jsonl
            restarts() { systemctl show -p NRestarts --value kmodtrail; }
            again() { for i in $(seq 600); do [ $(restarts) -ge $1 ] && systemctl -q is-active kmodtrail && return; sleep 0.1; done; return 1; }
            mkdir -p /etc/kmodtrail/conf.d
            echo '[sensor]
            critical_ring_sise = \"1MiB\"' > /etc/kmodtrail/conf.d/typo.toml
            systemctl start kmodtrail && exit 1
            # long enough for a restart, were there one: RestartSec is a twentieth of it
            sleep 2
            systemctl show kmodtrail -p ExecMainStatus,NRestarts,ActiveState > /out/wrong
            journalctl -u kmodtrail -o cat --no-pager > /out/wrong.log
            rm /etc/kmodtrail/conf.d/typo.toml
            systemctl reset-failed kmodtrail
            systemctl start kmodtrail
            first=$(restarts)
            systemctl kill -s KILL kmodtrail
            again $((first + 1)) || exit 2
            kill -STOP $(systemctl show -p MainPID --value kmodtrail)
            again $((first + 2)) || exit 3
            act pairs 1 /fixtures/hello.ko hello
            systemctl stop kmodtrail
            cp $events /out/records.jsonl
            ",
        ))
        .run()?;
    outcome.expect_success()?;
    let wrong = outcome.text("wrong")?;
    for state in ["ExecMainStatus=78", "NRestarts=0", "ActiveState=failed"] {
        ensure!(wrong.contains(state), "with a wrong configuration: no {state} in\n{wrong}");
    }
    let log = outcome.text("wrong.log")?;
    for word in ["/etc/kmodtrail/conf.d/typo.toml", "critical_ring_sise", "critical_ring_size"] {
        ensure!(log.contains(word), "the error does not say {word}:\n{log}");
    }
    let records = outcome.records()?;
    // what was delivered right before it was killed may come again, as the same record
    let started = records.of("kmodtrail.started");
    let started: BTreeSet<_> = started.iter().map(|record| record.string("log.record.uid")).collect::<Result<_>>()?;
    ensure!(started.len() == 3, "it has started {} times: {started:?}", started.len());
    records.of("linux.kernel_module.load").with("linux.kernel_module.name", "hello").one()?;
    Ok(())
}
