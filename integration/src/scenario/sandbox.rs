//! What the unit gives the daemon, and what it takes from it: each of that is changed, and what breaks is what the README's table says.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::{Context as _, Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial, service::exposed_at_most, told::LOAD};
use crate::{guest::Outcome, story, workspace};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "sandbox",
    guest: GuestKind::Systemd,
    kernels: Kernels::Only(&["6.12"]),
    full: false,
    run: sandbox,
}];

const INVENTORY: &str = "linux.kernel_module.inventory";

/// One line of the README's table.
struct Change {
    /// As the table has it.
    what: &'static str,
    /// In the unit's section Service.
    lines: &'static str,
    breaks: Breaks,
}

enum Breaks {
    /// These attributes of a load's record can't be had, nor these events.
    Attributes(&'static [&'static str]),
    /// It does not start, and says this.
    Start(&'static str),
}
use Breaks::{Attributes, Start};

const CHANGES: &[Change] = &[
    Change { what: "as it is", lines: "", breaks: Attributes(&[]) },
    Change {
        what: "without CAP_SYS_PTRACE",
        lines: "AmbientCapabilities=\nCapabilityBoundingSet=\nAmbientCapabilities=CAP_DAC_READ_SEARCH\nCapabilityBoundingSet=CAP_DAC_READ_SEARCH",
        breaks: Attributes(&[
            "linux.kernel_module.hash.sha256",
            "linux.process.namespaces.of_host",
            "linux.process.parent.executable.path",
        ]),
    },
    Change {
        what: "without CAP_DAC_READ_SEARCH",
        lines: "AmbientCapabilities=\nCapabilityBoundingSet=\nAmbientCapabilities=CAP_SYS_PTRACE\nCapabilityBoundingSet=CAP_SYS_PTRACE",
        breaks: Attributes(&["linux.kernel_module.hash.sha256"]),
    },
    Change { what: "`ProtectProc=invisible`", lines: "ProtectProc=invisible", breaks: Attributes(&[]) },
    Change { what: "`ProcSubset=pid`", lines: "ProcSubset=pid", breaks: Attributes(&[INVENTORY]) },
    Change {
        what: "`PrivateUsers=yes`",
        lines: "PrivateUsers=yes",
        breaks: Attributes(&[
            "linux.kernel_module.hash.sha256",
            "linux.process.namespaces.of_host",
            "linux.process.parent.executable.path",
        ]),
    },
    Change {
        what: "without `ExecStartPre=+kmodtrail attach`",
        lines: "ExecStartPre=",
        breaks: Start("not allowed to make eBPF maps"),
    },
    Change {
        what: "without `FileDescriptorStoreMax=`",
        lines: "FileDescriptorStoreMax=0",
        breaks: Start("not allowed to make eBPF maps"),
    },
    Change { what: "`LimitMEMLOCK=64K`", lines: "LimitMEMLOCK=64K", breaks: Attributes(&[]) },
    Change {
        what: "with `kernel.perf_event_paranoid=4`",
        lines: "ExecStartPre=\nExecStartPre=+sysctl -q kernel.perf_event_paranoid=4\nExecStartPre=+/usr/bin/kmodtrail attach",
        breaks: Attributes(&[]),
    },
    // for good, until the kernel ends
    Change {
        what: "with `kernel.yama.ptrace_scope=3`",
        lines: "ExecStartPre=\nExecStartPre=+sysctl -q kernel.yama.ptrace_scope=3\nExecStartPre=+/usr/bin/kmodtrail attach",
        breaks: Attributes(&[]),
    },
];

