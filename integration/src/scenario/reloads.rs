//! SIGHUP under load: sinks come and go and routes change, and nothing is lost or sent twice.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::{
    Host, HostScenario,
    arrived::{Arrived, settle},
};
use crate::services::{
    daemon::{Daemon, Play},
    otlp::server::ScriptedServer,
    wait_for,
};

pub(super) const SCENARIOS: &[HostScenario] = &[
    HostScenario { name: "reload_changes_sinks_and_routes", full: false, run: changes_sinks_and_routes },
    HostScenario { name: "reload_of_a_wrong_file", full: false, run: of_a_wrong_file },
];

/// Kernel records per second.
const RATE: u64 = 1000;
/// How often a sink comes and another one goes.
const ROUNDS: usize = 5;
const READ_AGAIN: &str = "the configuration has been read again";

/// The sinks that are there, each to a server of its own, and a file; `requests` says whether requests go to the servers, too.
fn configuration(servers: &[(&str, &ScriptedServer)], requests: bool) -> String {
    let mut text = "[sinks.out]\ntype = \"file\"\npath = \"FOLDER/events.jsonl\"\n".to_owned();
    for (name, server) in servers {
        text += &format!("[sinks.{name}]\ntype = \"otlp\"\nendpoint = \"{}\"\n", server.endpoint());
    }
    let names: Vec<_> = servers.iter().map(|(name, _)| name).collect();
    let when = if requests { "" } else { "when = { event_not = [\"request\"] }\n" };
    text + &format!(
        "[[routes]]\nname = \"file\"\nto = [\"out\"]\n[[routes]]\nname = \"servers\"\n{when}to = {names:?}\n"
    )
}

/// Reads it again, and waits until that is done.
fn reload(daemon: &mut Daemon, configuration: &str) -> Result<()> {
    let before = daemon.log().find_all(READ_AGAIN).len();
    daemon.configure(configuration)?;
    daemon.signal(Signal::SIGHUP)?;
    wait_for("another configuration", || Ok((daemon.log().find_all(READ_AGAIN).len() > before).then_some(())))
}

/// One that has delivered after what happened last.
fn works(daemon: &Daemon, name: &str) -> Result<()> {
    let before = daemon.sink(name)?.count("delivered");
    daemon.wait_for_sink(name, "records after a reload", |sink| sink.count("delivered") > before + 50).map(drop)
}

/// One sink stays and has one connection all the time, whatever comes and goes beside it; what a route leads past it is counted.
fn changes_sinks_and_routes(host: &Host<'_>) -> Result<()> {
    let [stays, goes, comes] = [ScriptedServer::start()?, ScriptedServer::start()?, ScriptedServer::start()?];
    let both = |other: (&'static str, &ScriptedServer), requests| configuration(&[("stays", &stays), other], requests);
    let mut daemon = host.daemon(&both(("goes", &goes), true))?;
    daemon.start(Play::for_ever(RATE))?;
    works(&daemon, "goes")?;
    for round in 0..ROUNDS {
        let requests = round % 2 == 1;
        reload(&mut daemon, &both(("comes", &comes), requests))?;
        works(&daemon, "comes")?;
        works(&daemon, "stays")?;
        ensure!(daemon.sink("goes").is_err(), "the status knows a sink that is gone");
        if round + 1 < ROUNDS {
            reload(&mut daemon, &both(("goes", &goes), requests))?;
            works(&daemon, "goes")?;
        }
    }
    ensure!(stays.connections() == 1, "it was connected {} times", stays.connections());
    let (mut out, mut far) = (Arrived::in_file(&daemon, "events.jsonl"), Arrived::at_server(&stays));
    daemon.stop()?;
    settle(&mut daemon, &mut [("out", &mut out), ("stays", &mut far)])?;
    // the others, too, are looked at after the daemon's end
    out.look()?;
    far.look()?;
    let (mut came, mut went) = (Arrived::at_server(&comes), Arrived::at_server(&goes));
    for (name, arrived) in [("out", &out), ("stays", &far), ("comes", came.look()?), ("goes", went.look()?)] {
        ensure!(arrived.ids().is_subset(&out.ids()), "{name} has what the file has not");
        // Who is taken away in the middle of an answer does not know it; and he begins at another time anew.
        ensure!(
            name == "goes" || name == "comes" || arrived.again() == 0,
            "{name} got {} records twice",
            arrived.again()
        );
    }
    let only_requests = out.ids().difference(&far.ids()).all(|uid| uid.ends_with(":request"));
    ensure!(only_requests && far.len() < out.len(), "other records than requests are not where the route leads");
    Ok(())
}

/// The old one stays in force, all of it, and the log says which key of which file is wrong, and what is allowed.
fn of_a_wrong_file(host: &Host<'_>) -> Result<()> {
    let [server, other] = [ScriptedServer::start()?, ScriptedServer::start()?];
    let right = configuration(&[("server", &server)], true);
    let mut daemon = host.daemon(&right)?;
    daemon.start(Play::for_ever(RATE))?;
    works(&daemon, "server")?;
    let added = configuration(&[("server", &server), ("other", &other)], true);
    let wrong = [
        (added.replace("type = \"otlp\"", "type = \"otlp\"\ntimeout = \"soon\""), "timeout"),
        (added.replace("type = \"otlp\"", "type = \"otlp\"\nbearer_token = { credential = \"lost\" }"), "lost"),
        (format!("{added}[[routes]]\nname = \"more\"\nto = [\"nobody\"]\n"), "nobody"),
        (added.replace("[sinks.out]", "[sinks.out"), "kmodtrail.toml"),
    ];
    for (number, (text, said)) in wrong.iter().enumerate() {
        daemon.configure(text)?;
        daemon.signal(Signal::SIGHUP)?;
        let stays = "the daemon goes on with the one it had";
        wait_for("its words", || Ok((daemon.log().find_all(stays).len() == number + 1).then_some(())))?;
        ensure!(
            daemon.log().find_all("configuration: ").iter().any(|line| line.contains(said)),
            "it does not say {said}"
        );
        if *said == "kmodtrail.toml" {
            daemon.configure(&right)?; // of what is no TOML `kmodtrail status` can't learn where to ask
        }
        works(&daemon, "server")?;
        ensure!(daemon.sink("other").is_err() && other.connections() == 0, "a part of it is in force");
    }
    ensure!(server.connections() == 1, "it was connected {} times", server.connections());
    daemon.stop()?;
    let (mut out, mut far) = (Arrived::in_file(&daemon, "events.jsonl"), Arrived::at_server(&server));
    settle(&mut daemon, &mut [("out", &mut out), ("server", &mut far)])?;
    ensure!(far.again() == 0, "{} records came twice", far.again());
    out.expect_same(&far)
}
