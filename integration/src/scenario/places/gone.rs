//! Containers that are gone, with the state that their runtime has of them, right after they have loaded a module.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Trial;
use crate::{guest::systemd::Root, progress::say, records::Record, scenario::told::LOAD, story};

/// A container as containerd makes it for a pod, with nothing in it but the one who acts.
const BUNDLE: &str = r#"{
    "ociVersion": "1.0.2",
    "process": {
        "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": [], "args": ["/actor", "pairs", "1", "/hello.ko", "hello"],
        "capabilities": { "bounding": ["CAP_SYS_MODULE"], "permitted": ["CAP_SYS_MODULE"], "effective": ["CAP_SYS_MODULE"] }
    },
    "root": { "path": "/container" },
    "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
    "linux": {
        "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }],
        "cgroupsPath": "/kubepods/burstable/pod9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11/@ID@"
    },
    "annotations": {
        "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "test-@NUMBER@",
        "io.kubernetes.cri.image-name": "docker.io/cilium/starwars:latest", "io.kubernetes.cri.sandbox-name": "pod-@NUMBER@",
        "io.kubernetes.cri.sandbox-namespace": "demo-app", "io.kubernetes.cri.sandbox-uid": "9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11"
    }
}"#;

/// Nobody can be asked about them any more: their names are in their runtime's state, as long as it is there.
const ENRICH: &str = "[enrich]\ncri_sockets = []\n";

/// What the record of each has where nothing is missing.
const COMPLETE: &[&str] = &[
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.namespace.name",
    "k8s.container.name",
    "container.image.name",
    "process.executable.path",
    "process.command_args",
    "linux.process.parent.executable.path",
];

/// Of the module's file.
const HASH: &str = "linux.kernel_module.hash.sha256";

/// Containers that the daemon has heard of, at least, when its memory is looked at.
const KNOWN: usize = 200;
/// The memory that it may have in use then: VmRSS, kilobytes.
const MOST_MEMORY: u64 = 16 << 10;
/// What counts as gone at once, nanoseconds. How many were is told and not demanded: the guest's processor is an emulated one.
const AT_ONCE: u64 = 100_000_000;

pub(super) fn fifty(trial: &Trial<'_>) -> Result<()> {
    gone(trial, 50)
}

pub(super) fn a_thousand(trial: &Trial<'_>) -> Result<()> {
    gone(trial, 1000)
}

/// As the shims of containerd and podman do: create, start, delete; who has made it is not its parent any more when it acts.
fn gone(trial: &Trial<'_>, number: usize) -> Result<()> {
    let script = format!(
        r#"
        events=/var/log/kmodtrail/events.jsonl
        state=/run/containerd/io.containerd.runtime.v2.task/k8s.io
        mkdir -p /container/proc /container/dev && cp /actor /fixtures/hello.ko /container/
        bundle=$(< /bundle.json)
        mkfifo /run/reports
        exec 3<> /run/reports
        bundle_of() {{
            printf -v id %064x $1
            mkdir -p $state/$id
            config=${{bundle//@ID@/$id}}
            echo "${{config//@NUMBER@/$1}}" > $state/$id/config.json
        }}
        systemctl start kmodtrail
        for i in $(seq {number}); do
            bundle_of $i
            crun create --bundle $state/$id $id < /dev/null > /run/reports && crun start $id || fail "container $i"
            read -r -t 60 report <&3 || fail "container $i does nothing"
            # first what has its names: the rest takes an emulated processor longer
            rm -r $state/$id
            echo "$id $EPOCHREALTIME" >> /out/gone
            crun delete --force $id || fail "container $i remains"
            echo "$report" >> /out/actions.jsonl
        done
        # others that are known: their groups and state stay
        for i in $(seq $(({number} + 1)) {KNOWN}); do
            bundle_of $i
            group=/sys/fs/cgroup/kubepods/burstable/pod9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11/$id
            mkdir -p $group
            (echo $BASHPID > $group/cgroup.procs; exec /actor finit /fixtures/badelf.ko) >> /out/actions.jsonl
        done
        /actor wait-for $events '"linux.kernel_module.load"' {all} 120 || fail 'there are not as many records'
        cp /proc/$(systemctl show -p MainPID --value kmodtrail)/status /out/status
        systemctl stop kmodtrail
        leave
        "#,
        all = number.max(KNOWN),
    );
    let guest = trial.systemd().root(Root::Containers).limit(std::time::Duration::from_secs(1200));
    let outcome = story::installed(guest)?
        .file("/bundle.json", BUNDLE)
        .file("/etc/kmodtrail/conf.d/enrich.toml", ENRICH)
        .script(&story::script(&script))
        .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    records.of("kmodtrail.lost").none()?;
    let loads = records.of(LOAD).with("linux.kernel_module.name", "hello").count(number)?;
    let known: HashSet<_> = records.of(LOAD).iter().map(|load| load.string("container.id")).collect::<Result<_>>()?;
    let loads: HashMap<_, _> =
        loads.into_iter().map(|load| Ok((load.string("container.id")?, load))).collect::<Result<_>>()?;

    let mut lived = Vec::new();
    let mut incomplete = Vec::new();
    for line in outcome.text("gone")?.lines() {
        let (id, time) = line.split_once(' ').with_context(|| line.to_owned())?;
        let load = *loads.get(id).with_context(|| format!("no record of the container {id}"))?;
        lived.push(microseconds(time)?.saturating_mul(1000).saturating_sub(load.time));
        if !is_complete(load) {
            incomplete.push(load);
        }
    }
    lived.sort_unstable();
    let at_once = lived.partition_point(|&time| time < AT_ONCE);
    let status = outcome.text("status")?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let memory: u64 = memory.with_context(|| format!("no VmRSS in\n{status}"))?;
    let complete = number - incomplete.len();
    say(format_args!(
        "kernel {}: {number} containers, {at_once} of them gone less than 100 ms after the call (the median {} ms): {} with their id, \
         {complete} complete, {} with the hash of their module's file; VmRSS with {} known {:.1} MiB",
        trial.kernel().name(),
        lived[number / 2] / 1_000_000,
        loads.len(),
        loads.values().filter(|load| load.get(HASH).is_some()).count(),
        known.len(),
        memory as f64 / 1024.0,
    ));
    ensure!(known.len() >= KNOWN, "only {} are known", known.len());
    ensure!(loads.len() == number, "{} of {number} have their id", loads.len());
    let first = incomplete.first().map(ToString::to_string).unwrap_or_default();
    ensure!(complete * 100 >= number * 99, "{complete} of {number} are complete:\n{first}");
    ensure!(memory <= MOST_MEMORY, "the daemon has {memory} kB in use");
    Ok(())
}

/// Who it was, and where. What was in the module's file is another matter: it is gone with the container.
fn is_complete(load: &Record) -> bool {
    let missing = load.get("kmodtrail.enrichment.missing").and_then(Value::as_array);
    let only_file = missing.into_iter().flatten().all(|what| what.as_str().is_some_and(|what| what.starts_with(HASH)));
    only_file && COMPLETE.iter().all(|attribute| load.get(attribute).is_some())
}

/// bash's EPOCHREALTIME.
fn microseconds(time: &str) -> Result<u64> {
    time.replace('.', "").parse().with_context(|| time.to_owned())
}
