//! Every way to unload a module, and every way to fail.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    GuestKind, Kernels, Scenario, Trial,
    booted::booted,
    told::{UNLOAD, unload_by},
    watched::watched,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "unloads", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: unloads },
    Scenario {
        name: "unloads_of_used",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: unloads_of_used,
    },
];

fn unloads(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .script(
            "
            act finit /fixtures/hello.ko
            named nobody drop-caps-run /actor delete hello
            named gone delete hello
            named missing delete hello
            named nonsense delete \"$(printf 'no\\377such')\"

            act finit /fixtures/hello.ko --params delay_ms=2000 &
            loading=$!
            until grep -q '^hello' /proc/modules; do usleep 20000; done
            named busy delete hello
            wait $loading
            # O_NONBLOCK | O_TRUNC
            named forced delete hello --flags 2560

            act finit /fixtures/dummy.ko
            echo 1 > /proc/sys/kernel/modules_disabled
            named disabled delete dummy
            ",
        )
        .run()?;
    let records = outcome.records()?;
    let told = |label: &str| unload_by(&records, &outcome.named(label)?);

    let gone = told("gone")?;
    gone.expect("linux.kernel_module.outcome", "success")?
        .expect("linux.kernel_module.name", "hello")?
        .expect("linux.kernel_module.syscall", "delete_module")?
        .expect("linux.kernel_module.flags", json!(["O_NONBLOCK"]))?
        .expect("linux.kernel_module.taints.letters", "OE")?
        .expect("linux.kernel_module.taints.mask", 12288)?
        .expect("linux.kernel_module.version", "1.2.3")?
        .expect_without("kmodtrail.enrichment.missing")?;
    ensure!(gone.severity == "INFO", "an ordinary unload is {}", gone.severity);

    told("missing")?
        .expect("linux.kernel_module.outcome", "failure")?
        .expect("error.type", "ENOENT")?
        .expect("linux.kernel_module.name", "hello")?
        .expect_without("linux.kernel_module.taints.mask")?;
    told("nonsense")?.expect("error.type", "ENOENT")?.expect("linux.kernel_module.name", r"no\377such")?;
    told("busy")?.expect("linux.kernel_module.outcome", "failure")?.expect("error.type", "EBUSY")?;

    let forced = told("forced")?;
    forced
        .expect("linux.kernel_module.outcome", "success")?
        .expect("linux.kernel_module.flags", json!(["O_NONBLOCK", "O_TRUNC"]))?
        .expect("linux.kernel_module.name", "hello")?;
    ensure!(forced.severity == "WARN", "a forced unload is {}", forced.severity);

    let nobody = told("nobody")?;
    nobody
        .expect("linux.kernel_module.outcome", "refused")?
        .expect("linux.kernel_module.refusal", "capability")?
        .expect("linux.kernel_module.name", "hello")?
        .expect("process.user.name", "nobody")?;
    ensure!(nobody.severity == "WARN", "a refused unload is {}", nobody.severity);
    told("disabled")?
        .expect("linux.kernel_module.outcome", "refused")?
        .expect("linux.kernel_module.refusal", "modules_disabled")?
        .expect("linux.kernel_module.name", "dummy")?;

    records.of(UNLOAD).count(7).map(drop)
}

/// By what: a file system that is mounted, and a module that others need.
fn unloads_of_used(trial: &Trial<'_>) -> Result<()> {
    let outcome = booted(
        trial,
        "",
        "
        mount -t xfs /dev/disk/by-id/virtio-xfs /mnt || exit 91
        cat /sys/module/xfs/refcnt > /out/references
        needed=$(ls -d /sys/module/*/holders/* | head -1 | cut -d/ -f4)
        echo $needed > /out/needed
        ls /sys/module/$needed/holders > /out/holders
        named mounted delete xfs
        named needed delete $needed
        ",
    )?
    .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    let told = |label: &str| unload_by(&records, &outcome.named(label)?);
    let references: u64 = outcome.text("references")?.trim().parse()?;
    ensure!(references > 0, "nobody uses xfs");
    told("mounted")?
        .expect("linux.kernel_module.outcome", "failure")?
        .expect("error.type", "EAGAIN")?
        .expect("linux.kernel_module.references", references)?
        .expect_without("linux.kernel_module.holders")?;
    let holders = outcome.text("holders")?;
    told("needed")?
        .expect("linux.kernel_module.name", outcome.text("needed")?.trim())?
        .expect("error.type", "EAGAIN")?
        .expect("linux.kernel_module.holders", holders.lines().collect::<Vec<_>>())?;
    Ok(())
}
