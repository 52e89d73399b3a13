//! A module file's bytes: hashes, decompression, modinfo.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use sha2::{Digest as _, Sha256};

use super::{modinfo, open::Opened};
use crate::event::ModuleFile;

/// The largest module that distributions have takes 30 MiB; one with all of its debugging information takes some times that. Bytes, of the
/// file and of what it becomes.
const LARGEST: u64 = 128 << 20;
/// What a decompressor may need for itself, KiB: XZ's highest preset has a dictionary of 64 MiB, the kernel takes at most 1 MiB.
const DICTIONARY_KIB: u32 = 64 << 10;
/// The same for zstd: a window of 64 MiB.
const WINDOW_LOG: u32 = 26;

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooMuch {
    #[error("the file has more than {} MiB", LARGEST >> 20)]
    File,
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
}

pub(super) fn read(opened: &Opened) -> Result<ModuleFile, TooMuch> {
    let mut bytes = Vec::new();
    (&opened.file).take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(TooMuch::File);
    }
    Ok(contents(bytes, opened.modified, LARGEST))
}

/// What a file with these bytes says. `most`: bytes that it may become.
pub(in crate::enrich) fn contents(bytes: Vec<u8>, modified: u64, most: u64) -> ModuleFile {
    let file_sha256 = sha256(&bytes);
    let compression = Compression::of(&bytes);
    let image = match compression {
        None => Ok(bytes),
        Some(compression) => compression.decompress(&bytes, most),
    };
    let (info, error) = match &image {
        Ok(image) => match modinfo::read(image) {
            Ok(info) => (info, None),
            Err(why) => (modinfo::Modinfo::default(), Some(why.to_owned())),
        },
        Err(why) => (modinfo::Modinfo::default(), Some(why.clone())),
    };
    ModuleFile {
        sha256: match compression {
            None => Some(file_sha256.clone()),
            Some(_) => image.as_deref().ok().map(sha256),
        },
        file_sha256,
        compression: compression.map(Compression::name),
        modified,
        info,
        package: None,
        error,
    }
}

fn sha256(bytes: &[u8]) -> String {
    const_hex::encode(Sha256::digest(bytes))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::enrich) enum Compression {
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    pub(in crate::enrich) fn of(bytes: &[u8]) -> Option<Self> {
        let magics: [(&[u8], Self); 3] = [
            (&[0x1f, 0x8b], Self::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Self::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Self::Zstd),
        ];
        magics.into_iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, compression)| compression)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    pub(in crate::enrich) fn decompress(self, bytes: &[u8], most: u64) -> Result<Vec<u8>, String> {
        let broken = |error: io::Error| format!("its {} compression is broken: {error}", self.name());
        let mut reader: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Xz => Box::new(XzReader::new_mem_limit(bytes, true, DICTIONARY_KIB)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(broken)?;
                decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
                Box::new(decoder)
            }
        };
        let mut image = Vec::new();
        reader.by_ref().take(most + 1).read_to_end(&mut image).map_err(broken)?;
        if image.len() as u64 > most {
            return Err(format!("decompressed it has more than {} MiB", most >> 20));
        }
        Ok(image)
    }
}
