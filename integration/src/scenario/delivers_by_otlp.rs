//! The daemon and real collectors: each way in, each refusal, and everything arrives once things are well again.

mod configuration;
mod odd_answers;

use std::{iter, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use self::configuration::Way;
use super::{
    Host, HostScenario,
    arrived::{Arrived, settle},
};
use crate::services::{
    collector::{Collector, Pipeline, Queue, Tls},
    daemon::{Daemon, Play},
    otlp::{
        Protocol::{Grpc, Http},
        server::{Answer, Refusal, ScriptedServer},
    },
    ports,
};

pub(super) const SCENARIOS: &[HostScenario] = &[
    HostScenario { name: "otlp_each_way", full: false, run: each_way },
    HostScenario { name: "otlp_refusals_heal", full: false, run: refusals_heal },
    HostScenario { name: "otlp_collector_is_busy", full: false, run: is_busy },
    HostScenario { name: "otlp_collector_restarts", full: false, run: restarts },
    HostScenario { name: "otlp_hints_are_obeyed", full: false, run: hints_are_obeyed },
    HostScenario { name: "otlp_answers_are_odd", full: false, run: odd_answers::run },
];

/// Kernel records per second.
const RATE: u64 = 500;
const TOKEN: &str = "sesame-open-8731";
const GUESS: &str = "guessed-wrong-1378";

/// A daemon with a file and with these ways to deliver.
fn daemon(host: &Host<'_>, ways: &[Way]) -> Result<Daemon> {
    let daemon = host.daemon(&configuration::of(ways))?;
    daemon.credential("token", TOKEN)?;
    Ok(daemon)
}

/// Stops it, and sees to it that everything has arrived everywhere.
fn expect_all(daemon: &mut Daemon, ways: &[Way], far: &mut [Arrived<'_>]) -> Result<()> {
    daemon.stop()?;
    let mut out = Arrived::in_file(daemon, "events.jsonl");
    let ways = ways.iter().map(|way| way.name).zip(&mut *far);
    settle(daemon, &mut iter::once(("out", &mut out)).chain(ways).collect::<Vec<_>>())?;
    far.iter().try_for_each(|far| out.expect_same(far))
}

/// What each pipeline has got.
fn at<'a>(collector: &Collector, pipelines: impl IntoIterator<Item = usize>) -> Vec<Arrived<'a>> {
    pipelines.into_iter().map(|pipeline| Arrived::at_collector(collector, &[pipeline])).collect()
}

/// By each protocol and compression, without TLS, with TLS and a token, and with certificates of both.
fn each_way(host: &Host<'_>) -> Result<()> {
    let guarded = || Pipeline::otlp().tls(Tls::Server).token(TOKEN);
    let mutual = || Pipeline::otlp().tls(Tls::Mutual);
    let pipelines = [Pipeline::otlp(), guarded(), mutual(), Pipeline::otlp(), guarded(), mutual()];
    let collector = host.collector(&pipelines)?;
    let (trusting, known) = (configuration::trusting(host.pki()), configuration::known(host.pki()));
    let ways = [
        Way::new("plain_grpc", collector.endpoint(0, Grpc)).with("compression = \"none\""),
        Way::new("guarded_grpc", collector.endpoint(1, Grpc)).with("compression = \"zstd\"").with(&trusting).token(),
        Way::new("mutual_protobuf", collector.endpoint(2, Http)).protobuf().with("compression = \"zstd\"").with(&known),
        Way::new("plain_protobuf", collector.endpoint(3, Http)).protobuf().with("compression = \"gzip\""),
        Way::new("guarded_json", collector.endpoint(4, Http))
            .json()
            .with("compression = \"zstd\"")
            .with(&trusting)
            .token(),
        Way::new("mutual_grpc", collector.endpoint(5, Grpc)).with("compression = \"gzip\"").with(&known),
    ];
    let mut daemon = daemon(host, &ways)?;
    daemon.start(Play::for_ever(RATE))?;
    for way in &ways {
        daemon.wait_for_sink(way.name, "records", |sink| sink.count("delivered") > 300)?;
    }
    daemon.expect_no_secret(&[TOKEN])?;
    let mut far = at(&collector, 0..ways.len());
    expect_all(&mut daemon, &ways, &mut far)?;
    ensure!(far.iter().all(|far| far.again() == 0), "records came more than once, and nothing was wrong");
    Ok(())
}

/// A server that does not know us, and one that we do not know: the status has their words, nothing is dropped, and all of it arrives
/// after the cure. A token is read again by itself, the rest by SIGHUP.
fn refusals_heal(host: &Host<'_>) -> Result<()> {
    let guarded = || Pipeline::otlp().tls(Tls::Server).token(TOKEN);
    let mutual = || Pipeline::otlp().tls(Tls::Mutual);
    let expired = Pipeline::otlp().tls(Tls::Expired);
    let collector = host.collector(&[guarded(), guarded(), expired, mutual(), mutual(), mutual(), mutual()])?;
    let pki = host.pki();
    let (trusting, known) = (configuration::trusting(pki), configuration::known(pki));
    let mistaken = configuration::tls(&pki.foreign_ca(), Some(&pki.client()));
    let foreign = configuration::tls(&pki.ca(), Some(&pki.foreign_client()));
    let to = |pipeline, protocol| collector.endpoint(pipeline, protocol);
    let guards = [
        Way::new("guess_by_grpc", to(0, Grpc)).with(&trusting).token(),
        Way::new("guess_by_http", to(1, Http)).json().with(&trusting).token(),
    ];
    let ill = [
        Way::new("expired", to(2, Grpc)).with(&known),
        Way::new("mistaken", to(3, Http)).protobuf().with(&mistaken),
        Way::new("stranger", to(4, Grpc)).with(&trusting),
        Way::new("foreign", to(5, Http)).json().with(&foreign),
    ];
    let well = [
        Way::new("expired", to(6, Grpc)).with(&known),
        Way::new("mistaken", to(3, Http)).protobuf().with(&known),
        Way::new("stranger", to(4, Grpc)).with(&known),
        Way::new("foreign", to(5, Http)).json().with(&known),
    ];
    let words = [
        ("guess_by_grpc", "UNAUTHENTICATED: provided authorization does not match"),
        ("guess_by_http", "401 Unauthorized: provided authorization does not match"),
        ("expired", "certificate expired"),
        ("mistaken", "UnknownIssuer"),
        ("stranger", "CertificateRequired"),
        ("foreign", "UnknownCA"),
    ];
    let ways = |rest: &[Way]| [&guards[..], rest].concat();
    let mut daemon = daemon(host, &ways(&ill))?;
    daemon.credential("token", GUESS)?;
    daemon.start(Play::for_ever(RATE))?;
    for (name, said) in words {
        let sink =
            daemon.wait_for_sink(name, said, |sink| sink.trouble().contains(said) && sink.count("pending") > 300)?;
        ensure!(
            sink.count("delivered") == 0 && sink.dropped() == 0,
            "{name} got something, or it was dropped: {sink:?}"
        );
        ensure!(sink.trouble().contains("allowed: "), "the trouble says no cure: {sink:?}");
    }
    daemon.expect_no_secret(&[TOKEN, GUESS])?;
    let healthy = daemon.sink("out")?;
    ensure!(healthy.trouble().is_empty() && healthy.count("delivered") > 300, "the file suffers, too: {healthy:?}");

    daemon.credential("token", TOKEN)?;
    for way in &guards {
        daemon.wait_for_sink(way.name, "the end of trouble", |sink| sink.trouble().is_empty())?;
    }
    daemon.configure(&configuration::of(&ways(&well)))?;
    daemon.signal(Signal::SIGHUP)?;
    for way in &well {
        daemon.wait_for_sink(way.name, "the end of trouble", |sink| sink.trouble().is_empty())?;
    }
    daemon.expect_no_secret(&[TOKEN, GUESS])?;
    expect_all(&mut daemon, &ways(&well), &mut at(&collector, [0, 1, 6, 3, 4, 5]))
}

/// It refuses for lack of memory, and because its queue is full: what it says is shown, what it has taken is not sent again.
fn is_busy(host: &Host<'_>) -> Result<()> {
    let limited = || Pipeline::otlp().limits_memory();
    let ports = [ports::free()?, ports::free()?];
    let [first, second] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let queue = Queue::Of(1);
    let collector = host.collector(&[
        limited(),
        limited(),
        Pipeline::otlp().export_grpc(first, queue),
        Pipeline::otlp().export_http(second, queue),
        Pipeline::otlp(),
        Pipeline::otlp(),
    ])?;
    let to = |pipeline, protocol| collector.endpoint(pipeline, protocol);
    let ways = |memory: usize| {
        [
            Way::new("memory_grpc", to(memory, Grpc)),
            Way::new("memory_json", to(memory + 1, Http)).json(),
            Way::new("queue_grpc", to(2, Grpc)),
            Way::new("queue_protobuf", to(3, Http)).protobuf(),
        ]
    };
    let mut daemon = daemon(host, &ways(0))?;
    daemon.start(Play::for_ever(RATE))?;
    for (name, said) in [
        ("memory_grpc", "UNAVAILABLE: data refused due to high memory usage"),
        ("memory_json", "503 Service Unavailable: data refused due to high memory usage"),
        ("queue_grpc", "UNAVAILABLE: sending queue is full"),
        ("queue_protobuf", "503 Service Unavailable: sending queue is full"),
    ] {
        daemon.wait_for_sink(name, said, |sink| sink.trouble().contains(said) && sink.count("pending") > 300)?;
    }
    let servers = [ScriptedServer::start_at(ports[0])?, ScriptedServer::start_at(ports[1])?];
    daemon.configure(&configuration::of(&ways(4)))?;
    daemon.signal(Signal::SIGHUP)?;
    for way in ways(4) {
        daemon.wait_for_sink(way.name, "the end of trouble", |sink| sink.trouble().is_empty())?;
    }
    // A request or two may have come before the limit was looked at.
    let memory = [[0, 4], [1, 5]].map(|pipelines| Arrived::at_collector(&collector, &pipelines));
    let mut far: Vec<_> = memory.into_iter().chain(servers.iter().map(Arrived::at_server)).collect();
    expect_all(&mut daemon, &ways(4), &mut far)?;
    ensure!(far.iter().all(|far| far.again() == 0), "what was taken was sent again");
    Ok(())
}

/// It is gone and there again, twice, while records come; and it takes no requests as long as those that wait for it then.
fn restarts(host: &Host<'_>) -> Result<()> {
    let small = || Pipeline::otlp().largest_request(1);
    let mut collector = host.collector(&[small(), small(), small()])?;
    let large = "max_batch_size = \"8MiB\"\nmax_batch_records = 10000\ncompression = \"none\"";
    let ways = [
        Way::new("grpc", collector.endpoint(0, Grpc)).with(large),
        Way::new("protobuf", collector.endpoint(1, Http)).protobuf().with(large),
        Way::new("json", collector.endpoint(2, Http)).json().with(large),
    ];
    let mut daemon = daemon(host, &ways)?;
    daemon.start(Play::for_ever(4 * RATE))?;
    for _ in 0..2 {
        for way in &ways {
            let begun = daemon.sink(way.name)?.count("delivered");
            daemon.wait_for_sink(way.name, "records", |sink| sink.count("delivered") > begun + 100)?;
        }
        collector.stop()?;
        for way in &ways {
            daemon.wait_for_sink(way.name, "trouble, and a long request", |sink| {
                sink.trouble().contains("can't connect") && sink.count("pending") > 1000
            })?;
        }
        collector.start_again()?;
        for way in &ways {
            daemon.wait_for_sink(way.name, "the end of trouble", |sink| sink.trouble().is_empty())?;
        }
    }
    ensure!(daemon.log().find("takes only part of a batch at once").is_some(), "no request was too long");
    expect_all(&mut daemon, &ways, &mut at(&collector, 0..ways.len()))
}

/// When to come again, said by the server behind a collector without a queue.
fn hints_are_obeyed(host: &Host<'_>) -> Result<()> {
    let servers = [ScriptedServer::start()?, ScriptedServer::start()?, ScriptedServer::start()?];
    let before = |server: &ScriptedServer| Pipeline::otlp().export_grpc(server.endpoint(), Queue::Off);
    let collector = host.collector(&servers.each_ref().map(before))?;
    let ways = [
        Way::new("grpc", collector.endpoint(0, Grpc)),
        Way::new("protobuf", collector.endpoint(1, Http)).protobuf(),
        Way::new("json", collector.endpoint(2, Http)).json(),
    ];
    // Without it the second try comes after less than half a second.
    let after = Duration::from_secs(3);
    servers.iter().for_each(|server| server.answer([Answer::Refuse(Refusal::exhausted(Some(after)))]));
    let mut daemon = daemon(host, &ways)?;
    daemon.start(Play::for_ever(RATE))?;
    for way in &ways {
        daemon.wait_for_sink(way.name, "the server's words", |sink| sink.trouble().contains("too much at once"))?;
    }
    for (way, server) in ways.iter().zip(&servers) {
        let requests = server.wait_for_requests(2)?;
        let waited = requests[1].at.duration_since(requests[0].at);
        ensure!(waited >= after, "{} came again after {waited:?}", way.name);
        daemon.wait_for_sink(way.name, "the end of trouble", |sink| sink.trouble().is_empty())?;
    }
    let mut far: Vec<_> = servers.iter().map(Arrived::at_server).collect();
    expect_all(&mut daemon, &ways, &mut far).context("after the servers had been waited for")
}
