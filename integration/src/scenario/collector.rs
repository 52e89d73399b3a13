//! The collector that other scenarios stand on: that it is real, and that its refusals are.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Result, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt;

use super::{Host, HostScenario};
use crate::services::{
    collector::{Collector, Pipeline, Queue, Tls},
    kafka::{Listener, Login},
    otlp::{
        Protocol::{Grpc, Http},
        client::{Client, Encoding, HttpAnswer, request, text},
        server::{Answer, Refusal, ScriptedServer},
    },
    wait_for,
};

pub(super) const SCENARIOS: &[HostScenario] = &[
    HostScenario { name: "collector_takes_each_way", full: false, run: takes_each_way },
    HostScenario { name: "collector_refuses", full: false, run: refuses },
    HostScenario { name: "collector_comes_back", full: false, run: comes_back },
    HostScenario { name: "collector_reads_kafka", full: false, run: reads_kafka },
    HostScenario { name: "collector_takes_our_lines", full: false, run: takes_our_lines },
    HostScenario { name: "collector_hands_hints_on", full: false, run: hands_hints_on },
];

/// By gRPC and HTTP, without TLS, with TLS and a token, with certificates of both: what was sent is in the file.
fn takes_each_way(host: &Host<'_>) -> Result<()> {
    let pipelines =
        [Pipeline::otlp(), Pipeline::otlp().tls(Tls::Server).token("sesame"), Pipeline::otlp().tls(Tls::Mutual)];
    let collector = host.collector(&pipelines)?;
    let trusting = Client::trusting(host.pki())?;
    let clients = [Client::default(), trusting.clone().token("sesame"), trusting.identity(&host.pki().client())?];
    for (index, client) in clients.iter().enumerate() {
        client.grpc(&collector.endpoint(index, Grpc), request(&["by gRPC"]))?;
        for (text, encoding) in [("as protobuf", Encoding::Protobuf), ("as JSON", Encoding::Json)] {
            let answer = client.http(&collector.endpoint(index, Http), &request(&[text]), encoding)?;
            ensure!(answer.status == 200, "pipeline {index} answers {answer:?}");
        }
        let records = collector.wait_for_records(index, 3)?;
        let mut texts: Vec<_> = records.iter().map(text).collect();
        texts.sort_unstable();
        ensure!(texts == ["as JSON", "as protobuf", "by gRPC"], "pipeline {index} wrote {texts:?}");
    }
    Ok(())
}

