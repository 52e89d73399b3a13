//! The host as its first process sees it: this one may have a mount namespace of its own, as a unit or a container.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat, readlinkat},
    sys::stat::{Mode, SFlag, fstat},
};

/// Links that are followed on the way to a file: MAXSYMLINKS, include/linux/namei.h.
const MOST_LINKS: usize = 40;
/// To look at, not to read.
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Inode of its mount namespace; `None` where that can't be found out.
    pub namespace: Option<u32>,
    root: PathBuf,
}

impl Host {
    /// Of this process's PID namespace.
    #[must_use]
    pub fn find() -> Self {
        let namespace = |pid: &str| {
            let inode = fs::metadata(format!("/proc/{pid}/ns/mnt")).ok()?.ino();
            u32::try_from(inode).ok()
        };
        match (namespace("1"), namespace("self")) {
            (Some(host), own) if own != Some(host) => {
                Self { namespace: Some(host), root: PathBuf::from("/proc/1/root") }
            }
            (_, own) => Self { namespace: own, root: PathBuf::from("/") },
        }
    }

    /// One of a test.
    #[cfg(test)]
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { namespace: None, root: root.into() }
    }

    /// Opens what is at a path of the host's, as its own processes would: absolute links, too, lead below its root.
    ///
    /// openat2(2) does it at once, but systemd's RestrictSUIDSGID= forbids it.
    ///
    /// # Errors
    /// As openat(2).
    pub fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let follow = !flags.contains(OFlag::O_NOFOLLOW);
        // from the root to where we are
        let mut folders = vec![open(&self.root, PLACE | OFlag::O_DIRECTORY, Mode::empty())?];
        let mut todo = reversed(path);
        let mut links = 0;
        let mut last = OsStr::new(".").to_owned();
        while let Some(name) = todo.pop() {
            if name == ".." {
                folders.truncate((folders.len() - 1).max(1));
                continue;
            }
            let place =
                openat(&folders[folders.len() - 1], name.as_os_str(), PLACE | OFlag::O_NOFOLLOW, Mode::empty())?;
            let is_link = SFlag::from_bits_truncate(fstat(&place)?.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFLNK;
            if is_link && (follow || !todo.is_empty()) {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                let target = PathBuf::from(readlinkat(&place, "")?);
                if target.is_absolute() {
                    folders.truncate(1);
                }
                todo.append(&mut reversed(&target));
            } else if todo.is_empty() {
                last = name;
            } else {
                folders.push(place);
            }
        }
        openat(
            &folders[folders.len() - 1],
            last.as_os_str(),
            flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
    }

    /// Where a path of the host's is to be found.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Its names, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::unix::fs::symlink};

    use super::*;

    /// What is at a path of a host whose file /data/a/file says "it".
    fn read(path: &str, flags: OFlag) -> nix::Result<String> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("data/a")).expect("the test may make folders");
        fs::create_dir_all(at("var/lib")).expect("the test may make folders");
        fs::write(at("data/a/file"), "it").expect("the test may write");
        for (target, link) in [("/data", "var/lib/absolute"), ("../../data/a", "var/lib/relative"), ("loop", "loop")] {
            symlink(target, at(link)).expect("the test may make links");
        }
        symlink("/var/lib/relative/file", at("last")).expect("the test may make links");
        let file = Host::at(folder.path()).open(Path::new(path), flags)?;
        let mut text = String::new();
        File::from(file)
            .read_to_string(&mut text)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        Ok(text)
    }

    #[test]
    fn links_lead_to_what_they_say_on_the_host() {
        let paths = ["/data/a/file", "data/./a/file", "/var/lib/absolute/a/file", "/var/lib/relative/file", "/last"];
        for path in paths.into_iter().chain(["/../../data/a/file", "/var/lib/relative/../a/file"]) {
            assert_eq!(read(path, OFlag::O_RDONLY).as_deref(), Ok("it"), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_a_loop_and_a_link_that_is_not_wanted_are_errors() {
        assert_eq!(read("/data/none/file", OFlag::O_RDONLY), Err(Errno::ENOENT));
        assert_eq!(read("/data/a/file/x", OFlag::O_RDONLY), Err(Errno::ENOTDIR));
        assert_eq!(read("/loop", OFlag::O_RDONLY), Err(Errno::ELOOP));
        assert_eq!(read("/last", OFlag::O_RDONLY | OFlag::O_NOFOLLOW), Err(Errno::ELOOP));
        assert_eq!(read("/", OFlag::O_RDONLY), Err(Errno::EISDIR));
        assert_eq!(read("/data/..", OFlag::O_RDONLY), Err(Errno::EISDIR));
    }
}
