//! Taking the ELF image out of a compressed kernel, as the kernel's own scripts/extract-vmlinux does.
//!
//! QEMU boots the ELF image of a kernel with CONFIG_PVH directly, which saves a second of emulated decompression.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// What the image may be compressed with: the first bytes, and what unpacks it to standard output.
const COMPRESSIONS: &[(&[u8], &str)] =
    &[(b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b\x08", "gzip"), (b"\x02\x21\x4c\x18", "lz4")];

/// Returns the ELF image inside of `vmlinuz`.
///
/// # Errors
/// When there is none.
pub(super) fn extract(vmlinuz: &Path) -> Result<Vec<u8>> {
    let image = fs::read(vmlinuz).with_context(|| format!("reading {}", vmlinuz.display()))?;
    for (magic, program) in COMPRESSIONS {
        let starts =
            image.windows(magic.len()).enumerate().filter(|(_, window)| window == magic).map(|(start, _)| start);
        for start in starts {
            // What follows the payload makes the program fail after it has written all of it.
            let mut unpack = Command::new(program);
            let (_, content, _) = command::filter_whatever_the_status(unpack.arg("-dc"), &image[start..])?;
            if content.starts_with(b"\x7fELF") {
                return Ok(content);
            }
        }
    }
    bail!(
        "{} has no kernel compressed with {}",
        vmlinuz.display(),
        COMPRESSIONS.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    )
}
