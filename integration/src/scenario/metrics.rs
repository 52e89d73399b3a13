//! The daemon's own metrics and messages, in a real collector.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Host, HostScenario};
use crate::services::{
    collector::{Collector, Pipeline, Tls},
    daemon::{Play, Sink},
    otlp::Protocol,
    wait_for,
};

pub(super) const SCENARIOS: &[HostScenario] =
    &[HostScenario { name: "metrics_are_what_the_ledger_says", full: false, run: metrics_are_what_the_ledger_says }];

const TOKEN: &str = "metrics-token-2210";

/// They come over TLS with a token; and with a wrong one the daemon says so, and works.
fn metrics_are_what_the_ledger_says(host: &Host<'_>) -> Result<()> {
    let collector = host.collector(&[Pipeline::telemetry().tls(Tls::Server).token(TOKEN)])?;
    let mut daemon = host.daemon(&format!(
        r#"
        [telemetry.otlp]
        endpoint = "{}"
        interval = "1s"
        logs = true
        bearer_token = {{ credential = "token" }}
        tls = {{ ca_file = "{}" }}

        [sinks.out]
        type = "file"
        path = "FOLDER/events.jsonl"

        [[routes]]
        name = "loads"
        when = {{ event = ["load"] }}
        to = ["out"]
        "#,
        collector.endpoint(0, Protocol::Grpc),
        host.pki().ca().display(),
    ))?;
    daemon.credential("token", "not the token")?;
    daemon.start(Play::for_ever(500))?;
    wait_for("an error in the log", || Ok(daemon.log().find("metrics can't be delivered")))?;
    daemon.expect_no_secret(&["not the token"])?;

    // it is read again for each request
    daemon.credential("token", TOKEN)?;
    // the processes of the recording are gone, and their parents too
    let parents = "linux.process.parent.executable.path";
    let of_parents = format!("kmodtrail.enrichment.missing {parents}");
    let told = wait_for("metrics", || Ok(latest(&collector)?.get(&of_parents).copied()))?;
    let missing = &daemon.status()?["missing"];
    let counted = missing[parents].as_u64().unwrap_or(0);
    ensure!(told > 0 && told <= counted, "{told} in the metrics, then in the status {missing}");
    daemon.stop()?;
    // the last message, too, is delivered before the daemon ends
    let told = messages(&collector)?;
    let last = told.last().context("no message of the daemon's")?;
    ensure!(last["body"]["stringValue"] == "stopping" && last["severityText"] == "INFO", "the last is {last}");
    let reason = elements(last, "attributes").find(|attribute| attribute["key"] == "reason");
    ensure!(reason.is_some_and(|reason| reason["value"]["stringValue"] == "SIGTERM"), "without its reason: {last}");
    daemon.start(Play::QUIETLY)?;
    let counts = |sink: &Sink| ["delivered", "routed_nowhere"].map(|outcome| sink.count(outcome));
    let before = counts(&daemon.wait_for_sink("out", "nothing that waits", |sink| sink.count("pending") == 0)?);
    ensure!(before.iter().all(|&count| count > 0), "nothing to be measured: {before:?}");
    let (measured, last) = wait_for("metrics from after that", || {
        let last = latest(&collector)?;
        let outcomes = ["delivered", "routed_nowhere"].map(|outcome| format!("kmodtrail.sink.records out {outcome}"));
        let measured = outcomes.map(|name| last.get(&name).copied().unwrap_or(0));
        Ok(all_at_most(&before, &measured).then_some((measured, last)))
    })?;
    let after = counts(&daemon.sink("out")?);
    ensure!(all_at_most(&measured, &after), "{measured:?} are not between {before:?} and {after:?}");
    for (name, value) in [("kmodtrail.sink.works out", 1), ("kmodtrail.kernel_records.lost", 0)] {
        ensure!(last.get(name) == Some(&value), "{name} is not {value}: {last:?}");
    }
    daemon.expect_no_secret(&[TOKEN])
}

/// Each count by itself: arrays are compared by their first difference.
fn all_at_most(these: &[u64], those: &[u64]) -> bool {
    these.iter().zip(those).all(|(this, that)| this <= that)
}

/// The daemon's messages, in their order.
fn messages(collector: &Collector) -> Result<Vec<Value>> {
    let mut messages = Vec::new();
    for line in collector.text(0)?.lines() {
        let request: Value = serde_json::from_str(line).with_context(|| format!("in: {line}"))?;
        for scope in elements(&request, "resourceLogs").flat_map(|resource| elements(resource, "scopeLogs")) {
            let name = scope["scope"]["name"].as_str().unwrap_or_default();
            ensure!(name.starts_with("kmodtrail"), "a message of {name:?}: {scope}");
            messages.extend(elements(scope, "logRecords").cloned());
        }
    }
    Ok(messages)
}

/// The values that came last, by their metrics' names and the values of their attributes.
fn latest(collector: &Collector) -> Result<BTreeMap<String, u64>> {
    let mut values = BTreeMap::new();
    for line in collector.text(0)?.lines() {
        let request: Value = serde_json::from_str(line).with_context(|| format!("in: {line}"))?;
        let scopes = elements(&request, "resourceMetrics").flat_map(|resource| elements(resource, "scopeMetrics"));
        for metric in scopes.flat_map(|scope| elements(scope, "metrics")) {
            let name = metric["name"].as_str().context("a metric without a name")?;
            for point in ["sum", "gauge"].into_iter().flat_map(|data| elements(&metric[data], "dataPoints")) {
                // in the order of their names
                let of: BTreeMap<_, _> = elements(point, "attributes")
                    .map(|of| (of["key"].as_str(), of["value"]["stringValue"].as_str()))
                    .collect();
                let of: String = of.into_values().flatten().map(|value| format!(" {value}")).collect();
                let value = point["asInt"].as_str().context("no integer")?.parse()?;
                values.insert(format!("{name}{of}"), value);
            }
        }
    }
    Ok(values)
}

fn elements<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}
