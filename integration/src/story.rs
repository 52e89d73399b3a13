//! The story of the user's documents, told in a guest: a pod's mount makes the kernel load xfs, somebody loads an out-of-tree module
//! and takes it out again, a signed module comes and goes. The demo shows it, a scenario tests it on every kernel.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, Result};

use crate::{
    fixtures,
    guest::systemd::Guest,
    records::{Record, Records},
    testbed::Testbed,
};

/// Where the installed daemon writes, by its default configuration.
const EVENTS: &str = "/var/log/kmodtrail/events.jsonl";

/// What a package does, then starts the unit and waits until the daemon watches.
const INSTALL: &str = "
install -m 755 /kmodtrail /usr/bin/kmodtrail
systemd-sysusers /usr/lib/sysusers.d/kmodtrail.conf
systemctl daemon-reload
systemctl is-system-running --wait > /dev/null || true
udevadm settle
leave() {
    cp /var/log/kmodtrail/events.jsonl /out/records.jsonl
    systemctl show kmodtrail -p Type,ActiveState,Result,ExecMainStatus,StatusText,NRestarts,User > /out/unit
    journalctl -u kmodtrail --no-pager > /out/kmodtrail.log
}
fail() { echo \"@@ $1\"; leave; exit 1; }
";

/// One step of the story: what is said, what is done, and what must be in the file before the next step.
struct Step {
    says: &'static str,
    does: &'static str,
    awaits: &'static str,
}

const STEPS: &[Step] = &[
    Step { says: "systemctl start kmodtrail", does: "systemctl start kmodtrail", awaits: "kmodtrail.coverage" },
    Step {
        says: "mount -t xfs: the kernel lacks the file system and asks for a module by itself",
        does: "mkdir -p /mnt/xfs && mount -t xfs /dev/disk/by-id/virtio-xfs /mnt/xfs",
        awaits: "linux.kernel_module.helper",
    },
    Step {
        says: "insmod hello.ko: an out-of-tree module without a signature",
        does: "cd /fixtures && insmod hello.ko x=7",
        awaits: r#""linux.kernel_module.load".*"hello""#,
    },
    Step { says: "rmmod hello", does: "rmmod hello", awaits: r#""linux.kernel_module.unload".*"hello""# },
    Step {
        says: "modprobe dummy, rmmod dummy: a module that the distribution has signed",
        does: "modprobe dummy && rmmod dummy",
        awaits: r#""linux.kernel_module.unload".*"dummy""#,
    },
    Step { says: "systemctl stop kmodtrail", does: "systemctl stop kmodtrail", awaits: "kmodtrail.stopped" },
];

/// Puts the daemon and its unit into the guest as a package would, and lets the story happen in it. `print`: the records appear on
/// the console as they come.
pub(crate) fn tell<'a>(guest: Guest<'a>, print: bool) -> Result<Guest<'a>> {
    let mut script = String::new();
    for Step { says, does, awaits } in STEPS {
        _ = write!(
            script,
            "echo '{MARK}{says}'\n{{ {does}; }} || fail 'it failed'\n\
             for _ in $(seq 1200); do grep -qsE '{awaits}' {EVENTS} && break; sleep 0.1; done\n\
             grep -qsE '{awaits}' {EVENTS} || fail 'there is no record of it'\n"
        );
    }
    _ = writeln!(script, "leave");
    let mut guest = installed(guest)?;
    if print {
        guest = guest.file("/etc/systemd/system/kmodtrail.service.d/print.conf", PRINT);
        script.insert_str(0, SHOW);
    }
    Ok(guest.script(&self::script(&script)))
}

/// The daemon with other programs for the kernel: a name in their debug information is another one.
pub(crate) fn next_version(testbed: &Testbed) -> Result<Vec<u8>> {
    let path = testbed.daemon()?;
    let daemon = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
    let name = b"*mut kmodtrail_abi::Identity";
    fixtures::replaced(&daemon, name, b"*mut kmodtrail_abi::identity")
        .context("the programs have no type Identity any more")
}

