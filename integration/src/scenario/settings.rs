//! Changes of what decides which modules are loaded.

use anyhow::{Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial, watched::watched};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "settings",
    guest: GuestKind::Fast,
    kernels: Kernels::Only(&["5.10", "7"]),
    full: false,
    run: settings,
}];

const SETTING: &str = "linux.kernel_module.setting";

/// As one does who wants root from the kernel, and one who wants a module never to be loaded, or none at all.
fn settings(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .unwatched("mkdir -p /etc/modprobe.d")
        .script(
            "
            told() { /actor wait-for /out/records.jsonl linux.kernel_module.setting $1 60 || exit 91; }
            sh -c 'echo /tmp/x > /proc/sys/kernel/modprobe; echo $$' > /out/modprobe.pid
            told 1
            # away and back, faster than anybody looks
            sh -c 'echo /tmp/y > /proc/sys/kernel/modprobe; echo /tmp/x > /proc/sys/kernel/modprobe'
            told 3
            # no change: others' settings, reading, the same again, what the kernel refuses
            echo 1 > /proc/sys/vm/panic_on_oom
            cat /proc/sys/kernel/modprobe > /dev/null
            echo /tmp/x > /proc/sys/kernel/modprobe
            echo 2 > /proc/sys/kernel/modules_disabled
            echo 'install dummy /bin/false' > /etc/modprobe.d/no-dummy.conf
            told 5
            mkdir /writer; cp /bin/busybox /writer/sh
            su -s /bin/sh -c 'echo 1 > /sys/module/module/parameters/sig_enforce' alice
            /writer/sh -c 'echo 1 > /sys/module/module/parameters/sig_enforce'
            told 6
            echo integrity > /sys/kernel/security/lockdown
            told 7
            echo 1 > /proc/sys/kernel/modules_disabled
            told 8
            ",
        )
        .run()?;
    let records = outcome.records()?;
    records.of(SETTING).count(8)?;
    let of = |path: &str| records.of(SETTING).with("linux.kernel_module.setting.path", path);
    let writer: i64 = outcome.text("modprobe.pid")?.trim().parse()?;
    let changes = [("/sbin/modprobe", "/tmp/x"), ("/tmp/x", "/tmp/y"), ("/tmp/y", "/tmp/x")];
    for (modprobe, (before, after)) in of("/proc/sys/kernel/modprobe").count(3)?.into_iter().zip(changes) {
        modprobe
            .expect("linux.kernel_module.setting.change", "value")?
            .expect("linux.kernel_module.setting.before", before)?
            .expect("linux.kernel_module.setting.after", after)?
            .expect("process.executable.path", "/bin/busybox")?
            .expect("process.user.name", "root")?;
        ensure!(modprobe.severity == "WARN", "not WARN:\n{modprobe}");
    }
    of("/proc/sys/kernel/modprobe").count(3)?[0].expect("process.pid", writer)?;
    let file = of("/etc/modprobe.d/no-dummy.conf").count(2)?;
    file[0].expect("linux.kernel_module.setting.change", "created")?;
    file[1].expect("linux.kernel_module.setting.change", "written")?;
    let last = |path, after, executable| {
        of(path)
            .one()?
            .expect("linux.kernel_module.setting.after", after)?
            .expect("process.executable.path", executable)
    };
    last("/sys/module/module/parameters/sig_enforce", "Y", "/writer/sh")?;
    last("/sys/kernel/security/lockdown", "none [integrity] confidentiality", "/bin/busybox")?;
    last("/proc/sys/kernel/modules_disabled", "1", "/bin/busybox")?;
    Ok(())
}
