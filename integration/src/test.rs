//! `cargo xtask test`: everything that can be checked, cheapest first.

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Result, ensure};
use clap::Args;
use libtest_mimic::{Arguments, Failed, Trial as LibtestTrial};

use crate::{
    checks, command,
    kernels::{self, Freshness, Kernel, Line},
    prepare,
    progress::{heading, say},
    scenario::{self, Evidence, Scenario, Trial},
    testbed::Testbed,
};

/// Guests at once: a third helps no more on two processors, and each may have two.
const TEST_THREADS: usize = 2;

/// What to test.
#[derive(Args, Debug)]
pub(crate) struct TestArguments {
    /// Only this kernel line (5.10, 6.1, 6.12, 7, ...); may be given several times
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<String>,
    /// Only the scenarios whose `name::kernel` has this text, with what is in the cache: the inner loop
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The full and real-time kernels, too
    #[arg(long)]
    all_kernels: bool,
    /// The slow scenarios, too
    #[arg(long)]
    full: bool,
    /// Print the scenarios and do nothing
    #[arg(long)]
    list: bool,
}

impl TestArguments {
    fn lines(&self) -> Result<Vec<&'static Line>> {
        if self.kernels.is_empty() {
            let number = if self.all_kernels { usize::MAX } else { kernels::DEFAULT_LINES };
            return Ok(kernels::lines().iter().take(number).collect());
        }
        self.kernels.iter().map(|name| kernels::line(name)).collect()
    }

    /// The scenarios and the lines to try each on.
    fn chosen(&self) -> Result<Vec<(&'static Scenario, &'static Line)>> {
        let lines = self.lines()?;
        let pairs = scenario::all().flat_map(|scenario| lines.iter().map(move |line| (scenario, *line)));
        // `boots::6.1` is no part of a name of 6.12: a text that ends like a name must end it.
        let whole = |text: &str| lines.iter().any(|line| text.ends_with(&format!("::{}", line.name)));
        let named = |name: &str, text: &str| if whole(text) { name.ends_with(text) } else { name.contains(text) };
        let wanted = |scenario: &Scenario, line: &Line| {
            let named = self.only.as_ref().is_none_or(|text| named(&trial_name(scenario, line), text));
            // Whoever names a slow scenario wants it.
            let slow = scenario.full && !self.full && self.only.is_none();
            named && !slow && scenario.kernels.include(line)
        };
        Ok(pairs.filter(|(scenario, line)| wanted(scenario, line)).collect())
    }
}

fn trial_name(scenario: &Scenario, line: &Line) -> String {
    format!("{}::{}", scenario.name, line.name)
}

/// Runs the tests; the exit code tells whether all passed.
///
/// # Errors
/// When something can't be prepared or a static check fails.
#[expect(clippy::print_stdout, reason = "a command line tool prints")]
pub(crate) fn run(arguments: &TestArguments) -> Result<ExitCode> {
    let chosen = arguments.chosen()?;
    if arguments.list {
        chosen.iter().for_each(|(scenario, line)| println!("{}", trial_name(scenario, line)));
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!chosen.is_empty(), "no scenario is called so; `cargo xtask test --list --full --all-kernels` lists them");
    let freshness = if arguments.only.is_some() { Freshness::Cached } else { Freshness::Newest };
    let testbed = Testbed::open(freshness)?;
    if arguments.only.is_none() {
        heading("prerequisites");
        prepare::tools(&testbed)?;
        checks::run(&testbed)?;
        heading("release build of the daemon");
        testbed.daemon()?;
    }
    heading("guests");
    let mut lines: Vec<&'static Line> = Vec::new();
    for (_, line) in &chosen {
        if !lines.iter().any(|known| known.name == line.name) {
            lines.push(line);
        }
    }
    let systemd = chosen.iter().any(|(scenario, _)| scenario.guest == scenario::GuestKind::Systemd);
    let kernels = prepare::guests(&testbed, &lines, systemd)?;
    heading(format_args!("{} scenarios, {TEST_THREADS} at a time", chosen.len()));
    let testbed = Arc::new(testbed);
    let trials = chosen.into_iter().filter_map(|(scenario, line)| {
        let kernel = kernels.iter().find(|kernel| kernel.name() == line.name)?.clone();
        let testbed = Arc::clone(&testbed);
        let body = move || attempt(scenario, &testbed, &kernel);
        Some(LibtestTrial::test(trial_name(scenario, line), body))
    });
    let harness = Arguments { test_threads: Some(TEST_THREADS), ..Arguments::default() };
    let conclusion = libtest_mimic::run(&harness, trials.collect());
    say("done");
    Ok(conclusion.exit_code())
}

/// One trial: a failure's text has all that its guests said.
fn attempt(scenario: &Scenario, testbed: &Testbed, kernel: &Kernel) -> Result<(), Failed> {
    let evidence = Evidence::default();
    let trial = Trial::new(testbed, kernel, evidence.clone());
    let failure = match panic::catch_unwind(AssertUnwindSafe(|| (scenario.run)(&trial))) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => command::explained(&error),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
        }
    };
    let again = format!("again: cargo xtask test --only {}::{}", scenario.name, kernel.name());
    Err(Failed::from(format!("{failure}\n{}\n{again}", evidence.report())))
}
