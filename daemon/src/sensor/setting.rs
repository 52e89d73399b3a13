//! Which settings' writers are told, and which of them a record is about.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use kmodtrail_abi::{WATCHED_SETTINGS, section, setting_class};

use super::fact::Fact;
use crate::event::{Setting, Text};

/// Files that show settings of the kernel.
#[derive(Debug, Default)]
pub(super) struct WatchedSettings(Vec<PathBuf>);

impl WatchedSettings {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        Self(paths.to_vec())
    }

    /// How the programs know them: they look at the first bytes of names. There is room for some; whoever writes the others is not known.
    pub(super) fn names(&self) -> [u64; WATCHED_SETTINGS] {
        let mut names = [0; WATCHED_SETTINGS];
        for (place, path) in names.iter_mut().zip(&self.0) {
            let name = path.file_name().unwrap_or_default().as_bytes();
            let mut first = [0; 8];
            let length = name.len().min(7);
            first[..length].copy_from_slice(&name[..length]);
            *place = u64::from_ne_bytes(first);
        }
        names
    }

    /// What somebody is about to write, and where. It is not known what the setting was, and, where it is no text, what it will be.
    pub(super) fn write(&self, fact: &Fact<'_>) -> Option<Setting> {
        let name = fact.section(section::NAME).map(|section| section.bytes).unwrap_or_default();
        let is_named = |path: &Path| path.file_name().is_some_and(|last| last.as_bytes() == name);
        let path = self.0.iter().find(|path| match fact.head.args[0] {
            setting_class::TEXT | setting_class::NUMBER => path.starts_with("/proc/sys") && is_named(path),
            setting_class::PARAMETER => {
                let owner = fact.section(section::OWNER).map(|section| section.bytes).unwrap_or_default();
                let folder = [b"/sys/module/", owner, b"/parameters"].concat();
                path.parent().is_some_and(|parent| parent.as_os_str().as_bytes() == folder) && is_named(path)
            }
            setting_class::LOCKDOWN => path.as_path() == Path::new("/sys/kernel/security/lockdown"),
            _ => false,
        })?;
        let value = fact.section(section::VALUE).filter(|value| value.flags & section::FAULT == 0);
        let value = value.map(|value| Text::from_bytes(value.bytes.trim_ascii()));
        Some(Setting::Value { path: Text::from_bytes(path.as_os_str().as_bytes()), before: None, after: value })
    }
}