fn refuses(host: &Host<'_>) -> Result<()> {
    let [nowhere, guarded, mutual, expired, limited, small, full, cut_off] = [0, 1, 2, 3, 4, 5, 6, 7];
    let dead = "http://127.0.0.1:9".to_owned();
    let collector = host.collector(&[
        Pipeline::otlp(),
        Pipeline::otlp().tls(Tls::Server).token("sesame"),
        Pipeline::otlp().tls(Tls::Mutual),
        Pipeline::otlp().tls(Tls::Expired),
        Pipeline::otlp().limits_memory(),
        Pipeline::otlp().largest_request(1),
        Pipeline::otlp().export_grpc(dead.clone(), Queue::Of(1)),
        Pipeline::otlp().export_http(dead, Queue::Off),
    ])?;
    let (plain, trusting) = (Client::default(), Client::trusting(host.pki())?);
    let foreign = trusting.clone().identity(&host.pki().foreign_client())?;
    let grpc = |client: &Client, index| match client.grpc(&collector.endpoint(index, Grpc), request(&["x"])) {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    };
    let http =
        |client: &Client, index| client.http(&collector.endpoint(index, Http), &request(&["x"]), Encoding::Protobuf);
    let expect = |client: &Client, index, code, status| {
        let (grpc, http) = (grpc(client, index), http(client, index)?);
        ensure!((grpc, http.status) == (code, status), "pipeline {index}: {grpc:?}, and by HTTP {http:?}");
        Ok::<_, anyhow::Error>(())
    };

    expect(&plain, nowhere, Code::Ok, 200)?;
    expect(&trusting, guarded, Code::Unauthenticated, 401)?;
    expect(&trusting.clone().token("guessed"), guarded, Code::Unauthenticated, 401)?;
    for (client, index) in [(&trusting, mutual), (&foreign, mutual), (&trusting, expired), (&plain, expired)] {
        ensure!(grpc(client, index) != Code::Ok, "pipeline {index} took it from {client:?}");
        ensure!(
            !matches!(http(client, index), Ok(HttpAnswer { status: 200, .. })),
            "pipeline {index} took it from {client:?}"
        );
    }
    // It looks at its memory ten times a second, and not before the first request.
    wait_for("a refusal for lack of memory", || Ok((grpc(&plain, limited) == Code::Unavailable).then_some(())))?;
    expect(&plain, limited, Code::Unavailable, 503)?;
    wait_for("a full queue", || Ok((grpc(&plain, full) == Code::Unavailable).then_some(())))?;
    expect(&plain, full, Code::Unavailable, 503)?;
    expect(&plain, cut_off, Code::Unavailable, 503)?;

    let large = request(&["x".repeat(2 << 20).as_str()]);
    let status = plain.grpc(&collector.endpoint(small, Grpc), large.clone()).err();
    ensure!(status.as_ref().is_some_and(|status| status.code() == Code::ResourceExhausted), "too large: {status:?}");
    let answer = plain.http(&collector.endpoint(small, Http), &large, Encoding::Protobuf)?;
    ensure!(answer.status == 400, "too large: {answer:?}");
    Ok(())
}

/// Stopped, and killed, and there again by the same ports, with what it had written.
fn comes_back(host: &Host<'_>) -> Result<()> {
    let mut collector = host.collector(&[Pipeline::otlp()])?;
    let send = |collector: &Collector, text| Client::default().grpc(&collector.endpoint(0, Grpc), request(&[text]));
    send(&collector, "first")?;
    collector.wait_for_records(0, 1)?;
    collector.stop()?;
    let status = send(&collector, "to nobody").err();
    ensure!(status.is_some_and(|status| status.code() == Code::Unavailable), "somebody took it");
    collector.start_again()?;
    send(&collector, "second")?;
    collector.wait_for_records(0, 2)?;
    collector.kill()?;
    collector.start_again()?;
    send(&collector, "third")?;
    let records = collector.wait_for_records(0, 3)?;
    let texts: Vec<_> = records.iter().map(text).collect();
    ensure!(texts == ["first", "second", "third"], "it wrote {texts:?}");
    Ok(())
}

/// Both encodings of OTLP, from the broker.
fn reads_kafka(host: &Host<'_>) -> Result<()> {
    let kafka = host.shared_kafka()?;
    let encodings = [
        ("otlp_proto", encoded as fn(&ExportLogsServiceRequest) -> Result<Vec<u8>>),
        ("otlp_json", |request| Ok(serde_json::to_vec(request)?)),
    ];
    let topic = |encoding: &str| format!("reads-kafka-{encoding}");
    let pipelines =
        encodings.map(|(encoding, _)| Pipeline::kafka(kafka.brokers(Listener::Plaintext), &topic(encoding), encoding));
    for (encoding, encode) in encodings {
        kafka.create_topic(&topic(encoding), 1, &[])?;
        kafka.send(Login::Anonymous, &topic(encoding), "key", &encode(&request(&[encoding]))?)?;
    }
    let collector = host.collector(&pipelines)?;
    for (index, (encoding, _)) in encodings.iter().enumerate() {
        let records = collector.wait_for_records(index, 1)?;
        let texts: Vec<_> = records.iter().map(text).collect();
        ensure!(texts == [*encoding], "of {encoding} it wrote {texts:?}");
    }
    Ok(())
}