fn sandbox(trial: &Trial<'_>) -> Result<()> {
    let network = workspace::root().join("systemd/kmodtrail.service.d/network.conf");
    let mut guest = story::installed(trial.systemd())?
        .file("/network.conf", network)
        // what takes long is not missing
        .file("/etc/kmodtrail/conf.d/slow.toml", "[enrich]\nwait = \"5s\"\n");
    for (number, change) in CHANGES.iter().enumerate() {
        guest = guest.file(&format!("/changes/{number}"), format!("[Service]\nRestart=no\n{}\n", change.lines));
    }
    let last = CHANGES.len() - 1;
    let outcome = guest
        .script(&story::script(&format!(
            "
            events=/var/log/kmodtrail/events.jsonl
            mkdir -p /etc/systemd/system/kmodtrail.service.d
            cp /fixtures/hello.ko /root/hello.ko
            chmod 600 /root/hello.ko
            for number in $(seq 0 {last}); do
                cp /changes/$number /etc/systemd/system/kmodtrail.service.d/change.conf
                systemctl daemon-reload
                mkdir -p /var/log/kmodtrail
                touch $events
                before=$(wc -l < $events)
                journalctl --rotate -q; journalctl --vacuum-time=1s -q
                if systemctl start kmodtrail; then /actor pairs 1 /root/hello.ko hello > /run/pairs; fi
                systemctl stop kmodtrail
                tail -n +$((before + 1)) $events > /out/$number.jsonl
                journalctl -u kmodtrail -o cat --no-pager > /out/$number.log
                systemctl reset-failed kmodtrail || true
            done
            rm /etc/systemd/system/kmodtrail.service.d/change.conf
            systemctl daemon-reload
            systemd-analyze security kmodtrail | tail -n 1 > /out/exposure
            cp /network.conf /etc/systemd/system/kmodtrail.service.d/
            systemctl daemon-reload
            systemd-analyze security kmodtrail | tail -n 1 > /out/exposure.network
            "
        )))
        .run()?;
    outcome.expect_success()?;
    exposed_at_most(1.0, &outcome.text("exposure")?)?;
    exposed_at_most(1.9, &outcome.text("exposure.network")?)?;
    let (mut table, mut wrong) = (Vec::new(), String::new());
    for (number, change) in CHANGES.iter().enumerate() {
        let broken = broken(&outcome, number).with_context(|| change.what)?;
        let as_said = match (&change.breaks, &broken) {
            (Attributes(expected), Ok(missing)) => missing.iter().eq(expected.iter()),
            (Start(expected), Err(log)) => log.contains(expected),
            _ => false,
        };
        if !as_said {
            _ = writeln!(wrong, "{}: {broken:#?}", change.what);
        }
        table.push(line(change));
    }
    ensure!(wrong.is_empty(), "other things break:\n{wrong}");
    let readme = std::fs::read_to_string(workspace::root().join("README.md"))?;
    for line in table {
        ensure!(readme.contains(&line), "the README's table has no such line:\n{line}");
    }
    Ok(())
}

/// Attributes that the load's record lacks, and events that there are none of; or what the daemon has said that has not started.
fn broken(outcome: &Outcome, number: usize) -> Result<Result<BTreeSet<String>, String>> {
    let records = outcome.records_in(&format!("{number}.jsonl"))?;
    if records.of("kmodtrail.started").len() == 0 {
        return Ok(Err(outcome.text(&format!("{number}.log"))?));
    }
    let load = records.of(LOAD).with("linux.kernel_module.name", "hello").one()?;
    let missing = load.get("kmodtrail.enrichment.missing").and_then(|missing| missing.as_array());
    let missing = missing.into_iter().flatten().filter_map(|line| line.as_str()?.split(": ").next());
    let inventory = records.of(INVENTORY).len();
    let other = (inventory == 0).then_some(INVENTORY);
    Ok(Ok(missing.chain(other).map(str::to_owned).collect()))
}

fn line(change: &Change) -> String {
    let breaks = match &change.breaks {
        Attributes([]) => "nothing".to_owned(),
        Attributes(missing) => {
            let missing: Vec<_> = missing.iter().map(|attribute| format!("`{attribute}`")).collect();
            format!("missing: {}", missing.join(", "))
        }
        Start(says) => format!("it does not start: \"{says}\""),
    };
    format!("| {} | {breaks} |", change.what)
}
