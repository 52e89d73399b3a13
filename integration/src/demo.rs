//! `cargo xtask demo`: modules come and go, and what kmodtrail says about it.
#![expect(clippy::print_stdout, reason = "it is there to be looked at")]

mod host;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    guest::systemd::Guest,
    kernels::{self, Freshness},
    prerequisites::{self, Stage},
    progress::say,
    records::Records,
    story::{self, MARK, SEEDS},
    testbed::Testbed,
    workspace,
};

/// What to show.
#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// The kernel line of the guest: 5.10, 6.1, 6.12, 7
    #[arg(long, value_name = "LINE", default_value = "6.12")]
    pub(crate) kernel: String,
    /// Leave the guest running, with a root shell on this terminal
    #[arg(long)]
    pub(crate) keep: bool,
    /// Watch this machine instead of a guest; its own module `dummy` is loaded and unloaded
    #[arg(long, conflicts_with_all = ["kernel", "keep"])]
    pub(crate) host: bool,
}

/// Shows it.
///
/// # Errors
/// When the guest can't be run, or not every event of the story has its record.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    prerequisites::install(if arguments.host { Stage::Build } else { Stage::Guests })?;
    let testbed = Testbed::open(Freshness::Newest)?;
    if arguments.host {
        return host::run(&testbed);
    }
    let kernel = testbed.kernel(kernels::line(&arguments.kernel)?)?;
    let daemon = testbed.daemon()?;
    say(format_args!("kmodtrail is {}", daemon.display()));
    say(format_args!("booting Debian with systemd on Linux {}", kernel.release()));
    let mut begun = false;
    let mut guest = story::tell(Guest::new(&testbed, &kernel), true)?.on_line(move |line| {
        begun |= line.starts_with(MARK);
        match line.strip_prefix(MARK) {
            Some(step) => println!("\n\x1b[1m# {step}\x1b[0m"),
            None if begun => println!("{line}"),
            None => {}
        }
    });
    if arguments.keep {
        say("the guest stays: leave its shell with `exit`");
        guest = guest.kept();
    }
    let outcome = guest.run()?;
    outcome.expect_success().with_context(|| outcome.evidence())?;
    let records = outcome.records().with_context(|| outcome.evidence())?;
    let file = keep(kernel.release(), &outcome.text("records.jsonl")?)?;
    match table(&records) {
        Ok(()) => {}
        Err(error) => bail!("{error:#}\n{}", outcome.evidence()),
    }
    println!("\nAll records, one OTLP/JSON log record per line: {}", file.display());
    Ok(())
}

/// Leaves the records where a person finds them.
fn keep(name: &str, records: &str) -> Result<PathBuf> {
    let folder = workspace::target().join("demo");
    let file = folder.join(format!("events-{name}.jsonl"));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(&file, records).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// The events of the documents, each with the record that carries it.
fn table(records: &Records) -> Result<()> {
    println!("\n\x1b[1mThe seven events of the documents, and the record that carries each\x1b[0m\n");
    let mut missing = 0;
    for (number, seed) in (1..).zip(SEEDS) {
        match (seed.record)(records) {
            Ok(record) => {
                println!("{number}. {}", seed.shows);
                println!("   line {:<3} {:<28} {}", record.line, record.event, record.body);
            }
            Err(error) => {
                missing += 1;
                println!("{number}. {}\n   MISSING: {error:#}", seed.shows);
            }
        }
    }
    if missing > 0 {
        bail!("{missing} of {} events have no record", SEEDS.len());
    }
    Ok(())
}
