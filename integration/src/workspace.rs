//! The workspace that this command was built from, and what is built of it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{command, ebpf_tools::EbpfTools, progress::say};

/// The target of the guests' own program: the host's, but linked statically.
const ACTOR_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The folder with the workspace's Cargo.toml.
pub(crate) fn root() -> &'static Path {
    let integration = Path::new(env!("CARGO_MANIFEST_DIR"));
    integration.parent().unwrap_or(integration)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// `cargo`, in the workspace.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg(subcommand).current_dir(root());
    // `cargo run` tells us about this package; the build scripts of others must not see it.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        cargo.env_remove(name);
    }
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    cargo
}

/// Builds the daemon as it ships and returns the program.
///
/// # Errors
/// When cargo fails.
pub(crate) fn build_daemon(tools: &EbpfTools) -> Result<PathBuf> {
    command::run_visibly(cargo("build").args(["--release", "--package", "kmodtrail"]).envs(tools.environment()))?;
    let program = target().join("release/kmodtrail");
    program.canonicalize().with_context(|| format!("cargo built no {}", program.display()))
}

/// Builds the program that acts in the guests, without any library it would need to find there. It has its own target
/// folder, as its flags would throw away everything else that was built.
///
/// # Errors
/// When cargo fails.
pub(crate) fn build_actor() -> Result<PathBuf> {
    let folder = target().join("actor");
    if !folder.exists() {
        say("building the guests' actor (a minute)");
    }
    let mut build = cargo("build");
    build
        .args(["--quiet", "--package", "xtask", "--no-default-features", "--bin", "actor", "--target", ACTOR_TARGET])
        .arg("--target-dir")
        .arg(&folder);
    build.env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Each action starts it anew on an emulated processor: unoptimized, that takes ten times as long.
    build.env("CARGO_PROFILE_DEV_OPT_LEVEL", "s").env("CARGO_PROFILE_DEV_DEBUG", "false");
    command::run(&mut build)?;
    let program = folder.join(ACTOR_TARGET).join("debug/actor");
    program.canonicalize().with_context(|| format!("cargo built no {}", program.display()))
}

/// Builds the loop around librdkafka that delivering is compared with. Optimized, as the daemon is.
///
/// # Errors
/// When cargo fails.
pub(crate) fn build_producer() -> Result<PathBuf> {
    let mut build = cargo("build");
    build.args(["--quiet", "--release", "--package", "xtask", "--no-default-features"]);
    command::run(build.args(["--features", "producer", "--bin", "producer"]))?;
    let program = target().join("release/producer");
    program.canonicalize().with_context(|| format!("cargo built no {}", program.display()))
}

/// Builds what tells a container runtime in a guest to run a pod.
///
/// # Errors
/// When cargo fails.
pub(crate) fn build_kubelet() -> Result<PathBuf> {
    let mut build = cargo("build");
    build.args(["--quiet", "--package", "xtask", "--no-default-features"]);
    command::run(build.args(["--features", "kubelet", "--bin", "kubelet"]))?;
    let program = target().join("debug/kubelet");
    program.canonicalize().with_context(|| format!("cargo built no {}", program.display()))
}
