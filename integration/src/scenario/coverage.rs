//! Which hooks are attached is told, and where one is not, another stands in for it.

use anyhow::{Context as _, Result, ensure};

use super::{
    GuestKind, Kernels, Scenario, Trial,
    told::{LOAD, TAINT, UNLOAD, expect_process},
    watched::watched,
};
use crate::records::{Record, Records};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "coverage_and_fallbacks",
    guest: GuestKind::Fast,
    kernels: Kernels::All,
    full: false,
    run: coverage_and_fallbacks,
}];

/// What an operator reads in the coverage record and writes into `disabled_hooks`: a name that changes breaks configurations.
const HOOKS: [&str; 33] = [
    "add_taint",
    "delete_module",
    "delete_module.compat",
    "delete_module.compat.return",
    "delete_module.return",
    "do_init_module",
    "finit_module",
    "finit_module.compat",
    "finit_module.compat.return",
    "finit_module.return",
    "free_module",
    "helper",
    "helper.return",
    "helper_task",
    "init_module",
    "init_module.compat",
    "init_module.compat.return",
    "init_module.return",
    "load_data",
    "load_module",
    "load_module.return",
    "module_live",
    "module_request",
    "module_request.return",
    "parse_args",
    "post_read_file",
    "read_file",
    "setting.lockdown",
    "setting.number",
    "setting.parameter",
    "setting.text",
    "signature_check",
    "verify_signature",
];

const ENTRIES: &str = r#"disabled_hooks = ["finit_module", "init_module", "delete_module", "finit_module.compat",
    "init_module.compat", "delete_module.compat"]"#;
const RETURNS: &str = r#"disabled_hooks = ["finit_module.return", "init_module.return", "delete_module.return",
    "finit_module.compat.return", "init_module.compat.return", "delete_module.compat.return"]"#;

