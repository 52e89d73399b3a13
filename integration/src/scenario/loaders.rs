//! Who loads modules for others, and for whom: udev, systemd at boot, somebody who has logged in.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    GuestKind, Kernels, Scenario, Trial,
    booted::booted,
    told::{LOAD, REQUEST},
};
use crate::records::Record;

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "loaders", guest: GuestKind::Systemd, kernels: Kernels::All, full: false, run: loaders }];

fn loaders(trial: &Trial<'_>) -> Result<()> {
    let outcome = booted(
        trial,
        "
        # what the boot has loaded already
        modprobe -r veth nlmon || exit 94
        useradd --uid 1000 alice || echo 'alice:x:1000:1000::/:/bin/sh' >> /etc/passwd
        udevadm control --reload
        udevadm settle
        ",
        "
        udevadm trigger --settle --action=change /dev/null
        systemctl restart systemd-modules-load || exit 91
        # as sshd and login do, then as sudo does
        systemd-run --wait -p PAMName=login -p User=alice /actor request 1 9 || exit 92
        systemd-run --wait sh -c 'echo 1000 > /proc/self/loginuid; modprobe dummy' || exit 93
        ",
    )?
    .file("/etc/modules-load.d/loaders.conf", "veth\n")
    .file("/etc/modprobe.d/loaders.conf", "alias net-pf-9 ifb\n")
    .file(
        "/etc/udev/rules.d/99-loaders.rules",
        "SUBSYSTEM==\"mem\", KERNEL==\"null\", RUN{builtin}+=\"kmod load nlmon\"\n",
    )
    .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    let load = |name: &str| records.of(LOAD).with("linux.kernel_module.name", name).one();

    let udev = load("nlmon")?;
    expect_line(udev, &["systemd-udevd", "udev-worker"], "/system.slice/systemd-udevd.service")?;
    udev.expect_without("linux.process.login_user.id")?.expect_without("linux.kernel_module.requester.process.pid")?;

    let boot = load("veth")?;
    expect_line(boot, &["systemd-modules"], "/system.slice/systemd-modules-load.service")?;
    boot.expect("process.executable.path", "/usr/lib/systemd/systemd-modules-load")?;

    let request = records.of(REQUEST).with("linux.kernel_module.alias", "net-pf-9").one()?;
    for (record, prefix) in [(request, ""), (load("ifb")?, "linux.kernel_module.requester.")] {
        record
            .expect(&format!("{prefix}linux.process.login_user.name"), "alice")?
            .expect(&format!("{prefix}process.user.name"), "alice")?;
        let cgroup = record.string(&format!("{prefix}linux.process.cgroup.path"))?;
        ensure!(cgroup.starts_with("/user.slice/user-1000.slice/session-"), "not in a session:\n{record}");
        ensure!(record.integer(&format!("{prefix}linux.process.audit_session.id"))? > 0, "no session:\n{record}");
    }
    let sudo = load("dummy")?;
    sudo.expect("process.user.name", "root")?.expect("linux.process.login_user.name", "alice")?;
    expect_line(sudo, &["modprobe"], "/system.slice/run-")
}

/// It is one of these programs, in a control group that begins so, and systemd is above it.
fn expect_line(record: &Record, names: &[&str], cgroup: &str) -> Result<()> {
    let comm = record.string("thread.name")?;
    ensure!(names.iter().any(|name| comm.trim_start_matches('(').starts_with(name)), "not one of {names:?}:\n{record}");
    ensure!(record.string("linux.process.cgroup.path")?.starts_with(cgroup), "not in {cgroup}:\n{record}");
    let ancestors = record.get("linux.process.ancestors").and_then(Value::as_array);
    let first = ancestors.and_then(|ancestors| ancestors.last());
    ensure!(first.is_some_and(|first| first["process.pid"] == 1), "process 1 is not above it:\n{record}");
    Ok(())
}
