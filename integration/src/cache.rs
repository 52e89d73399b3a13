//! The one folder outside the repository where everything fetched or built for the guests is kept.
//!
//! An entry is a folder `NAME/VERSION`. It is made in a temporary sibling and renamed when complete, so that whatever has
//! its final name is whole; a lock per entry lets two runs work at once. Nothing in here is worth a backup: deleting the
//! folder costs the time to fetch and build it again.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher as _},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result, bail};

/// The file that says that an entry which could not be moved into place is complete.
const COMPLETE: &str = ".complete";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Holds an exclusive lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: fs::File,
}

impl Cache {
    /// `$KMODTRAIL_CACHE`, else `$XDG_CACHE_HOME/kmodtrail`, else `~/.cache/kmodtrail`.
    ///
    /// # Errors
    /// When none of them is set or the folder can't be made.
    pub(crate) fn open() -> Result<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("KMODTRAIL_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("kmodtrail")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/kmodtrail")))
            .context("no place for the cache: set KMODTRAIL_CACHE to a folder (about 4 GB are needed)")?;
        let cache = Self { root: std::path::absolute(root)? };
        make_folder(&cache.root)?;
        Ok(cache)
    }

    /// The folder of all entries.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The entry `name/version`, made by `make` (which gets an empty folder to fill) if it is not there yet.
    ///
    /// # Errors
    /// Whatever `make` says, and input and output errors with their path.
    pub(crate) fn entry(&self, name: &str, version: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.root.join(name);
        let place = folder.join(version);
        if place.is_dir() {
            return Ok(place);
        }
        let _lock = self.lock(&format!("{name}/{version}"))?;
        if place.is_dir() {
            return Ok(place); // another run made it while this one waited
        }
        // With the lock held, a temporary of this entry belongs to a run that is gone.
        let prefix = format!(".{version}.tmp-");
        for stale in children(&folder)?.into_iter().filter(|child| child.starts_with(&prefix)) {
            remove(&folder.join(stale))?;
        }
        let temporary = folder.join(format!("{prefix}{}", process::id()));
        make_folder(&temporary)?;
        let made = make(&temporary).with_context(|| format!("making the cache entry {name}/{version}"));
        if let Err(error) = made {
            _ = remove(&temporary); // the error that matters is the first one
            return Err(error);
        }
        fs::rename(&temporary, &place)
            .with_context(|| format!("renaming {} to {}", temporary.display(), place.display()))?;
        Ok(place)
    }

    /// As [`Cache::entry`], for what must not move once it is made: `make` gets the final folder, and a marker file tells
    /// whether it came to its end.
    ///
    /// # Errors
    /// As [`Cache::entry`].
    pub(crate) fn entry_in_place(
        &self,
        name: &str,
        version: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = self.root.join(name).join(version);
        let complete = place.join(COMPLETE);
        if complete.is_file() {
            return Ok(place);
        }
        let _lock = self.lock(&format!("{name}/{version}"))?;
        if !complete.is_file() {
            remove(&place)?;
            make_folder(&place)?;
            make(&place).with_context(|| format!("making the cache entry {name}/{version}"))?;
            fs::write(&complete, "").with_context(|| format!("writing {}", complete.display()))?;
        }
        Ok(place)
    }

    /// The versions of `name` that are complete, in no order.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(crate) fn versions(&self, name: &str) -> Result<Vec<String>> {
        Ok(children(&self.root.join(name))?.into_iter().filter(|child| !child.starts_with('.')).collect())
    }

    /// Removes every version of `name` but `kept`, unless somebody is making or removing it right now.
    ///
    /// # Errors
    /// When a folder can't be removed.
    pub(crate) fn keep_only(&self, name: &str, kept: &str) -> Result<()> {
        for version in self.versions(name)? {
            if version != kept {
                let _lock = self.lock(&format!("{name}/{version}"))?;
                remove(&self.root.join(name).join(version))?;
            }
        }
        Ok(())
    }

    /// Waits for the exclusive lock of that name (`NAME/VERSION`).
    ///
    /// # Errors
    /// When the lock file can't be made.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let folder = self.root.join(folder);
        make_folder(&folder)?;
        let path = folder.join(format!(".{file}.lock"));
        let file = fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        file.lock().with_context(|| format!("locking {}", path.display()))?;
        Ok(Lock { _file: file })
    }
}

/// A short name for everything that an entry depends on: another one when any of it changes.
pub(crate) fn fingerprint(parts: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Makes a folder and those above it.
///
/// # Errors
/// With the path in the text.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making the folder {}", path.display()))
}

/// Writes a file so that a reader sees the old content or the new one, never a part.
///
/// # Errors
/// With the path in the text.
pub(crate) fn write_atomically(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let Some(folder) = path.parent() else { bail!("{} is no file", path.display()) };
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content.as_ref())?;
        // A temporary file is 0600, but others may build with what this one says.
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
        file.persist(path)?;
        io::Result::Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

fn children(folder: &Path) -> Result<Vec<String>> {
    let names = || {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()
    };
    names().with_context(|| format!("reading the folder {}", folder.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache { root: folder.path().to_owned() };
        (folder, cache)
    }

    #[test]
    fn an_entry_is_made_once() {
        let (_folder, cache) = cache();
        let made = cache.entry("a/b", "1", |place| Ok(fs::write(place.join("f"), "x")?)).expect("made");
        let found = cache.entry("a/b", "1", |_| bail!("made twice")).expect("found");
        assert_eq!(made, found);
        assert_eq!(cache.versions("a/b").expect("versions"), ["1"]);
    }

    #[test]
    fn a_failure_leaves_nothing_and_stale_temporaries_go() {
        let (folder, cache) = cache();
        cache.entry("a", "1", |_| bail!("no")).expect_err("fails");
        fs::create_dir(folder.path().join("a/.1.tmp-999")).expect("a stale one");
        assert!(cache.versions("a").expect("versions").is_empty());
        cache.entry("a", "1", |_| Ok(())).expect("made");
        assert!(!folder.path().join("a/.1.tmp-999").exists());
    }

    #[test]
    fn an_entry_in_place_that_was_interrupted_is_made_again() {
        let (_folder, cache) = cache();
        let interrupted = cache.entry_in_place("a", "1", |place| {
            fs::write(place.join("half"), "")?;
            bail!("cut")
        });
        interrupted.expect_err("cut");
        let place = cache.entry_in_place("a", "1", |_| Ok(())).expect("made");
        assert!(!place.join("half").exists());
    }
}
