//! A boot with kmodtrail-early.service: what loads modules before the daemon can be started is seen.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial, told::LOAD};
use crate::{story, workspace};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "early",
    guest: GuestKind::Systemd,
    kernels: Kernels::Only(&["5.10", "7"]),
    full: false,
    run: early,
}];

/// What systemd-modules-load is told to load.
const MODULES: [&str; 3] = ["dummy", "ifb", "nlmon"];

/// The kernel itself says which modules it has loaded since it booted: each has a record of its load, or was there before.
fn early(trial: &Trial<'_>) -> Result<()> {
    let wants = |unit: &str| format!("[Unit]\nWants={unit}\n");
    let outcome = story::installed(trial.systemd().command_line("trace_event=module:module_load"))?
        .program("/usr/bin/kmodtrail", trial.testbed().daemon()?)
        .file("/etc/systemd/system/kmodtrail-early.service", workspace::root().join("systemd/kmodtrail-early.service"))
        .file("/etc/systemd/system/sysinit.target.d/kmodtrail.conf", wants("kmodtrail-early.service"))
        .file("/etc/systemd/system/multi-user.target.d/kmodtrail.conf", wants("kmodtrail.service"))
        .file("/etc/modules-load.d/early.conf", MODULES.join("\n"))
        .script(&story::script(
            "
            events=/var/log/kmodtrail/events.jsonl
            systemctl -q is-active kmodtrail || exit 1
            /actor pairs 1 /fixtures/hello.ko hello > /run/pairs || exit 2
            /actor wait-for $events linux.kernel_module.unload 1 60 || exit 3
            systemctl show kmodtrail-early -p Result,ActiveState,ExecMainStatus > /out/early
            mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing
            grep -o 'module_load: [^ ]*' /sys/kernel/tracing/trace | cut -d' ' -f2 > /out/loaded
            systemctl stop kmodtrail
            cp $events /out/records.jsonl
            ",
        ))
        .run()?;
    outcome.expect_success()?;
    let early = outcome.text("early")?;
    for state in ["Result=success", "ActiveState=inactive", "ExecMainStatus=0"] {
        ensure!(early.contains(state), "kmodtrail-early.service: no {state} in\n{early}");
    }
    let records = outcome.records()?;
    let names = |event: &str| -> Result<BTreeSet<String>> {
        records.of(event).iter().map(|r| r.string("linux.kernel_module.name").map(str::to_owned)).collect()
    };
    let (seen, before) = (names(LOAD)?, names("linux.kernel_module.inventory")?);
    for module in MODULES {
        let load = records.of(LOAD).with("linux.kernel_module.name", module).one()?;
        let returned = load.get("linux.kernel_module.errno").is_some();
        ensure!(!returned || !before.contains(module), "{module} was seen to be loaded, and there before");
        load.expect("thread.name", "systemd-modules")?.expect("linux.kernel_module.outcome", "success")?;
    }
    let loaded: BTreeSet<_> = outcome.text("loaded")?.lines().map(str::to_owned).collect();
    ensure!(loaded.len() > MODULES.len(), "the kernel has loaded {loaded:?} only");
    // both: on Linux 5.10 a return may be missed, and is waited for longer than the inventory
    let untold: Vec<_> = loaded.iter().filter(|name| !seen.contains(*name) && !before.contains(*name)).collect();
    ensure!(untold.is_empty(), "neither seen nor there before: {untold:?}");
    records.of("kmodtrail.lost").none()
}
