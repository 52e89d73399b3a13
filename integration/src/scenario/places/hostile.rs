//! What stands where a runtime's socket should be: the record comes all the same, has what the files say, and says what is missing and why.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::Trial;
use crate::{scenario::told::LOAD, story};

const UID: &str = "9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11";

/// What containerd keeps of a container.
const BUNDLE: &str = r#"{ "annotations": {
    "io.kubernetes.cri.container-name": "test", "io.kubernetes.cri.image-name": "docker.io/cilium/starwars:latest",
    "io.kubernetes.cri.sandbox-name": "test-pod", "io.kubernetes.cri.sandbox-namespace": "demo-app",
    "io.kubernetes.cri.sandbox-uid": "9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11"
} }"#;

/// Listens where it is told to, and does with each who comes what it is told to; `$come` is who has.
const LISTENER: &str = r#"use IO::Socket::UNIX;
my ($path, $answer) = @ARGV;
$SIG{PIPE} = 'IGNORE';
unlink $path;
my $socket = IO::Socket::UNIX->new(Local => $path, Listen => 8) or die "$path: $!";
open(my $ready, '>', '/run/listens');
my @held;
while (my $come = $socket->accept) { push @held, $come; eval $answer; }
"#;

/// A name, how it comes to stand there, and what the record says of it.
struct Case {
    name: &'static str,
    prepare: &'static str,
    missing: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "nobody", prepare: ":", missing: "no runtime has a CRI socket here" },
    // what the daemon waits for at most is longer than a record waits: it says that it has not, not that it has in vain
    Case { name: "hangs", prepare: "rm $patient; listen ''", missing: "its runtime has not answered yet" },
    Case {
        name: "garbage",
        prepare: r#"printf '[enrich]\nwait = "5s"\n' > $patient; listen 'print $come "\x00\xff" x 100000; close $come'"#,
        missing: "containerd.sock: ",
    },
    Case { name: "closes", prepare: "listen 'close $come; @held = ()'", missing: "containerd.sock: " },
    Case { name: "link", prepare: "mv $sock /run/other.sock; ln -s /run/other.sock $sock", missing: "it is no socket" },
    Case { name: "file", prepare: "rm $sock; echo > $sock", missing: "it is no socket" },
    Case { name: "pipe", prepare: "rm $sock; mkfifo $sock", missing: "it is no socket" },
    Case {
        name: "of-a-user",
        prepare: r#"
        rm -rf /run/containerd; mkdir -m 777 /run/containerd; AS='setpriv --reuid 65534 --regid 65534 --clear-groups' listen ''
        mkdir -p $state"#,
        missing: "user 65534 listens there, not root",
    },
];

pub(super) fn runtimes(trial: &Trial<'_>) -> Result<()> {
    let mut script = format!(
        r#"
        events=/var/log/kmodtrail/events.jsonl
        patient=/etc/kmodtrail/conf.d/wait.toml
        sock=/run/containerd/containerd.sock
        state=/run/containerd/io.containerd.runtime.v2.task/k8s.io
        mkdir -p $state /etc/systemd/system/kmodtrail.service.d
        cp /cri.conf /etc/systemd/system/kmodtrail.service.d/
        systemctl daemon-reload
        listen() {{
            [ -z "$listener" ] || kill $listener
            rm -f /run/listens
            $AS perl /listener.pl $sock "$1" &
            listener=$!
            for _ in $(seq 600); do [ -e /run/listens ] && return; sleep 0.1; done
            fail "nobody listens: $1"
        }}
        chmod 1777 /run
        case_of() {{
            printf -v id %064x $1
            group=/sys/fs/cgroup/kubepods.slice/kubepods-pod{uid}.slice/cri-containerd-$id.scope
            mkdir -p $state/$id $group
            cp /bundle.json $state/$id/config.json
            systemctl start kmodtrail
            bash -c "echo \$\$ > $group/cgroup.procs; exec /actor finit /fixtures/hello.ko" >> /out/actions.jsonl || fail "no load in $id"
            /actor wait-for $events "$id" 1 60 || fail "no record of $id"
            rmmod hello
            systemctl stop kmodtrail
        }}
        "#,
        uid = UID.replace('-', "_"),
    );
    for (number, Case { name, prepare, .. }) in CASES.iter().enumerate() {
        _ = writeln!(script, "echo '{name}'\n{prepare}\ncase_of {number}");
    }
    script.push_str("leave\n");
    let outcome = story::installed(trial.systemd())?
        .file("/bundle.json", BUNDLE)
        .file("/etc/kmodtrail/conf.d/wait.toml", "[enrich]\nwait = \"5s\"\n")
        .file("/listener.pl", LISTENER)
        .file("/cri.conf", crate::workspace::root().join("systemd/kmodtrail.service.d/cri.conf"))
        .script(&story::script(&script))
        .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    for (number, Case { name, missing, .. }) in CASES.iter().enumerate() {
        let load = records.of(LOAD).with("container.id", format!("{number:064x}")).one().context(*name)?;
        load.expect("k8s.pod.name", "test-pod")?.expect("k8s.pod.uid", UID)?.expect("container.name", "test")?;
        let told =
            load.get("kmodtrail.enrichment.missing").with_context(|| format!("{name}: nothing is missing:\n{load}"))?;
        let why = told
            .as_array()
            .and_then(|all| all.iter().filter_map(|why| why.as_str()).find(|why| why.contains("repo_digests")));
        ensure!(why.is_some_and(|why| why.contains(missing)), "{name}: {told} does not say {missing}");
    }
    Ok(())
}
