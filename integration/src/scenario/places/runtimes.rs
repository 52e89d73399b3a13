//! Containers of other runtimes, and the units that they and others are in.

use std::rc::Rc;

use anyhow::{Context as _, Result};

use super::{IMAGE, Trial, guest};
use crate::{
    guest::Outcome,
    records::{Record, Records},
    scenario::told::LOAD,
    story,
};

/// Without a network of their own.
const DOCKER: &str = r#"{ "bridge": "none", "iptables": false, "ip-forward": false }"#;

/// What one of them did: a name for the load's record, by the parameter `x`, and what must be in it.
type Expected = (u32, &'static [(&'static str, &'static str)]);

/// Waits for the record of the load, and takes the module out again.
const LOADED: &str = r#"
    events=/var/log/kmodtrail/events.jsonl
    loaded() {
        for _ in $(seq 1200); do grep -qs "\"linux.kernel_module.load\".*\"x=$1 *\"" $events && break; sleep 0.1; done
        grep -qs "\"linux.kernel_module.load\".*\"x=$1 *\"" $events || fail "there is no record of the load with x=$1"
        rmmod hello
    }
"#;

/// docker, podman and systemd-nspawn: container, image and unit.
pub(super) fn containers(trial: &Trial<'_>) -> Result<()> {
    let outcome = containers_in(trial, "", "")?;
    // with hierarchies of the first version its driver goes without systemd
    load(&outcome.records()?, 1)?.expect("systemd.slice", "system.slice").map(drop)
}

/// In a guest with more on its command line, which does something before.
pub(super) fn containers_in(trial: &Trial<'_>, command_line: &str, before: &str) -> Result<Rc<Outcome>> {
    const EXPECTED: &[Expected] = &[
        (1, &[("container.runtime.name", "docker"), ("container.name", "web"), ("container.image.name", IMAGE)]),
        (2, &[("container.runtime.name", "docker")]),
        (
            3,
            &[
                ("container.runtime.name", "podman"),
                ("container.name", "pod-web"),
                ("container.image.name", IMAGE),
                ("systemd.slice", "machine.slice"),
            ],
        ),
        (
            4,
            &[
                ("container.runtime.name", "systemd-nspawn"),
                ("container.id", "my-web"),
                ("container.name", "my-web"),
                ("systemd.slice", "machine.slice"),
                ("systemd.unit.name", r"machine-my\x2dweb.scope"),
            ],
        ),
    ];
    let script = format!(
        r#"{LOADED}
        {before}
        systemctl start docker || fail 'docker does not start'
        docker load -i /image.tar || fail 'docker does not take the image'
        podman load -i /image.tar || fail 'podman does not take the image'
        mkdir -p /var/lib/machines/my-web && tar -C /var/lib/machines/my-web -xf /layer.tar
        systemctl start kmodtrail
        inside='--privileged -v /fixtures:/fixtures'
        docker run $inside --network none --name web {IMAGE} insmod /fixtures/hello.ko x=1 || fail 'docker: web'
        loaded 1
        docker inspect -f '{{{{.Id}}}}' web > /out/docker
        # gone as soon as it has done it
        docker run $inside --network none --rm --cidfile /out/gone {IMAGE} insmod /fixtures/hello.ko x=2 || fail 'docker: gone'
        loaded 2
        podman run $inside --network host --name pod-web {IMAGE}:latest insmod /fixtures/hello.ko x=3 || fail 'podman'
        loaded 3
        podman inspect -f '{{{{.Id}}}}' pod-web > /out/podman
        systemd-nspawn --quiet -D /var/lib/machines/my-web -M my-web --bind-ro=/fixtures --capability=CAP_SYS_MODULE \
            --system-call-filter=@module --pipe /bin/insmod /fixtures/hello.ko x=4 < /dev/null || fail 'systemd-nspawn'
        loaded 4
        systemctl stop kmodtrail
        leave
        "#
    );
    let guest = guest(trial)?.command_line(command_line).file("/etc/docker/daemon.json", DOCKER);
    let outcome = guest.script(&story::script(&script)).run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    expect(&records, EXPECTED)?;
    for (number, file) in [(1, "docker"), (2, "gone"), (3, "podman")] {
        load(&records, number)?.expect("container.id", outcome.text(file)?.trim())?;
    }
    Ok(outcome)
}

/// Services, also with names that need escapes, a user's own service, and a login session.
pub(super) fn units(trial: &Trial<'_>) -> Result<()> {
    units_in(trial, "", "").map(drop)
}

/// As [`containers_in`].
pub(super) fn units_in(trial: &Trial<'_>, command_line: &str, before: &str) -> Result<Rc<Outcome>> {
    const EXPECTED: &[Expected] = &[
        (1, &[("systemd.unit.name", "plain.service"), ("systemd.slice", "system.slice")]),
        (2, &[("systemd.unit.name", r"tmpl@a\x2db-c.service"), ("systemd.slice", "system-tmpl.slice")]),
        (3, &[("systemd.unit.name", r"we\x2dird.service"), ("systemd.slice", "system.slice")]),
        (
            4,
            &[
                ("systemd.unit.name", "user@0.service"),
                ("systemd.user_unit", "uapp.service"),
                ("systemd.slice", "user-0.slice"),
            ],
        ),
        (5, &[("systemd.slice", "user-0.slice")]),
    ];
    let unit = |number: u32| format!("[Service]\nType=oneshot\nExecStart=/sbin/insmod /fixtures/hello.ko x={number}\n");
    let script = format!(
        r#"{LOADED}
        {before}
        systemctl start kmodtrail
        systemctl start plain || fail 'plain'
        loaded 1
        systemctl start 'tmpl@a\x2db-c.service' || fail 'tmpl'
        loaded 2
        systemctl start 'we\x2dird.service' || fail 'weird'
        loaded 3
        systemctl start user@0.service || fail 'no manager for root'
        XDG_RUNTIME_DIR=/run/user/0 systemctl --user start uapp.service || fail 'uapp'
        loaded 4
        su -l root -c '/sbin/insmod /fixtures/hello.ko x=5; echo $XDG_SESSION_ID > /out/session' || fail 'su'
        loaded 5
        systemctl stop kmodtrail
        leave
        "#
    );
    let outcome = story::installed(trial.systemd().command_line(command_line))?
        .file("/etc/systemd/system/plain.service", unit(1))
        .file("/etc/systemd/system/tmpl@.service", unit(2))
        .file(r"/etc/systemd/system/we\x2dird.service", unit(3))
        .file("/etc/systemd/user/uapp.service", unit(4))
        .script(&story::script(&script))
        .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    expect(&records, EXPECTED)?;
    let session = outcome.text("session")?;
    let session = session.trim();
    let load = load(&records, 5)?;
    load.expect("systemd.session", session)?.expect("systemd.unit.name", format!("session-{session}.scope"))?;
    for (number, _) in EXPECTED {
        self::load(&records, *number)?.expect_without("container.id")?;
    }
    Ok(outcome)
}

fn load(records: &Records, number: u32) -> Result<&Record> {
    // busybox puts a space behind each
    let is_it = |record: &Record| {
        record.string("linux.kernel_module.parameters").is_ok_and(|text| text.trim_end() == format!("x={number}"))
    };
    let loads = records.of(LOAD).with("linux.kernel_module.outcome", "success");
    loads.that(&format!("with x={number}"), is_it).one()
}

fn expect(records: &Records, all: &[Expected]) -> Result<()> {
    for (number, attributes) in all {
        let load = load(records, *number)?;
        for (attribute, value) in *attributes {
            load.expect(attribute, *value).with_context(|| format!("the load with x={number}"))?;
        }
    }
    Ok(())
}
