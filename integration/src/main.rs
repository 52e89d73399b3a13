//! `cargo xtask`: the one command that builds, shows, tests and measures kmodtrail, and fetches what that takes.
#![cfg_attr(not(feature = "services"), allow(dead_code, unused_imports, reason = "see whole.rs"))]

mod apt;
#[cfg(feature = "services")]
mod bench;
mod build;
mod cache;
#[cfg(feature = "services")]
mod checks;
mod command;
mod demo;
mod ebpf_tools;
mod evidence;
mod fixtures;
mod fuzz;
#[allow(dead_code, reason = "scenarios choose what they need of it")]
mod guest;
mod kernels;
#[cfg(feature = "services")]
mod prepare;
mod prerequisites;
mod progress;
#[cfg(feature = "services")]
mod recording;
#[allow(dead_code, reason = "scenarios choose what they need of it")]
mod records;
#[cfg(feature = "services")]
#[allow(dead_code, reason = "scenarios choose what they need of it")]
mod scenario;
#[cfg(feature = "services")]
#[allow(dead_code, reason = "scenarios choose what they need of it")]
mod services;
mod story;
#[cfg(feature = "services")]
mod test;
mod testbed;
#[cfg(not(feature = "services"))]
mod whole;
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
    /// Give hostile bytes to everything that takes them from outside
    Fuzz(fuzz::FuzzArguments),
    /// Check everything, in guests with each kernel and with real servers too
    #[cfg(feature = "services")]
    Test(test::TestArguments),
    /// Measure what kmodtrail costs
    #[cfg(feature = "services")]
    #[command(subcommand)]
    Bench(bench::Benchmark),
    /// Fetch and build what the other commands need
    #[cfg(feature = "services")]
    Prepare(prepare::PrepareArguments),
}

fn main() -> ExitCode {
    progress::start();
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {}", command::explained(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    #[cfg(not(feature = "services"))]
    if whole::is_asked_for() {
        match whole::become_it()? {}
    }
    match Xtask::parse() {
        Xtask::Build => build::run()?,
        Xtask::Demo(arguments) => demo::run(&arguments)?,
        Xtask::Fuzz(arguments) => fuzz::run(&arguments)?,
        #[cfg(feature = "services")]
        Xtask::Test(arguments) => return test::run(&arguments),
        #[cfg(feature = "services")]
        Xtask::Bench(benchmark) => bench::run(&benchmark)?,
        #[cfg(feature = "services")]
        Xtask::Prepare(arguments) => prepare::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
