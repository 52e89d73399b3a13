//! The daemon in a privileged container with the host's PID namespace, as a DaemonSet would run it.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{IMAGE, Trial, guest};
use crate::{records::Record, scenario::told::LOAD, story};

const CONFIGURATION: &str = r#"
[spool]
path = "/tmp/spool"
[sinks.out]
type = "file"
path = "/out/records.jsonl"
[[routes]]
name = "everything"
to = ["out"]
"#;

/// The host knows user 1000 as alice; so would the container, by another name.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nmallory:x:1000:1000::/:/bin/sh\n";

pub(super) fn daemon(trial: &Trial<'_>) -> Result<()> {
    let outcome = guest(trial)?
        .file("/daemon/etc/kmodtrail.toml", CONFIGURATION)
        .file("/daemon/etc/passwd", USERS)
        .file("/daemon/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .script(&story::script(
            r#"
            fail() { echo "@@ $1"; cat /out/daemon.log; exit 1; }
            loaded() { /actor wait-for /out/records.jsonl "\"x=$1" 1 60 || fail "there is no record of the load with x=$1"; rmmod hello; }
            cp /etc/machine-id /out/machine-id
            echo 'alice:x:1000:1000::/:/bin/sh' >> /etc/passwd
            podman load -i /image.tar || fail 'podman does not take the image'
            # the container has the distribution's programs, and nothing else of the host's
            cd /daemon && mkdir -p usr proc sys dev run tmp out var && ln -s usr/bin usr/sbin usr/lib usr/lib64 . && cd /
            podman run --detach --name daemon --privileged --pid host --network none -v /usr:/usr:ro -v /out:/out --ulimit memlock=-1:-1 \
                --rootfs /daemon /usr/bin/kmodtrail run --config /etc/kmodtrail.toml > /out/daemon.log 2>&1 || fail 'podman: the daemon'
            /actor wait-for /out/records.jsonl kmodtrail.coverage 1 120 || { podman logs daemon; fail 'the daemon does not watch'; }
            cat /proc/$(pgrep -x kmodtrail)/cgroup > /out/cgroup
            cp /fixtures/hello.ko /root/of-the-host.ko
            named of-the-host finit /root/of-the-host.ko --params x=1
            loaded 1
            ACTOR_LABEL=logged-in sh -c 'echo 1000 > /proc/self/loginuid; exec /actor finit /root/of-the-host.ko --params x=2' >> /out/actions.jsonl
            loaded 2
            podman run --privileged -v /fixtures:/fixtures --network host --name web docker.io/cilium/starwars:latest \
                insmod /fixtures/hello.ko x=3 || fail 'podman: web'
            loaded 3
            podman stop daemon
            podman logs daemon >> /out/daemon.log 2>&1
            "#,
        ))
        .run()?;
    outcome.expect_success()?;
    ensure!(outcome.text("cgroup")?.contains("libpod-"), "the daemon is in no container: {}", outcome.text("cgroup")?);
    let records = outcome.records()?;
    let load = |number: u32| {
        let is_it = |record: &Record| {
            record.string("linux.kernel_module.parameters").is_ok_and(|text| text.trim_end() == format!("x={number}"))
        };
        records.of(LOAD).that(&format!("with x={number}"), is_it).one()
    };
    let of_host = outcome.named("of-the-host")?;
    let first = load(1)?;
    first
        .expect("process.pid", of_host.pid)?
        .expect("process.executable.path", "/actor")?
        .expect("linux.process.parent.executable.path", "/usr/bin/bash")?
        .expect("file.path", "/root/of-the-host.ko")?
        .expect("process.user.name", "root")?
        .expect("linux.process.namespaces.of_host", vec!["user", "mnt", "pid", "net"])?
        .expect("systemd.unit.name", "scenario.service")?
        .expect_without("container.id")?
        .expect_without("kmodtrail.enrichment.missing")?;
    first.string("linux.kernel_module.hash.sha256")?;
    ensure!(
        first.resource.get("host.id") == Some(&json!(outcome.text("machine-id")?.trim())),
        "not the host's id:\n{first}"
    );
    load(2)?.expect("linux.process.login_user.name", "alice")?;
    load(3)?
        .expect("container.runtime.name", "podman")?
        .expect("container.name", "web")?
        .expect("container.image.name", IMAGE)?
        .expect("file.path", "/fixtures/hello.ko")?;
    Ok(())
}
