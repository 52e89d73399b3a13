//! What the running kernel demands of a module's signature.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::event::Taints;

/// Two files that stay open: to look at them costs two system calls. Both can only become stricter while the kernel runs.
#[derive(Debug)]
pub(super) struct Policy {
    sig_enforce: Option<File>,
    lockdown: Option<File>,
    /// Nothing can change any more.
    enforced: AtomicBool,
}

impl Policy {
    pub(super) fn of_running_kernel() -> Self {
        Self::at("/sys/module/module/parameters/sig_enforce", LOCKDOWN)
    }

    fn at(sig_enforce: impl AsRef<Path>, lockdown: impl AsRef<Path>) -> Self {
        Self {
            sig_enforce: File::open(sig_enforce).ok(),
            lockdown: File::open(lockdown).ok(),
            enforced: AtomicBool::new(false),
        }
    }

    /// Whether a module without a valid signature is refused now; `None` where the kernel does not say. (A kernel without
    /// CONFIG_MODULE_SIG has the parameter not, one without lockdown not that file: either is enough for a yes, for a no the parameter
    /// must be there.)
    pub(super) fn enforced(&self) -> Option<bool> {
        if self.enforced.load(Ordering::Relaxed) {
            return Some(true);
        }
        let sig_enforce =
            self.sig_enforce.as_ref().and_then(|file| first_bytes(file).map(|text| text.starts_with(b"Y")));
        let enforced = sig_enforce == Some(true) || self.is_locked_down();
        self.enforced.store(enforced, Ordering::Relaxed);
        if enforced { Some(true) } else { sig_enforce }
    }

    /// Of either mode.
    pub(super) fn is_locked_down(&self) -> bool {
        let modes = self.lockdown.as_ref().and_then(first_bytes);
        modes
            .is_some_and(|modes| [&b"[integrity]"[..], b"[confidentiality]"].iter().any(|&mode| contains(&modes, mode)))
    }
}

/// Lockdown's mode stands in brackets: security/lockdown/lockdown.c.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Lockdown is in the mode in which no eBPF program may read the kernel's memory.
pub(super) fn lockdown_is_confidentiality() -> bool {
    std::fs::read_to_string(LOCKDOWN).is_ok_and(|modes| modes.contains("[confidentiality]"))
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn first_bytes(file: &File) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    file.read_at(&mut bytes, 0).ok().filter(|&n| n > 0).map(|_| bytes)
}

/// The kernel's taints.
#[derive(Debug)]
pub(super) struct Tainted(Option<File>);

impl Tainted {
    pub(super) fn of_running_kernel() -> Self {
        Self(File::open("/proc/sys/kernel/tainted").ok())
    }

    /// Those that it has now; `None` where it does not say.
    pub(super) fn now(&self) -> Option<Taints> {
        let text = self.0.as_ref().and_then(first_bytes)?;
        let digits = text.split(|byte| !byte.is_ascii_digit()).next()?;
        str::from_utf8(digits).ok()?.parse().ok().map(Taints)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn said(sig_enforce: Option<&str>, lockdown: Option<&str>) -> Option<bool> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = |name: &str, text: Option<&str>| {
            let path = folder.path().join(name);
            if let Some(text) = text {
                fs::write(&path, text).expect("the test may write");
            }
            path
        };
        Policy::at(file("sig_enforce", sig_enforce), file("lockdown", lockdown)).enforced()
    }

    #[test]
    fn either_of_the_two_enforces_signatures() {
        let none = "[none] integrity confidentiality\n";
        assert_eq!(said(Some("N\n"), Some(none)), Some(false));
        assert_eq!(said(Some("Y\n"), Some(none)), Some(true));
        assert_eq!(said(Some("N\n"), Some("none [integrity] confidentiality\n")), Some(true));
        assert_eq!(said(None, Some("none integrity [confidentiality]\n")), Some(true));
        assert_eq!(said(Some("N\n"), None), Some(false));
        assert_eq!(said(None, Some(none)), None);
        assert_eq!(said(Some(""), None), None);
    }

    #[test]
    fn what_becomes_stricter_is_seen() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("sig_enforce");
        fs::write(&path, "N\n").expect("the test may write");
        let policy = Policy::at(&path, "/nowhere");
        assert_eq!(policy.enforced(), Some(false));
        fs::write(&path, "Y\n").expect("the test may write");
        assert_eq!(policy.enforced(), Some(true));
    }
}
