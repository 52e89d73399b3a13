//! Debian suites that this machine does not use, through a private apt configuration.
//!
//! Packages are only downloaded and unpacked from it, never installed. The mirror is the one this machine's own apt uses;
//! the indexes are checked against Debian's archive keyring, and apt checks what it downloads against the indexes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    cache::{self, Cache},
    command,
    progress::say,
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How old an index may be before it is asked for anew.
const INDEX_AGE: Duration = Duration::from_secs(6 * 3600);

/// Some suites, ready to be searched.
#[derive(Debug)]
pub(crate) struct Suites {
    names: String,
    folder: PathBuf,
}

impl Suites {
    /// Opens the suites of these names (`bookworm-backports`), with indexes not older than six hours.
    ///
    /// # Errors
    /// When this machine's apt has no Debian mirror, or when an index can't be had.
    pub(crate) fn open(cache: &Cache, names: &[&str]) -> Result<Self> {
        let name = format!("apt/{}", names.join("+"));
        let suites = Self { names: names.join(", "), folder: cache.root().join(&name) };
        let _lock = cache.lock(&name)?;
        for folder in ["lists/partial", "cache/archives/partial"] {
            cache::make_folder(&suites.folder.join(folder))?;
        }
        let mark = suites.folder.join("updated");
        let age = fs::metadata(&mark).and_then(|mark| mark.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age > INDEX_AGE) {
            say(format_args!("asking Debian for the indexes of {}", suites.names));
            write(&suites.sources(), &sources(names)?)?;
            command::run(suites.apt("apt-get").args(["-qq", "-o", "APT::Update::Error-Mode=any", "update"]))
                .with_context(|| format!("fetching the indexes of {}", suites.names))?;
            write(&mark, "")?;
        }
        Ok(suites)
    }

    /// The packages whose name matches a regular expression, newest version first by name.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(crate) fn matching(&self, pattern: &str) -> Result<Vec<String>> {
        let found = command::text(self.apt("apt-cache").args(["search", "--names-only", pattern]))?;
        let names: Vec<_> = found.lines().filter_map(|line| line.split_whitespace().next()).collect();
        // Release numbers inside package names: sort(1) knows that 6.12.9 comes before 6.12.10.
        let sorted = command::filter(Command::new("sort").arg("-rVu"), names.join("\n").as_bytes())?;
        Ok(String::from_utf8(sorted)?.lines().map(str::to_owned).collect())
    }

    /// The versions of a package, newest first.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let rows = command::text(self.apt("apt-cache").args(["madison", package]))?;
        Ok(rows.lines().filter_map(|row| Some(row.split('|').nth(1)?.trim().to_owned())).collect())
    }

    /// Downloads a package (`NAME` or `NAME=VERSION`) into `folder` and returns the file.
    ///
    /// # Errors
    /// When the suites or the mirror lack it.
    pub(crate) fn download(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        let place = tempfile::tempdir_in(folder)?;
        command::run(self.apt("apt-get").args(["-qq", "download", package]).current_dir(place.path()))
            .with_context(|| format!("downloading {package} from {}", self.names))?;
        let file = fs::read_dir(place.path())?
            .next()
            .with_context(|| format!("apt-get download {package} left no file"))??;
        let kept = folder.join(file.file_name());
        fs::rename(file.path(), &kept)
            .with_context(|| format!("moving {} to {}", file.path().display(), kept.display()))?;
        Ok(kept)
    }

    /// The sources list of these suites, for mmdebstrap.
    pub(crate) fn sources(&self) -> PathBuf {
        self.folder.join("sources.list")
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &Path| _ = command.arg("-o").arg(format!("{name}={}", value.display()));
        option("Dir::Etc::sourcelist", &self.sources());
        option("Dir::Etc::sourceparts", Path::new("-"));
        option("Dir::State::lists", &self.folder.join("lists"));
        option("Dir::State::status", Path::new("/dev/null"));
        option("Dir::Cache", &self.folder.join("cache"));
        // root's own folders are closed to apt's sandbox user
        option("APT::Sandbox::User", Path::new("root"));
        option("Acquire::Languages", Path::new("none"));
        option("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", Path::new("false"));
        // a mirror's sid may be behind its own date; the signature still counts
        option("Acquire::Check-Valid-Until", Path::new("false"));
        command.env("LC_ALL", "C");
        command
    }
}

fn sources(suites: &[&str]) -> Result<String> {
    ensure!(Path::new(KEYRING).is_file(), "no {KEYRING}: apt-get install debian-archive-keyring");
    let (main, security) = mirrors()?;
    let mut lines = String::new();
    for suite in suites {
        let mirror = if suite.ends_with("-security") { &security } else { &main };
        lines.push_str(&format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"));
    }
    Ok(lines)
}

/// This machine's own mirrors: of Debian, and of its security updates.
fn mirrors() -> Result<(String, String)> {
    let targets = || {
        command::text(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]))
    };
    let mut found = targets()?;
    if found.trim().is_empty() {
        // a fresh image has sources but no lists yet, and apt tells only of lists
        command::run(Command::new("apt-get").args(["update", "-qq"]))?;
        found = targets()?;
    }
    let ending = |name: &str| {
        found.lines().map(|uri| uri.trim_end_matches('/')).find(|uri| uri.ends_with(name)).map(str::to_owned)
    };
    match (ending("/debian"), ending("/debian-security")) {
        (Some(main), Some(security)) => Ok((main, security)),
        (main, security) => bail!(
            "this machine's apt knows no mirror of {}: add it to /etc/apt/sources.list.d (apt-get indextargets shows: {})",
            if main.is_none() {
                "Debian (an address that ends with /debian)"
            } else {
                "Debian's security updates (an address that ends with /debian-security)"
            },
            [main, security].into_iter().flatten().collect::<Vec<_>>().join(" "),
        ),
    }
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
