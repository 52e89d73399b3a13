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
            echo /tmp/x > /proc/sys/kernel/modprobe
            told 1
            echo 'install dummy /bin/false' > /etc/modprobe.d/no-dummy.conf
            told 3
            echo 1 > /proc/sys/kernel/modules_disabled
            told 4
            ",
        )
        .run()?;
    let records = outcome.records()?;
    records.of(SETTING).count(4)?;
    let of = |path: &str| records.of(SETTING).with("linux.kernel_module.setting.path", path);
    let modprobe = of("/proc/sys/kernel/modprobe").one()?;
    modprobe
        .expect("linux.kernel_module.setting.change", "value")?
        .expect("linux.kernel_module.setting.before", "/sbin/modprobe")?
        .expect("linux.kernel_module.setting.after", "/tmp/x")?;
    ensure!(modprobe.severity == "WARN", "not WARN:\n{modprobe}");
    let file = of("/etc/modprobe.d/no-dummy.conf").count(2)?;
    file[0].expect("linux.kernel_module.setting.change", "created")?;
    file[1].expect("linux.kernel_module.setting.change", "written")?;
    of("/proc/sys/kernel/modules_disabled").one()?.expect("linux.kernel_module.setting.after", "1")?;
    Ok(())
}
