//! More loads at once than the kernel has kretprobe instances: no load is missed, and what is not known of one is said.

use anyhow::{Context as _, Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial, told::LOAD, watched::watched};
use crate::{fixtures, records::Record};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "missed_returns",
    guest: GuestKind::Fast,
    kernels: Kernels::All,
    full: false,
    run: missed_returns,
}];

/// A kernel without preemption has as many instances as processors, others 10 or twice the processors (kernel/kprobes.c,
/// register_kretprobe); both are less with two processors.
const AT_ONCE: usize = 14;

fn missed_returns(trial: &Trial<'_>) -> Result<()> {
    let hello = trial.testbed().fixtures(trial.kernel())?.bytes("hello.ko")?;
    // A name of the same length leaves everything in the file where it is.
    let name = |number: usize| format!("hel{number:02}");
    let mut watched = watched(trial)?.guest(|guest| guest.processors(2));
    for number in 0..AT_ONCE {
        let copy =
            fixtures::replaced(&hello, b"hello", name(number).as_bytes()).context("hello.ko is called otherwise")?;
        watched = watched.guest(|guest| guest.file(&format!("/fixtures/{}.ko", name(number)), copy));
    }
    let outcome = watched
        .script(&format!(
            "
            loading=
            for number in $(seq -w 0 {last}); do
                named $number finit /fixtures/hel$number.ko --params delay_ms=5000 &
                loading=\"$loading $!\"
            done
            wait $loading
            # Its patience and one look at what is open, on a machine that may be slow; never its end, where all would be told.
            /actor wait-for /out/records.jsonl '\"eventName\":\"{LOAD}\"' {AT_ONCE} 30 || exit 91
            ",
            last = AT_ONCE - 1
        ))
        .run()?;
    let records = outcome.records()?;
    let mut missed = 0;
    for number in 0..AT_ONCE {
        let action = outcome.named(&format!("{number:02}"))?;
        action.expect_success()?;
        let load = records.of(LOAD).with("process.pid", action.pid).one()?;
        load.expect("linux.kernel_module.outcome", "success")?
            .expect("linux.kernel_module.name", name(number))?
            .expect("linux.kernel_module.taints.letters", "OE")?
            .expect("linux.kernel_module.parameters", "delay_ms=5000")?;
        missed += usize::from(expect_said(load)?);
    }
    records.of(LOAD).count(AT_ONCE)?;
    ensure!(missed > 0, "no return was missed: this scenario tests nothing");
    Ok(())
}

/// Whether the return was missed; then the record says so and has no errno.
fn expect_said(load: &Record) -> Result<bool> {
    let missing = load.get("kmodtrail.enrichment.missing").map(ToString::to_string).unwrap_or_default();
    let said = missing.contains("linux.kernel_module.errno: the return was not seen");
    if said {
        load.expect_without("linux.kernel_module.duration_ns")?
    } else {
        load.expect("linux.kernel_module.errno", 0)?
    };
    Ok(said)
}
