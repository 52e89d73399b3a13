//! A record of the kernel, taken apart. Whatever the bytes are, nothing panics: what does not fit is left out.

use kmodtrail_abi::{ABI, Ancestor, FileFacts, Head, Identity, Kind, UNKNOWN, head_flags, section};

use crate::event::{Appended, File, LoadSource, ModuleFacts, Taints, Text};

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact<'a> {
    pub(super) kind: Kind,
    pub(super) head: Head,
    pub(super) identity: Option<&'a [u8]>,
    sections: &'a [u8],
}

/// One of its sections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) bytes: &'a [u8],
}

/// Reads a `#[repr(C)]` record of the kernel border from the beginning of `bytes`.
fn read<T: Copy>(bytes: &[u8]) -> Option<T> {
    // SAFETY: there are enough bytes, any alignment will do, and the types it is called with (Head, Identity, Ancestor, FileFacts)
    // consist of integers, for which every bit pattern is a value.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

impl<'a> Fact<'a> {
    /// `None` for what this version does not know.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let head: Head = read(bytes)?;
        if head.abi != ABI {
            return None;
        }
        let kind = Kind::from_number(head.kind)?;
        let mut rest = &bytes[size_of::<Head>()..];
        let mut identity = None;
        if head.flags & head_flags::IDENTITY != 0 {
            identity = Some(rest.get(..size_of::<Identity>())?);
            rest = &rest[size_of::<Identity>()..];
        }
        Some(Self { kind, head, identity, sections: rest })
    }

    /// A flag of the head.
    pub(super) fn has(&self, flag: u32) -> bool {
        self.head.flags & flag != 0
    }

    /// All sections; ends where one does not fit.
    pub(super) fn sections(&self) -> impl Iterator<Item = Section<'a>> {
        let mut rest = self.sections;
        std::iter::from_fn(move || {
            let word = u64::from_ne_bytes(rest.get(..8)?.try_into().ok()?);
            let length = (word >> 32) as usize;
            let bytes = rest.get(8..8usize.checked_add(length)?)?;
            rest = rest.get(8 + length.checked_next_multiple_of(8)?..).unwrap_or_default();
            Some(Section { kind: word as u16, flags: (word >> 16) as u16, bytes })
        })
    }

    /// The first section of this kind.
    pub(super) fn section(&self, kind: u16) -> Option<Section<'a>> {
        self.sections().find(|s| s.kind == kind)
    }

    /// A section's text; `None` where there is none, or it could not be read.
    pub(super) fn text(&self, kind: u16) -> Option<Text> {
        self.section(kind).filter(|s| s.flags & section::FAULT == 0).map(|s| Text::from_bytes(s.bytes))
    }

    /// Name, version, taints of a module.
    pub(super) fn module(&self) -> Option<ModuleFacts> {
        let [_, taints, sig_ok, _] = self.head.args;
        Some(ModuleFacts {
            name: self.text(section::NAME)?,
            version: self.text(section::VERSION),
            srcversion: self.text(section::SRCVERSION),
            taints: (taints != UNKNOWN).then_some(Taints(taints)),
            sig_ok: (sig_ok != UNKNOWN).then_some(sig_ok != 0),
        })
    }

    /// What is appended to the image that load_module was given.
    pub(super) fn appended(&self) -> Appended {
        match self.section(section::SIGNATURE) {
            None => Appended::Nothing,
            Some(s) if s.flags & section::CUT != 0 => Appended::Unreadable("it is longer than kmodtrail reads"),
            Some(s) if s.flags & section::FAULT != 0 => Appended::Unreadable("it claims to be longer than the module"),
            Some(s) => Appended::Raw(s.bytes.into()),
        }
    }

    /// The file that a module is read from.
    pub(super) fn file(&self) -> Option<File> {
        self.section(section::FILE).and_then(file)
    }

    /// A return value: the functions watched give `int`s and the system calls errnos, so that 32 bits hold all of them.
    pub(super) fn returned(&self) -> i32 {
        self.head.args[0] as i32
    }
}

/// The fixed part of the identity.
pub(super) fn identity(bytes: &[u8]) -> Option<Identity> {
    read(bytes)
}

/// Those ancestors that were filled.
pub(super) fn ancestors(identity: &Identity) -> &[Ancestor] {
    &identity.ancestors[..(identity.ancestor_count as usize).min(identity.ancestors.len())]
}

/// Up to the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// Path components, leaf first, each behind its length.
fn components(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((&length, rest)) = bytes.split_first() {
        let Some(part) = rest.get(..length as usize) else { break };
        parts.push(part);
        bytes = &rest[length as usize..];
    }
    parts
}

