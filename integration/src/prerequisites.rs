//! The Debian packages that building and testing need, and what each is for.

use std::{env, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{command, progress::say};

/// A package and the reason it is in the table.
struct Prerequisite {
    package: &'static str,
    purpose: &'static str,
    stage: Stage,
    /// Where this program is there, the package is not needed.
    program: Option<&'static str>,
}

/// Which commands need a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// `cargo xtask build`.
    Build,
    /// Everything that boots a guest; needs what building needs, too.
    Guests,
    /// Everything that starts a server; needs what guests need, too.
    Services,
}

const fn needed(stage: Stage, package: &'static str, purpose: &'static str) -> Prerequisite {
    Prerequisite { package, purpose, stage, program: None }
}

const fn unless_there_is(program: &'static str, prerequisite: Prerequisite) -> Prerequisite {
    Prerequisite { program: Some(program), ..prerequisite }
}

const PREREQUISITES: &[Prerequisite] = &[
    needed(Stage::Build, "build-essential", "links Rust programs, and builds librdkafka and OpenSSL"),
    needed(Stage::Build, "ca-certificates", "crates come over HTTPS"),
    needed(Stage::Build, "perl", "configures OpenSSL"),
    needed(Stage::Guests, "busybox-static", "the user space of the fast guests and of every initramfs"),
    needed(Stage::Guests, "debian-archive-keyring", "checks the suites the kernels come from"),
    needed(Stage::Guests, "e2fsprogs", "makes the systemd guests' disks"),
    needed(Stage::Guests, "kmod", "depmod and modprobe --show-depends for the module disks"),
    needed(Stage::Guests, "lz4", "unpacks kernels"),
    needed(Stage::Guests, "mmdebstrap", "makes the systemd guests' root and the module builders"),
    needed(Stage::Guests, "openssl", "signs modules with keys that no kernel knows"),
    needed(Stage::Guests, "qemu-system-x86", "runs the guests"),
    needed(Stage::Guests, "util-linux", "unshare, for building modules in a chroot"),
    needed(Stage::Guests, "xfsprogs", "makes the xfs image that a scenario mounts"),
    needed(Stage::Guests, "xz-utils", "unpacks kernels and modules"),
    needed(Stage::Guests, "zstd", "unpacks kernels"),
    needed(Stage::Services, "maven", "fetches Apache Kafka, and brings the Java that runs it"),
    unless_there_is("go", needed(Stage::Services, "golang-go", "fetches and builds the OpenTelemetry Collector")),
];

/// Installs what `stage` needs and this machine lacks.
///
/// # Errors
/// When this is no Debian, when something is missing and this is not root, or when apt-get fails.
pub(crate) fn install(stage: Stage) -> Result<()> {
    let mut missing = Vec::new();
    for prerequisite in PREREQUISITES.iter().filter(|prerequisite| prerequisite.stage <= stage) {
        if !prerequisite.program.is_some_and(is_there) && !is_installed(prerequisite.package)? {
            missing.push(prerequisite);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|prerequisite| prerequisite.package).collect();
    let packages = packages.join(" ");
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "missing Debian packages, and only root can install them. As root: apt-get install --no-install-recommends {packages}"
        );
    }
    for Prerequisite { package, purpose, .. } in &missing {
        say(format_args!("installing {package}: {purpose}"));
    }
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let install = || {
        let names = missing.iter().map(|prerequisite| prerequisite.package);
        command::run(apt_get().args(["install", "--yes", "-qq", "--no-install-recommends"]).args(names))
    };
    // The lists of a fresh image are empty, those of an old one name files that are gone: only then ask anew.
    if install().is_err() {
        command::run(apt_get().args(["update", "-qq"]))
            .context("apt-get update: are the apt sources of this machine reachable?")?;
        install().with_context(|| format!("installing {packages}"))?;
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn is_installed(package: &str) -> Result<bool> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    let output = query.output().context(
        "starting dpkg-query: building and testing need a Debian machine (or container), as the guests are made of Debian packages",
    )?;
    Ok(output.status.success() && output.stdout == b"installed")
}
