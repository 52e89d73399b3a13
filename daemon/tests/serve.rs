//! The daemon's loop from its start to its end. It uses real signals, which reach the whole process: this is the only test in it.

#[path = "scripted/kernel.rs"]
mod kernel;

use std::fs;

use kernel::{Daemon, Ring, bodies, configuration, lost, request, signal, until};
use kmodtrail::status;
use nix::sys::signal::Signal;

#[test]
fn from_start_to_stop_everything_arrives_in_order() {
    let mut daemon = Daemon::start();
    let path = daemon.path("events.jsonl");
    let mut expected = vec![
        format!("kmodtrail {} watches the kernel 6.1.0-test", env!("CARGO_PKG_VERSION")),
        "0 hooks are attached, 0 have a fallback, 0 are missing".to_owned(),
    ];
    until("the start is told", || bodies(&path) == expected);

    for (alias, ring) in [("first", Ring::Critical), ("second", Ring::Bulk), ("third", Ring::Critical)] {
        daemon.send(request(alias), ring);
        expected.push(format!("an unknown process made the kernel ask for \"{alias}\""));
        until("a request arrives", || bodies(&path) == expected);
    }
    until("all of it is committed", || daemon.commits() >= 4 && daemon.reads() >= 3);

    // nobody wakes the loop up: what the sensor has by itself comes with the tick
    daemon.send(lost(), Ring::Neither);
    expected.push("1 kernel records \"read\" did not fit into the ring buffer and are lost".to_owned());
    until("a loss arrives", || bodies(&path) == expected);

    let rotated = daemon.path("rotated");
    fs::rename(&path, &rotated).expect("the test may rename");
    signal(Signal::SIGHUP);
    until("the file is opened again", || path.exists());
    signal(Signal::SIGUSR1);
    assert_eq!(bodies(&rotated), expected);

    // the ledger, as `kmodtrail status` gets it
    let answer = status::ask(&daemon.path("status.sock")).expect("it is answered");
    let status: serde_json::Value = serde_json::from_str(&answer).expect("it is JSON");
    let ledger = &status["sinks"][0]["ledger"];
    assert_eq!((&status["lost"], &ledger["seen"]), (&3.into(), &6.into()), "{answer}");
    assert_eq!(ledger["delivered"].as_u64().zip(ledger["pending"].as_u64()).map(|(d, p)| d + p), Some(6), "{answer}");

    // a wrong configuration changes nothing, a right one everything
    let file = daemon.path("kmodtrail.toml");
    fs::write(&file, "[sinks]\nwrong = 1\n").expect("the test may write");
    signal(Signal::SIGHUP);
    daemon.send(request("fourth"), Ring::Critical);
    until("the old sink goes on", || bodies(&path).len() == 1);
    let folder = file.parent().expect("it is in one");
    let more =
        "[sinks.more]\ntype = \"file\"\npath = \"DIR/more.jsonl\"\n[[routes]]\nname = \"more\"\nto = [\"more\"]\n";
    fs::write(&file, configuration(folder, more)).expect("the test may write");
    signal(Signal::SIGHUP);
    let more = daemon.path("more.jsonl");
    until("the new sink is there", || more.exists());
    daemon.send(request("fifth"), Ring::Critical);
    until("both sinks have it", || bodies(&path).len() == 2 && bodies(&more).len() == 1);

    // still in the ring when the end comes
    daemon.send(request("last"), Ring::Neither);
    let (_folder, result) = daemon.end();
    result.expect("it ends well");
    let last = ["an unknown process made the kernel ask for \"last\"", "kmodtrail stopped watching: SIGTERM"];
    assert_eq!(bodies(&path)[2..], last);
    assert_eq!(bodies(&more)[1..], last);
    let text = fs::read_to_string(&path).expect("it is there");
    for (name, value) in [("kmodtrail.stopped.events", 9), ("kmodtrail.stopped.lost", 3)] {
        let attribute = format!(r#"{{"key":"{name}","value":{{"intValue":"{value}"}}}}"#);
        assert!(text.contains(&attribute), "{attribute} is not in {text}");
    }
}
