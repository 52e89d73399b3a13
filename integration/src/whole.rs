//! The step from this program to the whole of it.
//!
//! `cargo xtask` begins without the feature `services`: so `build`, `demo` and `fuzz` start on a machine that has nothing but Rust, and nobody
//! waits for OpenSSL and librdkafka to be compiled for a test that he does not want. For everything else this program installs
//! what compiling them takes, builds the whole, and becomes it.

use std::{convert::Infallible, env, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    command,
    prerequisites::{self, Stage},
    workspace,
};

/// Whether the command line asks for what only the whole can do.
pub(crate) fn is_asked_for() -> bool {
    !env::args_os().nth(1).is_some_and(|subcommand| ["build", "demo", "fuzz"].iter().any(|&small| subcommand == small))
}

/// Builds the whole and becomes it.
///
/// # Errors
/// When it can't be built.
pub(crate) fn become_it() -> Result<Infallible> {
    prerequisites::install(Stage::Build)?;
    command::run(workspace::cargo("build").args(["--quiet", "--package", "xtask", "--bin", "xtask"]))?;
    let program = workspace::target().join("debug/xtask");
    let error = Command::new(&program).args(env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}
