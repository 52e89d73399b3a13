//! The whole way at once: a real kernel, the daemon under systemd, and three places that must all have the same records, whatever
//! happens on the way.

use std::{cell::RefCell, collections::BTreeSet, str};

use anyhow::{Context as _, Result, ensure};

use super::{GuestKind, Kernels, Scenario, Trial};
use crate::{
    guest::HOST,
    records::Records,
    services::{
        collector::{Collector, Pipeline, Tls},
        kafka::{ALICE, Kafka, Listener, Setup},
        otlp::Protocol,
    },
    story::{self, MARK},
};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "everything",
    guest: GuestKind::Systemd,
    kernels: Kernels::Only(&["6.1"]),
    full: false,
    run: everything,
}];

const TOPIC: &str = "everything";
const TOKEN: &str = "token-of-everything";
/// Loads and unloads in the guest.
const PAIRS: usize = 60;

/// What the guest wants to happen to the servers; it prints it and goes on.
const KILL_KAFKA: &str = "kill Kafka";
const START_KAFKA: &str = "start Kafka";
const RESTART_COLLECTOR: &str = "restart the collector";

/// The servers that the guest delivers to.
struct Servers {
    kafka: Kafka,
    collector: Collector,
    /// What could not be done to them.
    failed: Result<()>,
}

impl Servers {
    /// Does what a line of the guest's console asks for.
    fn obey(&mut self, line: &str) {
        let done = match line.strip_prefix(MARK) {
            Some(KILL_KAFKA) => self.kafka.kill(1),
            Some(START_KAFKA) => self.kafka.start_again(1),
            Some(RESTART_COLLECTOR) => self.collector.stop().and_then(|()| self.collector.start_again()),
            _ => Ok(()),
        };
        if done.is_err() {
            self.failed = done;
        }
    }
}

fn everything(trial: &Trial<'_>) -> Result<()> {
    let host = trial.host();
    let kafka = host.kafka(&Setup::single())?;
    kafka.create_topic(TOPIC, 3, &[])?;
    let collector = host.collector(&[Pipeline::otlp().tls(Tls::Server).token(TOKEN)])?;
    let configuration = format!(
        r#"
        [sinks.kafka]
        type = "kafka"
        brokers = ["{}"]
        topic = "{TOPIC}"
        tls = {{ ca_file = "/etc/kmodtrail/ca.pem" }}
        sasl = {{ mechanism = "SCRAM-SHA-512", username = "{}", password = {{ credential = "kafka-password" }} }}

        [sinks.collector]
        type = "otlp"
        endpoint = "https://{HOST}:{}"
        tls = {{ ca_file = "/etc/kmodtrail/ca.pem" }}
        bearer_token = {{ credential = "collector-token" }}

        [sinks.audit]
        type = "file"
        path = "/var/log/kmodtrail/events.jsonl"

        [[routes]]
        name = "everything, everywhere"
        to = ["kafka", "collector", "audit"]
        "#,
        kafka.brokers(Listener::Guest),
        ALICE.name,
        collector.port(0, Protocol::Grpc),
    );
    let servers = RefCell::new(Servers { kafka, collector, failed: Ok(()) });
    let root = crate::workspace::root();
    let outcome = story::installed(trial.systemd())?
        .network()
        .file(
            "/etc/systemd/system/kmodtrail.service.d/network.conf",
            root.join("systemd/kmodtrail.service.d/network.conf"),
        )
        .file("/etc/systemd/system/kmodtrail.service.d/test.conf", UNIT)
        .file("/etc/kmodtrail/kmodtrail.toml", configuration)
        .file("/etc/kmodtrail/ca.pem", host.pki().ca())
        .file("/etc/kmodtrail/kafka-password", ALICE.password)
        .file("/etc/kmodtrail/collector-token", TOKEN)
        .on_line(|line| servers.borrow_mut().obey(line))
        .script(&story::script(&script()))
        .run()?;
    let Servers { kafka, collector, failed } = servers.into_inner();
    failed?;
    outcome.expect_success()?;

    let records = outcome.records()?;
    let file = ids(&records)?;
    let messages = kafka.read(TOPIC)?;
    let uid = |name: &str, value: &[u8]| (name == "log.record.uid").then(|| str::from_utf8(value).map(str::to_owned));
    let headers = messages.iter().flat_map(|message| &message.headers).filter_map(|(name, value)| uid(name, value));
    let in_kafka: BTreeSet<_> = headers.collect::<Result<_, _>>()?;
    let requests = Records::parse(&collector.text(0)?)?;
    expect_same("Kafka", &in_kafka, &file)?;
    expect_same("the collector", &ids(&requests)?, &file)?;

    // what the kernel did while no daemon was there nobody saw
    let starts: BTreeSet<_> = uids(&records, "kmodtrail.started")?;
    ensure!(starts.len() == 2, "it was started {} times, not twice", starts.len());
    let loads = uids(&records, "linux.kernel_module.load")?.len();
    ensure!((PAIRS - 20..=PAIRS).contains(&loads), "{loads} of {PAIRS} loads");
    let status: serde_json::Value = serde_json::from_str(&outcome.text("status.json")?)?;
    for name in ["kafka", "collector", "audit"] {
        let sinks = status["sinks"].as_array().context("the status has no sinks")?;
        let sink = sinks.iter().find(|sink| sink["name"] == name).with_context(|| format!("no sink {name}"))?;
        let (seen, delivered) = (&sink["ledger"]["seen"], &sink["ledger"]["delivered"]);
        // the daemon's last word comes after it was asked
        ensure!(seen == delivered && *seen == file.len() as u64 - 1, "{name}: {sink}, and {} in the file", file.len());
    }
    Ok(())
}

