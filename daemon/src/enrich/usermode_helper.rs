//! Whether the program that the kernel runs to load a module is the one that it should be.
//!
//! Its path is expected to be CONFIG_MODPROBE_PATH where the kernel's configuration is at hand, else Linux's default; a distribution with a
//! merged /usr may name it by either of two ways. What /proc/sys/kernel/modprobe said when the daemon started proves nothing: who comes
//! before us would make it the rule. The file and the folders above it must be root's alone.

use std::{
    ffi::OsStr,
    fs,
    num::NonZeroUsize,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use lru::LruCache;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{FileStat, fstat},
};

use crate::{
    event::{Helper, Text},
    host::Host,
};

/// What a distribution's package installs: one file where /usr is merged.
const USUAL: [&str; 2] = ["/sbin/modprobe", "/usr/sbin/modprobe"];
/// A path has at most 256 bytes (KMOD_PATH_LEN).
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("it is not zero");
/// So long a change of the file may go unnoticed, nanoseconds: requests can come in floods.
const FRESH: u64 = 1_000_000_000;

/// What is expected, and what was found out.
#[derive(Debug)]
pub(super) struct Helpers {
    /// CONFIG_MODPROBE_PATH.
    built_with: String,
    /// Where the kernel's path begins.
    host: Host,
    known: LruCache<Text, Known>,
}

#[derive(Debug)]
struct Known {
    /// CLOCK_BOOTTIME, nanoseconds.
    at: u64,
    unexpected: Vec<String>,
    missing: Option<String>,
}

impl Helpers {
    pub(super) fn of(host: &Host) -> Self {
        let release = nix::sys::utsname::uname().map(|u| u.release().to_os_string()).unwrap_or_default();
        let release = release.to_string_lossy();
        let files = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
        let texts = files.iter().filter_map(|file| fs::read_to_string(host.path(Path::new(file))).ok());
        let built_with = texts.into_iter().find_map(|text| configured(&text));
        Self::new(built_with.unwrap_or_else(|| USUAL[0].to_owned()), host.clone())
    }

    fn new(built_with: String, host: Host) -> Self {
        Self { built_with, host, known: LruCache::new(MOST) }
    }

    /// Says what is unexpected of it. `now`: of the event, CLOCK_BOOTTIME.
    pub(super) fn look_at(&mut self, helper: &mut Helper, now: u64, missing: &mut Vec<String>) {
        let fresh = self.known.get(&helper.path).is_some_and(|known| now.abs_diff(known.at) < FRESH);
        if !fresh {
            let known = self.look_up(&helper.path, now);
            self.known.put(helper.path.clone(), known);
        }
        if let Some(known) = self.known.get(&helper.path) {
            helper.unexpected.clone_from(&known.unexpected);
            missing.extend(known.missing.clone());
        }
    }

    fn look_up(&self, path: &Text, now: u64) -> Known {
        let mut unexpected = Vec::new();
        if path.as_str() != self.built_with && !USUAL.contains(&path.as_str()) {
            unexpected.push(format!("the kernel was built with {}", self.built_with));
        }
        let missing = match self.changeable(path) {
            Ok(changeable) => {
                unexpected.extend(changeable);
                None
            }
            Err(error) => Some(format!("linux.kernel_module.helper.unexpected: {path} can't be looked at: {error}")),
        };
        Known { at: now, unexpected, missing }
    }

