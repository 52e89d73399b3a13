//! Whose a module's file is: the unit, in its sandbox, asks the host's package managers.

use anyhow::Result;

use super::{GuestKind, Kernels, Scenario, Trial};
use crate::story;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "packages",
    guest: GuestKind::Systemd,
    kernels: Kernels::Only(&["6.1", "7"]),
    full: false,
    run: packages,
}];

/// Four files with the same module: of nobody, of a package, as DKMS leaves it, and one that was put over DKMS' own.
fn packages(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd())?
        .script(&story::script(
            r#"
            mkdir -p /package/DEBIAN /package/opt/vendor
            printf 'Package: hello-modules\nVersion: 1.2.3-4\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a module\n' > /package/DEBIAN/control
            cp /fixtures/hello.ko /package/opt/vendor/
            dpkg-deb --root-owner-group --build /package /hello.deb > /dev/null
            dkms=/opt/lib/modules/$(uname -r)/updates/dkms
            built=/var/lib/dkms/hello/1.2.3/$(uname -r)/x86_64/module
            mkdir -p $dkms $built
            cp /fixtures/hello.ko $built/; cp /fixtures/hello.ko $dkms/
            mkdir -p /etc/kmodtrail/conf.d
            printf '[enrich]\nwait = "5s"\n' > /etc/kmodtrail/conf.d/slow.toml
            systemctl start kmodtrail
            load() { insmod $1 && rmmod hello; }
            load /fixtures/hello.ko
            dpkg --install /hello.deb > /dev/null
            load /opt/vendor/hello.ko
            load $dkms/hello.ko
            cp $built/hello.ko /run/forged.ko; printf x >> /run/forged.ko; cp /run/forged.ko $dkms/hello.ko
            load $dkms/hello.ko
            systemctl stop kmodtrail
            leave
            "#,
        ))
        .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    let loads = records.of("linux.kernel_module.load").with("linux.kernel_module.name", "hello").count(4)?;
    for (load, owner) in loads.into_iter().zip([
        None,
        Some(("dpkg", "hello-modules", "1.2.3-4")),
        Some(("dkms", "hello", "1.2.3")),
        None,
    ]) {
        load.expect("linux.kernel_module.package.owned", owner.is_some())?;
        let Some((manager, name, version)) = owner else {
            load.expect_without("linux.kernel_module.package.name")?;
            continue;
        };
        load.expect("linux.kernel_module.package.manager", manager)?
            .expect("linux.kernel_module.package.name", name)?
            .expect("linux.kernel_module.package.version", version)?;
    }
    Ok(())
}
