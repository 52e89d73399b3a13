//! Where it can't watch the daemon ends, and says why and what to do.

use anyhow::{Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial, watched::watched};
use crate::guest::Outcome;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "refuses_clearly",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: refuses_clearly,
    },
    Scenario {
        name: "refuses_confidentiality",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: refuses_confidentiality,
    },
];

/// capabilities(7).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;

fn refuses_clearly(trial: &Trial<'_>) -> Result<()> {
    let old = trial.kernel().name() == "5.10";
    let mut watched = watched(trial)?
        .unwatched("chmod 777 /out; echo 3 > /proc/sys/kernel/perf_event_paranoid")
        .refused("nobody", "", "/actor drop-caps-run")
        .refused("no-perf", "", &format!("/actor without {CAP_SYS_ADMIN}"))
        .refused("unknown", r#"disabled_hooks = ["finit_modul"]"#, "")
        .refused("who", r#"disabled_hooks = ["finit_module", "load_module"]"#, "")
        .refused("which", r#"disabled_hooks = ["do_init_module", "module_live"]"#, "")
        .refused("gone", r#"disabled_hooks = ["delete_module", "free_module"]"#, "")
        .refused("result", r#"disabled_hooks = ["finit_module.return", "load_module.return", "module_live"]"#, "");
    if old {
        // Before Linux 5.11 maps count as locked memory.
        watched =
            watched.unwatched("ulimit -l 64").refused("memory", "", &format!("/actor without {CAP_SYS_RESOURCE}"));
    }
    let outcome = watched.unwatched("umount -l /sys").refused("blind", "", "").run()?;
    let expect = |round: &str, texts: &[&str]| expect_said(&outcome, round, texts);
    expect("nobody", &["not allowed to", "CAP_BPF", "run as root"])?;
    expect("no-perf", &["not allowed to attach kprobes", "perf_event_paranoid is 3", "CAP_SYS_ADMIN"])?;
    expect("unknown", &["disabled_hooks", "\"finit_modul\"", "is no hook"])?;
    expect("who", &["would not see who loads a module", "finit_module (", "load_module (", "sensor.disabled_hooks"])?;
    expect("which", &["would not see which module is loaded", "do_init_module (", "module_live ("])?;
    expect("gone", &["would not see which module is unloaded", "delete_module (", "free_module ("])?;
    expect("result", &["would not see what became of a load", "finit_module.return (", "load_module.return ("])?;
    if old {
        expect("memory", &["not allowed to make eBPF maps", "LimitMEMLOCK=infinity"])?;
    }
    expect("blind", &["/sys/kernel/btf/vmlinux", "BTF", "/sys is mounted"])
}

fn refuses_confidentiality(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .guest(|guest| guest.command_line("lockdown=confidentiality"))
        .unwatched("cat /sys/kernel/security/lockdown > /out/lockdown")
        .refused("locked", "", "")
        .run()?;
    ensure!(outcome.text("lockdown")?.contains("[confidentiality]"), "the kernel is not locked down");
    expect_said(&outcome, "locked", &["locked down in confidentiality mode", "lockdown=integrity"])
}

/// One error, and nothing of a crash.
fn expect_said(outcome: &Outcome, round: &str, texts: &[&str]) -> Result<()> {
    let log = outcome.text(&format!("{round}.log"))?;
    for text in texts {
        ensure!(log.contains(text), "round {round}: the daemon does not say {text:?}:\n{log}");
    }
    ensure!(log.matches("ERROR").count() == 1, "round {round}: not one error:\n{log}");
    ensure!(!log.contains("RUST_BACKTRACE") && !log.contains("Refused {"), "round {round}: a crash:\n{log}");
    ensure!(!outcome.out.contains_key(&format!("{round}.jsonl")), "round {round}: it has begun to write records");
    Ok(())
}
