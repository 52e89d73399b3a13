//! What the kernel asks for by itself: who made it ask, what it ran, and what came of it.

use anyhow::{Result, ensure};

use super::{
    GuestKind, Kernels, Scenario, Trial,
    booted::booted,
    told::{HELPER, LOAD, READ, REQUEST, VERIFY},
};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "nothing_loaded_nothing_told",
    guest: GuestKind::Systemd,
    kernels: Kernels::All,
    full: false,
    run: nothing_loaded_nothing_told,
}];

/// modprobe that only looks, and requests that nothing answers, leave no load record; one that is answered leaves its whole story.
fn nothing_loaded_nothing_told(trial: &Trial<'_>) -> Result<()> {
    let outcome = booted(
        trial,
        "",
        "
        modprobe --show-depends dummy > /out/depends
        modprobe -n -v dummy >> /out/depends
        modinfo dummy > /dev/null
        mount -t zzfs none /mnt
        ip link add name extra type nosuch
        ip link add name extra type dummy || exit 91
        ",
    )?
    .run()?;
    outcome.expect_success()?;
    ensure!(outcome.text("depends")?.contains("dummy.ko"), "modprobe did not look");
    let records = outcome.records()?;

    for (alias, program) in [("fs-zzfs", "/usr/bin/mount"), ("rtnl-link-nosuch", "/usr/bin/ip")] {
        for request in records.of(REQUEST).with("linux.kernel_module.alias", alias).at_least(1)? {
            request.expect("linux.kernel_module.verdict", "allowed")?.expect("process.user.id", 0)?;
            let path = request.string("process.executable.path")?;
            ensure!(path == program || format!("/usr{path}") == program, "{program} asked, not {path}:\n{request}");
            let helper = records.of(HELPER).in_trace_of(request).one()?;
            helper
                .expect("linux.kernel_module.alias", alias)?
                .expect("linux.kernel_module.helper.path", "/sbin/modprobe")?
                .expect("linux.kernel_module.helper.waited_for", true)?
                // exited with 1: there is no such module
                .expect("linux.kernel_module.helper.exit_status", 256)?
                .expect("process.pid", request.integer("process.pid")?)?;
            ensure!(helper.integer("linux.kernel_module.helper.pid")? > 1, "which process?\n{helper}");
            records.of(LOAD).in_trace_of(request).none()?;
        }
    }

    let request = records.of(REQUEST).with("linux.kernel_module.alias", "rtnl-link-dummy").one()?;
    let helper = records.of(HELPER).in_trace_of(request).one()?;
    helper.expect("linux.kernel_module.helper.exit_status", 0)?;
    let load = records.of(LOAD).in_trace_of(request).one()?;
    load.expect("linux.kernel_module.name", "dummy")?
        .expect("linux.kernel_module.alias", "rtnl-link-dummy")?
        .expect("linux.kernel_module.outcome", "success")?
        .expect("linux.kernel_module.signature.state", "valid")?
        .expect("process.pid", helper.integer("linux.kernel_module.helper.pid")?)?;
    ensure!(load.get("process.pid") != request.get("process.pid"), "modprobe asked for itself:\n{load}");
    records.of(READ).in_trace_of(request).one()?;
    records.of(VERIFY).in_trace_of(request).one()?;
    // The only one: looking at a module loads nothing.
    records.of(LOAD).one().map(drop)
}
