//! What compiling the probes needs beside rustc: bpf-linker, and the sources of `core`.
//!
//! bpf-linker is built against the LLVM that rustc itself ships, as it must read the bitcode that this very rustc writes.
//! The sources come with the toolchain (`rustup component add rust-src`); where it has none and rustup can fetch none, the
//! package `rust-src` of the same version in a Debian suite has the same files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    apt::Suites,
    cache::{self, Cache},
    command,
    progress::say,
    workspace,
};

const BPF_LINKER_VERSION: &str = "0.13.0";

/// The suites with recent compilers, asked in this order.
const RUST_SRC_SUITES: &[&str] = &["trixie-backports", "sid"];

/// See the module.
#[derive(Debug)]
pub(crate) struct EbpfTools {
    /// The program.
    bpf_linker: PathBuf,
    /// The folder `library` of the standard library's sources; none where the toolchain has them in its own place.
    rust_src: Option<PathBuf>,
}

/// The compiler in use in the workspace.
struct Rustc {
    release: String,
    llvm_major: String,
    sysroot: PathBuf,
}

impl EbpfTools {
    /// Finds or makes the tools, and writes where they are to `ebpf-tools.env` in the cache, where the daemon's build
    /// script finds them when it is run by a plain `cargo build`.
    ///
    /// # Errors
    /// When bpf-linker can't be built or no matching sources can be had.
    pub(crate) fn prepare(cache: &Cache) -> Result<Self> {
        let rustc = Rustc::of_the_workspace()?;
        let tools = Self { bpf_linker: bpf_linker(cache, &rustc)?, rust_src: rust_src(cache, &rustc)? };
        let lines: String = tools.environment().map(|(name, path)| format!("{name}={}\n", path.display())).collect();
        let file = cache.root().join("ebpf-tools.env");
        if fs::read_to_string(&file).ok().as_deref() != Some(&lines) {
            cache::write_atomically(&file, &lines)?;
        }
        Ok(tools)
    }

    /// The variables that tell the daemon's build script where the tools are.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let linker = Some(("KMODTRAIL_BPF_LINKER", self.bpf_linker.as_path()));
        linker.into_iter().chain(self.rust_src.as_deref().map(|folder| ("KMODTRAIL_RUST_SRC", folder)))
    }
}

impl Rustc {
    fn of_the_workspace() -> Result<Self> {
        let ask =
            |arguments: &[&str]| command::text(Command::new("rustc").args(arguments).current_dir(workspace::root()));
        let about = ask(&["-vV"])?;
        let field = |name: &str| {
            let value = about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            value.map(str::to_owned).with_context(|| format!("no line `{name}` in what `rustc -vV` says:\n{about}"))
        };
        let llvm = field("LLVM version:")?;
        Ok(Self {
            release: field("release:")?,
            llvm_major: llvm.split('.').next().unwrap_or(&llvm).to_owned(),
            sysroot: PathBuf::from(ask(&["--print", "sysroot"])?.trim()),
        })
    }

    /// The library that rustc ships, `libLLVM.so.22.1-rust-1.95.0-stable` or the like.
    fn libllvm(&self) -> Result<PathBuf> {
        let folder = self.sysroot.join("lib");
        let prefix = format!("libLLVM.so.{}.", self.llvm_major);
        let files = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut files = files.filter_map(|file| Some(file.ok()?.path()));
        files
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .with_context(|| {
                format!(
                    "no {prefix}* in {}: bpf-linker needs a rustc from rustup, whose LLVM is a shared library. \
                 Install it from https://rustup.rs",
                    folder.display()
                )
            })
    }
}

