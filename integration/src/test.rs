//! `cargo xtask test`: everything that can be checked, cheapest first.

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Result, bail, ensure};
use clap::Args;
use libtest_mimic::{Arguments, Failed, Trial as LibtestTrial};

use crate::{
    checks, command,
    evidence::Evidence,
    guest::systemd::Root,
    kernels::{self, Freshness, Line},
    prepare,
    progress::{heading, say},
    scenario::{self, Host, HostScenario, Scenario, Shared, Trial},
    testbed::Testbed,
};

/// Trials at once: a third helps no more on two processors, and each guest may have two.
const TEST_THREADS: usize = 2;

/// What to test.
#[derive(Args, Debug)]
pub(crate) struct TestArguments {
    /// Only this kernel line (5.10, 6.1, 6.12, 7, ...), and no scenario without a guest; may be given several times
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<String>,
    /// Only the scenarios whose `name::kernel` (`name::host` without a guest) has this text, with what is in the cache: the inner loop
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The full and real-time kernels, too
    #[arg(long)]
    all_kernels: bool,
    /// The slow scenarios and the fuzz targets, too
    #[arg(long)]
    full: bool,
    /// Print the scenarios and do nothing
    #[arg(long)]
    list: bool,
}

impl TestArguments {
    fn lines(&self) -> Result<Vec<&'static Line>> {
        if self.kernels.is_empty() {
            // Whoever names a kernel wants it.
            let named =
                |line: &Line| self.only.as_ref().is_some_and(|text| text.ends_with(&format!("::{}", line.name)));
            let all = self.all_kernels || kernels::lines().iter().any(named);
            let number = if all { usize::MAX } else { kernels::DEFAULT_LINES };
            return Ok(kernels::lines().iter().take(number).collect());
        }
        self.kernels.iter().map(|name| kernels::line(name)).collect()
    }

    /// What to try: the scenarios without a guest, then each other one with each kernel that it applies to.
    fn chosen(&self) -> Result<Vec<Chosen>> {
        let lines = self.lines()?;
        let hosts = scenario::on_the_host().filter(|_| self.kernels.is_empty()).map(Chosen::Host);
        let guests = scenario::in_guests().flat_map(|scenario| {
            let lines = lines.iter().filter(|line| scenario.kernels.include(line));
            lines.map(move |line| Chosen::Guest(scenario, line))
        });
        let all: Vec<_> = hosts.chain(guests).collect();
        // `loads::6.1` is a part of `unloads::6.1`, too, but the name of one.
        let exact = self.only.as_ref().is_some_and(|text| all.iter().any(|chosen| chosen.name() == *text));
        // `boots::6.1` is no part of a name of 6.12: a text that ends like a name must end it.
        let whole = self.only.as_deref().is_some_and(|text| all.iter().any(|chosen| text.ends_with(&chosen.place())));
        let wanted = |chosen: &Chosen| match &self.only {
            // Whoever names a slow scenario wants it.
            Some(text) if exact => chosen.name() == *text,
            Some(text) if whole => chosen.name().ends_with(text),
            Some(text) => chosen.name().contains(text),
            None => self.full || !chosen.is_slow(),
        };
        Ok(all.into_iter().filter(wanted).collect())
    }
}

/// A scenario and where to try it.
#[derive(Clone, Copy)]
enum Chosen {
    Host(&'static HostScenario),
    Guest(&'static Scenario, &'static Line),
}

impl Chosen {
    fn name(self) -> String {
        let name = match self {
            Self::Host(scenario) => scenario.name,
            Self::Guest(scenario, _) => scenario.name,
        };
        format!("{name}{}", self.place())
    }

    fn place(self) -> String {
        match self {
            Self::Host(_) => "::host".to_owned(),
            Self::Guest(_, line) => format!("::{}", line.name),
        }
    }

    const fn is_slow(self) -> bool {
        match self {
            Self::Host(scenario) => scenario.full,
            Self::Guest(scenario, _) => scenario.full,
        }
    }

    /// What its guest with systemd boots from.
    const fn root(self) -> Option<Root> {
        match self {
            Self::Host(_) => None,
            Self::Guest(scenario, _) => scenario.guest.root(),
        }
    }

    /// The line of its guest's kernel.
    const fn line(self) -> Option<&'static Line> {
        match self {
            Self::Host(_) => None,
            Self::Guest(_, line) => Some(line),
        }
    }
}

