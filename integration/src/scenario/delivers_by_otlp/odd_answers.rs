//! What a real collector can't be made to do, from the scripted server, by each protocol.

use anyhow::{Result, ensure};
use tonic::Code;

use super::{
    RATE, TOKEN,
    configuration::{self, Way},
    expect_all,
};
use crate::{
    scenario::{Host, arrived::Arrived},
    services::{
        daemon::Play,
        otlp::server::{Answer, Refusal, ScriptedServer},
        wait_for,
    },
};

const API_KEY: &str = "key-of-the-api-5512";

/// An answer after the time-out and one that is cut off (what it was about comes again), a request that is too long (it comes in
/// parts), a broken server (it is tried for ever), and records that are rejected: dead letters with the server's words, but for the
/// secrets in them, which `kmodtrail replay` sends again.
pub(super) fn run(host: &Host<'_>) -> Result<()> {
    let servers = [ScriptedServer::start()?, ScriptedServer::start()?, ScriptedServer::start()?];
    let way = |name, server: usize| {
        let way = Way::new(name, servers[server].endpoint()).token().with("timeout = \"1s\"\ncompression = \"zstd\"");
        way.with("headers = { x-api-key = { credential = \"api-key\" }, x-tenant = \"kernel\" }")
    };
    let ways = [way("grpc", 0), way("protobuf", 1).protobuf(), way("json", 2).json()];
    // After these the next records come one by one.
    let broken = Refusal { code: Code::Internal, status: 500, retry_after: None, message: "broken" };
    let long = Refusal { code: Code::ResourceExhausted, status: 413, retry_after: None, message: "too long" };
    for server in &servers {
        server.answer([
            Answer::AcceptLate,
            Answer::Accept, // the same once more; then what has come meanwhile
            Answer::Refuse(long.clone()),
            Answer::Accept,
            Answer::Accept,
            Answer::AcceptAndCut,
            Answer::Refuse(broken.clone()),
            Answer::Refuse(broken.clone()),
            Answer::AcceptBut { rejected: 1, message: "too old for sesame-open-8731" },
            Answer::AcceptBut { rejected: 1, message: "too old for key-of-the-api-5512" },
            Answer::AcceptBut { rejected: 0, message: "soon too old" },
        ]);
    }
    let mut daemon = host.daemon(&configuration::of(&ways))?;
    daemon.credential("token", TOKEN)?;
    daemon.credential("api-key", API_KEY)?;
    daemon.start(Play::for_ever(RATE))?;
    let timed_out = "no answer within 1s";
    wait_for("a time-out of each", || Ok((daemon.log().find_all(timed_out).len() == servers.len()).then_some(())))?;
    servers.iter().for_each(ScriptedServer::release);
    for (way, server) in ways.iter().zip(&servers) {
        server.wait_for_requests(11)?;
        daemon.wait_for_sink(way.name, "the end of trouble", |sink| sink.trouble().is_empty())?;
    }
    for said in [
        "connection broke in the middle of the answer",
        "500 Internal Server Error: broken",
        "INTERNAL: broken",
        "takes only part of a batch at once",
        "the server takes the records and says: soon too old",
    ] {
        wait_for(said, || Ok(daemon.log().find(said)))?;
    }
    daemon.expect_no_secret(&[TOKEN, API_KEY])?;
    daemon.stop()?;

    let letters = std::fs::read_to_string(daemon.path("dead-letters.jsonl"))?;
    for (way, server) in ways.iter().zip(&servers) {
        let of_it: Vec<_> =
            letters.lines().filter(|line| line.contains(&format!("\"sink\":\"{}\"", way.name))).collect();
        let saying = |words: &str| of_it.iter().filter(|line| line.contains(words)).count();
        let (alone, together) = (
            saying("the server rejected it: too old for (secret)"),
            saying("does not say which: too old for (secret)"),
        );
        ensure!(alone == 1 && together > 1, "{alone} and {together} dead letters of {}", way.name);
        ensure!(alone + together == of_it.len(), "a dead letter of {} says something else", way.name);
        let headers = &server.received()[0].headers;
        let bearer = format!("Bearer {TOKEN}");
        for (name, value) in [("authorization", bearer.as_str()), ("x-api-key", API_KEY), ("x-tenant", "kernel")] {
            ensure!(headers.iter().any(|(n, v)| (n.as_str(), v.as_str()) == (name, value)), "no {name} in {headers:?}");
        }
        ensure!(headers.iter().any(|(n, v)| n.ends_with("-encoding") && v == "zstd"), "no zstd in {headers:?}");
    }
    let said = daemon.ask("replay", &[])?;
    ensure!(
        said.lines().count() == 3 && said.lines().all(|line| line.ends_with(" 0 are dead letters again")),
        "{said}"
    );
    daemon.start(Play::QUIETLY)?; // to be stopped
    expect_all(&mut daemon, &ways, &mut servers.each_ref().map(Arrived::at_server))
}
