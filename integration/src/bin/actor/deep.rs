//! Paths that are longer than any limit, of folders and of control groups.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{self, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{module::bytes, process::become_command};

/// NAME_MAX, include/uapi/linux/limits.h.
const LONGEST_NAME: usize = 255;
const CGROUPS: &str = "/sys/fs/cgroup";

pub(crate) fn run(levels: u32, cgroups: u32, file: &Path, arguments: &[OsString]) -> Result<ExitCode> {
    let (actor, module) = (bytes(Path::new("/proc/self/exe"))?, bytes(file)?);
    let home = env::current_dir().context("where am I")?;
    if cgroups > 0 {
        env::set_current_dir(CGROUPS).context("no control groups")?;
        descend(cgroups)?;
        fs::write("cgroup.procs", process::id().to_string()).context("entering the control group")?;
        env::set_current_dir(home).context("going back")?;
    }
    descend(levels)?;
    fs::write("module.ko", module).context("writing module.ko")?;
    fs::write("actor", actor).context("writing actor")?;
    fs::set_permissions("actor", fs::Permissions::from_mode(0o755)).context("making actor executable")?;
    let command: Vec<_> = [OsString::from("./actor")].iter().chain(arguments).cloned().collect();
    become_command(&command)
}

/// Step by step, as the whole path is longer than a system call takes. Level 7 is called `7_______...`.
fn descend(levels: u32) -> Result<()> {
    for level in 0..levels {
        let name = format!("{level:_<LONGEST_NAME$}");
        fs::create_dir(&name).with_context(|| format!("making level {level}"))?;
        env::set_current_dir(&name).with_context(|| format!("entering level {level}"))?;
    }
    Ok(())
}
