//! `cargo xtask`: the one command that builds, shows, tests and measures kmodtrail, and fetches what that takes.

mod apt;
mod bench;
mod build;
mod cache;
mod checks;
mod command;
mod demo;
mod ebpf_tools;
mod fixtures;
#[allow(dead_code, reason = "scenarios choose what they need of it")]
mod guest;
mod kernels;
mod prepare;
mod prerequisites;
mod progress;
#[allow(dead_code, reason = "scenarios choose what they need of it")]
mod records;
#[allow(dead_code, reason = "scenarios choose what they need of it")]
mod scenario;
mod story;
mod test;
mod testbed;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Builds, shows, tests and measures kmodtrail, and fetches what that takes.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Xtask {
    /// Build the daemon, on a machine that has nothing but Rust
    Build,
    /// Boot a guest, change its kernel, and show what kmodtrail says
    Demo(demo::DemoArguments),
    /// Check everything, in guests with each kernel too
    Test(test::TestArguments),
    /// Measure what kmodtrail costs
    #[command(subcommand)]
    Bench(bench::Benchmark),
    /// Fetch and build what the other commands need
    Prepare(prepare::PrepareArguments),
}

fn main() -> ExitCode {
    progress::start();
    match run(Xtask::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {}", command::explained(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Xtask) -> Result<ExitCode> {
    match command {
        Xtask::Build => build::run()?,
        Xtask::Demo(arguments) => demo::run(&arguments)?,
        Xtask::Test(arguments) => return test::run(&arguments),
        Xtask::Bench(benchmark) => bench::run(&benchmark)?,
        Xtask::Prepare(arguments) => prepare::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
