//! The modules and disks that scenarios load and mount.

mod builder;
pub(crate) mod image;
pub(crate) mod signing;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cache::{self, Cache},
    command,
    kernels::Kernel,
    progress::say,
};

/// What ends a signed module (include/linux/module_signature.h).
pub(crate) const SIGNATURE_MARKER: &[u8] = b"~Module signature appended~\n";

/// The modules of one kernel, in one folder:
///
/// | file | what it is |
/// |---|---|
/// | dummy.ko | the kernel's own, signed by Debian, not compressed |
/// | nosig.ko | dummy.ko without the marker that ends its signature: unsigned |
/// | badsig.ko | dummy.ko with one byte changed: its signature does not fit |
/// | truncated.ko | the first half of dummy.ko: unsigned, and no module |
/// | badelf.ko | a text |
/// | hello.ko | built out of the tree, unsigned; parameters `x`, `text`, `fail`, `delay_ms` |
/// | asks.ko | the same, asks for the modules `aliases` without waiting, and starts modprobe for `unasked` |
/// | hider.ko | the same, takes itself out of /proc/modules; parameter `sysfs`: out of /sys/module, too |
#[derive(Clone, Debug)]
pub(crate) struct Fixtures {
    folder: PathBuf,
}

impl Fixtures {
    /// Makes the modules for a kernel.
    ///
    /// # Errors
    /// When a module can't be built.
    pub(crate) fn of(cache: &Cache, kernel: &Kernel) -> Result<Self> {
        let built = ["asks", "hello", "hider"].map(|name| Ok((name, builder::module(cache, kernel, name)?)));
        let built = built.into_iter().collect::<Result<Vec<_>>>()?;
        let name = format!("fixtures/{}", kernel.name());
        let version = format!("{}-{}", kernel.release(), cache::fingerprint(&built));
        let folder = cache.entry(&name, &version, |place| {
            let write = |name: &str, content: &[u8]| {
                let path = place.join(name);
                fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
            };
            let dummy = module(kernel, "dummy")?;
            let unsigned = dummy.strip_suffix(SIGNATURE_MARKER).context("the kernel's own dummy.ko is not signed")?;
            let mut changed = dummy.clone();
            changed[dummy.len() / 2] ^= 1;
            write("nosig.ko", unsigned)?;
            write("badsig.ko", &changed)?;
            write("truncated.ko", &dummy[..dummy.len() / 2])?;
            write("badelf.ko", b"This is a text and no module.\n")?;
            write("dummy.ko", &dummy)?;
            built.iter().try_for_each(|(name, path)| {
                let module = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                write(&format!("{name}.ko"), &module)
            })
        })?;
        cache.keep_only(&name, &version)?;
        Ok(Self { folder })
    }

    /// The content of one of them.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Each file's name and path.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(crate) fn files(&self) -> Result<Vec<(String, PathBuf)>> {
        let files = fs::read_dir(&self.folder).with_context(|| format!("reading {}", self.folder.display()))?;
        files
            .map(|file| {
                Ok((
                    file.as_ref().map(|f| f.file_name().to_string_lossy().into_owned()).unwrap_or_default(),
                    file?.path(),
                ))
            })
            .collect()
    }
}

/// One of the kernel's own modules, decompressed.
///
/// # Errors
/// When the kernel has none of that name.
pub(crate) fn module(kernel: &Kernel, name: &str) -> Result<Vec<u8>> {
    let path = module_file(kernel, name)?;
    let decompressor = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(&path).with_context(|| format!("reading {}", path.display())),
    };
    command::output(Command::new(decompressor).arg("-dc").arg(&path))
}

/// The file of one of the kernel's own modules, compressed if the distribution compresses it.
///
/// # Errors
/// When the kernel has none of that name.
pub(crate) fn module_file(kernel: &Kernel, name: &str) -> Result<PathBuf> {
    find(&kernel.modules(), name)?.with_context(|| format!("kernel {} has no module {name}", kernel.release()))
}

fn find(folder: &Path, module: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if let Some(found) = find(&entry.path(), module)? {
                return Ok(Some(found));
            }
        } else if entry.file_name().to_string_lossy().strip_prefix(module).is_some_and(|rest| rest.starts_with(".ko")) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// An xfs image, 300 MB but mostly holes: the smallest that mkfs.xfs makes.
///
/// # Errors
/// When mkfs.xfs fails.
pub(crate) fn xfs_image(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.entry("xfs-image", "300M", |place| {
        say("making an xfs image");
        let image = place.join("xfs.img");
        fs::File::create(&image)?.set_len(300 << 20).with_context(|| format!("growing {}", image.display()))?;
        // A newer mkfs.xfs than the oldest kernel: only features that 5.10 knows.
        command::run(Command::new("mkfs.xfs").args(["-q", "-i", "nrext64=0"]).arg(&image))
            .or_else(|_| command::run(Command::new("mkfs.xfs").args(["-q", "-f"]).arg(&image)))?;
        ensure!(image.is_file(), "mkfs.xfs made no {}", image.display());
        Ok(())
    })?;
    Ok(folder.join("xfs.img"))
}

/// All occurrences replaced; none: there is none.
pub(crate) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut result = bytes.to_vec();
    let mut found = false;
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(from) {
            result[at..at + from.len()].copy_from_slice(to);
            found = true;
        }
    }
    found.then_some(result)
}