fn encoded(request: &ExportLogsServiceRequest) -> Result<Vec<u8>> {
    Ok(request.encode_to_vec())
}

/// Each line of a file sink's file is a request by itself, and nothing of it is lost on the collector. Its otlpjsonfile receiver reads a
/// line as what an OTLP/HTTP client sends as JSON, by the same code.
fn takes_our_lines(host: &Host<'_>) -> Result<()> {
    let mut daemon = host.daemon(
        "[sinks.out]\ntype = \"file\"\npath = \"FOLDER/events.jsonl\"\n[[routes]]\nname = \"all\"\nto = [\"out\"]\n",
    )?;
    daemon.play(1)?;
    let collector = host.collector(&[Pipeline::otlp()])?;
    let endpoint = collector.endpoint(0, Http);
    let text = fs::read_to_string(daemon.path("events.jsonl"))?;
    let lines = text.split_inclusive('\n');
    for line in lines.clone() {
        let answer = Client::default().post(&endpoint, Encoding::Json, line.as_bytes())?;
        // a partial success would name what it did not take
        ensure!(answer.status == 200 && answer.body == b"{\"partialSuccess\":{}}", "it answers {answer:?} to {line}");
    }
    let taken = wait_for("the records in the collector's file", || {
        let taken = members(&collector.text(0)?)?;
        Ok((taken.len() >= lines.clone().count()).then_some(taken))
    })?;
    let written = members(&text)?;
    for (number, (written, taken)) in written.iter().zip(&taken).enumerate() {
        let lost: Vec<_> = written.symmetric_difference(taken).collect();
        ensure!(lost.is_empty(), "record {number} is not the same on both sides: {lost:?}");
    }
    ensure!(written.len() == taken.len(), "{} records became {}", written.len(), taken.len());
    Ok(())
}

/// Of each record, in their order, each member of its JSON with the path to it; the collector leaves out what is empty.
fn members(text: &str) -> Result<Vec<BTreeSet<String>>> {
    fn collect(path: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                collect(&format!("{path}.{name}"), value, found);
            }),
            Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| {
                collect(&format!("{path}[{index}]"), value, found);
            }),
            _ => drop(found.insert(format!("{path} = {value}"))),
        }
    }
    let mut records = Vec::new();
    for line in text.lines() {
        let mut found = BTreeSet::new();
        collect("", &serde_json::from_str(line)?, &mut found);
        found.retain(|member| !member.ends_with(" = \"\"") && !member.ends_with(" = null"));
        records.push(found);
    }
    Ok(records)
}

/// When to try again, said by the server behind a collector that has no queue, reaches the collector's clients.
fn hands_hints_on(host: &Host<'_>) -> Result<()> {
    let server = ScriptedServer::start()?;
    // Not by HTTP: of a `Retry-After` only the words are handed on.
    let collector = host.collector(&[Pipeline::otlp().export_grpc(server.endpoint(), Queue::Off)])?;
    let (client, after) = (Client::default(), Duration::from_secs(7));
    server.answer(vec![Answer::Refuse(Refusal::exhausted(Some(after))); 2]);
    let status = client.grpc(&collector.endpoint(0, Grpc), request(&["x"])).err();
    let hint = status.as_ref().and_then(StatusExt::get_details_retry_info).and_then(|info| info.retry_delay);
    ensure!(hint == Some(after), "by gRPC: {status:?}");
    let answer = client.http(&collector.endpoint(0, Http), &request(&["x"]), Encoding::Protobuf)?;
    ensure!(answer.status == 429 && answer.retry_after.as_deref() == Some("7"), "by HTTP: {answer:?}");
    ensure!(server.accepted().is_empty(), "what was refused was accepted");
    client.grpc(&collector.endpoint(0, Grpc), request(&["y"]))?;
    let accepted: Vec<_> = server.accepted().iter().map(|record| text(record).to_owned()).collect();
    ensure!(accepted == ["y"], "what was accepted is {accepted:?}");
    Ok(())
}
