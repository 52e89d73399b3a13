//! The programs of others, from Debian packages that are unpacked and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::Subject;
use crate::{
    apt::Suites,
    cache::{self, Cache},
    command,
    progress::say,
};

const DISTRIBUTION: &str = "bookworm";
const SUITES: &[&str] = &["bookworm", "bookworm-updates", "bookworm-security"];
const PACKAGES: &str = "auditd,bpftrace";
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &[&str] = &["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// What each peer runs.
const PROGRAMS: &[(Subject, &[&str])] =
    &[(Subject::Auditd, &["sbin/auditd", "sbin/auditctl"]), (Subject::Bpftrace, &["usr/bin/bpftrace"])];

/// See the module.
#[derive(Debug)]
pub(super) struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Fetches and unpacks them if need be.
    ///
    /// # Errors
    /// When this is not root, or a package can't be had.
    pub(super) fn prepare(cache: &Cache) -> Result<Self> {
        let version = cache::fingerprint((DISTRIBUTION, PACKAGES, PROGRAMS.iter().map(|p| p.1).collect::<Vec<_>>()));
        let folder = cache.entry("bench-peers", &version, |place| {
            ensure!(
                nix::unistd::geteuid().is_root(),
                "unpacking {PACKAGES} with mmdebstrap needs root: run `cargo xtask bench kernel` as root once"
            );
            say(format_args!("fetching {PACKAGES}, to compare with (two minutes)"));
            let root = place.join("root");
            let mut mmdebstrap = Command::new("mmdebstrap");
            mmdebstrap.args(["--quiet", "--mode=root", "--variant=extract", &format!("--include={PACKAGES}")]);
            mmdebstrap.args(["--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Check-Valid-Until false"]);
            mmdebstrap.arg(DISTRIBUTION).arg(&root).arg(Suites::open(cache, SUITES)?.sources());
            command::run(mmdebstrap.env("LC_ALL", "C"))?;
            for (subject, programs) in PROGRAMS {
                for program in *programs {
                    copy_with_libraries(&root, program, &place.join(subject.name()))?;
                }
            }
            fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))
        })?;
        cache.keep_only("bench-peers", &version)?;
        Ok(Self { folder })
    }

    /// The path in the guest and on the host of each file of a subject; none for ours.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub(super) fn files(&self, subject: Subject) -> Result<Vec<(String, PathBuf)>> {
        let top = self.folder.join(subject.name());
        let (mut folders, mut files) = (Vec::from_iter(top.is_dir().then(|| top.clone())), Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
                let path = entry?.path();
                match path.strip_prefix(&top) {
                    _ if path.is_dir() => folders.push(path),
                    Ok(inside) => files.push((format!("/{}", inside.display()), path)),
                    Err(_) => {}
                }
            }
        }
        Ok(files)
    }
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