/// Runs the tests; the exit code tells whether all passed.
///
/// # Errors
/// When something can't be prepared or a static check fails.
#[expect(clippy::print_stdout, reason = "a command line tool prints")]
pub(crate) fn run(arguments: &TestArguments) -> Result<ExitCode> {
    let chosen = arguments.chosen()?;
    if arguments.list {
        chosen.iter().for_each(|chosen| println!("{}", chosen.name()));
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!chosen.is_empty(), "no scenario is called so; `cargo xtask test --list --full --all-kernels` lists them");
    let freshness = if arguments.only.is_some() { Freshness::Cached } else { Freshness::Newest };
    let testbed = Testbed::open(freshness)?;
    if arguments.only.is_none() {
        heading("prerequisites");
        prepare::tools(&testbed)?;
        checks::run(&testbed, arguments.full)?;
        heading("release build of the daemon");
        testbed.daemon()?;
    }
    if chosen.iter().any(|chosen| chosen.line().is_none()) {
        heading("servers");
        prepare::services(&testbed)?;
    }
    let mut lines: Vec<&'static Line> = Vec::new();
    for line in chosen.iter().filter_map(|chosen| chosen.line()) {
        if !lines.iter().any(|known| known.name == line.name) {
            lines.push(line);
        }
    }
    let mut kernels = Vec::new();
    if !lines.is_empty() {
        heading("guests");
        let mut roots: Vec<_> = chosen.iter().filter_map(|chosen| chosen.root()).collect();
        roots.sort_unstable();
        roots.dedup();
        kernels = prepare::guests(&testbed, &lines, &roots)?;
    }
    heading(format_args!("{} scenarios, {TEST_THREADS} at a time", chosen.len()));
    let (testbed, shared) = (Arc::new(testbed), Arc::new(Shared::new()?));
    let trials = chosen.into_iter().map(|chosen| {
        let kernel =
            kernels.iter().find(|kernel| chosen.line().is_some_and(|line| line.name == kernel.name())).cloned();
        let (testbed, shared) = (Arc::clone(&testbed), Arc::clone(&shared));
        let body = move |evidence: &Evidence| match (chosen, &kernel) {
            (Chosen::Host(scenario), _) => (scenario.run)(&Host::new(&testbed, &shared, evidence.clone())),
            (Chosen::Guest(scenario, _), Some(kernel)) => {
                (scenario.run)(&Trial::new(&testbed, &shared, kernel, evidence.clone()))
            }
            (Chosen::Guest(_, line), None) => bail!("no kernel {} was prepared", line.name),
        };
        LibtestTrial::test(chosen.name(), move || attempt(&chosen.name(), body))
    });
    let harness = Arguments { test_threads: Some(TEST_THREADS), ..Arguments::default() };
    let conclusion = libtest_mimic::run(&harness, trials.collect());
    say("done");
    Ok(conclusion.exit_code())
}

/// One trial: a failure's text has all that its guests and servers said.
fn attempt(name: &str, body: impl FnOnce(&Evidence) -> Result<()>) -> Result<(), Failed> {
    let evidence = Evidence::default();
    let failure = match panic::catch_unwind(AssertUnwindSafe(|| body(&evidence))) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => command::explained(&error),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
        }
    };
    Err(Failed::from(format!("{failure}\n{}\nagain: cargo xtask test --only {name}", evidence.report())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &str) -> Vec<String> {
        let arguments = TestArguments {
            kernels: vec![],
            only: Some(only.to_owned()),
            all_kernels: false,
            full: false,
            list: false,
        };
        arguments.chosen().expect("there are scenarios").into_iter().map(Chosen::name).collect()
    }

    #[test]
    fn what_a_report_calls_a_trial_is_that_trial() {
        for name in ["loads::6.1", "loads::7-full", "guest_boots::6.12-rt", "long_flood_of_requests::5.10"] {
            assert_eq!(names(name), [name]);
        }
        assert_eq!(
            names("unloads"),
            ["unloads::5.10", "unloads::6.1", "unloads::6.12", "unloads::7"]
                .into_iter()
                .chain(["unloads_of_used::6.1", "unloads_of_used::7"])
                .collect::<Vec<_>>()
        );
        assert!(names("nothing of this name").is_empty());
    }
}
