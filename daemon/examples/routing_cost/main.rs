//! What it costs to route a record: by one route, and by a hundred. `cargo xtask bench routes` runs it and holds it to its target.
//!
//! Prints a JSON object: nanoseconds of this thread's CPU time for one record, the medians of rounds in which all subjects take turns.
#![expect(clippy::print_stdout, reason = "that is its output")]

use std::{error::Error, fs, hint::black_box, time::Duration};

use kmodtrail::{
    config,
    event::What,
    record::{self, Record},
    route::{Decision, Router},
};
use nix::time::{ClockId, clock_gettime};

/// A load, as the file sink writes it.
const RECORD: &[u8] = include_bytes!("load.jsonl");
const ROUNDS: usize = 51;
const RECORDS_PER_ROUND: u32 = 2_000;
/// Routes that begin with a condition on the event's name and do not take the record.
fn ninety_nine(events: &[&str]) -> String {
    let route = |(name, event): (usize, &&str)| {
        format!(
            "[[routes]]\nname = \"{name}\"\nto = [\"a\"]\nwhen = {{ event = \"{event}\", signature = \"bad\", module = \"{name}\" }}\n"
        )
    };
    events.iter().cycle().take(99).enumerate().map(route).collect()
}

/// What is measured: a name, and 0 or 99 routes before the one that takes the record.
fn subjects() -> [(&'static str, String); 3] {
    const LOAD: &str = "linux.kernel_module.load";
    const ONE: &str =
        "[[routes]]\nname = \"one\"\nto = [\"a\"]\nwhen = { event = \"load\", signature_not = \"valid\" }\n";
    let others: Vec<_> = What::NAMES.into_iter().filter(|name| *name != LOAD).collect();
    [
        ("one", ONE.to_owned()),
        ("hundred", ninety_nine(&others) + ONE),
        ("hundred_of_one_event", ninety_nine(&[LOAD]) + ONE),
    ]
}

fn router(routes: &str) -> Result<Router, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kmodtrail.toml");
    let sink = format!("[sinks.a]\ntype = \"file\"\npath = \"{}\"\n", folder.path().join("a").display());
    fs::write(&file, sink + routes)?;
    let (config, _) = config::load(&file)?;
    Ok(Router::new(&config, "a")?)
}

fn cpu_time() -> Result<Duration, nix::Error> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let read = record::from_otlp_json(RECORD)?.remove(0);
    let record = Record::parse(&read.record)?;
    let mut subjects = subjects().map(|(name, routes)| router(&routes).map(|router| (name, router, Vec::new())));
    let mut out = Vec::new();
    for round in 0..=ROUNDS {
        for subject in &mut subjects {
            let Ok((_, router, times)) = subject else { continue };
            let begin = cpu_time()?;
            for _ in 0..RECORDS_PER_ROUND {
                let decision = router.route(black_box(&read.resource), black_box(&record), &mut out);
                assert!(matches!(black_box(decision), Decision::Deliver { changed: false, .. }), "one route takes it");
            }
            let time = (cpu_time()? - begin) / RECORDS_PER_ROUND;
            // the first round warms up
            if round > 0 {
                times.push(time);
            }
        }
    }
    let mut figures = serde_json::Map::new();
    for subject in subjects {
        let (name, _, mut times) = subject?;
        times.sort_unstable();
        figures.insert(name.to_owned(), u64::try_from(times[times.len() / 2].as_nanos())?.into());
    }
    println!("{}", serde_json::Value::from(figures));
    Ok(())
}
