//! Every way to unload a module, and every way to fail.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    GuestKind, Kernels, Scenario, Trial,
    told::{UNLOAD, unload_by},
    watched::watched,
};

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "unloads", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: unloads }];

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
