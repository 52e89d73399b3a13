//! The daemon under systemd is restarted, killed, upgraded and stopped for a while, as modules come and go: its probes stay where they are.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial};
use crate::{
    fixtures,
    records::{Record, Records},
    story,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "restarts_under_load",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["5.10", "6.1", "7"]),
        full: false,
        run: |trial| restarts_under_load(trial, 10),
    },
    Scenario {
        name: "a_hundred_restarts",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["5.10", "6.1", "7"]),
        full: true,
        run: |trial| restarts_under_load(trial, 100),
    },
];

/// Two modules come and go, and a process asks for one that nobody has, each without pause and counted. Neither is a network device: udev would
/// have the kernel ask for modules, too, and Linux 5.10 tracks no more returns at a time than there are processors.
const SCRIPT: &str = r#"
events=/var/log/kmodtrail/events.jsonl
mkdir -p /etc/kmodtrail/conf.d
systemctl start kmodtrail || exit 1
main() { systemctl show -p MainPID --value kmodtrail; }
again() {
    for i in $(seq 1200); do
        [ "$(main)" != "$1" ] && systemctl -q is-active kmodtrail && return
        sleep 0.1
    done
    echo "there is no other process than $1"
    exit 1
}
pairs() {
    local n=0
    while [ -e /run/going ]; do
        nice /actor pairs 3 /fixtures/$1.ko $1 > /run/pairs.$1 || { echo "pairs of $1"; touch /run/failed; exit 1; }
        n=$((n + 3)); echo $n > /out/$1
        sleep 0.1
    done
}
requests() {
    local n=0
    while [ -e /run/going ]; do
        nice /actor request 2 42 > /run/requests || exit 1
        n=$((n + 2)); echo $n > /out/requests
        sleep 0.1
    done
}
touch /run/going
pairs hello & first=$!
pairs jello & second=$!
requests & third=$!
for round in $(seq ROUNDS); do
    sleep $((RANDOM % 2)).$((RANDOM % 10))
    pid=$(main)
    case $((round % 5)) in
    0) # other settings, or another version: another generation of probes takes the place of this one, and is killed meanwhile
        case $((round % 20)) in
        5) echo -e "[sensor]\nbulk_ring_size = \"2MiB\"" > /etc/kmodtrail/conf.d/ring.toml;;
        10) install -m 755 /next /usr/bin/kmodtrail.new;;
        15) rm /etc/kmodtrail/conf.d/ring.toml;;
        *) install -m 755 /kmodtrail /usr/bin/kmodtrail.new;;
        esac
        [ ! -e /usr/bin/kmodtrail.new ] || mv /usr/bin/kmodtrail.new /usr/bin/kmodtrail
        systemctl restart kmodtrail || exit 1
        again $pid; pid=$(main)
        sleep 0.$((RANDOM % 10)); systemctl kill -s KILL kmodtrail;;
    1) kill -STOP $pid; sleep 1; kill -KILL $pid;;
    2) systemctl kill -s KILL kmodtrail; sleep 0.$((RANDOM % 10)); systemctl kill -s KILL kmodtrail;;
    3) systemctl kill -s KILL kmodtrail; systemctl daemon-reload;;
    *) systemctl kill -s KILL kmodtrail; systemctl daemon-reexec;;
    esac
    again $pid
    echo "round $round of ROUNDS: $(main) in the place of $pid"
done
rm /run/going
wait $first && wait $second && wait $third || exit 1
[ ! -e /run/failed ] || exit 1
systemctl restart kmodtrail
for i in $(seq 600); do
    /usr/bin/kmodtrail status > /out/status 2>&1
    grep -q waiting /out/status || break
    sleep 0.1
done
# the generations before the last one go when all of theirs is told
stored() { systemctl show -p NFileDescriptorStore --value kmodtrail; }
for i in $(seq 900); do [ "$(stored)" -lt 60 ] && break; sleep 0.1; done
stored > /out/stored
systemctl stop kmodtrail
# on Linux 5.10 a load's return can be missed: it was open then, and is told by the next one
systemctl start kmodtrail || exit 1
systemctl stop kmodtrail
cp $events /out/records.jsonl
journalctl -u kmodtrail -o cat --no-pager > /out/journal
"#;

