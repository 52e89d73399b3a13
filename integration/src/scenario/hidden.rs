//! What is loaded, by the kernel's own lists: before the daemon came, while it watches, and although it hides.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{GuestKind, Kernels, Scenario, Trial, told::LOAD, watched::watched};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "hidden", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: hidden },
    Scenario {
        name: "nothing_hidden",
        guest: GuestKind::Fast,
        kernels: Kernels::Only(&["5.10", "7"]),
        full: false,
        run: |trial| nothing_hidden(trial, 100),
    },
    Scenario {
        name: "long_nothing_hidden",
        guest: GuestKind::Fast,
        kernels: Kernels::Only(&["7"]),
        full: true,
        run: |trial| nothing_hidden(trial, 5_000),
    },
];

const HIDDEN: &str = "linux.kernel_module.hidden";
const INVENTORY: &str = "linux.kernel_module.inventory";
const HEARTBEAT: &str = "kmodtrail.heartbeat";

/// The first module goes out of both lists, so that there is room for a second one of its name, which stays in one.
fn hidden(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .unwatched("insmod /fixtures/dummy.ko")
        .round(
            "records",
            "[modules]\nheartbeat_interval = \"10s\"",
            "
            told() { /actor wait-for /out/records.jsonl $1 $2 60 || exit 91; }
            named from-both finit /fixtures/hider.ko --params sysfs=1
            told linux.kernel_module.hidden 1
            named from-one finit /fixtures/hider.ko
            told linux.kernel_module.hidden 2
            act delete dummy
            told kmodtrail.heartbeat 2
            ",
        )
        .run()?;
    let records = outcome.records()?;

    let before = records.of(INVENTORY).one()?;
    before
        .expect("linux.kernel_module.name", "dummy")?
        .expect("linux.kernel_module.inventory.before_start", true)?
        .expect("linux.kernel_module.inventory.count", 1)?
        .expect("linux.kernel_module.signature.state", "valid")?
        .expect("linux.kernel_module.taints.letters", "")?;

    let told = records.of(HIDDEN).count(2)?;
    let lists = [
        (json!(["records"]), json!(["/proc/modules", "/sys/module"])),
        (json!(["records", "/sys/module"]), json!(["/proc/modules"])),
    ];
    for ((record, (listed, missing)), label) in told.into_iter().zip(lists).zip(["from-both", "from-one"]) {
        let listed_by_btf = record.get("linux.kernel_module.hidden.listed") != Some(&listed);
        if listed_by_btf {
            let mut with_btf = listed.as_array().cloned().unwrap_or_default();
            with_btf.push("/sys/kernel/btf".into());
            record.expect("linux.kernel_module.hidden.listed", with_btf)?;
        }
        record
            .expect("linux.kernel_module.name", "hider")?
            .expect("linux.kernel_module.hidden.missing", missing)?
            .expect("process.pid", outcome.named(label)?.pid)?;
        ensure!(record.severity == "ERROR", "not ERROR:\n{record}");
        records.of(LOAD).in_trace_of(record).one()?;
    }
    let beats = records.of(HEARTBEAT).at_least(2)?;
    ensure!(
        beats[0].get("kmodtrail.heartbeat.digest") != beats[beats.len() - 1].get("kmodtrail.heartbeat.digest"),
        "the same set of modules although dummy has gone"
    );
    Ok(())
}

/// However often two modules come and go while the lists are read.
fn nothing_hidden(trial: &Trial<'_>, pairs: u32) -> Result<()> {
    let outcome = watched(trial)?
        // a pair of each leaves some 50 kB in the file, and waits in the spool before that
        .guest(|guest| guest.memory(256 + pairs / 4).limit(Duration::from_secs(120 + u64::from(pairs) / 2)))
        // what differs must last for 5 s before it is told
        .script(&format!(
            "act pairs {pairs} /fixtures/hello.ko hello & hello=$!; act pairs {pairs} /fixtures/dummy.ko dummy; wait $hello; sleep 7"
        ))
        .run()?;
    let records = outcome.records()?;
    records.of(LOAD).with("linux.kernel_module.outcome", "success").count(2 * pairs as usize)?;
    records.of(HIDDEN).none()?;
    records.of(INVENTORY).none()
}
