//! Whose a module's file is: the unit, in its sandbox, asks the host's package managers.

use anyhow::{Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial};
use crate::{guest::systemd::Root, records::Record, story};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "packages",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: packages,
    },
    Scenario {
        name: "packages_of_rpm",
        guest: GuestKind::SystemdWith(Root::Rpm),
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: packages_of_rpm,
    },
];

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
        owned(load, owner)?;
    }
    Ok(())
}

/// By the manager, the package of that name, of that version; or by none.
fn owned(load: &Record, owner: Option<(&str, &str, &str)>) -> Result<()> {
    load.expect("linux.kernel_module.package.owned", owner.is_some())?;
    let Some((manager, name, version)) = owner else {
        return load.expect_without("linux.kernel_module.package.name").map(drop);
    };
    load.expect("linux.kernel_module.package.manager", manager)?
        .expect("linux.kernel_module.package.name", name)?
        .expect("linux.kernel_module.package.version", version)
        .map(drop)
}

/// What rpm's database has, what it has not, a database that only root may read, and an rpm that hangs.
const RPM: &str = r#"
cat > /vendor.spec <<'END'
Name: vendor-modules
Epoch: 2
Version: 1.2.3
Release: 4
Summary: A module
License: GPL
%global __os_install_post %{nil}
%global debug_package %{nil}
%description
%install
mkdir -p %{buildroot}/lib/vendor
cp /fixtures/hello.ko %{buildroot}/lib/vendor/
%files
/lib/vendor/hello.ko
END
rpmbuild --quiet -bb --define '_topdir /build' /vendor.spec || exit 1
mkdir -p /etc/kmodtrail/conf.d
printf '[enrich]
wait = "5s"
' > /etc/kmodtrail/conf.d/slow.toml
count=0
# what is asked about it is asked before anything changes
load() {
    insmod "$1" && rmmod hello || exit 1
    count=$((count + 1))
    /actor wait-for /var/log/kmodtrail/events.jsonl linux.kernel_module.unload $count 60
}
systemctl start kmodtrail
# Debian's own place is the user's home
rpm -i --dbpath /var/lib/rpm --nodeps --force-debian /build/RPMS/*/vendor-modules-*.rpm || exit 1
load /usr/lib/vendor/hello.ko
cd /usr/lib/vendor
cp hello.ko other.ko; load other.ko
# rpm does not see these
cp hello.ko /tmp/hello.ko; load /tmp/hello.ko
cp hello.ko /root/hello.ko; load /root/hello.ko
chmod 700 /var/lib/rpm
cp hello.ko third.ko; load third.ko
chmod 755 /var/lib/rpm
load third.ko
# it is asked again
sleep 11
load third.ko
cp hello.ko '%(id).ko'; load '%(id).ko'
printf '#!/bin/sh\nexec sleep 1000\n' > /usr/bin/rpm
cp hello.ko fourth.ko; load fourth.ko
pgrep -u kmodtrail -a > /out/processes
systemctl stop kmodtrail
leave
"#;

/// Debian's rpm, asked by the unit in its sandbox.
fn packages_of_rpm(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd().root(Root::Rpm))?.script(&story::script(RPM)).run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    let loads = records.of("linux.kernel_module.load").with("linux.kernel_module.name", "hello").count(9)?;
    let vendor = Some(("rpm", "vendor-modules", "2:1.2.3-4"));
    let closed = "rpm: Unable to open sqlite database";
    for (load, owner) in loads.into_iter().zip([
        Ok(vendor),
        Ok(None),
        Ok(None),
        Ok(None),
        Err(closed),
        Err(closed),
        Ok(None),
        Err("rpm is not asked about"),
        Err("/usr/bin/rpm took too long"),
    ]) {
        match owner {
            Ok(owner) => owned(load, owner)?,
            Err(why) => unknown(load, why)?,
        }
    }
    let processes = outcome.text("processes")?;
    ensure!(processes.lines().count() == 1, "more than the daemon is left: {processes}");
    Ok(())
}

/// What is known of the file is there all the same.
fn unknown(load: &Record, why: &str) -> Result<()> {
    load.expect_without("linux.kernel_module.package.owned")?;
    load.string("linux.kernel_module.hash.sha256")?;
    let missing = load.get("kmodtrail.enrichment.missing").map(ToString::to_string).unwrap_or_default();
    ensure!(missing.contains(&format!("linux.kernel_module.package.owned: {why}")), "{why:?} is not in {missing}");
    Ok(())
}
