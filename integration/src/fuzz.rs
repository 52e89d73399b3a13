//! `cargo xtask fuzz`: hostile bytes for everything that takes them from outside, made by libFuzzer.
//!
//! The targets are a workspace of their own, daemon/fuzz, as cargo-fuzz wants it. Plain cargo builds them here, with the flags that
//! `cargo fuzz --sanitizer none` sets: a stable compiler takes them, and there is nothing to install.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{
    cache::{self, Cache},
    command,
    ebpf_tools::EbpfTools,
    prerequisites::{self, Stage},
    progress::{heading, say},
    workspace,
};

/// Of the targets' workspace, from the main one's folder.
pub(crate) const MANIFEST: &str = "daemon/fuzz/Cargo.toml";

/// In daemon/fuzz/fuzz_targets; each has a folder of its name in daemon/fuzz/corpus.
pub(crate) const TARGETS: [&str; 4] = ["compressed", "kernel_records", "module_file", "signature"];

/// Coverage of each branch and of what is compared.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cllvm-args=-simplifycfg-branch-fold-threshold=0";

/// With a target named, the flags are not for build scripts and macros, which have no libFuzzer to report to.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// What every input must keep: bytes of input, MiB of memory, seconds. An input takes some milliseconds.
const LIMITS: [&str; 3] = ["-max_len=8192", "-rss_limit_mb=512", "-timeout=10"];

/// Inputs that a smoke run makes for each target: some seconds.
const SMOKE_RUNS: u32 = 20_000;

/// What to try.
#[derive(Args, Debug)]
pub(crate) struct FuzzArguments {
    /// Only these; all where none is named
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long each is tried
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u32,
    /// Only as many inputs as take some seconds, the same each time, as `cargo xtask test --full` does
    #[arg(long, conflicts_with = "seconds")]
    smoke: bool,
    /// Give the target this input and no other: what it has found, once more
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "smoke"])]
    input: Option<PathBuf>,
}

/// Tries all that are named, and says what was found.
///
/// # Errors
/// When they don't build, or something was found.
pub(crate) fn run(arguments: &FuzzArguments) -> Result<()> {
    prerequisites::install(Stage::Build)?;
    let tools = EbpfTools::prepare(&Cache::open()?)?;
    let chosen = |target: &&str| arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target);
    let targets: Vec<_> = TARGETS.into_iter().filter(chosen).collect();
    if arguments.smoke {
        return smoke(&tools, &targets);
    }
    let programs = build(&tools)?;
    if let Some(input) = &arguments.input {
        let [target] = &targets[..] else { bail!("`--input` needs one TARGET to give it to") };
        return command::run_visibly(Command::new(programs.join(target)).args(LIMITS).arg(std::path::absolute(input)?));
    }
    let mut failed = Vec::new();
    for target in targets {
        heading(format_args!("{target}, {} s", arguments.seconds));
        let corpus = workspace::target().join("fuzz/corpus").join(target);
        let mut fuzz = libfuzzer(&programs, target, &corpus)?;
        fuzz.arg(format!("-max_total_time={}", arguments.seconds)).arg("-print_final_stats=1");
        if let Err(error) = found(target, || command::run_visibly(&mut fuzz)) {
            say(command::explained(&error));
            failed.push(target);
        }
    }
    ensure!(failed.is_empty(), "something was found by: {}; it is told above", failed.join(", "));
    say("nothing was found");
    Ok(())
}

/// As many inputs for each target as take some seconds, the same each time.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke(tools: &EbpfTools, targets: &[&str]) -> Result<()> {
    let programs = build(tools)?;
    for target in targets {
        // what it finds worth keeping is forgotten: the next run must not begin with it
        let corpus = tempfile::tempdir()?;
        let mut fuzz = libfuzzer(&programs, target, corpus.path())?;
        fuzz.args([format!("-runs={SMOKE_RUNS}"), "-seed=1".to_owned(), "-verbosity=0".to_owned()]);
        found(target, || command::run(&mut fuzz))?;
        say(format_args!("{target}: {SMOKE_RUNS} inputs"));
    }
    Ok(())
}

fn folder() -> PathBuf {
    workspace::root().join("daemon/fuzz")
}

/// Where findings are put: git does not look there.
fn artifacts(target: &str) -> PathBuf {
    folder().join("artifacts").join(target)
}

/// Builds all targets and returns the folder of the programs.
fn build(tools: &EbpfTools) -> Result<PathBuf> {
    let target = workspace::target().join("fuzz");
    if !target.exists() {
        say("building the fuzz targets, with everything that the daemon is made of (some minutes)");
    }
    let mut build = workspace::cargo("build");
    build.args(["--manifest-path", MANIFEST, "--release", "--target", HOST, "--target-dir"]).arg(&target);
    build.envs(tools.environment()).env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::run_visibly(&mut build)?;
    let programs = target.join(HOST).join("release");
    programs.canonicalize().with_context(|| format!("cargo built nothing in {}", programs.display()))
}

/// A target on its corpus. What is new and worth keeping goes to `corpus`, not to the repository.
fn libfuzzer(programs: &Path, target: &str, corpus: &Path) -> Result<Command> {
    let artifacts = artifacts(target);
    cache::make_folder(corpus)?;
    cache::make_folder(&artifacts)?;
    let mut fuzz = Command::new(programs.join(target));
    fuzz.args(LIMITS).arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzz.arg(corpus).arg(folder().join("corpus").join(target));
    Ok(fuzz)
}

/// Runs a target; where it fails, the error says which input did that and how to try it again.
fn found(target: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = artifacts(target);
    let inputs = || -> Result<BTreeSet<PathBuf>> {
        let entries = fs::read_dir(&folder).with_context(|| format!("reading the folder {}", folder.display()))?;
        Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
    };
    let before = inputs()?;
    run().with_context(|| {
        let new = inputs().unwrap_or_default().difference(&before).map(|path| path.display().to_string()).last();
        let again = |path| format!("again: cargo xtask fuzz {target} --input {path}");
        format!("{target} has found something; {}", new.map_or_else(|| "it has left no input".to_owned(), again))
    })
}
