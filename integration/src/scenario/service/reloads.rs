//! `systemctl reload` with systemd 253 and later, where the unit has Type=notify-reload: when it returns, the reload is over.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Trial, sandboxed};
use crate::{guest::systemd::Root, records::Records, story, workspace};

/// How often a file is moved away and the configuration changed.
const ROUNDS: usize = 10;
const DROP_IN: &str = "systemd/kmodtrail.service.d/notify-reload.conf";
/// What the daemon says of a reload that was one, and of one that was none.
const READ_AGAIN: &str = "the configuration has been read again";
const WRONG: &str = "the configuration is wrong: the daemon goes on with the one it had";
const BUSY: &str = "a sink is still busy";

/// What a reload is for has happened when it returns: nothing here waits for it.
const SCRIPT: &str = r#"
logs=/var/log/kmodtrail events=/var/log/kmodtrail/events.jsonl slow=/var/log/kmodtrail/slow more=/etc/kmodtrail/conf.d
state() { systemctl show -p SubState --value kmodtrail; }
reload() { systemctl reload kmodtrail && [ "$(state)" = running ] || { echo "no reload: $1"; exit 1; }; }
there() { [ -e "$1" ] || { echo "$2: no $1"; exit 1; }; }
# and waits until it is told, as what is told after the next reload is told by another configuration
dummy() {
    act pairs 1 /fixtures/dummy.ko dummy || exit 1
    for i in $(seq 600); do grep -q 'linux.kernel_module.unload.*"dummy"' $events && return; sleep 0.1; done
}
# a file system that can be frozen, for a sink of its own
mkdir -p $slow $more
mount -t xfs /dev/disk/by-id/virtio-xfs $slow
chown -R kmodtrail: $logs
systemctl start kmodtrail || exit 1
pid=$(systemctl show -p MainPID --value kmodtrail)
cat /proc/$pid/status > /out/status
stat -c '%U %a' $events > /out/mode
systemctl show -p Version --value > /out/version
systemctl show kmodtrail -p Type,ExecReload > /out/unit

# under load: whatever is loaded right after a reload is told as the new configuration says
touch /run/going
for series in $(seq 10000); do
    [ -e /run/going ] || break
    /actor pairs 5 /fixtures/hello.ko hello > /run/pairs || exit 1
    echo $series > /out/series
done & load=$!
for round in $(seq ROUNDS); do
    mv $events $logs/events.$round
    severities=(ERROR FATAL)
    cat > $more/round.toml <<END
[resource]
attributes = { "test.round" = "$round" }
[[routes]]
name = "round"
when = { event = ["load"], module = ["dummy"] }
to = ["audit"]
severity = "${severities[$((round % 2))]}"
END
    reload "round $round"
    there $events "round $round"
    dummy
done

# a wrong one changes nothing, and files are opened again all the same
mv $events $logs/events.wrong
cat > $more/wrong.toml <<END
[resource]
attributes = { "test.round" = "wrong" }
[sinks.other]
type = "file"
path = "$logs/other"
mod = "0600"
END
reload "a wrong configuration"
there $events "a wrong configuration"
[ ! -e $logs/other ] || exit 1
dummy
rm $more/wrong.toml /run/going
wait $load || exit 1

# nothing but the reload opens the file, where there is nothing to write
mv $events $logs/events.more
cat > $more/slow.toml <<END
[sinks.slow]
type = "file"
path = "$slow/events.jsonl"
[[routes]]
name = "slow"
to = ["slow"]
END
reload "another sink"
there $events "another sink"

