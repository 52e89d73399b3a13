//! The story of the user's documents by name: somebody in the pod test-pod mounts an image of xfs, and the kernel loads a module for it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{IMAGE, Trial, guest};
use crate::{
    records::{Record, Records},
    scenario::told::{HELPER, LOAD, READ, REQUEST},
    story,
};

const UID: &str = "9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11";

const CONTAINERD: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/cilium/starwars:latest"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
"#;

const ENRICH: &str = "[enrich]\nwait = \"5s\"\npod_labels = [\"app\"]\n";

/// A field of the reference system's event and what our record says in its place.
struct Field {
    /// Number of the event in the documents, and the field's path.
    seed: &'static str,
    /// The event of the record.
    event: &'static str,
    /// The attribute.
    attribute: &'static str,
    /// Its value.
    value: Is,
}

enum Is {
    /// This text: the documents' own, where it does not depend on the host.
    Text(&'static str),
    /// This.
    Json(fn() -> Value),
    /// What the guest found out beside the daemon, by the name of a file in /out.
    Known(&'static str),
    /// The path in this file of /out; nothing where the module there is compressed, as Debian 12's kmod hands the kernel such a one's bytes.
    PathIn(&'static str),
    /// A text that begins so.
    Begins(&'static str),
    /// Anything.
    There,
    /// Nothing.
    Absent,
}

const fn field(seed: &'static str, event: &'static str, attribute: &'static str, value: Is) -> Field {
    Field { seed, event, attribute, value }
}

/// The documents' events 3 to 6, field by field. Not here: `flags` and `refcnt` (the reference system's own book-keeping), `action`,
/// `policy_name`, `function_name` (the record's event says it).
const FIELDS: &[Field] = &[
    field("03 process.exec_id", REQUEST, "linux.process.exec_id", Is::There),
    field("03 process.pid", REQUEST, "process.pid", Is::There),
    field("03 process.tid", REQUEST, "thread.id", Is::There),
    field("03 process.uid", REQUEST, "process.user.id", Is::Json(|| json!(0))),
    field("03 process.cwd", REQUEST, "process.working_directory", Is::Text("/")),
    field("03 process.binary", REQUEST, "process.executable.path", Is::Text("/bin/mount")),
    field("03 process.arguments", REQUEST, "process.command_args", Is::Json(command)),
    field("03 process.start_time", REQUEST, "process.creation.time", Is::There),
    field("03 process.auid (unset)", REQUEST, "linux.process.login_user.id", Is::Absent),
    field("03 process.pod.namespace", REQUEST, "k8s.namespace.name", Is::Text("demo-app")),
    field("03 process.pod.name", REQUEST, "k8s.pod.name", Is::Text("test-pod")),
    field("03 process.pod.container.id", REQUEST, "container.id", Is::Known("id")),
    field("03 process.pod.container.id (containerd://)", REQUEST, "container.runtime.name", Is::Text("containerd")),
    field("03 process.pod.container.name", REQUEST, "k8s.container.name", Is::Text("test-pod")),
    // an image that was not fetched from a registry has no digest there
    field("03 process.pod.container.image.id", REQUEST, "container.image.id", Is::Begins("sha256:")),
    field("03 process.pod.container.image.name", REQUEST, "container.image.name", Is::Text(IMAGE)),
    field("03 process.pod.container.image.name (tag)", REQUEST, "container.image.tags", Is::Json(|| json!(["latest"]))),
    field("03 process.pod.container.start_time", REQUEST, "linux.container.start_time", Is::There),
    field("03 process.pod.container.pid", REQUEST, "process.vpid", Is::There),
    // a pod of its own: the reference system repeats its name
    field("03 process.pod.workload", REQUEST, "kmodtrail.k8s.workload.name", Is::Absent),
    field("03 process.docker", REQUEST, "container.id", Is::Known("id")),
    field("03 process.parent_exec_id", REQUEST, "linux.process.parent.exec_id", Is::There),
    field("03 parent.pid", REQUEST, "process.parent_pid", Is::There),
    field("03 parent.uid", REQUEST, "linux.process.parent.real_user.id", Is::Json(|| json!(0))),
    field("03 parent.binary", REQUEST, "linux.process.parent.executable.path", Is::Text("/bin/sh")),
    field("03 parent.start_time", REQUEST, "linux.process.parent.creation.time", Is::There),
    field("03 args[0].string_arg", REQUEST, "linux.kernel_module.alias", Is::Text("fs-xfs")),
    field("03 return.int_arg", REQUEST, "linux.kernel_module.verdict", Is::Text("allowed")),
    field("04 process.pid", HELPER, "linux.kernel_module.helper.pid", Is::There),
    field("04 process.binary", HELPER, "linux.kernel_module.helper.path", Is::Text("/sbin/modprobe")),
    field("04 process.arguments", HELPER, "linux.kernel_module.helper.arguments", Is::Json(modprobe)),
    // its parent is the kernel in the documents; here the helper is told of the process that it is for
    field("04 (for whom)", HELPER, "k8s.pod.name", Is::Text("test-pod")),
    field("05 process.binary", READ, "process.executable.path", Is::Text("/usr/bin/kmod")),
    field("05 process.arguments", READ, "process.command_args", Is::Json(modprobe)),
    field("05 process.uid", READ, "process.user.id", Is::Json(|| json!(0))),
    field("05 args[0].file_arg.path", READ, "file.path", Is::PathIn("xfs")),
    field("05 return.int_arg", READ, "linux.kernel_module.verdict", Is::Text("allowed")),
    field("06 args[0].module_arg.name", LOAD, "linux.kernel_module.name", Is::Text("xfs")),
    field("06 args[0].module_arg.signature_ok", LOAD, "linux.kernel_module.signature.ok", Is::Json(|| json!(true))),
    field("06 process.binary", LOAD, "process.executable.path", Is::Text("/usr/bin/kmod")),
    field("06 process.arguments", LOAD, "process.command_args", Is::Json(modprobe)),
];

/// What the documents' event 6 lacks: who is behind modprobe. In our record of the load it is all there.
const BEHIND_THE_LOAD: &[(&str, Is)] = &[
    ("k8s.namespace.name", Is::Text("demo-app")),
    ("k8s.pod.name", Is::Text("test-pod")),
    ("k8s.pod.uid", Is::Text(UID)),
    ("kmodtrail.k8s.pod.qos_class", Is::Text("BestEffort")),
    ("kmodtrail.k8s.pod.labels", Is::Json(|| json!(["app=test"]))),
    ("k8s.container.name", Is::Text("test-pod")),
    ("container.id", Is::Known("id")),
    ("container.image.name", Is::Text(IMAGE)),
    ("linux.container.pid", Is::There),
    ("process.executable.path", Is::Text("/bin/mount")),
    ("process.command_args", Is::Json(command)),
];

fn command() -> Value {
    json!(["/bin/mount", "-o", "loop", "-t", "xfs", "loop.xfs", "/mnt/xfs.volume/"])
}

fn modprobe() -> Value {
    json!(["/sbin/modprobe", "-q", "--", "fs-xfs"])
}

/// All of its events, and the load record alone names pod, container, image and the command.
pub(super) fn pod(trial: &Trial<'_>) -> Result<()> {
    let root = crate::workspace::root();
    let outcome = guest(trial)?
        .program("/kubelet", trial.testbed().kubelet()?)
        .file("/etc/containerd/config.toml", CONTAINERD)
        .file("/etc/kmodtrail/conf.d/enrich.toml", ENRICH)
        .file("/cri.conf", root.join("systemd/kmodtrail.service.d/cri.conf"))
        .script(&story::script(&script()))
        .run()?;
    outcome.expect_success()?;
    let known = |name: &str| Ok::<_, anyhow::Error>(outcome.text(name)?.trim().to_owned());

    let records = outcome.records()?;
    // its unit has modprobe load it before it starts
    let overlay = records.of(LOAD).with("linux.kernel_module.name", "overlay").one()?;
    overlay.expect("systemd.unit.name", "containerd.service")?.expect("thread.name", "modprobe")?;
    let load = load(&records)?;
    for Field { seed, event, attribute, value } in FIELDS {
        let record = match *event {
            LOAD => load,
            // the last one: before it come the modules that xfs needs
            READ => records.of(READ).in_trace_of(load).at_least(1)?.pop().context("at least one was counted")?,
            event => records.of(event).with("linux.kernel_module.alias", "fs-xfs").at_least(1)?[0],
        };
        expect(record, attribute, value, known).with_context(|| format!("{seed}, which is our {attribute}"))?;
    }
    for (attribute, value) in BEHIND_THE_LOAD {
        expect(load, &format!("linux.kernel_module.requester.{attribute}"), value, known)?;
    }
    let request = records.of(REQUEST).with("linux.kernel_module.alias", "fs-xfs").at_least(1)?[0];
    request.expect_without("kmodtrail.enrichment.missing")?;

    // without the right to ask the runtime its files have the names, and the record says what it lacks
    let insmod = records.of(LOAD).with("linux.kernel_module.name", "hello").one()?;
    for (attribute, value) in
        [("k8s.namespace.name", "demo-app"), ("k8s.pod.name", "test-pod"), ("container.image.name", IMAGE)]
    {
        insmod.expect(attribute, value)?;
    }
    insmod.expect("container.id", known("id")?)?.expect("process.executable.path", "/bin/insmod")?;
    let missing = insmod.get("kmodtrail.enrichment.missing").context("nothing is missing")?.to_string();
    ensure!(missing.contains("container.image.repo_digests") && missing.contains("not permitted"), "{missing}");
    Ok(())
}

fn load(records: &Records) -> Result<&Record> {
    records.of(LOAD).with("linux.kernel_module.name", "xfs").with("linux.kernel_module.outcome", "success").one()
}

fn expect(record: &Record, attribute: &str, value: &Is, known: impl Fn(&str) -> Result<String>) -> Result<()> {
    match value {
        Is::Text(text) => record.expect(attribute, *text).map(drop),
        Is::Json(value) => record.expect(attribute, value()).map(drop),
        Is::Known(name) => record.expect(attribute, known(name)?).map(drop),
        Is::PathIn(name) => match known(name)? {
            path if path.ends_with(".ko") => record.expect(attribute, path).map(drop),
            _ => record.expect("linux.kernel_module.source", "memory")?.expect_without(attribute).map(drop),
        },
        Is::Begins(text) => {
            let found = record.string(attribute)?;
            ensure!(found.starts_with(text), "{attribute} does not begin with {text}:\n{record}");
            Ok(())
        }
        Is::There => record.get(attribute).map(drop).with_context(|| format!("no {attribute} in\n{record}")),
        Is::Absent => record.expect_without(attribute).map(drop),
    }
}

fn script() -> String {
    let slice = format!("kubepods-besteffort-pod{}.slice", UID.replace('-', "_"));
    format!(
        r#"
        events=/var/log/kmodtrail/events.jsonl
        until_it_is_there() {{
            for _ in $(seq 1200); do grep -qsE "$1" $events && return; sleep 0.1; done
            fail "there is no record of it: $1"
        }}
        # what a node has loaded long before
        modprobe loop
        realpath $(modinfo -n xfs) > /out/xfs
        mkdir -p /pod && cp /fixtures/hello.ko /pod/
        truncate -s 300M /pod/loop.xfs && mkfs.xfs -q /pod/loop.xfs || fail 'no image of xfs'
        systemctl start kmodtrail
        systemctl start containerd || fail 'containerd does not start'
        until_it_is_there '"linux.kernel_module.load".*"overlay"'
        systemctl stop kmodtrail
        ctr -n k8s.io images import /image.tar || fail 'no image'
        /kubelet --namespace demo-app --name test-pod --uid {UID} --label app=test --label secret=1 --annotation 1048576 --container test-pod \
            --image {IMAGE}:latest --cgroup-parent {slice} --mount /pod/loop.xfs:/loop.xfs --mount /pod:/pod > /out/id || fail 'no pod'
        id=$(cat /out/id)
        inside() {{ ctr -n k8s.io task exec --exec-id "$1" $id /bin/sh -c "$2"; }}
        mkdir -p /etc/systemd/system/kmodtrail.service.d
        cp /cri.conf /etc/systemd/system/kmodtrail.service.d/
        systemctl daemon-reload
        systemctl start kmodtrail
        inside mount 'cd /; /bin/mount -o loop -t xfs loop.xfs /mnt/xfs.volume/; exit $?' || fail 'mount failed'
        until_it_is_there 'linux.kernel_module.helper'
        systemctl stop kmodtrail
        rm /etc/systemd/system/kmodtrail.service.d/cri.conf
        systemctl daemon-reload
        systemctl start kmodtrail
        inside insmod '/bin/insmod /pod/hello.ko; exit $?' || fail 'insmod failed'
        until_it_is_there '"linux.kernel_module.load".*"hello"'
        systemctl stop kmodtrail
        leave
        "#
    )
}
