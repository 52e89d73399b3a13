//! Against servers that say what a test wants. What a real collector says is tried in integration/.

mod answers;
mod connections;
mod partial;
mod server;
mod tls;

use std::sync::Arc;

use hyper::body::Bytes;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, any_value},
    logs::v1::LogRecord,
};
use prost::Message as _;

use self::server::Server;
use super::*;
use crate::{
    config::{
        OtlpSink as Config,
        otlp::{Endpoint, Protocol},
    },
    record::{self, Record},
    resource::Resource,
};

/// Records with these texts as their bodies.
struct Records(Vec<(Arc<[u8]>, Vec<u8>)>);

impl Records {
    fn of<T: Into<String>>(bodies: impl IntoIterator<Item = T>) -> Self {
        let resource = resource("here");
        let record = |text: T| {
            let body = AnyValue { value: Some(any_value::Value::StringValue(text.into())) };
            LogRecord { body: Some(body), time_unix_nano: 1, ..Default::default() }.encode_to_vec()
        };
        Self(bodies.into_iter().map(|text| (Arc::clone(&resource), record(text))).collect())
    }

    fn numbered(count: usize) -> Self {
        Self::of((0..count).map(|n| n.to_string()))
    }

    fn outgoing(&self) -> Vec<Outgoing<'_>> {
        let parse = |bytes| Record::parse(bytes).expect("it is one");
        self.0.iter().map(|(resource, bytes)| Outgoing { resource, record: parse(bytes) }).collect()
    }
}

fn resource(host: &str) -> Arc<[u8]> {
    let mut resource = Resource::default();
    resource.set("host.name", host);
    record::resource(&resource).into()
}

fn body(record: &LogRecord) -> String {
    match record.body.as_ref().and_then(|b| b.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// For that server, without compression.
fn config(protocol: Protocol, url: impl std::fmt::Display) -> Config {
    let url = url.to_string().parse().expect("it is a URL");
    Config { protocol, compression: config::otlp::Compression::None, ..Config::new(Endpoint::Url(url)) }
}

fn sink(config: &Config) -> OtlpSink {
    OtlpSink::open("test", config).unwrap_or_else(|e| panic!("{e}"))
}

fn sink_to(server: &Server, protocol: Protocol) -> OtlpSink {
    sink(&config(protocol, format_args!("http://{}", server.address)))
}

async fn deliver(sink: &mut OtlpSink, records: &Records) -> Vec<Verdict> {
    sink.deliver(&records.outgoing()).await
}

/// "delivered", "refused: WHY" or "retry: WHY".
fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered => "delivered".to_owned(),
        Verdict::Refused(why) => format!("refused: {why}"),
        Verdict::Retry(trouble) => format!("retry: {}", trouble.why),
    }
}

#[track_caller]
fn all(verdicts: &[Verdict], count: usize, beginning: &str) {
    assert_eq!(verdicts.len(), count);
    for verdict in verdicts {
        assert!(said(verdict).starts_with(beginning), "{beginning:?} is expected: {verdict:?}");
    }
}

#[track_caller]
fn trouble(verdicts: &[Verdict]) -> &Trouble {
    match &verdicts[0] {
        Verdict::Retry(trouble) => {
            assert!(verdicts.iter().all(|v| *v == verdicts[0]), "{verdicts:?}");
            assert!(trouble.why.contains("; allowed: "), "what to do? {trouble:?}");
            trouble
        }
        other => panic!("trouble is expected: {other:?}"),
    }
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson];

#[tokio::test]
async fn records_arrive_as_they_are_by_every_protocol_and_compression() {
    use crate::config::otlp::Compression;
    let mut records = Records::of(["one", "two", "three"]);
    records.0[1].0 = resource("there");
    for protocol in PROTOCOLS {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let server = Server::taking(protocol, None).await;
            let config = Config { compression, ..config(protocol, format_args!("http://{}", server.address)) };
            let mut sink = sink(&config);
            all(&deliver(&mut sink, &records).await, 3, "delivered");
            let seen = server.seen();
            let [seen] = &seen[..] else { panic!("one request: {seen:?}") };
            let (logs, sent) = (&seen.request.resource_logs, &records.0);
            assert_eq!(logs.len(), 3, "{protocol:?} {compression:?}: the second has a resource of its own");
            for (logs, (_, bytes)) in logs.iter().zip(sent) {
                assert_eq!(logs.scope_logs[0].log_records[0].encode_to_vec(), *bytes, "{protocol:?} {compression:?}");
            }
            let encoding = ["content-encoding", "grpc-encoding"].iter().find_map(|name| seen.headers.get(*name));
            let expected = [None, Some("gzip"), Some("zstd")][compression as usize];
            assert_eq!(encoding.map(|v| v.to_str().expect("it is ASCII")), expected, "{protocol:?}");
            sink.close().await;
        }
    }
}

#[tokio::test]
async fn a_path_is_used_as_it_is_and_where_there_is_none_it_is_that_of_the_specification() {
    for (path, used) in [("", "/v1/logs"), ("/", "/v1/logs"), ("/otlp/v1/logs", "/otlp/v1/logs")] {
        let server = Server::taking(Protocol::HttpProtobuf, None).await;
        let mut sink = sink(&config(Protocol::HttpProtobuf, format_args!("http://{}{path}", server.address)));
        all(&deliver(&mut sink, &Records::of(["x"])).await, 1, "delivered");
        assert_eq!(server.seen()[0].path, used);
        assert_eq!(server.seen()[0].headers["host"], server.address.to_string());
    }
}

#[tokio::test]
async fn a_batch_is_never_longer_than_the_limits() {
    let server = Server::taking(Protocol::Grpc, None).await;
    let config = Config { max_batch_records: 2, ..config(Protocol::Grpc, format_args!("http://{}", server.address)) };
    let mut sink = sink(&config);
    assert_eq!(sink.limits(), Limits { records: 2, bytes: 1 << 20 });
    all(&deliver(&mut sink, &Records::numbered(5)).await, 5, "delivered");
    assert_eq!(server.requests(), [vec!["0", "1"], vec!["2", "3"], vec!["4"]]);
    assert_eq!(server.connections(), 1);
}
