//! `kmodtrail status`: how the running daemon is.

use std::{path::Path, process::ExitCode};

use serde_json::Value;

use super::{complain, say};
use crate::{config, status};

/// Exit status 0: everything is delivered or on its way; 1: nobody answers, or a sink does not work.
pub(super) fn main(file: &Path, json: bool) -> ExitCode {
    if let Err(problems) = config::load(file) {
        complain(&problems);
        eprintln!("the configuration is wrong; a daemon that answers goes on with the one that it had");
    }
    let answer = match status::ask(&config::load_what_is_right(file).status.socket) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // a daemon of another version may say more: nothing of it is lost, and what is missing is not shown
    let status: Value = match serde_json::from_str(&answer) {
        Ok(status) => status,
        Err(error) => {
            eprintln!(
                "the daemon's answer can't be read: {error}; allowed: a `kmodtrail status` of the daemon's own version"
            );
            return ExitCode::FAILURE;
        }
    };
    let works = sinks(&status).all(|sink| sink["trouble"].is_null());
    let said = say(if json { answer } else { text(&status) }.trim_end());
    if said.is_ok() && works { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn sinks(status: &Value) -> impl Iterator<Item = &Value> {
    status["sinks"].as_array().into_iter().flatten()
}

fn text(status: &Value) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut text = format!(
        "kmodtrail {}, process {}, since {}\n  kernel  {} records, {} of them lost; {} events\n",
        word(&status["version"]),
        status["pid"],
        word(&status["started"]),
        status["kernel_records"],
        status["lost"],
        status["events"],
    );
    let spool = &status["spool"];
    text += &format!(
        "  spool   {} bytes of {}, {} entries{}\n",
        spool["bytes"],
        spool["max_bytes"],
        spool["entries"],
        spool["error"].as_str().map(|error| format!("; it can't be written: {error}")).unwrap_or_default(),
    );
    for sink in sinks(status) {
        let ledger = &sink["ledger"];
        text += &format!(
            "  sink    {} ({}): {} seen, {} delivered, {} wait, {} routed elsewhere\n",
            word(&sink["name"]),
            word(&sink["type"]),
            ledger["seen"],
            ledger["delivered"],
            ledger["pending"],
            ledger["routed_nowhere"],
        );
        for dropped in ledger["dropped"].as_array().into_iter().flatten() {
            text += &format!(
                "          {} dropped: {} (route {}, event {})\n",
                dropped["count"],
                word(&dropped["reason"]),
                word(&dropped["route"]),
                word(&dropped["event"]),
            );
        }
        if let Some(trouble) = sink["trouble"].as_str() {
            text += &format!("          does not work since {}: {trouble}\n", word(&sink["since"]));
        }
    }
    let letters = &status["dead_letters"];
    if letters["bytes"].as_u64().is_some_and(|bytes| bytes > 0) {
        text += &format!(
            "  dead letters: {} bytes in {}; `kmodtrail replay` sends them again\n",
            letters["bytes"],
            word(&letters["path"]),
        );
    }
    text
}
