//! A process has one identity for ever, also where its number is used again.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{GuestKind, Kernels, Scenario, Trial, told::LOAD, watched::watched};

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "identities", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: identities }];

const EXEC_ID: &str = "linux.process.exec_id";
const PARENT: &str = "linux.process.parent.exec_id";

/// The numbers are few: shells that do nothing use them up until the wanted one comes.
const FEW_NUMBERS: &str = "
echo 400 > /proc/sys/kernel/pid_max
echo '[ $$ -gt 300 ] && echo $$ > /out/number && exec /actor finit /fixtures/hello.ko >> /out/actions.jsonl' > /tmp/first
echo '[ $$ = $(cat /out/number) ] && exec /actor finit /fixtures/hello.ko >> /out/actions.jsonl' > /tmp/again
until sh /tmp/first; do :; done
act delete hello
until sh /tmp/again; do :; done
act delete hello
";

fn identities(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .round("before", "", "act finit /fixtures/hello.ko; act delete hello")
        .round("after", "", &format!("act finit /fixtures/hello.ko; act delete hello\n{FEW_NUMBERS}"))
        .run()?;
    let (before, after) = (outcome.records_in("before.jsonl")?, outcome.records_in("after.jsonl")?);
    let first = before.of(LOAD).one()?;
    let loads = after.of(LOAD).count(3)?;
    ensure!(
        first.string(PARENT)? == loads[0].string(PARENT)?,
        "another daemon, the same shell:\n{first}\n{}",
        loads[0]
    );

    let number: i64 = outcome.text("number")?.trim().parse().context("no number")?;
    let same = after.of(LOAD).with("process.pid", number).count(2)?;
    let ids: Vec<_> = same.iter().map(|load| load.get(EXEC_ID).cloned().unwrap_or(Value::Null)).collect();
    ensure!(ids[0] != ids[1], "two processes, one identity:\n{}\n{}", same[0], same[1]);
    Ok(())
}
