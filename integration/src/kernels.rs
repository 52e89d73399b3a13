//! Debian's kernels: the newest of each line, fetched and unpacked, never installed.
//!
//! Suites drop old point releases, so a release is looked up in each run and never pinned.

mod line;
mod vmlinux;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

pub(crate) use self::line::{DEFAULT_LINES, Line, Source, line, lines};
use crate::{
    apt::Suites,
    cache::{self, Cache},
    command,
    progress::say,
};

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    line: &'static Line,
    source: &'static Source,
    release: String,
    folder: PathBuf,
}

/// Whether to ask Debian for a newer release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Look the newest release up.
    Newest,
    /// Take what the cache has; look up only where it has nothing.
    Cached,
}

impl Kernel {
    /// Finds or fetches the newest release of a line.
    ///
    /// # Errors
    /// When the line can't be had; the text names it.
    pub(crate) fn of_line(cache: &Cache, line: &'static Line, freshness: Freshness) -> Result<Self> {
        let cached = newest_cached(cache, line)?;
        if let (Freshness::Cached, Some(kernel)) = (freshness, &cached) {
            return Ok(kernel.clone());
        }
        let error = match fetch_newest(cache, line) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => error,
        };
        if let Some(kernel) = cached {
            say(format_args!(
                "kernel {}: using {} of the cache, as the newest can't be looked up: {error:#}",
                line.name, kernel.release
            ));
            return Ok(kernel);
        }
        Err(error.context(format!(
            "kernel {} can't be had. Check this machine's apt mirror, or choose other kernels with --kernel",
            line.name
        )))
    }

    /// The line's name, such as `6.12` or `7-rt`.
    pub(crate) fn name(&self) -> &'static str {
        self.line.name
    }

    /// Which line it belongs to.
    pub(crate) fn line(&self) -> &'static Line {
        self.line
    }

    /// Where it comes from.
    pub(crate) fn source(&self) -> &'static Source {
        self.source
    }

    /// What `uname -r` says, such as `6.12.95+deb12-cloud-amd64`.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// The kernel's ELF image.
    pub(crate) fn vmlinux(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// The compressed image, as boot loaders take it.
    pub(crate) fn vmlinuz(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The folder of the kernel's modules (`/lib/modules/RELEASE` of an installed one).
    pub(crate) fn modules(&self) -> PathBuf {
        self.base().join("lib/modules").join(&self.release)
    }

    /// The folder that modprobe and depmod take as the root.
    pub(crate) fn base(&self) -> &Path {
        &self.folder
    }

    fn new(line: &'static Line, release: &str, folder: PathBuf) -> Result<Self> {
        let file = folder.join("suite");
        let suite = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let source = line.sources.iter().find(|source| source.name() == suite);
        let source =
            source.with_context(|| format!("{} names a suite that is not in the table: {suite}", file.display()))?;
        Ok(Self { line, source, release: release.to_owned(), folder })
    }
}

fn entry_name(line: &Line) -> String {
    format!("linux/{}", line.name)
}

fn newest_cached(cache: &Cache, line: &'static Line) -> Result<Option<Kernel>> {
    let name = entry_name(line);
    let releases = cache.versions(&name)?.join("\n");
    let newest = command::filter(Command::new("sort").arg("-rV"), releases.as_bytes())?;
    let newest = String::from_utf8(newest)?;
    let newest = newest.lines().next().filter(|release| !release.is_empty());
    newest.map(|release| Kernel::new(line, release, cache.root().join(&name).join(release))).transpose()
}

fn fetch_newest(cache: &Cache, line: &'static Line) -> Result<Kernel> {
    let mut failure = anyhow!("the table has no suite for the line");
    for source in line.sources {
        let suites = Suites::open(cache, source.suites)?;
        let mut images = suites.matching(line.pattern)?;
        // bullseye-security has 6.1 under names that no other suite uses
        images.retain(|image| !image.contains("0.deb11"));
        if images.is_empty() {
            failure = anyhow!("no package matches {} in {}", line.pattern, source.suites.join(", "));
        }
        // The index may name a file that the mirror lacks: the newest that comes will do.
        for image in images.iter().take(4) {
            let release = image.trim_start_matches("linux-image-");
            let mut downloaded = false;
            let made = cache.entry(&entry_name(line), release, |place| {
                let packages = tempfile::tempdir_in(place)?;
                let files = download(line, &suites, release, packages.path())?;
                downloaded = true;
                unpack(source, &files, release, place)
            });
            match made {
                Ok(folder) => return Kernel::new(line, release, folder),
                Err(error) if downloaded => return Err(error),
                Err(error) => {
                    say(format_args!("kernel {}: {release} can't be fetched, trying the one before", line.name));
                    failure = error;
                }
            }
        }
    }
    Err(failure)
}

fn download(line: &Line, suites: &Suites, release: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    say(format_args!("kernel {}: downloading {release}", line.name));
    let mut files = Vec::new();
    // From 7.x on the image package is empty and depends on three others.
    for part in ["image", "base", "binary", "modules"] {
        let package = format!("linux-{part}-{release}");
        if part == "image" || !suites.versions(&package)?.is_empty() {
            files.push(suites.download(&package, folder)?);
        }
    }
    Ok(files)
}

fn unpack(source: &Source, packages: &[PathBuf], release: &str, place: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(place)?;
    let root = work.path();
    for package in packages {
        command::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(root))?;
    }
    let modules = [format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")];
    let images =
        [format!("boot/vmlinuz-{release}"), format!("{}/vmlinuz", modules[1]), format!("{}/vmlinuz", modules[0])];
    let find = |places: &[String]| {
        let found = places.iter().map(|place| root.join(place)).find(|path| path.exists());
        found.with_context(|| format!("the packages of {release} have none of {}", places.join(", ")))
    };
    let (image, vmlinuz, vmlinux) = (find(&images)?, place.join("vmlinuz"), place.join("vmlinux"));
    fs::write(&vmlinux, vmlinux::extract(&image)?).with_context(|| format!("writing {}", vmlinux.display()))?;
    let moved = fs::rename(&image, &vmlinuz);
    moved.with_context(|| format!("moving {} to {}", image.display(), vmlinuz.display()))?;
    let (modules, kept) = (find(&modules)?, place.join("lib/modules"));
    cache::make_folder(&kept)?;
    let moved = fs::rename(&modules, kept.join(release));
    moved.with_context(|| format!("moving {} to {}", modules.display(), kept.display()))?;
    command::run(Command::new("depmod").arg("-b").arg(place).arg(release))?;
    let suite = place.join("suite");
    fs::write(&suite, source.name()).with_context(|| format!("writing {}", suite.display()))
}
