//! The server that does what a collector can't be made to do: that it does it, by each protocol.

use std::{sync::mpsc, thread};

use anyhow::{Context as _, Result, ensure};

use super::{Host, HostScenario};
use crate::services::otlp::{
    client::{Client, Encoding, request, text},
    server::{Answer, Refusal, ScriptedServer},
};

pub(super) const SCENARIOS: &[HostScenario] =
    &[HostScenario { name: "scripted_server_follows_its_script", full: false, run: follows_its_script }];

fn follows_its_script(_: &Host<'_>) -> Result<()> {
    for encoding in [None, Some(Encoding::Protobuf), Some(Encoding::Json)] {
        follows(encoding).with_context(|| format!("by {encoding:?}, none of which is gRPC"))?;
    }
    Ok(())
}

fn follows(encoding: Option<Encoding>) -> Result<()> {
    let server = ScriptedServer::start()?;
    // What it says of acceptance: the number of records that it does not accept.
    let send = |texts: &[&str]| send(&server.endpoint(), texts, encoding);
    server.answer([
        Answer::AcceptBut { rejected: 1, message: "too old" },
        Answer::Refuse(Refusal::invalid("never")),
        Answer::AcceptAndCut,
        Answer::AcceptLate,
    ]);
    let said = send(&["a", "b"])?;
    ensure!(said.contains("too old"), "it says {said}");
    let error = send(&["c"]).expect_err("refused");
    ensure!(format!("{error:#}").contains("never"), "it says {error:#}");
    let error = send(&["d"]).err();
    ensure!(error.is_some(), "the answer was not cut");

    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            let answer = send(&["e"]);
            _ = tell.send(());
            answer
        });
        server.wait_for_requests(4)?;
        ensure!(told.try_recv().is_err(), "it answered before it was told to");
        server.release();
        late.join().expect("no panic").map(drop)
    })?;
    let accepted: Vec<_> = server.accepted().iter().map(|record| text(record).to_owned()).collect();
    ensure!(accepted == ["b", "d", "e"], "it accepted {accepted:?}");
    Ok(())
}

/// What the server says where it accepts; an error with its words where it does not.
fn send(endpoint: &str, texts: &[&str], encoding: Option<Encoding>) -> Result<String> {
    let request = request(texts);
    let Some(encoding) = encoding else {
        let response = Client::default().grpc(endpoint, request)?;
        return Ok(format!("{response:?}"));
    };
    let answer = Client::default().http(endpoint, &request, encoding)?;
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(answer.status == 200, "{}: {said}", answer.status);
    Ok(said)
}
