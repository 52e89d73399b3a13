//! A fast guest in which the daemon watches while a script acts.
//!
//! The daemon may be started several times in one guest, each time with another configuration: a round. What round NAME said
//! is in /out/NAME.jsonl (records), /out/NAME.log (the daemon's own log) and /out/NAME.terminal (`--print`).

use std::{collections::BTreeSet, rc::Rc};

use anyhow::{Context as _, Result, ensure};

use super::Trial;
use crate::{
    guest::{Outcome, fast},
    records::Records,
};

const PRELUDE: &str = include_str!("watched.sh");
/// The round of those that have only one: [`Outcome::records`] reads its records.
const ONLY: &str = "records";
/// Who is called what in the guest.
const USERS: &str =
    "root:x:0:0:root:/:/bin/sh\nalice:x:1000:1000:Alice:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";

const GROUPS: &str = "root:x:0:\nalice:x:1000:\nnogroup:x:65534:\n";

/// See the module.
pub(super) struct Watched<'a> {
    guest: fast::Guest<'a>,
    script: String,
    rounds: Vec<Round>,
}

struct Round {
    name: &'static str,
    begins: bool,
    may_lose: bool,
}

/// A guest in which nothing has happened yet.
///
/// # Errors
/// When the daemon does not build.
pub(super) fn watched<'a>(trial: &Trial<'a>) -> Result<Watched<'a>> {
    let guest = trial.fast().daemon()?.file("/etc/passwd", USERS).file("/etc/group", GROUPS);
    Ok(Watched { guest, script: PRELUDE.to_owned(), rounds: Vec::new() })
}

impl<'a> Watched<'a> {
    /// Changes the guest: more processors, files, a longer command line.
    pub(super) fn guest(mut self, change: impl FnOnce(fast::Guest<'a>) -> fast::Guest<'a>) -> Self {
        self.guest = change(self.guest);
        self
    }

    /// What happens while the daemon watches.
    pub(super) fn script(self, script: &str) -> Self {
        self.round(ONLY, "", script)
    }

    /// What happens while the daemon watches, and prints too.
    pub(super) fn printed_script(self, script: &str) -> Self {
        self.begin(ONLY, "", "--print --color=never", script, false)
    }

    /// What happens while a daemon with these settings of `[sensor]` watches.
    pub(super) fn round(self, name: &'static str, sensor: &str, script: &str) -> Self {
        self.begin(name, sensor, "", script, false)
    }

    /// As [`Self::round`], where more happens than the rings can hold.
    pub(super) fn lossy_round(self, name: &'static str, sensor: &str, script: &str) -> Self {
        self.begin(name, sensor, "", script, true)
    }

    /// A daemon with these settings of `[sensor]`, started by `command`, that must end by itself.
    pub(super) fn refused(mut self, name: &'static str, sensor: &str, command: &str) -> Self {
        self = self.configured(name, sensor, &format!("refuse {name} {command}"));
        self.rounds.push(Round { name, begins: false, may_lose: false });
        self
    }

    /// What happens while no daemon is there.
    pub(super) fn unwatched(mut self, script: &str) -> Self {
        self.script.push('\n');
        self.script.push_str(script);
        self.script.push('\n');
        self
    }

    fn begin(self, name: &'static str, sensor: &str, options: &str, script: &str, may_lose: bool) -> Self {
        let script = format!("watch {name} {options} || exit 90\n{script}\nunwatch\n");
        let mut watched = self.configured(name, sensor, &script);
        watched.rounds.push(Round { name, begins: true, may_lose });
        watched
    }

    fn configured(mut self, name: &str, sensor: &str, script: &str) -> Self {
        let configuration = format!(
            "[spool]\npath = \"/spool/{name}\"\n[status]\nsocket = \"/tmp/status.sock\"\n[enrich]\nwait = \"5s\"\n[sensor]\n{sensor}\n[sinks.out]\ntype = \"file\"\npath = \"/out/{name}.jsonl\"\n\
             [[routes]]\nname = \"everything\"\nto = [\"out\"]\n"
        );
        self.guest = self.guest.file(&format!("/watch/{name}.toml"), configuration);
        self.unwatched(script)
    }

    /// Runs the guest, and checks of each daemon what holds of all of them.
    ///
    /// # Errors
    /// When the guest fails, or a daemon's end or records are not as they always must be.
    pub(super) fn run(self) -> Result<Rc<Outcome>> {
        let outcome = self.guest.script(&self.script).run()?;
        outcome.expect_success()?;
        for round in &self.rounds {
            let Round { name, begins, may_lose } = *round;
            let status = outcome.text(&format!("{name}.status"))?;
            let log = outcome.text(&format!("{name}.log"))?;
            ensure!(!log.contains("panicked"), "round {name}: the daemon panicked:\n{log}");
            if !begins {
                ensure!(status.trim() == "1", "round {name}: the daemon ended with {status}, not 1:\n{log}");
                continue;
            }
            ensure!(status.trim() == "0", "round {name}: the daemon ended with {status}, not 0:\n{log}");
            let records = outcome.records_in(&format!("{name}.jsonl"))?;
            expect_sound(&records, may_lose).with_context(|| format!("round {name}"))?;
        }
        Ok(outcome)
    }
}

/// What holds of all records of one run: each has its own id, the last one says goodbye, and nothing is lost.
fn expect_sound(records: &Records, may_lose: bool) -> Result<()> {
    let mut ids = BTreeSet::new();
    for record in records.iter() {
        ensure!(ids.insert(record.string("log.record.uid")?.to_owned()), "two records have this id:\n{record}");
    }
    let stopped = records.of("kmodtrail.stopped").one()?;
    ensure!(records.iter().last().is_some_and(|last| last.line == stopped.line), "something follows the end");
    if !may_lose {
        records.of("kmodtrail.lost").none()?;
        stopped.expect("kmodtrail.stopped.lost", 0)?;
    }
    Ok(())
}
