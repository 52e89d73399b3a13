//! A Go that is new enough.
//!
//! The one that is there, or the toolchain of the version that go.mod names. Go's own client fetches that as a module, checked as any
//! module is; Go does all of this by itself from 1.21 on, but Debian 12 has 1.19.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{cache::Cache, command, progress::say};

/// The part of `go mod download -json` that matters.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
}

/// The program `go` for a module.
///
/// # Errors
/// When there is no Go, or none that is new enough can be had.
pub(super) fn program(cache: &Cache, go_mod: &str) -> Result<PathBuf> {
    let directive = |name: &str| {
        let value = go_mod.lines().find_map(|line| line.strip_prefix(name));
        value.map(str::trim).with_context(|| format!("go.mod has no line `{name}`"))
    };
    let found = command::text(Command::new("go").args(["env", "GOVERSION"]))?;
    if version(found.trim().trim_start_matches("go")) >= version(directive("go ")?) {
        return Ok(PathBuf::from("go"));
    }
    let wanted = directive("toolchain ")?;
    let place = cache.entry("go", wanted, |place| fetch(wanted, place))?;
    Ok(place.join("bin/go"))
}

/// `1.25.0` as numbers; what follows them does not matter.
fn version(text: &str) -> Vec<u32> {
    text.split('.').map_while(|number| number.parse().ok()).collect()
}

/// Modules are kept without the right to run anything, and a module inside of one is no part of it: Go renames such `go.mod` files in its
/// toolchains, and renames them back when it unpacks one (cmd/go/internal/toolchain).
fn fetch(toolchain: &str, place: &Path) -> Result<()> {
    say(format_args!("fetching {toolchain}, as the Go that is here is too old"));
    let module = format!("golang.org/toolchain@v0.0.1-{toolchain}.linux-amd64");
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", &module]).current_dir(place);
    let downloaded = command::text(&mut download)
        .with_context(|| format!("fetching {toolchain}: does `go` reach its module proxy from here?"))?;
    let downloaded: Downloaded = serde_json::from_str(&downloaded).context("reading what `go mod download` says")?;
    copy(&downloaded.dir, place).with_context(|| format!("copying {}", downloaded.dir.display()))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name))?;
            continue;
        }
        let target = to.join(if name == "_go.mod" { "go.mod".into() } else { name });
        fs::copy(entry.path(), &target)?;
        let runs = from.ends_with("bin") || from.ends_with("pkg/tool/linux_amd64");
        fs::set_permissions(&target, fs::Permissions::from_mode(if runs { 0o755 } else { 0o644 }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("1.26.8") > version("1.25.0"));
        assert!(version("1.9") < version("1.25"));
        assert!(version("1.25rc1") < version("1.25.0"));
    }
}
