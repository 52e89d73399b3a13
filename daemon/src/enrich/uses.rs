//! What a module is in use by that could not be unloaded for it.

use std::{fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use nix::errno::Errno;

use crate::event::{Outcome, Text, Unload};

const REFERENCES: &str = "linux.kernel_module.references";
const HOLDERS: &str = "linux.kernel_module.holders";

/// The modules as sysfs has them, a moment after the call.
#[derive(Debug)]
pub(super) struct Uses {
    modules: PathBuf,
}

impl Uses {
    /// `modules`: /sys/module.
    pub(super) fn new(modules: impl Into<PathBuf>) -> Self {
        Self { modules: modules.into() }
    }

    /// Only of what the kernel did not unload because it is in use: delete_module(2), EWOULDBLOCK.
    pub(super) fn read(&self, unload: &mut Unload, missing: &mut Vec<String>) {
        // whoever unloads chooses the name
        let safe = !unload.name.as_str().contains('/') && !unload.name.as_str().starts_with('.');
        if unload.outcome != Outcome::Failure(Some(Errno::EWOULDBLOCK as i32)) || !safe {
            return;
        }
        let module = self.modules.join(unload.name.as_str());
        match fs::read_to_string(module.join("refcnt")) {
            Ok(count) => unload.references = count.trim().parse().ok(),
            Err(error) => missing.push(format!("{REFERENCES}: {error}")),
        }
        match fs::read_dir(module.join("holders")) {
            Ok(holders) => {
                let names = holders.flatten().map(|holder| Text::from_bytes(holder.file_name().as_bytes()));
                unload.holders = names.collect();
                unload.holders.sort();
            }
            Err(error) => missing.push(format!("{HOLDERS}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::UnloadFlags;

    fn unload(name: &str, errno: Errno) -> Unload {
        Unload {
            name: name.into(),
            flags: UnloadFlags(0),
            outcome: Outcome::Failure(Some(errno as i32)),
            module: None,
            references: None,
            holders: vec![],
            duration: None,
        }
    }

    fn read(uses: &Uses, mut unload: Unload) -> (Option<u64>, Vec<String>, Vec<String>) {
        let mut missing = Vec::new();
        uses.read(&mut unload, &mut missing);
        (unload.references, unload.holders.iter().map(ToString::to_string).collect(), missing)
    }

    #[test]
    fn what_is_in_use_has_its_number_of_references_and_the_modules_that_need_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let module = folder.path().join("module/libcrc32c");
        for holder in ["xfs", "btrfs"] {
            fs::create_dir_all(module.join("holders").join(holder)).expect("the test may write");
        }
        fs::write(module.join("refcnt"), "3\n").expect("the test may write");
        // what a name must not lead to
        fs::create_dir_all(folder.path().join("holders/evil")).expect("the test may write");
        fs::write(folder.path().join("refcnt"), "9\n").expect("the test may write");

        let uses = Uses::new(folder.path().join("module"));
        let held = (Some(3), vec!["btrfs".to_owned(), "xfs".to_owned()], vec![]);
        assert_eq!(read(&uses, unload("libcrc32c", Errno::EWOULDBLOCK)), held);
        let nothing = (None, vec![], vec![]);
        assert_eq!(read(&uses, unload("libcrc32c", Errno::EBUSY)), nothing);
        for name in ["..", "../module/libcrc32c", "/", ".", ""] {
            let (references, holders, _) = read(&uses, unload(name, Errno::EWOULDBLOCK));
            assert_eq!((references, holders), (None, vec![]), "{name}");
        }
        let (.., missing) = read(&uses, unload("gone", Errno::EWOULDBLOCK));
        let begin = [REFERENCES, HOLDERS].map(|name| format!("{name}: "));
        assert!(missing.iter().zip(&begin).all(|(what, name)| what.starts_with(name)), "{missing:?}");
        assert_eq!(missing.len(), 2);
    }
}
