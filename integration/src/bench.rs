//! `cargo xtask bench`: what kmodtrail costs, in numbers that do not depend on the machine.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

/// What to measure.
#[derive(Subcommand, Debug)]
pub(crate) enum Benchmark {
    /// What the probes cost the processes that they watch, in instructions
    Kernel(KernelArguments),
}

/// How to print it.
#[derive(Args, Debug)]
pub(crate) struct KernelArguments {
    /// One JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measures it.
///
/// # Errors
/// When the guest can't be run.
pub(crate) fn run(benchmark: &Benchmark) -> Result<()> {
    bail!("not built yet: {benchmark:?}")
}