fn coverage_and_fallbacks(trial: &Trial<'_>) -> Result<()> {
    let acts = |round: &str| {
        format!(
            "
            named {round}-signed finit /fixtures/dummy.ko
            named {round}-gone delete dummy
            named {round}-foreign init /fixtures/hello.ko --params x=3
            act delete hello
            named {round}-fails finit /fixtures/hello.ko --params fail=22
            named {round}-no-elf finit /fixtures/badelf.ko
            "
        )
    };
    let outcome = watched(trial)?
        .round("all", "", &acts("all"))
        .round("entries", ENTRIES, &acts("entries"))
        .round("returns", RETURNS, &acts("returns"))
        .round("init", r#"disabled_hooks = ["do_init_module"]"#, &acts("init"))
        .round("verify", r#"disabled_hooks = ["verify_signature", "add_taint"]"#, &acts("verify"))
        .round("image", r#"disabled_hooks = ["verify_signature", "load_module"]"#, &acts("image"))
        .run()?;
    let round = |name: &str| outcome.records_in(&format!("{name}.jsonl"));

    let all = round("all")?;
    let old = trial.kernel().name() == "5.10";
    for hook in HOOKS.iter().filter(|hook| **hook != "load_module.return" && !(old && **hook == "signature_check")) {
        ensure!(state(&all, hook)? == "attached", "the hook {hook} is {}", state(&all, hook)?);
    }
    // The system calls' returns say it all.
    ensure!(state(&all, "load_module.return")? == "not_needed", "{}", state(&all, "load_module.return")?);
    if old {
        // module_sig_check is inlined there.
        ensure!(
            state(&all, "signature_check")? == "fallback by verify_signature",
            "{}",
            state(&all, "signature_check")?
        );
    }
    let told = all.of("kmodtrail.coverage").one()?.get("kmodtrail.hooks").and_then(|hooks| hooks.as_array());
    ensure!(told.is_some_and(|told| told.len() == HOOKS.len()), "hooks that this scenario does not know: {told:?}");

    // Nobody watches the system calls' entries: load_module tells who it is.
    let entries = round("entries")?;
    ensure!(state(&entries, "finit_module")? == "fallback by load_module", "{}", state(&entries, "finit_module")?);
    for (label, name, source) in [("signed", "dummy", "file"), ("foreign", "hello", "memory")] {
        let action = outcome.named(&format!("entries-{label}"))?;
        let load = entries.of(LOAD).with("process.pid", action.pid).one()?;
        expect_process(load, &action)?;
        load.expect("linux.kernel_module.outcome", "success")?
            .expect("linux.kernel_module.name", name)?
            .expect("linux.kernel_module.source", source)?;
    }
    let fails = outcome.named("entries-fails")?;
    let load = entries.of(LOAD).with("process.pid", fails.pid).one()?;
    load.expect("linux.kernel_module.outcome", "failure")?.expect("error.type", "EINVAL")?;
    let gone = entries.of(UNLOAD).with("linux.kernel_module.name", "dummy").one()?;
    gone.expect("linux.kernel_module.outcome", "success")?.expect("linux.kernel_module.taints.mask", 0)?;

    // Nobody watches their returns.
    let returns = round("returns")?;
    for (label, result, error) in [
        ("signed", "success", None),
        ("foreign", "success", None),
        ("fails", "failure", Some("EINVAL")),
        ("no-elf", "failure", Some("ENOEXEC")),
    ] {
        let pid = outcome.named(&format!("returns-{label}"))?.pid;
        let load = returns.of(LOAD).with("process.pid", pid).one()?;
        load.expect("linux.kernel_module.outcome", result)?;
        if let Some(error) = error {
            load.expect("error.type", error)?;
        }
    }
    let gone = returns.of(UNLOAD).with("process.pid", outcome.named("returns-gone")?.pid).one()?;
    gone.expect("linux.kernel_module.outcome", "success")?;

    // Nobody watches do_init_module.
    let init = round("init")?;
    let load = of_round(&init, outcome.named("init-signed")?.pid)?;
    load.expect("linux.kernel_module.name", "dummy")?.expect("linux.kernel_module.taints.mask", 0)?;
    let load = of_round(&init, outcome.named("init-foreign")?.pid)?;
    load.expect("linux.kernel_module.name", "hello")?
        .expect("linux.kernel_module.taints.letters", "OE")?
        .expect("linux.kernel_module.version", "1.2.3")?
        .expect("linux.kernel_module.parameters", "x=3")?;

    // Nobody watches mod_verify_sig: that there is no signature shows the image, and without that the module's flag is all there is, and what
    // it does not say is not guessed.
    for (name, unsigned) in [("verify", "unsigned"), ("image", "unknown")] {
        let round = round(name)?;
        let [signed, foreign] = ["signed", "foreign"].map(|label| outcome.named(&format!("{name}-{label}")));
        of_round(&round, signed?.pid)?.expect("linux.kernel_module.signature.state", "valid")?;
        of_round(&round, foreign?.pid)?
            .expect("linux.kernel_module.signature.state", unsigned)?
            .expect("linux.kernel_module.signature.ok", false)?;
    }
    // Nor what taints the kernel.
    let verify = round("verify")?;
    verify.of(TAINT).none()?;
    of_round(&verify, outcome.named("verify-foreign")?.pid)?
        .expect_without("linux.kernel_module.kernel_taints.before")?;
    Ok(())
}

/// A load that succeeded.
fn of_round(records: &Records, pid: i32) -> Result<&Record> {
    records.of(LOAD).with("process.pid", pid).one()?.expect("linux.kernel_module.outcome", "success")
}

/// `attached`, `fallback by HOOK`, `missing` or `not_needed`.
fn state(records: &Records, name: &str) -> Result<String> {
    let coverage = records.of("kmodtrail.coverage").one()?;
    let hooks = coverage.get("kmodtrail.hooks").and_then(|hooks| hooks.as_array()).context("no list of hooks")?;
    let hook = hooks.iter().find(|hook| hook["hook"] == name);
    let hook = hook.with_context(|| format!("the coverage lacks {name}:\n{coverage}"))?;
    let state = hook["state"].as_str().context("a hook without a state")?;
    Ok(hook["by"].as_str().map_or(state.to_owned(), |by| format!("{state} by {by}")))
}
