//! The checks that need no guest.

use anyhow::Result;

use crate::{command, ebpf_tools::EbpfTools, fuzz, progress::heading, testbed::Testbed, workspace::cargo};

/// Everything in the workspace but the probes, which compile for the BPF target only.
const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "kmodtrail-probes"];

/// Formatting, lints, documentation, and the tests that run on this machine's own kernel; with `full` also libFuzzer, which takes minutes to
/// build.
///
/// # Errors
/// With the first that fails.
pub(crate) fn run(testbed: &Testbed, full: bool) -> Result<()> {
    let tools = EbpfTools::prepare(testbed.cache())?;
    heading("formatting");
    command::run_visibly(cargo("fmt").args(["--all", "--check"]))?;
    command::run_visibly(cargo("fmt").args(["--manifest-path", fuzz::MANIFEST, "--check"]))?;
    heading("lints");
    let mut clippy = cargo("clippy");
    command::run_visibly(
        clippy.args(WORKSPACE).args(["--all-targets", "--", "-D", "warnings"]).envs(tools.environment()),
    )?;
    heading("documentation");
    let mut doc = cargo("doc");
    command::run_visibly(
        doc.args(WORKSPACE).arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings").envs(tools.environment()),
    )?;
    heading("tests on this machine's kernel");
    command::run_visibly(cargo("test").args(WORKSPACE).envs(tools.environment()))?;
    if full {
        heading("fuzz targets");
        fuzz::smoke(&tools, &fuzz::TARGETS)?;
    }
    Ok(())
}
