//! Who it was is taken in the kernel at the time of the call: it is there however short the process lived, wherever it was.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{
    GuestKind, Kernels, Scenario, Trial,
    told::{LOAD, expect_identity, expect_result, load_by},
    watched::watched,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "process_is_gone",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: process_is_gone,
    },
    Scenario {
        name: "a_thousand_are_gone",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: true,
        run: a_thousand_are_gone,
    },
];

fn process_is_gone(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .script(
            "
            unload() { act delete hello; }
            cd /mnt

            named short finit /fixtures/hello.ko; unload
            named became-another exec-after /fixtures/hello.ko -- /bin/true; unload
            named in-a-thread thread /fixtures/hello.ko; unload
            named orphan orphan /fixtures/hello.ko
            /actor wait-for /out/actions.jsonl '\"label\":\"orphan\"' 1 60; unload
            named disguised disguised /fixtures/hello.ko; unload
            cp /actor /tmp/vanishing
            ACTOR_LABEL=deleted /tmp/vanishing gone /fixtures/hello.ko >> /out/actions.jsonl; unload

            mkdir -p /jail/proc
            cp /actor /fixtures/hello.ko /jail
            mount -t proc proc /jail/proc
            ACTOR_LABEL=jailed chroot /jail /actor finit /hello.ko >> /out/actions.jsonl; unload
            ACTOR_LABEL=namespaced unshare -p -m -n -f --mount-proc /actor finit /fixtures/hello.ko >> /out/actions.jsonl
            unload

            mkdir -p '/sys/fs/cgroup/a.slice/b c.service'
            stat -c %i '/sys/fs/cgroup/a.slice/b c.service' > /out/cgroup
            sh -c \"echo \\$\\$ > '/sys/fs/cgroup/a.slice/b c.service/cgroup.procs'
                ACTOR_LABEL=grouped exec /actor finit /fixtures/hello.ko\" >> /out/actions.jsonl
            unload
            sh -c 'echo 1000 > /proc/self/loginuid
                ACTOR_LABEL=logged-in exec /actor finit /fixtures/hello.ko' >> /out/actions.jsonl
            unload
            named nobody drop-caps-run /actor finit /fixtures/hello.ko
            # eight shells above it and more: the record has the nearest
            export ACTOR_LABEL=deep
            sh -c 'sh -c \"sh -c \\\"sh -c \\\\\\\"sh -c \\\\\\\\\\\\\\\"/fixtures/nested.sh; true\\\\\\\\\\\\\\\"; true\\\\\\\"; true\\\"; true\"; true'
            ",
        )
        .guest(|guest| guest.file("/fixtures/nested.sh", NESTED))
        .run()?;
    let records = outcome.records()?;
    let told = |label: &str| {
        let action = outcome.named(label)?;
        load_by(&records, &action).with_context(|| format!("the process {label}"))
    };

    told("short")?
        .expect("process.working_directory", "/mnt")?
        .expect("process.executable.path", "/actor")?
        .expect("process.executable.name", "actor")?
        .expect("linux.process.parent.executable.path", "/bin/busybox")?
        .expect("process.user.name", "root")?
        .expect("linux.process.group.name", "root")?
        .expect("linux.process.namespaces.of_host", vec!["user", "mnt", "pid", "net"])?
        .expect("linux.process.namespaces.user_level", 0)?
        .expect_without("kmodtrail.enrichment.missing")?;
    told("became-another")?.expect("process.executable.path", "/actor")?;
    let thread = told("in-a-thread")?.expect("thread.name", "a-thread")?;
    ensure!(thread.get("thread.id") != thread.get("process.pid"), "not another thread:\n{thread}");
    told("orphan")?.expect("process.parent_pid", 1)?.expect("linux.process.parent.comm", "init")?;
    // the command line is what it shows; its executable and its parent it can't choose
    told("disguised")?
        .expect("thread.name", "kworker/0:1")?
        .expect("process.executable.path", "/actor")?
        .expect("linux.process.parent.executable.path", "/bin/busybox")?
        .expect("linux.process.parent.comm", "sh")?;
    told("deleted")?
        .expect("process.executable.path", "/tmp/vanishing")?
        .expect("linux.process.executable.deleted", true)?;
    told("grouped")?
        .expect("linux.process.cgroup.path", "/a.slice/b c.service")?
        .expect("linux.process.cgroup.id", outcome.text("cgroup")?.trim().parse::<u64>()?)?;
    let logged_in = told("logged-in")?
        .expect("linux.process.login_user.id", 1000)?
        .expect("linux.process.login_user.name", "alice")?;
    ensure!(logged_in.integer("linux.process.audit_session.id")? > 0, "no session:\n{logged_in}");
    told("nobody")?
        .expect("process.user.id", 65534)?
        .expect("linux.process.group.name", "nogroup")?
        .expect("linux.process.capabilities.effective", "0000000000000000")?;
    let deep = told("deep")?.get("linux.process.ancestors").and_then(|list| list.as_array()).map_or(0, Vec::len);
    ensure!(deep == 8, "{deep} ancestors, where there are more than 8");

    // Seen from inside of the chroot /jail is /: the record has what the host sees.
    let jailed = outcome.named("jailed")?;
    let record = records.of(LOAD).with("process.pid", jailed.pid).one()?;
    expect_identity(record, &jailed.more["process"])?;
    record
        .expect("process.executable.path", "/jail/actor")?
        .expect("process.working_directory", "/jail")?
        .expect("file.path", "/jail/hello.ko")?;

    // Its pid outside is known to nobody inside: it is found by its PID namespace.
    let namespaced = outcome.named("namespaced")?;
    let pid_namespace = namespaced.more["process"]["pid_namespace"].clone();
    let record = records.of(LOAD).with("linux.process.namespaces.pid", pid_namespace).one()?;
    expect_result(record, &namespaced)?;
    expect_identity(record, &namespaced.more["process"])?;
    ensure!(namespaced.pid == 1 && record.integer("process.pid")? > 1, "not the pid outside:\n{record}");
    record.expect("linux.process.namespaces.of_host", vec!["user"])?;
    record.expect("process.vpid", 1)?.expect("process.executable.path", "/actor")?;
    records.of(LOAD).count(12).map(drop)
}

/// Each does nothing but load a module: what the kernel can tell of it is in all of the records.
fn a_thousand_are_gone(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .guest(|guest| guest.memory(768).limit(Duration::from_secs(600)))
        .script("for _ in $(seq 1000); do named gone finit /fixtures/hello.ko; act delete hello; done")
        .run()?;
    let records = outcome.records()?;
    let gone: Vec<_> = outcome.actions()?.into_iter().filter(|action| action.command.starts_with("finit ")).collect();
    ensure!(gone.len() == 1000, "{} processes loaded it", gone.len());
    for action in &gone {
        load_by(&records, action)?.expect_without("kmodtrail.enrichment.missing")?;
    }
    records.of(LOAD).with("linux.kernel_module.outcome", "success").count(gone.len()).map(drop)
}

const NESTED: &str = "#!/bin/sh
sh -c 'sh -c \"/actor finit /fixtures/hello.ko; true\"; true' >> /out/actions.jsonl
true
";
