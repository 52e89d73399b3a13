//! The kernel's own lists of modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use crate::event::{Taints, Text};

/// A line of /proc/modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Bytes of memory.
    pub(super) size: u64,
    /// `None` for one that can't be unloaded.
    pub(super) references: Option<u64>,
    /// It is neither being loaded nor being unloaded.
    pub(super) live: bool,
}

/// Where the lists are.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    proc_modules: PathBuf,
    sys_module: PathBuf,
    btf: PathBuf,
    sig_enforce: PathBuf,
}

/// All of them at about one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) listed: BTreeMap<Text, Listed>,
    /// Those below /sys/module that were loaded, not built in.
    pub(super) sysfs: BTreeSet<Text>,
    /// Those below /sys/kernel/btf.
    pub(super) btf: BTreeSet<Text>,
}

impl Default for Lists {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Lists {
    pub(super) fn below(root: &Path) -> Self {
        let path = |name| root.join(name);
        Self {
            proc_modules: path("proc/modules"),
            sys_module: path("sys/module"),
            btf: path("sys/kernel/btf"),
            sig_enforce: path("sys/module/module/parameters/sig_enforce"),
        }
    }

    /// # Errors
    /// Where /proc/modules or /sys/module can't be read.
    pub(super) fn read(&self) -> io::Result<Snapshot> {
        let named =
            |error: io::Error, path: &Path| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let text = fs::read(&self.proc_modules).map_err(|e| named(e, &self.proc_modules))?;
        let listed = text.split(|&byte| byte == b'\n').filter_map(parse).collect();
        let mut sysfs = BTreeSet::new();
        for entry in fs::read_dir(&self.sys_module).map_err(|e| named(e, &self.sys_module))?.flatten() {
            // kernel/module/sysfs.c: what is built in has no such file
            if entry.path().join("initstate").exists() {
                sysfs.insert(Text::from_bytes(entry.file_name().as_bytes()));
            }
        }
        let btf = fs::read_dir(&self.btf).into_iter().flatten().flatten();
        let btf = btf.map(|entry| Text::from_bytes(entry.file_name().as_bytes()));
        Ok(Snapshot { listed, sysfs, btf: btf.filter(|name| name.as_str() != "vmlinux").collect() })
    }

    /// What /sys/module says of one: a file of that name, without its newline.
    pub(super) fn attribute(&self, module: &Text, name: &str) -> Option<Text> {
        let folder = OsString::from_vec(module.bytes());
        let bytes = fs::read(self.sys_module.join(folder).join(name)).ok()?;
        Some(Text::from_bytes(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
    }

    /// The kernel was built with CONFIG_MODULE_SIG.
    pub(super) fn checks_signatures(&self) -> bool {
        self.sig_enforce.exists()
    }

    /// The letters that /sys/module has for the taints of one.
    pub(super) fn taints(&self, module: &Text) -> Option<Taints> {
        self.attribute(module, "taint").map(|letters| Taints::from_letters(letters.as_str()))
    }
}

/// Name, size, references, users, state, address: kernel/module/procfs.c.
fn parse(line: &[u8]) -> Option<(Text, Listed)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let number = |field: &[u8]| str::from_utf8(field).ok()?.parse().ok();
    let size = number(fields.next()?)?;
    let references = number(fields.next()?);
    let live = fields.nth(1)? == b"Live";
    Some((Text::from_bytes(name), Listed { size, references, live }))
}