/// Each load, unload, request and helper gives one record, however often the daemon went and came while it happened.
fn restarts_under_load(trial: &Trial<'_>, rounds: usize) -> Result<()> {
    let hello = trial.testbed().fixtures(trial.kernel())?.bytes("hello.ko")?;
    let jello = fixtures::replaced(&hello, b"hello", b"jello").context("hello.ko is called otherwise")?;
    let outcome = story::installed(trial.systemd())?
        .file("/fixtures/jello.ko", jello)
        .file("/next", story::next_version(trial.testbed())?)
        .file("/etc/systemd/system/kmodtrail.service.d/soon.conf", "[Service]\nRestartSec=100ms\n")
        .limit(Duration::from_secs(120 + 60 * rounds as u64))
        .script(&story::script(&SCRIPT.replace("ROUNDS", &rounds.to_string())))
        .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    let number = |file: &str| -> Result<usize> { outcome.text(file)?.trim().parse().context("a number") };

    for module in ["hello", "jello"] {
        let pairs = number(module)?;
        for event in ["load", "unload"] {
            let of = |record: &Record| record.get("linux.kernel_module.name").is_some_and(|name| name == module);
            let told = told(&records, event, &of)?;
            ensure!(told == pairs, "{pairs} pairs of {module}, and {told} records of a {event}");
            let succeeded = |record: &Record| {
                of(record) && record.get("linux.kernel_module.outcome").is_some_and(|o| o == "success")
            };
            let succeeded = self::told(&records, event, &succeeded)?;
            ensure!(succeeded == pairs, "{pairs} pairs of {module}, and {succeeded} of a {event} that succeeded");
        }
    }
    let requests = number("requests")?;
    let ours = |record: &Record| record.get("linux.kernel_module.alias").is_some_and(|alias| alias == "net-pf-42");
    for event in ["request", "helper"] {
        let told = told(&records, event, &ours)?;
        let of = records.of(&format!("linux.kernel_module.{event}"));
        let others: String = of.iter().filter(|r| !ours(r)).map(|r| format!("\n{r}")).collect();
        ensure!(told == requests, "{requests} requests, and {told} records of a {event}; others are:{others}");
    }
    let ended = |record: &Record| ours(record) && record.get("linux.kernel_module.helper.exit_status").is_some();
    let ended = told(&records, "helper", &ended)?;
    ensure!(ended == requests, "{requests} helpers, and the end of {ended} was seen");
    records.of("kmodtrail.lost").none()?;

    let started = records.of("kmodtrail.started");
    let uids = |probes: &[&str]| -> Result<usize> {
        let of = |record: &&Record| record.string("kmodtrail.started.probes").is_ok_and(|of| probes.contains(&of));
        let uids: Result<BTreeSet<_>> = started.iter().filter(of).map(|r| r.string("log.record.uid")).collect();
        Ok(uids?.len())
    };
    let (all, attached) = (uids(&["attached", "adopted", "replaced"])?, uids(&["attached"])?);
    let journal = outcome.text("journal")?;
    // the first one, and the one after the stop
    ensure!(attached == 2, "nothing was attached before {attached} of {all} starts:\n{journal}");
    ensure!(uids(&["replaced"])? >= rounds / 5, "settings or version have changed {} times:\n{journal}", rounds / 5);
    let stored: usize = number("stored")?;
    ensure!(stored < 60, "systemd keeps {stored} descriptors: more than one generation has");
    ensure!(all > rounds, "it has started {all} times in {rounds} rounds");
    Ok(())
}

/// How many records there are about it, whatever was delivered twice.
fn told(records: &Records, event: &str, that: &dyn Fn(&Record) -> bool) -> Result<usize> {
    let event = records.of(&format!("linux.kernel_module.{event}"));
    let uids: Result<BTreeSet<_>> = event.iter().filter(|r| that(r)).map(|r| r.string("log.record.uid")).collect();
    Ok(uids?.len())
}
