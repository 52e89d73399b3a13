//! The guests themselves, without the daemon: what the other scenarios stand on.

use anyhow::{Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "guest_boots", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: guest_boots },
    Scenario {
        name: "systemd_boots",
        guest: GuestKind::Systemd,
        kernels: Kernels::All,
        full: false,
        run: systemd_boots,
    },
];

fn guest_boots(trial: &Trial<'_>) -> Result<()> {
    let outcome = trial
        .fast()
        .processors(2)
        .script(
            "
            uname -r > /out/release
            for module in dummy hello; do
                act finit /fixtures/$module.ko
                act delete $module
            done
            act finit /fixtures/hello.ko --params 'x=7 text=seven'
            cat /sys/module/hello/parameters/* > /out/parameters
            act delete hello
            act finit /fixtures/hello.ko --params fail=22
            act finit /fixtures/nosig.ko
            act init /fixtures/dummy.ko
            act delete dummy --flags 2048
            act memfd /fixtures/dummy.ko
            act pairs 5 /fixtures/hello.ko hello
            for module in badelf truncated badsig; do
                act finit /fixtures/$module.ko
            done
            act drop-caps-run /actor finit /fixtures/hello.ko
            act ia32-finit /fixtures/hello.ko
            act exec-after /fixtures/badelf.ko -- /bin/true
            act exec 3 /bin/true
            echo > /proc/sys/kernel/modprobe
            act request 5 9
            /actor wait-for /out/actions.jsonl exec-after 1 5 && /actor count /out/actions.jsonl finit badelf > /out/count
            ",
        )
        .run()?;
    outcome.expect_success()?;
    ensure!(outcome.text("release")?.trim() == trial.kernel().release(), "another kernel booted");

    outcome.action("finit /fixtures/dummy.ko")?.expect_success()?;
    outcome.action("finit /fixtures/hello.ko --params x=7 text=seven")?.expect_success()?;
    ensure!(outcome.text("parameters")? == "0\n0\nseven\n7\n", "the parameters did not arrive");
    outcome.action("finit /fixtures/hello.ko --params fail=22")?.expect_error("EINVAL")?;
    outcome.action("finit /fixtures/nosig.ko")?.expect_success()?;
    outcome.action("init /fixtures/dummy.ko")?.expect_error("EEXIST")?;
    outcome.action("delete dummy --flags 2048")?.expect_success()?;
    outcome.action("memfd /fixtures/dummy.ko")?.expect_success()?;
    outcome.action("pairs 5 /fixtures/hello.ko hello")?.expect_success()?;
    outcome.action("finit /fixtures/badelf.ko")?.expect_error("ENOEXEC")?;
    outcome.action("finit /fixtures/truncated.ko")?.expect_error("ENOEXEC")?;
    outcome.action("finit /fixtures/badsig.ko")?.expect_error("EKEYREJECTED")?;
    outcome.action("ia32-finit /fixtures/hello.ko")?.expect_success()?;
    outcome.action("exec 3 /bin/true")?.expect_success()?;
    let request = outcome.action("request 5 9")?;
    ensure!(request.more["refusal"] == "EAFNOSUPPORT", "a socket of family 9 met {:?}", request.more);
    ensure!(outcome.text("count")?.trim() == "1", "not one action is a finit of badelf");

    // The one that was told to run another actor is in the file under that actor's own command line.
    let actions = outcome.actions()?;
    let unprivileged = actions.iter().rfind(|action| action.command == "finit /fixtures/hello.ko");
    ensure!(unprivileged.is_some_and(|action| action.error == "EPERM"), "nobody may load a module");

    for action in &actions {
        ensure!(action.boottime_before_ns < action.boottime_after_ns, "the clock stands still: {action:?}");
        ensure!(action.pid == action.tid && action.pid > 1, "an odd process: {action:?}");
    }
    Ok(())
}

fn systemd_boots(trial: &Trial<'_>) -> Result<()> {
    let outcome = trial
        .systemd()
        .script(
            "
            systemctl is-system-running --wait > /out/state
            lsmod | grep -c '^xfs ' > /out/xfs-before
            mount -t xfs /dev/disk/by-id/virtio-xfs /mnt
            findmnt --noheadings --output FSTYPE /mnt > /out/mounted
            lsmod | grep -c '^xfs ' > /out/xfs-after
            systemctl show --property Version --value > /out/version
            act finit /fixtures/dummy.ko
            ",
        )
        .run()?;
    outcome.expect_success()?;
    let line = |name: &str| anyhow::Ok(outcome.text(name)?.trim().to_owned());
    ensure!(line("state")? == "running", "systemd is {:?}", line("state")?);
    ensure!(line("version")?.starts_with("252"), "systemd {}, not bookworm's", line("version")?);
    ensure!(
        line("xfs-before")? == "0" && line("mounted")? == "xfs" && line("xfs-after")? == "1",
        "mounting did not load xfs"
    );
    outcome.action("finit /fixtures/dummy.ko")?.expect_success()
}