/// Builds bpf-linker in its final place: the run path of the program names the folder of the LLVM symlinks.
fn bpf_linker(cache: &Cache, rustc: &Rustc) -> Result<PathBuf> {
    let libllvm = rustc.libllvm()?;
    let version = format!("{BPF_LINKER_VERSION}-{}", cache::fingerprint((&libllvm, &rustc.release)));
    let place = cache.entry_in_place("bpf-linker", &version, |place| {
        say(format_args!(
            "building bpf-linker {BPF_LINKER_VERSION} against the LLVM {} of rustc {}",
            rustc.llvm_major, rustc.release
        ));
        // The linker looks for libLLVM.so, the loader for the library's own name.
        let lib = place.join("llvm/lib");
        cache::make_folder(&lib)?;
        for name in [Some("libLLVM.so".as_ref()), libllvm.file_name()].into_iter().flatten() {
            std::os::unix::fs::symlink(&libllvm, lib.join(name))
                .with_context(|| format!("linking {} into {}", libllvm.display(), lib.display()))?;
        }
        let mut install = Command::new("cargo");
        install.args([
            "install",
            "bpf-linker",
            "--locked",
            "--quiet",
            "--version",
            BPF_LINKER_VERSION,
            "--no-default-features",
        ]);
        install.args(["--features", &format!("llvm-{}", rustc.llvm_major)]).arg("--root").arg(place);
        install.env("LLVM_PREFIX", place.join("llvm")).env("CARGO_TARGET_DIR", place.join("target"));
        // A cross target or flags meant for the workspace are not meant for this program.
        install.env_remove("CARGO_BUILD_TARGET").env_remove("RUSTFLAGS").current_dir(place);
        command::run(&mut install)?;
        fs::remove_dir_all(place.join("target")).context("removing the build folder of bpf-linker")?;
        command::run(Command::new(place.join("bin/bpf-linker")).arg("--version"))
    })?;
    Ok(place.join("bin/bpf-linker"))
}

fn rust_src(cache: &Cache, rustc: &Rustc) -> Result<Option<PathBuf>> {
    if rustc.sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file() {
        return Ok(None);
    }
    let place = cache.entry("rust-src", &rustc.release, |place| {
        let package = download_rust_src(cache, &rustc.release, place).with_context(|| {
            format!(
                "the sources of `core` for rustc {} are not here. `rustup component add rust-src` brings them; \
                 Debian's package rust-src of the same version was looked for instead",
                rustc.release
            )
        })?;
        unpack_library(&package, place)?;
        fs::remove_file(&package).with_context(|| format!("removing {}", package.display()))
    })?;
    Ok(Some(place.join("library")))
}

fn download_rust_src(cache: &Cache, release: &str, place: &Path) -> Result<PathBuf> {
    let mut seen = Vec::new();
    for suite in RUST_SRC_SUITES {
        let suites = Suites::open(cache, &[suite])?;
        let versions = suites.versions("rust-src")?;
        let matching = versions
            .iter()
            .find(|version| version.strip_prefix(release).is_some_and(|rest| rest.starts_with(['+', '-', '~'])));
        if let Some(version) = matching {
            say(format_args!("downloading rust-src {version} from {suite}"));
            return suites.download(&format!("rust-src={version}"), place);
        }
        seen.push(format!("{suite} has {}", versions.join(", ")));
    }
    bail!("no rust-src {release}: {}", seen.join("; "))
}

/// Takes `/usr/src/rustc-*/library` out of the package: tens of megabytes of its several hundred.
fn unpack_library(package: &Path, place: &Path) -> Result<()> {
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting dpkg-deb")?;
    let content = unpack.stdout.take().context("no pipe from dpkg-deb")?;
    let mut archive = tar::Archive::new(content);
    for file in archive.entries()? {
        let mut file = file.with_context(|| format!("reading {}", package.display()))?;
        let path = file.path()?.into_owned();
        let inside: PathBuf = path.components().skip_while(|part| part.as_os_str() != "library").collect();
        if path.starts_with("./usr/src") || path.starts_with("usr/src") {
            let depth = path
                .components()
                .filter(|part| *part != std::path::Component::CurDir)
                .take_while(|part| part.as_os_str() != "library")
                .count();
            if depth == 3 && !inside.as_os_str().is_empty() {
                let target = place.join(&inside);
                if let Some(parent) = target.parent() {
                    cache::make_folder(parent)?;
                }
                file.unpack(&target).with_context(|| format!("unpacking {}", path.display()))?;
            }
        }
    }
    let status = unpack.wait()?;
    ensure!(status.success(), "`dpkg-deb --fsys-tarfile {}` failed: {status}", package.display());
    let lock = place.join("library/Cargo.lock");
    ensure!(lock.is_file(), "{} has no {}", package.display(), lock.display());
    Ok(())
}
