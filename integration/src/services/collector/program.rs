//! The OpenTelemetry Collector, built from its Go modules. What is in it is said in integration/collector/manifest.yaml.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    cache::{self, Cache},
    command,
    progress::say,
    services::go,
    workspace,
};

const SOURCES: [&str; 5] = ["go.mod", "go.sum", "main.go", "main_others.go", "components.go"];

/// The program in the cache, built if need be.
///
/// # Errors
/// When Go or a module can't be had.
pub(crate) fn prepare(cache: &Cache) -> Result<PathBuf> {
    let folder = workspace::root().join("integration/collector");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let sources = SOURCES.map(read).into_iter().collect::<Result<Vec<_>>>()?;
    let version = cache::fingerprint(&sources);
    let place = cache.entry("otelcol", &version, |place| build(cache, &folder, &sources[0], &place.join("otelcol")))?;
    cache.keep_only("otelcol", &version)?;
    Ok(place.join("otelcol"))
}

fn build(cache: &Cache, folder: &Path, go_mod: &str, program: &Path) -> Result<()> {
    let go = go::program(cache, go_mod)?;
    say("building the OpenTelemetry Collector (two minutes)");
    let mut build = Command::new(go);
    build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o"]).arg(program);
    // The Go that was chosen is new enough, and without cgo the program needs no C compiler.
    build.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").env_remove("GOFLAGS").current_dir(folder);
    command::run(&mut build)
        .context("building the OpenTelemetry Collector: does `go` reach its module proxy from here?")
}