/// A path section as a path. What does not hang on the root, or was cut, has no slash in front.
pub(super) fn path(section: Section<'_>) -> Option<Text> {
    path_of(section.bytes, section.flags)
}

fn path_of(bytes: &[u8], flags: u16) -> Option<Text> {
    if flags & section::FAULT != 0 {
        return None;
    }
    let parts = components(bytes);
    let mut whole = Vec::with_capacity(bytes.len() + 1);
    let rooted = flags & section::REACHED_ROOT != 0;
    if rooted && parts.is_empty() {
        whole.push(b'/');
    }
    for (i, part) in parts.iter().rev().enumerate() {
        if rooted || i > 0 {
            whole.push(b'/');
        }
        whole.extend_from_slice(part);
    }
    Some(Text::from_bytes(&whole))
}

/// include/uapi/linux/magic.h: where memfd_create(2) puts its files.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// A file section.
fn file(section: Section<'_>) -> Option<File> {
    let facts: FileFacts = read(section.bytes)?;
    let rest = &section.bytes[size_of::<FileFacts>()..];
    let path = path_of(rest, section.flags)?;
    let detached = section.flags & section::DETACHED != 0;
    let in_memory = matches!(facts.magic, TMPFS_MAGIC | HUGETLBFS_MAGIC);
    let source = if detached && in_memory && path.as_str().starts_with("memfd:") {
        LoadSource::Memfd
    } else if section.flags & section::UNLINKED != 0 {
        LoadSource::DeletedFile
    } else {
        LoadSource::File
    };
    Some(File {
        path,
        path_cut: section.flags & section::CUT != 0,
        // MINORBITS, include/linux/kdev_t.h
        device: (facts.device >> 20, facts.device & 0xf_ffff),
        inode: facts.inode,
        size: facts.size,
        mode: facts.mode,
        uid: facts.uid,
        links: facts.links,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(kind: u16, flags: u16, bytes: &[u8]) -> Vec<u8> {
        let mut out = (u64::from(kind) | u64::from(flags) << 16 | (bytes.len() as u64) << 32).to_ne_bytes().to_vec();
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(8), 0xee);
        out
    }

    fn record(kind: u16, sections: &[Vec<u8>]) -> Vec<u8> {
        let mut out = vec![0; size_of::<Head>()];
        out[..2].copy_from_slice(&ABI.to_ne_bytes());
        out[2..4].copy_from_slice(&kind.to_ne_bytes());
        out.extend(sections.concat());
        out
    }

    fn components_of(parts: &[&str]) -> Vec<u8> {
        parts.iter().flat_map(|p| [&[p.len() as u8], p.as_bytes()].concat()).collect()
    }

    #[test]
    fn sections_are_found_and_padding_is_not_part_of_them() {
        let bytes =
            record(Kind::ParseArgs as u16, &[section(6, 0, b"dummy"), section(9, section::CUT, b"numdummies=3")]);
        let fact = Fact::parse(&bytes).expect("a record");
        assert_eq!(fact.text(section::NAME).expect("name").as_str(), "dummy");
        let parameters = fact.section(section::PARAMETERS).expect("parameters");
        assert_eq!((parameters.bytes, parameters.flags), (&b"numdummies=3"[..], section::CUT));
        assert!(fact.section(section::ARGV).is_none());
    }

    #[test]
    fn paths_leaf_first() {
        let bytes = components_of(&["dummy.ko", "net", "lib"]);
        let path = |flags| path_of(&bytes, flags).map(|t| t.to_string());
        assert_eq!(path(section::REACHED_ROOT).as_deref(), Some("/lib/net/dummy.ko"));
        assert_eq!(path(section::CUT).as_deref(), Some("lib/net/dummy.ko"), "its beginning is missing");
        assert_eq!(path(section::FAULT), None);
        assert_eq!(path_of(b"", section::REACHED_ROOT).map(|t| t.to_string()).as_deref(), Some("/"));
    }

    #[test]
    fn any_bytes_give_something_or_nothing_but_no_panic() {
        let good = record(
            Kind::FinitModule as u16,
            &[section(section::FILE, 0, &[9; 100]), section(section::ARGV, 0, b"a\0b\0")],
        );
        let mut state = 7u64;
        for round in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..round % 9 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 17) as u8;
            }
            bytes.truncate((state >> 40) as usize % (good.len() + 1));
            if let Some(fact) = Fact::parse(&bytes) {
                for section in fact.sections() {
                    let _ = (path(section), file(section));
                }
                let _ = fact.identity.and_then(identity).map(|i| ancestors(&i).len());
            }
        }
    }
}
