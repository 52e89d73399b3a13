//! Compiles the eBPF programs for the BPF target and puts the object where the sensor includes it.
//!
//! Two things are needed that cargo does not bring: `bpf-linker`, and the sources of `core` (the component rust-src). `cargo xtask
//! build` prepares both and leaves their places in a file of its cache; the variables KMODTRAIL_BPF_LINKER and KMODTRAIL_RUST_SRC
//! come first.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

const CURE: &str =
    "run `cargo xtask build` once: it prepares what the eBPF programs need; after that plain `cargo build` works";

/// The cache of `cargo xtask`, as integration/src/cache.rs finds it.
fn cache() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    absolute("KMODTRAIL_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|p| p.join("kmodtrail")))
        .or_else(|| absolute("HOME").map(|p| p.join(".cache/kmodtrail")))
}

/// `NAME=value` lines.
fn tools() -> HashMap<String, PathBuf> {
    let mut tools = HashMap::new();
    if let Some(file) = cache().map(|c| c.join("ebpf-tools.env")) {
        println!("cargo:rerun-if-changed={}", file.display());
        let text = fs::read_to_string(file).unwrap_or_default();
        tools.extend(text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), PathBuf::from(v))));
    }
    for name in ["KMODTRAIL_CACHE", "KMODTRAIL_BPF_LINKER", "KMODTRAIL_RUST_SRC"] {
        println!("cargo:rerun-if-env-changed={name}");
        if let Some(value) = env::var_os(name) {
            tools.insert(name.to_owned(), value.into());
        }
    }
    tools
}

fn main() -> Result<()> {
    let tools = tools();
    let linker = match tools.get("KMODTRAIL_BPF_LINKER") {
        Some(path) => path.clone(),
        None => which::which("bpf-linker").with_context(|| format!("no bpf-linker; {CURE}"))?,
    };
    if !linker.is_file() {
        bail!("bpf-linker is not at {}; {CURE}", linker.display());
    }
    println!("cargo:rerun-if-changed={}", linker.display());
    let bin = linker.parent().context("bpf-linker has no folder")?;
    let path = env::join_paths(
        [bin.to_owned()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    // SAFETY: a build script's main thread, nothing else is running yet.
    unsafe {
        env::set_var("PATH", path);
        // a stable compiler takes `-Z build-std` and aya-ebpf's `#![feature]`s with this
        env::set_var("RUSTC_BOOTSTRAP", "1");
        if let Some(src) = tools.get("KMODTRAIL_RUST_SRC") {
            env::set_var("__CARGO_TESTS_ONLY_SRC_ROOT", src);
        }
    }
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../ebpf/probes");
    let root = root.to_str().context("the repository's path is not UTF-8")?;
    aya_build::build_ebpf(
        [Package { name: "kmodtrail-probes", root_dir: root, ..Default::default() }],
        Toolchain::Custom(&toolchain),
    )
    .with_context(|| format!("the eBPF programs did not build; {CURE}"))
}
