//! The daemon's loop from its start to its end. It uses real signals, which reach the whole process: this is the only test in it.

#[path = "scripted/kernel.rs"]
mod kernel;

use std::fs;

use kernel::{Daemon, Ring, bodies, lost, request, signal, until};
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

    // still in the ring when the end comes
    daemon.send(request("last"), Ring::Neither);
    let (_folder, result) = daemon.end();
    result.expect("it ends well");
    let last = ["an unknown process made the kernel ask for \"last\"", "kmodtrail stopped watching: SIGTERM"];
    assert_eq!(bodies(&path), last);
    let text = fs::read_to_string(&path).expect("it is there");
    for (name, value) in [("kmodtrail.stopped.events", 7), ("kmodtrail.stopped.lost", 3)] {
        let attribute = format!(r#"{{"key":"{name}","value":{{"intValue":"{value}"}}}}"#);
        assert!(text.contains(&attribute), "{attribute} is not in {text}");
    }
}
