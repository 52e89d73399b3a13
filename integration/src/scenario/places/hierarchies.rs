//! Hosts whose control groups are of the first version, alone or with the unified hierarchy beside them.

use anyhow::{Context as _, Result, ensure};

use super::{Trial, runtimes};

/// systemd's own hierarchy and those of the controllers.
const LEGACY: &str = "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1";
/// The unified one beside them, without controllers.
const HYBRID: &str = "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0";

/// Leaves in /out/cgroups what process 1 is in.
const LOOK: &str = "cat /proc/1/cgroup > /out/cgroups\n";

pub(super) fn units(trial: &Trial<'_>) -> Result<()> {
    for (command_line, unified) in [(LEGACY, false), (HYBRID, true)] {
        let outcome = runtimes::units_in(trial, command_line, LOOK).context(command_line)?;
        expect(&outcome.text("cgroups")?, unified)?;
    }
    Ok(())
}

pub(super) fn containers(trial: &Trial<'_>) -> Result<()> {
    for (command_line, unified) in [(LEGACY, false), (HYBRID, true)] {
        let outcome = runtimes::containers_in(trial, command_line, LOOK).context(command_line)?;
        expect(&outcome.text("cgroups")?, unified)?;
    }
    Ok(())
}

/// The guest has booted with what it was told to.
fn expect(cgroups: &str, unified: bool) -> Result<()> {
    let line = |ending: &str| cgroups.lines().any(|line| line.ends_with(ending));
    ensure!(line(":name=systemd:/init.scope"), "no hierarchy of systemd's own:\n{cgroups}");
    ensure!(cgroups.contains("0::/init.scope") == unified, "with the unified one or without:\n{cgroups}");
    Ok(())
}