/// Comes back at once, and gets its secrets as an administrator hands them over.
const UNIT: &str = "[Service]
RestartSec=100ms
LoadCredential=kafka-password:/etc/kmodtrail/kafka-password
LoadCredential=collector-token:/etc/kmodtrail/collector-token
";

fn script() -> String {
    let quarter = PAIRS / 4;
    format!(
        r#"
        until_status() {{
            for _ in $(seq 600); do
                kmodtrail status > /out/status 2>&1
                tr '\n' ' ' < /out/status | grep -qE "$1" && return
                sleep 0.1
            done
            fail "its status is never so: $1, but $(cat /out/status)"
        }}
        everywhere='(kafka|collector|audit) [^:]*: ([0-9]+) seen, \2 delivered.*(kafka|collector|audit) [^:]*: \2 seen, \2 delivered.*(kafka|collector|audit) [^:]*: \2 seen, \2 delivered'
        systemctl start kmodtrail
        act pairs {quarter} /fixtures/hello.ko hello
        until_status "$everywhere"
        echo '{MARK}{KILL_KAFKA}'
        act pairs {quarter} /fixtures/hello.ko hello
        until_status 'sink +kafka[^:]*: [^:]*does not work'
        until_status 'audit [^:]*: ([0-9]+) seen, \1 delivered'
        echo '{MARK}{START_KAFKA}'
        echo '{MARK}{RESTART_COLLECTOR}'
        act pairs {quarter} /fixtures/hello.ko hello &
        pairs=$!
        systemctl kill -s KILL kmodtrail
        for _ in $(seq 600); do [ "$(systemctl show -p NRestarts --value kmodtrail)" = 1 ] && systemctl -q is-active kmodtrail && break; sleep 0.1; done
        systemctl -q is-active kmodtrail || fail 'it is not started again'
        wait $pairs
        act pairs {quarter} /fixtures/hello.ko hello
        until_status "$everywhere"
        kmodtrail status --json > /out/status.json
        systemctl stop kmodtrail
        leave
        "#
    )
}

/// The ids of all records.
fn ids(records: &Records) -> Result<BTreeSet<String>> {
    records.iter().map(|record| Ok(record.string("log.record.uid")?.to_owned())).collect()
}

/// The ids of the records of one event.
fn uids(records: &Records, event: &str) -> Result<BTreeSet<String>> {
    records.of(event).iter().map(|record| Ok(record.string("log.record.uid")?.to_owned())).collect()
}

fn expect_same(place: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>) -> Result<()> {
    let missing: Vec<_> = expected.difference(found).collect();
    let more: Vec<_> = found.difference(expected).collect();
    ensure!(missing.is_empty() && more.is_empty(), "{place} lacks {missing:?}, and has {more:?}, which is in no file");
    Ok(())
}
