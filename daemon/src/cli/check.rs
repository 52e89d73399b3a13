//! `kmodtrail check`: is the configuration right, and do its routes do what its tests expect?

use std::{path::Path, process::ExitCode};

use super::{Check, EXIT_CONFIG, complain, route, say};
use crate::{
    config::{self, Config},
    route::trial::{self, Outcome},
};

pub(super) fn main(arguments: &Check) -> ExitCode {
    let file = &arguments.place.config;
    let result = config::load(file);
    let problems = match &result {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    let outcomes = match &result {
        Ok((config, _)) if arguments.tests => Some(trial::run(config)),
        _ => None,
    };
    let failed = outcomes.iter().flatten().filter(|outcome| !outcome.failures.is_empty()).count();
    let ok = result.is_ok() && failed == 0;
    let said = if arguments.json {
        let mut json = serde_json::json!({ "ok": ok, "file": file, "problems": problems.0 });
        if let Some(outcomes) = &outcomes {
            json["tests"] = serde_json::json!(outcomes);
        }
        say(&json.to_string())
    } else {
        complain(problems);
        for outcome in outcomes.iter().flatten().filter(|outcome| !outcome.failures.is_empty()) {
            eprint!("{}", shown(outcome));
        }
        match (&result, &outcomes) {
            (Ok((config, _)), None) => say(&all_right(file, config)),
            (Ok((config, _)), Some(all)) if ok => {
                say(&format!("{}, tests passed: {}", all_right(file, config), all.len()))
            }
            (Ok(_), Some(all)) => say(&format!("{}: not OK; tests failed: {failed} of {}", file.display(), all.len())),
            (Err(problems), _) => say(&format!("{}: not OK; problems: {}", file.display(), problems.0.len())),
        }
    };
    match (ok, said) {
        (false, _) => EXIT_CONFIG.into(),
        (true, Ok(())) => ExitCode::SUCCESS,
        (true, Err(_)) => ExitCode::FAILURE,
    }
}

fn all_right(file: &Path, config: &Config) -> String {
    format!("{}: OK; sinks: {}, routes: {}", file.display(), config.sinks.len(), config.routes.len())
}

/// What is wrong, and why.
fn shown(outcome: &Outcome) -> String {
    let mut text = String::new();
    for failure in &outcome.failures {
        text += &format!("test {:?}: {}\n", outcome.test, failure.what);
        if let Some(explanation) = &failure.explanation {
            text += &route::shown(explanation);
        }
    }
    text
}
