//! Programs of others, from Debian packages that are unpacked and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    apt::Suites,
    cache::{self, Cache},
    command,
    progress::say,
};

const DISTRIBUTION: &str = "bookworm";
const SUITES: &[&str] = &["bookworm", "bookworm-updates", "bookworm-security"];
/// The loader of all these programs, below the folder of each.
pub(super) const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
/// Where the loader must look for libraries, below the folder of each.
pub(super) const LIBRARIES: &[&str] = &["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// A program, by the name of a folder for it, and the files that it consists of.
pub(super) type Program = (&'static str, &'static [&'static str]);

/// The cache entry `name` with a folder for each program: its files and the libraries that they need, each where the package has it.
///
/// # Errors
/// When this is not root, or a package can't be had.
pub(super) fn programs(cache: &Cache, name: &str, packages: &str, programs: &[Program]) -> Result<PathBuf> {
    let version = cache::fingerprint((DISTRIBUTION, packages, programs));
    let folder = cache.entry(name, &version, |place| {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "unpacking {packages} with mmdebstrap needs root: run `cargo xtask bench` as root once"
        );
        say(format_args!("fetching {packages}, to compare with (two minutes)"));
        let root = place.join("root");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--mode=root", "--variant=extract", &format!("--include={packages}")]);
        mmdebstrap.args(["--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Check-Valid-Until false"]);
        mmdebstrap.arg(DISTRIBUTION).arg(&root).arg(Suites::open(cache, SUITES)?.sources());
        command::run(mmdebstrap.env("LC_ALL", "C"))?;
        for (folder, files) in programs {
            for file in *files {
                copy_with_libraries(&root, file, &place.join(folder))?;
            }
        }
        fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))
    })?;
    cache.keep_only(name, &version)?;
    Ok(folder)
}

/// Of a root of 400 MB a guest needs one program and what its loader finds for it there.
fn copy_with_libraries(root: &Path, program: &str, to: &Path) -> Result<()> {
    let search = LIBRARIES.iter().map(|folder| root.join(folder).display().to_string()).collect::<Vec<_>>().join(":");
    let mut loader = Command::new(root.join(LOADER));
    loader.args(["--library-path", &search, "--list"]).arg(root.join(program));
    let listed = command::text(&mut loader)?;
    // `libc.so.6 => ROOT/lib/x86_64-linux-gnu/libc.so.6 (0x...)`
    let libraries = listed
        .lines()
        .filter_map(|line| line.split_whitespace().find_map(|word| Path::new(word).strip_prefix(root).ok()));
    for file in libraries.chain([Path::new(program), Path::new(LOADER)]) {
        let (from, to) = (root.join(file), to.join(file));
        cache::make_folder(to.parent().context("a library without a folder")?)?;
        fs::copy(&from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}
