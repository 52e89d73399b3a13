//! Writing an initramfs: busybox, some files, and an init script.
//!
//! It is not compressed: unpacking costs an emulated processor more than loading the bytes.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

const BUSYBOX: &str = "/bin/busybox";

/// Where the bytes of a file come from.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// These.
    Bytes(Vec<u8>),
    /// A file of the host.
    Host(PathBuf),
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<PathBuf> for Content {
    fn from(path: PathBuf) -> Self {
        Self::Host(path)
    }
}

impl From<&Path> for Content {
    fn from(path: &Path) -> Self {
        Self::Host(path.to_owned())
    }
}

impl Content {
    /// The bytes.
    ///
    /// # Errors
    /// When the host's file can't be read.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Host(path) => fs::read(path).with_context(|| format!("reading {}", path.display())),
        }
    }
}

/// An initramfs that is being written.
pub(super) struct Initramfs<W: Write> {
    writer: W,
    folders: BTreeSet<PathBuf>,
    inodes: u32,
}

impl<W: Write> Initramfs<W> {
    /// Begins one that has busybox with its shell, the folders that everything mounts on, and `init`.
    pub(super) fn new(writer: W, init: &str) -> Result<Self> {
        let mut initramfs = Self { writer, folders: BTreeSet::new(), inodes: 0 };
        for folder in ["bin", "sbin", "proc", "sys", "dev", "tmp", "etc", "mnt", "out"] {
            initramfs.folder(Path::new(folder))?;
        }
        initramfs.file("bin/busybox", &Content::Host(BUSYBOX.into()))?;
        initramfs.add(Path::new("bin/sh"), ModeFileType::Symlink, 0o777, b"busybox")?;
        initramfs.file("init", &init.into())?;
        Ok(initramfs)
    }

    /// Adds a file that everybody may run, and the folders above it.
    pub(super) fn file(&mut self, path: impl AsRef<Path>, content: &Content) -> Result<()> {
        let path = path.as_ref().strip_prefix("/").unwrap_or(path.as_ref());
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        self.add(path, ModeFileType::Regular, 0o755, &content.bytes()?)
    }

    /// Adds a program of the host with the shared libraries it needs.
    pub(super) fn program(&mut self, path: &str, host: &Path) -> Result<()> {
        self.file(path, &host.into())?;
        for library in libraries(host)? {
            self.file(&library, &library.as_path().into())?;
        }
        Ok(())
    }

    /// Ends it.
    pub(super) fn finish(self) -> Result<()> {
        trailer(self.writer).and_then(|mut writer| writer.flush()).context("writing the initramfs")
    }

    fn folder(&mut self, path: &Path) -> Result<()> {
        if path.as_os_str().is_empty() || !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.folder(above)?;
        }
        self.add(path, ModeFileType::Directory, 0o755, b"")
    }

    fn add(&mut self, path: &Path, kind: ModeFileType, mode: u32, content: &[u8]) -> Result<()> {
        self.inodes += 1;
        let entry = Builder::new(&path.to_string_lossy()).mode(mode).set_mode_file_type(kind).ino(self.inodes).nlink(1);
        let write = || {
            let mut file = entry.write(&mut self.writer, u32::try_from(content.len()).map_err(std::io::Error::other)?);
            file.write_all(content)?;
            file.finish().map(drop)
        };
        write().with_context(|| format!("adding {} to the initramfs", path.display()))
    }
}

/// The shared libraries that a program needs, its loader included, as the loader finds them here.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // A static program makes ldd fail, and needs nothing.
    let listed = Command::new("ldd").arg(program).output().context("starting ldd")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)` and `/lib64/ld-linux-x86-64.so.2 (0x...)`
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}
