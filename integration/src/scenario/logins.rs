//! Who comes in by other doors: somebody over ssh who becomes root by sudo, a cron job, a user that only systemd-userdbd knows, a kubelet.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    GuestKind, Kernels, Scenario, Trial,
    told::{LOAD, REQUEST},
};
use crate::{guest::systemd::Root, records::Record, story};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "logins",
    guest: GuestKind::SystemdWith(Root::Logins),
    kernels: Kernels::Only(&["6.1", "7"]),
    full: false,
    run: logins,
}];

/// What socket(2) asks for.
const MODPROBE: &str = "alias net-pf-9 ifb\n";

const KUBELET: &str =
    "[Service]\nType=oneshot\nExecStart=/usr/local/bin/kubelet -c '/sbin/modprobe nf_conntrack; true'\n";

const USER: &str = r#"{ "userName": "carol", "uid": 70001, "gid": 70002, "disposition": "regular" }"#;
const GROUP: &str = r#"{ "groupName": "carols", "gid": 70002, "disposition": "regular" }"#;

fn logins(trial: &Trial<'_>) -> Result<()> {
    let outcome = story::installed(trial.systemd().root(Root::Logins))?
        .file("/etc/modprobe.d/logins.conf", MODPROBE)
        .file("/etc/systemd/system/kubelet.service", KUBELET)
        .file("/etc/userdb/carol.user", USER)
        .file("/etc/userdb/carols.group", GROUP)
        .script(&story::script(
            r#"
            events=/var/log/kmodtrail/events.jsonl
            told() { /actor wait-for $events "$1" 1 120 || fail "there is no record of it: $1"; }
            systemctl start kmodtrail

            # on its own start cron runs what is to be run after each boot
            echo '@reboot root /actor request 1 9 > /run/cron.json' > /etc/cron.d/kmodtrail
            rm -f /run/crond.reboot
            systemctl start cron
            told '"ifb"'

            useradd --uid 1000 --create-home --shell /bin/bash --password '*' alice || fail 'no alice'
            echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice
            chmod 440 /etc/sudoers.d/alice
            ssh-keygen -q -t ed25519 -N '' -f /root/key
            install -d -m 700 -o alice -g alice /home/alice/.ssh
            install -m 600 -o alice -g alice /root/key.pub /home/alice/.ssh/authorized_keys
            systemctl start ssh
            ssh -tt -i /root/key -o StrictHostKeyChecking=no alice@127.0.0.1 \
                'echo $XDG_SESSION_ID > /tmp/session; sudo /sbin/modprobe dummy; exit $?' < /dev/null || fail 'ssh or sudo'
            cp /tmp/session /out/session
            told '"dummy"'

            cp /bin/bash /usr/local/bin/kubelet
            systemctl start kubelet || fail 'kubelet'
            told '"nf_conntrack"'

            ln -s carol.user /etc/userdb/70001.user
            ln -s carols.group /etc/userdb/70002.group
            systemctl start systemd-userdbd.socket
            grep carol /etc/passwd /etc/group && fail 'the files know carol'
            userdbctl user carol || fail 'systemd-userdbd does not know carol'
            # where answers take long the first record goes out without the name
            for _ in $(seq 60); do
                setpriv --reuid 70001 --regid 70002 --clear-groups /actor request 1 11 > /run/carol.json
                sleep 0.5
                grep -q carols $events && break
            done
            told '"carols"'
            systemctl stop kmodtrail
            leave
            "#,
        ))
        .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    let load = |name: &str| records.of(LOAD).with("linux.kernel_module.name", name).one();

    // what the initramfs has loaded was there before anybody watched: no record says who it was
    let early = records.of("linux.kernel_module.inventory").with("linux.kernel_module.name", "virtio_blk").one()?;
    early.expect("linux.kernel_module.inventory.before_start", true)?.expect_without("process.pid")?;

    let cron = records.of(REQUEST).with("linux.kernel_module.alias", "net-pf-9").one()?;
    for (record, prefix) in [(cron, ""), (load("ifb")?, "linux.kernel_module.requester.")] {
        record
            .expect(&format!("{prefix}systemd.unit.name"), "cron.service")?
            .expect(&format!("{prefix}process.user.name"), "root")?
            .expect(&format!("{prefix}linux.process.login_user.name"), "root")?;
        expect_above(record, prefix, &["cron"])?;
    }

    let ssh = load("dummy")?;
    let session = outcome.text("session")?;
    ssh.expect("thread.name", "modprobe")?
        .expect("process.user.name", "root")?
        .expect("linux.process.login_user.name", "alice")?
        .expect("systemd.session", session.trim())?
        .expect("systemd.unit.name", format!("session-{}.scope", session.trim()))?
        .expect("systemd.slice", "user-1000.slice")?
        .expect_without("linux.kernel_module.requester.process.pid")?;
    ensure!(ssh.string("linux.process.tty")?.starts_with("pts"), "no terminal:\n{ssh}");
    ensure!(ssh.integer("linux.process.audit_session.id")? > 0, "no session:\n{ssh}");
    expect_above(ssh, "", &["sudo", "bash", "sshd", "systemd"])?;

    load("nf_conntrack")?
        .expect("systemd.unit.name", "kubelet.service")?
        .expect("thread.name", "modprobe")?
        .expect("linux.process.parent.executable.path", "/usr/local/bin/kubelet")?
        .expect_without("linux.kernel_module.requester.process.pid")?
        .expect_without("container.id")?;

    let carol = records.of(REQUEST).with("linux.process.group.name", "carols").at_least(1)?[0];
    carol
        .expect("process.user.id", 70001)?
        .expect("process.user.name", "carol")?
        .expect("process.real_user.name", "carol")?
        .expect_without("kmodtrail.enrichment.missing")?;
    Ok(())
}

/// These are among its ancestors, in this order.
fn expect_above(record: &Record, prefix: &str, names: &[&str]) -> Result<()> {
    let ancestors = record.get(&format!("{prefix}linux.process.ancestors")).and_then(Value::as_array);
    let mut comms = ancestors.into_iter().flatten().filter_map(|ancestor| ancestor["thread.name"].as_str());
    for name in names {
        ensure!(comms.any(|comm| comm == *name), "no {name} above it, in the order of {names:?}:\n{record}");
    }
    Ok(())
}
