//! `kmodtrail replay`: dead letters are sent again.
//!
//! The file is first moved aside, so that the running daemon begins a new one; what is not delivered goes into that. It is deleted when every
//! letter is somewhere else: whoever stops in the middle calls it again, and some letters are then delivered twice, with the same ids.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{EXIT_CONFIG, complain, say};
use crate::{
    config::{self, Config},
    record::{Read, Record, from_otlp_json},
    sink::{DeadLetter, DeadLetters, Deliver as _, Health, Outgoing, Sink, Verdict},
};

/// Between two tries.
const WAIT: Duration = Duration::from_secs(1);

/// What became of the letters of one sink.
#[derive(Debug, Default)]
struct Outcome {
    delivered: u64,
    kept: u64,
}

/// Exit status 0: all were delivered; 1: some are dead letters again, or something could not be read.
pub(super) fn main(file: &Path, only: Option<&str>, patience: Duration) -> ExitCode {
    let config = match config::load(file) {
        Ok((config, _)) => config,
        Err(problems) => {
            complain(&problems);
            return EXIT_CONFIG.into();
        }
    };
    match replay(&config, only, patience) {
        Ok(outcomes) => {
            let kept: u64 = outcomes.values().map(|o| o.kept).sum();
            let line = |(sink, Outcome { delivered, kept }): (&String, &Outcome)| {
                format!("{sink}: {delivered} delivered, {kept} are dead letters again")
            };
            let lines: Vec<_> = outcomes.iter().map(line).collect();
            let text = if lines.is_empty() { "there are no dead letters".to_owned() } else { lines.join("\n") };
            if say(&text).is_ok() && kept == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn replay(config: &Config, only: Option<&str>, patience: Duration) -> Result<BTreeMap<String, Outcome>, String> {
    let path = &config.dead_letters.path;
    let failed = |path: &Path, error: io::Error| {
        format!("{}: {error}; allowed: who may read and write it, root as a rule", path.display())
    };
    let aside = PathBuf::from([path.as_os_str(), ".replaying".as_ref()].into_iter().collect::<OsString>());
    // one that was interrupted comes first
    if !aside.exists() {
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(e) => return Err(failed(path, e)),
        }
    }
    let text = fs::read_to_string(&aside).map_err(|e| failed(&aside, e))?;
    let dead_letters = DeadLetters::new(path.clone(), config.dead_letters.max_size.0);
    let mut by_sink: BTreeMap<String, Vec<(Read, String)>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let read = |line| {
            let letter: DeadLetter = serde_json::from_str(line).map_err(|e| e.to_string())?;
            let records = from_otlp_json(letter.record.get().as_bytes()).map_err(|e| e.to_string())?;
            Ok::<_, String>((letter.sink, letter.reason, records))
        };
        match read(line) {
            Ok((sink, reason, records)) => {
                by_sink.entry(sink).or_default().extend(records.into_iter().map(|record| (record, reason.clone())));
            }
            // what a crash left of a line: nobody can send it, and it is told
            Err(error) => {
                eprintln!("{}: line {} is no dead letter and is left out: {error}", aside.display(), number + 1);
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("can't wait for sinks: {e}"))?;
    let mut outcomes = BTreeMap::new();
    for (name, letters) in &by_sink {
        let wanted = only.is_none_or(|only| only == name);
        let outcome = runtime.block_on(deliver(config, name, letters, &dead_letters, wanted, patience))?;
        outcomes.insert(name.clone(), outcome);
    }
    fs::remove_file(&aside).map_err(|e| failed(&aside, e))?;
    Ok(outcomes)
}

/// Delivers what can be delivered while `patience` lasts; the rest are dead letters again.
async fn deliver(
    config: &Config,
    name: &str,
    letters: &[(Read, String)],
    dead_letters: &DeadLetters,
    wanted: bool,
    patience: Duration,
) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let mut waiting = Vec::new();
    for (read, reason) in letters {
        let record = Record::parse(&read.record).map_err(|e| e.to_string())?;
        waiting.push((Outgoing { resource: &read.resource, record }, reason.clone()));
    }
    let mut refused = Vec::new();
    if let Some(sink) = config.sinks.iter().find(|sink| sink.name == name && wanted) {
        let mut sink = Sink::open(sink, &Health::new(name)).map_err(|e| e.to_string())?;
        let end = Instant::now() + patience;
        while !waiting.is_empty() && Instant::now() < end {
            let most = sink.limits().records.clamp(1, waiting.len());
            let outgoing: Vec<_> = waiting[..most].iter().map(|(outgoing, _)| *outgoing).collect();
            let Ok(verdicts) = tokio::time::timeout_at(end, sink.deliver(&outgoing)).await else { break };
            let rest = waiting.split_off(most);
            let mut again = false;
            let tried = std::mem::take(&mut waiting);
            for ((outgoing, reason), verdict) in tried.into_iter().zip(verdicts) {
                match verdict {
                    Verdict::Delivered => outcome.delivered += 1,
                    Verdict::Refused(why) => refused.push((outgoing, why.to_string())),
                    Verdict::Retry(_) => {
                        again = true;
                        waiting.push((outgoing, reason));
                    }
                }
            }
            waiting.extend(rest);
            if again {
                sleep(WAIT).await;
            }
        }
        sink.close().await;
    }
    refused.append(&mut waiting);
    outcome.kept = refused.len() as u64;
    if !refused.is_empty() {
        let letters: Vec<_> = refused.iter().map(|(outgoing, why)| (*outgoing, why.as_str())).collect();
        dead_letters.keep(name, &letters).map_err(|e| e.to_string())?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::samples, record};

    #[test]
    fn dead_letters_are_delivered_once_and_those_of_nobody_stay() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let text = "[dead_letters]\npath = \"DIR/dead\"\n[sinks.audit]\ntype = \"file\"\npath = \"DIR/events.jsonl\"\n\
                    [[routes]]\nname = \"all\"\nto = [\"audit\"]\n";
        let file = folder.path().join("kmodtrail.toml");
        fs::write(&file, text.replace("DIR", &folder.path().display().to_string())).expect("the test may write");
        let (config, _) = config::load_with(&file, Some(config::no_environment())).unwrap_or_else(|e| panic!("{e}"));
        let patience = Duration::from_secs(10);
        assert!(replay(&config, None, patience).expect("there are none").is_empty());

        let mut bytes = Vec::new();
        record::Writer::default().write(&samples::load(), &mut bytes);
        let resource = std::sync::Arc::from([]);
        let outgoing = Outgoing { resource: &resource, record: Record::parse(&bytes).expect("we wrote it") };
        let dead = DeadLetters::new(config.dead_letters.path.clone(), 1 << 20);
        dead.keep("audit", &[(outgoing, "too large")]).expect("there is room");
        dead.keep("gone", &[(outgoing, "unknown topic")]).expect("there is room");

        let outcomes = replay(&config, None, patience).expect("it can be read");
        let counts: Vec<_> = outcomes.iter().map(|(sink, o)| (sink.as_str(), o.delivered, o.kept)).collect();
        assert_eq!(counts, [("audit", 1, 0), ("gone", 0, 1)]);
        let delivered = fs::read_to_string(folder.path().join("events.jsonl")).expect("it is there");
        assert!(delivered.lines().count() == 1 && delivered.contains(outgoing.record.uid()), "{delivered}");
        let left = fs::read_to_string(&config.dead_letters.path).expect("it is there");
        assert!(left.lines().count() == 1 && left.contains("unknown topic") && left.contains("\"gone\""), "{left}");
        assert!(!folder.path().join("dead.replaying").exists());
    }
}