/// A guest with the files of a package.
pub(crate) fn installed(guest: Guest<'_>) -> Result<Guest<'_>> {
    let root = crate::workspace::root();
    Ok(guest
        .daemon()?
        .file("/etc/systemd/system/kmodtrail.service", root.join("systemd/kmodtrail.service"))
        .file("/usr/lib/sysusers.d/kmodtrail.conf", root.join("systemd/kmodtrail.sysusers"))
        .file("/etc/kmodtrail/kmodtrail.toml", root.join("config/kmodtrail.toml")))
}

/// Does in such a guest what a package's scripts do, waits for the end of the boot, then does `more`.
pub(crate) fn script(more: &str) -> String {
    format!("{INSTALL}{more}")
}

/// The unit may not open a terminal, and its own standard output is the journal: the script shows the file as it grows.
const PRINT: &str = "[Service]
ExecStart=
ExecStart=/usr/bin/kmodtrail run --print --color always
StandardOutput=append:/run/kmodtrail-print
";
const SHOW: &str = "touch /run/kmodtrail-print; tail -f /run/kmodtrail-print &\n";

/// What the script says itself begins with this.
pub(crate) const MARK: &str = "@@ ";

/// One of the seven events that the user's documents show, and the record that carries it.
pub(crate) struct Seed {
    /// What the documents show.
    pub(crate) shows: &'static str,
    /// The record.
    pub(crate) record: fn(&Records) -> Result<&Record>,
}

const NAME: &str = "linux.kernel_module.name";

/// In the order of the documents.
pub(crate) const SEEDS: &[Seed] = &[
    Seed {
        shows: "insmod has the kernel read hello.ko (security_kernel_read_file)",
        record: |records| {
            let read = records.of("linux.kernel_module.read").with("file.path", "/fixtures/hello.ko").one()?;
            read.expect("process.executable.name", "kmod")?.expect("linux.kernel_module.verdict", "allowed")
        },
    },
    Seed {
        shows: "hello is initialized, out of tree and unsigned (do_init_module)",
        record: |records| {
            let load = records.of("linux.kernel_module.load").with(NAME, "hello").one()?;
            load.expect("linux.kernel_module.taints.letters", "OE")?
                .expect("linux.kernel_module.signature.state", "unsigned")?
                .expect("linux.kernel_module.parameters", "x=7")?
                .expect("linux.kernel_module.outcome", "success")?
                .expect("process.working_directory", "/fixtures")
        },
    },
    Seed {
        shows: "mount makes the kernel ask for fs-xfs (security_kernel_module_request)",
        record: |records| {
            let request =
                records.of("linux.kernel_module.request").with("linux.kernel_module.alias", "fs-xfs").one()?;
            request.expect("process.executable.name", "mount")?.expect("linux.kernel_module.verdict", "allowed")
        },
    },
    Seed {
        shows: "the kernel runs modprobe (process_exec of the helper)",
        record: |records| {
            let helper = records.of("linux.kernel_module.helper").with("linux.kernel_module.alias", "fs-xfs").one()?;
            helper
                .expect("linux.kernel_module.helper.path", "/sbin/modprobe")?
                .expect("linux.kernel_module.helper.exit_status", 0)
        },
    },
    Seed {
        shows: "modprobe has the kernel read xfs (security_kernel_read_file)",
        record: |records| {
            let load = xfs(records)?;
            let read = records.of("linux.kernel_module.read").in_trace_of(load);
            read.with("process.pid", load.integer("process.pid")?).at_least(1)?.pop().ok_or_else(|| unreachable(load))
        },
    },
    Seed {
        shows: "the kernel accepts the signature of xfs (find_module_sections, signature_ok)",
        record: |records| {
            let load = xfs(records)?;
            load.expect("linux.kernel_module.signature.ok", true)?;
            // where loading takes seconds, what is known is told before the name is
            let of_xfs = |record: &Record| record.get(NAME).is_none_or(|name| name == "xfs");
            let verify = records.of("linux.kernel_module.verify").in_trace_of(load).that("of xfs", of_xfs).one()?;
            verify.expect("linux.kernel_module.signature.state", "valid")
        },
    },
    Seed {
        shows: "rmmod frees hello, out of tree and unsigned (free_module)",
        record: |records| {
            let unload = records.of("linux.kernel_module.unload").with(NAME, "hello").one()?;
            unload.expect("linux.kernel_module.taints.letters", "OE")?.expect("linux.kernel_module.outcome", "success")
        },
    },
];

/// The load of xfs that succeeded: it belongs to the request of mount.
fn xfs(records: &Records) -> Result<&Record> {
    let loads = records.of("linux.kernel_module.load").with(NAME, "xfs");
    let load = loads.with("linux.kernel_module.outcome", "success").one()?;
    load.expect("linux.kernel_module.alias", "fs-xfs")
}

fn unreachable(record: &Record) -> anyhow::Error {
    anyhow::anyhow!("at least one was counted, in {record}")
}
