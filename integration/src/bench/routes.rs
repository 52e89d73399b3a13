//! What it costs to route a record: by a hundred routes, as a multiple of what one costs.
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{command, ebpf_tools::EbpfTools, testbed::Testbed, workspace::cargo};

/// The most that a hundred routes may cost, where their first condition is on the event's name.
const TARGET: f64 = 1.2;

/// How to print it.
#[derive(Args, Debug)]
pub(crate) struct RoutesArguments {
    /// A JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Nanoseconds of CPU time for one record, all measured in one run (daemon/examples/routing_cost).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct RoutingCost {
    /// By one route.
    pub(crate) one: f64,
    /// By a hundred, of which one is for the record's event.
    pub(crate) hundred: f64,
    /// By a hundred that are all for the record's event.
    pub(crate) hundred_of_one_event: f64,
}

impl RoutingCost {
    /// Measures it.
    ///
    /// # Errors
    /// When it does not build or run.
    pub(crate) fn measure(testbed: &Testbed) -> Result<Self> {
        let tools = EbpfTools::prepare(testbed.cache())?;
        let mut run = cargo("run");
        run.args(["--quiet", "--release", "--package", "kmodtrail", "--example", "routing_cost"])
            .envs(tools.environment());
        let text = command::text(&mut run)?;
        serde_json::from_str(&text).with_context(|| format!("routing_cost printed {text:?}"))
    }

    /// How many times the cost of one route a hundred cost.
    pub(crate) fn ratio(self) -> f64 {
        self.hundred / self.one
    }
}

/// Measures and prints it.
///
/// # Errors
/// When it can't be measured, or misses its target.
pub(super) fn run(arguments: &RoutesArguments, testbed: &Testbed) -> Result<()> {
    let cost = RoutingCost::measure(testbed)?;
    let (ratio, ok) = (cost.ratio(), cost.ratio() <= TARGET);
    if arguments.json {
        let figures = serde_json::json!({ "nanoseconds": cost, "hundred_to_one": ratio, "target": TARGET, "ok": ok });
        println!("{figures}");
    } else {
        println!("one route                    {:>6.0} ns for a record", cost.one);
        println!("a hundred, one for its event {:>6.0} ns: {ratio:.2} times as much (at most {TARGET})", cost.hundred);
        println!("a hundred, all for its event {:>6.0} ns", cost.hundred_of_one_event);
    }
    ensure!(ok, "a hundred routes cost {ratio:.2} times what one costs; at most {TARGET} is the target");
    Ok(())
}
