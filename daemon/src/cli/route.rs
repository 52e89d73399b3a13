//! `kmodtrail route`: where a record goes, and why.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use super::{EXIT_CONFIG, Route, complain, say};
use crate::{
    config,
    encode::terminal::Visible,
    record::{self, OtlpJsonLines, Record},
    route::{Change, Explainer, Explanation, SinkExplained, Why},
};

/// Exit status 0: every record was explained; 1: something in the file is no record.
pub(super) fn main(arguments: &Route) -> ExitCode {
    let config = match config::load(&arguments.place.config) {
        Ok((config, _)) => config,
        Err(problems) => {
            complain(&problems);
            return EXIT_CONFIG.into();
        }
    };
    let reader: Box<dyn BufRead> = if arguments.record == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        match File::open(&arguments.record) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => {
                eprintln!(
                    "{}: {error}; allowed: a file of OTLP/JSON lines that this user may read",
                    arguments.record.display()
                );
                return ExitCode::FAILURE;
            }
        }
    };
    let explainer = Explainer::new(&config);
    let mut status = ExitCode::SUCCESS;
    let mut wrong = |what: &dyn std::fmt::Display| {
        eprintln!("{}: {}", arguments.record.display(), Visible(what));
        status = ExitCode::FAILURE;
    };
    for read in OtlpJsonLines::new(reader) {
        let record::Read { resource, record } = match read {
            Ok(read) => read,
            Err(error) => {
                wrong(&error);
                continue;
            }
        };
        match Record::parse(&record) {
            Ok(record) => {
                let explanation = explainer.explain(&resource, &record);
                let text = if arguments.json { json(&record, &explanation) } else { headed(&record, &explanation) };
                // who closes the pipe has seen enough
                if say(&text).is_err() {
                    return ExitCode::FAILURE;
                }
            }
            Err(malformed) => wrong(&malformed),
        }
    }
    status
}

fn json(record: &Record<'_>, explanation: &Explanation) -> String {
    let record = serde_json::json!({
        "log.record.uid": record.uid(),
        "event": record.event_name,
        "severity": record.severity_text,
        "time_unix_nano": record.time,
        "body": record.body,
    });
    serde_json::json!({ "record": record, "sinks": explanation.sinks, "routes": explanation.routes }).to_string()
}

/// The record's line, and the explanation below it.
fn headed(record: &Record<'_>, explanation: &Explanation) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(record.time);
    let time = humantime::format_rfc3339_millis(time);
    let what = Visible(format_args!("{:<5} {}: {}", record.severity_text, record.event_name, record.body));
    format!("{time} {what}\n{}", shown(explanation))
}

/// A line for each sink, then one for each route, with a newline at the end of each.
pub(super) fn shown(explanation: &Explanation) -> String {
    let mut out = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        write!(out, "{}", Visible(text))
            .and_then(|()| out.write_char('\n'))
            .expect("writing to a String does not fail");
    };
    for sink in &explanation.sinks {
        put(format_args!("  sink {:?}: {}", sink.sink, of_sink(sink)));
    }
    for route in &explanation.routes {
        match &route.why {
            Why::Takes => put(format_args!("  route {:?} takes it to {}", route.route, route.to.join(", "))),
            Why::ComesTooLate(first) => {
                put(format_args!("  route {:?} comes too late: {first:?} is the first that matches", route.route));
            }
            Why::Fails(conditions) => {
                put(format_args!("  route {:?} does not take it:", route.route));
                for failed in conditions {
                    put(format_args!("    {}, but it is {}", failed.condition, failed.found));
                }
            }
        }
    }
    out
}

fn of_sink(sink: &SinkExplained) -> String {
    if sink.routes.is_empty() {
        return "no route leads it there".to_owned();
    }
    let mut text =
        format!("by {}", sink.routes.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" and "));
    if let Some(severity) = sink.severity {
        text += &format!(", as {severity}");
        let was =
            sink.changes.iter().find_map(|change| if let Change::SeverityWas(was) = change { Some(was) } else { None });
        text += &was.map(|was| format!(" (it was {was})")).unwrap_or_default();
    }
    if sink.sampled_out {
        text += ", held back by sample";
    }
    if sink.limited {
        text += ", if rate_limit or dedupe lets it through";
    }
    let mut changes = [("dropped", vec![]), ("hashed", vec![]), ("masked", vec![])];
    for change in &sink.changes {
        match change {
            Change::SeverityWas(_) => {}
            Change::Dropped(name) => changes[0].1.push(name.as_str()),
            Change::Hashed(name) => changes[1].1.push(name),
            Change::Masked(name) => changes[2].1.push(name),
        }
    }
    for (what, names) in changes.iter().filter(|(_, names)| !names.is_empty()) {
        text += &format!("; {what}: {}", names.join(", "));
    }
    text
}