    /// Who else than root may change the file, or put another one in its place.
    fn changeable(&self, path: &Text) -> Result<Option<String>, Errno> {
        let bytes = path.bytes();
        let path = Path::new(OsStr::from_bytes(&bytes));
        // as the kernel would find it
        let open = |path: &Path| self.host.open(path, OFlag::O_PATH);
        let file = match open(path) {
            // there is nothing to change
            Err(Errno::ENOENT) => return Ok(None),
            file => file?,
        };
        let found = others(&fstat(&file)?, path);
        if found.is_some() {
            return Ok(found);
        }
        // the folders above the link, and those above the file that it leads to
        let real = real_path(&file)?;
        let real = Path::new("/").join(real.strip_prefix(real_path(&open(Path::new("/"))?)?).unwrap_or(&real));
        for folder in path.ancestors().skip(1).chain(real.ancestors().skip(1)) {
            let state = fstat(&open(folder)?)?;
            let found = others(&state, folder);
            // what is root's can't be renamed there by others: sticky(7)
            if found.is_some() && (state.st_uid != 0 || state.st_mode & nix::libc::S_ISVTX == 0) {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// CONFIG_MODPROBE_PATH: init/Kconfig, Linux 5.14 and later.
fn configured(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("CONFIG_MODPROBE_PATH="))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Where an open file is, below the root of its mount namespace.
fn real_path(file: &OwnedFd) -> Result<PathBuf, Errno> {
    nix::fcntl::readlink(format!("/proc/self/fd/{}", file.as_raw_fd()).as_str()).map(PathBuf::from)
}

fn others(state: &FileStat, path: &Path) -> Option<String> {
    let path = path.display();
    if state.st_uid != 0 {
        return Some(format!("{path} belongs to user {}", state.st_uid));
    }
    if state.st_mode & nix::libc::S_IWOTH != 0 {
        return Some(format!("everybody may change {path}"));
    }
    let group = state.st_mode & nix::libc::S_IWGRP != 0 && state.st_gid != 0;
    group.then(|| format!("group {} may change {path}", state.st_gid))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    /// A root with /usr/bin/kmod and /sbin/modprobe, which leads there by an absolute link.
    fn root() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let at = |path: &str| folder.path().join(path);
        for name in ["usr/bin", "sbin", "tmp"] {
            fs::create_dir_all(at(name)).expect("the test may make folders");
        }
        fs::write(at("usr/bin/kmod"), "").expect("the test may write");
        symlink("/usr/bin/kmod", at("sbin/modprobe")).expect("the test may make links");
        set_mode(&at("tmp"), 0o1777);
        folder
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test may change modes");
    }

    fn unexpected(root: &tempfile::TempDir, path: &str) -> Vec<String> {
        let helpers = Helpers::new("/sbin/modprobe".to_owned(), Host::at(root.path()));
        let Known { unexpected, missing, .. } = helpers.look_up(&path.into(), 0);
        assert_eq!(missing, None);
        unexpected
    }

    #[test]
    fn the_configuration_of_the_kernel_says_what_is_expected() {
        let text = "CONFIG_MODULES=y\nCONFIG_MODPROBE_PATH=\"/usr/bin/modprobe\"\n# CONFIG_X is not set\n";
        assert_eq!(configured(text).as_deref(), Some("/usr/bin/modprobe"));
        assert_eq!(configured("# CONFIG_MODPROBE_PATH=\"/x\"\n"), None);
    }

    #[test]
    fn a_file_that_is_root_s_alone_below_folders_that_are_root_s_alone_is_expected() {
        let root = root();
        assert_eq!(unexpected(&root, "/sbin/modprobe"), Vec::<String>::new());
        fs::write(root.path().join("tmp/x"), "").expect("the test may write");
        assert_eq!(unexpected(&root, "/tmp/x"), ["the kernel was built with /sbin/modprobe"], "nobody can move it");
        assert_eq!(unexpected(&root, "/none"), ["the kernel was built with /sbin/modprobe"]);
        assert_eq!(unexpected(&root, "/usr/sbin/modprobe"), Vec::<String>::new(), "there is none");
    }

    #[test]
    fn who_else_may_change_it_is_said() {
        let root = root();
        let at = |path: &str| root.path().join(path);
        set_mode(&at("usr/bin"), 0o777);
        assert_eq!(unexpected(&root, "/sbin/modprobe").len(), 1, "the folder where the link leads");
        set_mode(&at("usr/bin"), 0o755);
        chown(at("sbin"), None, Some(50)).expect("the test is root's");
        set_mode(&at("sbin"), 0o775);
        assert_eq!(unexpected(&root, "/sbin/modprobe"), ["group 50 may change /sbin"]);
        chown(at("usr/bin/kmod"), Some(1000), None).expect("the test is root's");
        assert_eq!(unexpected(&root, "/sbin/modprobe"), ["/sbin/modprobe belongs to user 1000"]);
    }
}
