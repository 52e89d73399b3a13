//! `cargo xtask build`: the daemon as it ships, on a machine that had nothing but Rust.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    kernels::Freshness,
    prerequisites::{self, Stage},
    progress::say,
    testbed::Testbed,
};

/// Builds the daemon and prints where it is.
///
/// # Errors
/// When a tool can't be had or cargo fails.
#[expect(clippy::print_stdout, reason = "a command line tool prints")]
pub(crate) fn run() -> Result<()> {
    prerequisites::install(Stage::Build)?;
    let program = Testbed::open(Freshness::Newest)?.daemon()?;
    let size = fs::metadata(&program).with_context(|| format!("reading {}", program.display()))?.len();
    say(format_args!("built, {:.1} MB", size as f64 / 1e6));
    println!("{} {size} bytes", program.display());
    Ok(())
}