# it is over when a sink that is slow has its file open again
freeze() {
    mv $slow/events.jsonl $slow/events.$1
    fsfreeze --freeze $slow
    act pairs 1 /fixtures/dummy.ko dummy || exit 1
    # until the sink waits for its disk
    for i in $(seq 600); do grep -qs '(sink slow) D' /proc/$pid/task/*/stat && break; sleep 0.1; done
    systemctl reload kmodtrail & reload=$!
    for i in $(seq 600); do
        case $(state) in reload*) break;; esac
        [ -d /proc/$reload ] || break
        sleep 0.1
    done
    systemctl show kmodtrail -p ActiveState,SubState > /out/$1
}
freeze thawed
fsfreeze --unfreeze $slow
wait $reload || exit 1
there $slow/events.jsonl "a slow sink"
# ... or has not been ready for so long that it is not waited for
freeze frozen
wait $reload || exit 1
[ "$(state)" = running ] && act pairs 1 /fixtures/dummy.ko dummy || exit 1
fsfreeze --unfreeze $slow

systemctl show kmodtrail -p MainPID,NRestarts > /out/still
echo "MainPID=$pid" > /out/first
systemctl stop kmodtrail
systemctl show kmodtrail -p ExecMainStatus,Result > /out/end
for round in $(seq ROUNDS); do cat $logs/events.$round; done > /out/records.jsonl
cat $logs/events.wrong $logs/events.more $events >> /out/records.jsonl
cat $slow/events.thawed $slow/events.frozen $slow/events.jsonl > /out/slow.jsonl
journalctl -u kmodtrail -o cat --no-pager > /out/journal.txt
"#;

/// It has ended when the new configuration is in force and files are open again, and costs no record, at whatever time it comes.
pub(super) fn service_reloads(trial: &Trial<'_>) -> Result<()> {
    let script = SCRIPT.replace("ROUNDS", &ROUNDS.to_string());
    let outcome = story::installed(trial.systemd().root(Root::Newer))?
        .file("/etc/systemd/system/kmodtrail.service.d/notify-reload.conf", workspace::root().join(DROP_IN))
        .script(&story::script(&script))
        .run()?;
    outcome.expect_success()?;

    let text = |name: &str| anyhow::Ok(outcome.text(name)?.trim().to_owned());
    let version = text("version")?;
    let number = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse::<u32>();
    ensure!(number.context("a version")? >= 253, "systemd {version} knows no notify-reload");
    // the signal is systemd's own, and nothing sends it a second time
    ensure!(text("unit")? == "Type=notify-reload", "the unit has {}", text("unit")?);
    sandboxed(&outcome.text("status")?)?;
    ensure!(text("mode")? == "kmodtrail 640", "the file is {}", text("mode")?);
    for name in ["thawed", "frozen"] {
        ensure!(
            text(name)? == "ActiveState=reloading\nSubState=reload-notify",
            "{name}: a reload is over, or has not begun, while a sink can't open its file: {}",
            text(name)?
        );
    }
    ensure!(text("still")? == format!("{}\nNRestarts=0", text("first")?), "another process: {}", text("still")?);
    ensure!(text("end")?.contains("ExecMainStatus=0"), "it ended with {}", text("end")?);

    let journal = outcome.text("journal.txt")?;
    let said = |what: &str| journal.lines().filter(|line| line.contains(what)).count();
    // the rounds, a sink more, and twice with a frozen disk
    let right = ROUNDS + 3;
    for (what, count) in
        [("Reloading ", right + 1), ("Reloaded ", right + 1), (READ_AGAIN, right), (WRONG, 1), (BUSY, 1)]
    {
        ensure!(said(what) == count, "{what:?} is there {} times in the journal, not {count}:\n{journal}", said(what));
    }
    ensure!(said("/etc/kmodtrail/conf.d/wrong.toml: sinks.other.mod") == 1, "what is wrong is not said:\n{journal}");

    let records = outcome.records()?;
    once(&records)?;
    once(&outcome.records_in("slow.jsonl")?)?;
    told(&records, text("series")?.parse::<usize>()? * 5)?;
    // what came while its disk was frozen
    let slow = outcome.records_in("slow.jsonl")?;
    slow.of("linux.kernel_module.load").with("linux.kernel_module.name", "dummy").count(3).map(drop)
}

/// No record is there twice.
fn once(records: &Records) -> Result<()> {
    let mut uids = BTreeSet::new();
    for record in records.iter() {
        ensure!(uids.insert(record.string("log.record.uid")?), "it is there twice:\n{record}");
    }
    Ok(())
}

/// All that was loaded and unloaded is there, and as the configuration of its time says.
fn told(records: &Records, pairs: usize) -> Result<()> {
    for event in ["load", "unload"] {
        let of = || records.of(&format!("linux.kernel_module.{event}"));
        of().with("linux.kernel_module.name", "hello").count(pairs)?;
        of().with("linux.kernel_module.name", "dummy").count(ROUNDS + 4)?;
    }
    for event in ["started", "stopped"] {
        records.of(&format!("kmodtrail.{event}")).one()?;
    }
    records.of("kmodtrail.lost").none()?;
    records.of("kmodtrail.dropped").none()?;
    let loads = records.of("linux.kernel_module.load").with("linux.kernel_module.name", "dummy");
    for (number, load) in loads.iter().enumerate() {
        // what came after the rounds is of the last of them
        let round = (number + 1).min(ROUNDS);
        let (expected, severity) = (Value::from(round.to_string()), ["ERROR", "FATAL"][round % 2]);
        let found = load.resource.get("test.round");
        ensure!(
            found == Some(&expected) && load.severity == severity,
            "load {number} of dummy is not as the configuration of round {round} says, but of {found:?}:\n{load}"
        );
    }
    let last = records.iter().last().map(|record| record.event.as_str());
    ensure!(last == Some("kmodtrail.stopped"), "the last record is {last:?}");
    // reloads in the middle of the load, not before or after it; where all is fast one may fall between two series
    let rounds: BTreeSet<_> = records
        .of("linux.kernel_module.load")
        .with("linux.kernel_module.name", "hello")
        .iter()
        .filter_map(|load| load.resource.get("test.round")?.as_str())
        .collect();
    ensure!(rounds.len() > ROUNDS / 2, "there was no load during most of the reloads: {rounds:?}");
    Ok(())
}
