//! What arrived on a far side: which records, whole or not, and how often; and that the daemon's ledger says the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    records::{Record, Records},
    services::{
        collector::Collector,
        daemon::{Daemon, Play, Sink},
        otlp::server::ScriptedServer,
        wait_for,
    },
};

/// What the status says of each sink.
pub(super) type Ledgers = BTreeMap<String, Sink>;

/// The records of a far side, read as they come.
pub(super) struct Arrived<'a> {
    places: Vec<Place<'a>>,
    /// What each record says, by its id.
    records: BTreeMap<String, u64>,
    again: usize,
}

/// Where they come, and how many bytes of a file, or records of a server, have been read.
enum Place<'a> {
    /// Requests of OTLP/JSON, a line each.
    Lines(PathBuf, usize),
    Server(&'a ScriptedServer, usize),
}

impl<'a> Arrived<'a> {
    /// In the file of a file sink, in the daemon's folder.
    pub(super) fn in_file(daemon: &Daemon, name: &str) -> Self {
        Self::new(vec![Place::Lines(daemon.path(name), 0)])
    }

    /// In the files that these pipelines of a collector end in.
    pub(super) fn at_collector(collector: &Collector, pipelines: &[usize]) -> Self {
        Self::new(pipelines.iter().map(|pipeline| Place::Lines(collector.file(*pipeline), 0)).collect())
    }

    /// What a scripted server has accepted.
    pub(super) fn at_server(server: &'a ScriptedServer) -> Self {
        Self::new(vec![Place::Server(server, 0)])
    }

    fn new(places: Vec<Place<'a>>) -> Self {
        Self { places, records: BTreeMap::new(), again: 0 }
    }

    /// Reads what came since the last time.
    ///
    /// # Errors
    /// When it can't be read, what was there is gone, or two records with one id are not the same.
    pub(super) fn look(&mut self) -> Result<&Self> {
        let mut come = Vec::new();
        for place in &mut self.places {
            match place {
                Place::Lines(path, read) => {
                    let text = appended(path, *read).with_context(|| format!("reading {}", path.display()))?;
                    *read += text.len();
                    come.push(Records::parse(&text)?);
                }
                Place::Server(server, read) => {
                    let records = server.accepted_since(*read);
                    *read += records.len();
                    come.push(Records::parse(&json!({"resourceLogs": records}).to_string())?);
                }
            }
        }
        come.iter().flat_map(Records::iter).try_for_each(|record| self.add(record))?;
        Ok(self)
    }

    fn add(&mut self, record: &Record) -> Result<()> {
        let uid = record.string("log.record.uid")?.to_owned();
        let Record { event, attributes, body, severity, severity_number, time, observed, .. } = record;
        let Record { trace_id, span_id, resource, scope, .. } = record;
        let mut hasher = DefaultHasher::new();
        (event, body, severity, severity_number, time, observed, trace_id, span_id, scope).hash(&mut hasher);
        attributes.iter().chain(resource).for_each(|(name, value)| (name, value.to_string()).hash(&mut hasher));
        let content = hasher.finish();
        if let Some(before) = self.records.insert(uid, content) {
            ensure!(before == content, "two records have one id, and one of them is\n{record}");
            self.again += 1;
        }
        Ok(())
    }

    /// How many different records there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// How many came once more.
    pub(super) fn again(&self) -> usize {
        self.again
    }

    /// Their ids.
    pub(super) fn ids(&self) -> BTreeSet<&str> {
        self.records.keys().map(String::as_str).collect()
    }

    /// Fails unless the same records are there, and say the same.
    ///
    /// # Errors
    /// With the ids of some that are missing on either side.
    pub(super) fn expect_same(&self, other: &Self) -> Result<()> {
        let missing = |here: &Self, there: &Self| {
            let missing = there.records.keys().filter(|uid| !here.records.contains_key(*uid));
            missing.cloned().collect::<Vec<_>>()
        };
        let (here, there) = (missing(self, other), missing(other, self));
        ensure!(
            here.is_empty() && there.is_empty(),
            "of {} and {} records {} and {} are missing: {:?} and {:?}",
            self.len(),
            other.len(),
            here.len(),
            there.len(),
            here.first(),
            there.first()
        );
        let changed = self.records.iter().find(|(uid, content)| other.records[*uid] != **content);
        ensure!(changed.is_none(), "the record {changed:?} does not say the same on both sides");
        Ok(())
    }
}

/// Starts the daemon that has been stopped or killed, with next to nothing new for it, lets it deliver what waits, holds its ledger
/// against what arrived, and stops it: every record that it saw is on the far side of each of these sinks, or dropped. Those that were
/// refused have been sent again by then.
///
/// # Errors
/// When it never is so, with the ledger.
pub(super) fn settle(daemon: &mut Daemon, sinks: &mut [(&str, &mut Arrived<'_>)]) -> Result<Ledgers> {
    daemon.start(Play::QUIETLY)?;
    let ledgers = settle_running(daemon, sinks)?;
    // what it says at its end may still be on its way, and is in the next start's ledger
    daemon.stop()?;
    Ok(ledgers)
}

/// As [`settle`], of a daemon that runs with next to nothing new, and goes on.
///
/// # Errors
/// As there.
pub(super) fn settle_running(daemon: &Daemon, sinks: &mut [(&str, &mut Arrived<'_>)]) -> Result<Ledgers> {
    let mut state = String::new();
    let settled = wait_for("a ledger that says what arrived", || {
        state.clear();
        let before = daemon.sinks()?;
        sinks.iter_mut().try_for_each(|(_, arrived)| arrived.look().map(drop))?;
        let after = daemon.sinks()?;
        let mut settled = true;
        for (name, arrived) in &*sinks {
            let ledger = &after[*name];
            ensure!(ledger.is_balanced(), "the ledger is not balanced: {ledger:?}");
            state += &format!("{} arrived, and {name} says {ledger:?}\n", arrived.len());
            settled &= before[*name].count("seen") == ledger.count("seen")
                && ledger.count("pending") == 0
                && ledger.count("delivered") + ledger.refused() == arrived.len() as u64;
        }
        Ok(settled.then_some(after))
    });
    settled.with_context(|| state.clone())
}

/// Records that are on their way or have arrived must be known for ever: what a ledger says of them after another start.
pub(super) fn expect_no_less(before: &Sink, after: &Sink) -> Result<()> {
    ensure!(after.is_balanced(), "the ledger is not balanced: {after:?}");
    ensure!(after.count("seen") >= before.count("seen"), "records are forgotten: {before:?}, then {after:?}");
    ensure!(after.dropped() == before.dropped(), "records were dropped: {before:?}, then {after:?}");
    Ok(())
}

/// The whole lines of a file behind its first bytes.
fn appended(path: &Path, first: usize) -> Result<String> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && first == 0 => return Ok(String::new()),
        file => file?,
    };
    ensure!(file.metadata()?.len() >= first as u64, "it has less than the {first} bytes that were there before");
    file.seek(SeekFrom::Start(first as u64))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    // a line may be on its way
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    Ok(String::from_utf8(bytes)?)
}
