//! What the running kernel's BTF says of structure members and enumerators, and nothing else of it.
//!
//! Format: include/uapi/linux/btf.h. A file is a header, a type section (a stream of records of different lengths, whose ids count
//! from 1) and a string section. aya's own reader builds every type of the kernel; this one reads 5 MB in some milliseconds.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;

const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;
const LAST: u32 = ENUM64;

/// A member of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    bit_offset: u32,
    bit_size: u32,
}

/// BTF in memory.
#[derive(Debug)]
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Byte position of each type in `types`; index 0 is `void`.
    positions: Vec<u32>,
    wanted: HashMap<&'a [u8], u32>,
}

impl<'a> Btf<'a> {
    /// `None` where it is not BTF, or of a version with records of unknown lengths. Only the types named in `wanted` can be asked for.
    pub(super) fn parse(data: &'a [u8], wanted: &[&str]) -> Option<Self> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let word = |at: usize| word(data, at).map(|v| v as usize);
        let header = word(4)?;
        let section = |offset: usize, length: usize| data.get(header.checked_add(offset)?..)?.get(..length);
        let mut btf = Self {
            types: section(word(8)?, word(12)?)?,
            strings: section(word(16)?, word(20)?)?,
            positions: Vec::with_capacity(word(12)? / 20),
            wanted: HashMap::with_capacity(wanted.len()),
        };
        btf.positions.push(0);
        let mut at = 0;
        while at < btf.types.len() {
            let (name, info) = (self::word(btf.types, at)?, self::word(btf.types, at + 4)?);
            let (kind, count) = (info >> 24 & 0x1f, info as usize & 0xffff);
            if matches!(kind, STRUCT | UNION | ENUM) && name != 0 {
                let name = btf.string(name)?;
                if wanted.iter().any(|w| w.as_bytes() == name) {
                    // the first wins: a kernel may hold several of one name
                    btf.wanted.entry(name).or_insert(btf.positions.len() as u32);
                }
            }
            btf.positions.push(at as u32);
            at += 12
                + match kind {
                    INT | VAR | DECL_TAG => 4,
                    ARRAY => 12,
                    STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
                    ENUM | FUNC_PROTO => 8 * count,
                    0 => return None,
                    k if k > LAST => return None,
                    _ => 0,
                };
        }
        Some(btf)
    }

    /// Byte offset of `path` ("mkobj.kobj.name") in `structure`; looks through anonymous members. `None` also for a bit field.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = *self.wanted.get(structure.as_bytes())?;
        let mut bits = 0u32;
        let mut last = None;
        for name in path.split('.') {
            let (member, ty) = self.member(id, name.as_bytes(), 0)?;
            bits = bits.checked_add(member.bit_offset)?;
            last = Some(member);
            id = ty;
        }
        (last?.bit_size == 0 && bits.is_multiple_of(8)).then_some(bits / 8)
    }

    /// Value of an enumerator.
    pub(super) fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let (at, kind, info) = self.strip(*self.wanted.get(enumeration.as_bytes())?)?;
        if kind != ENUM {
            return None;
        }
        (0..info as usize & 0xffff).find_map(|i| {
            let at = at + 12 + 8 * i;
            (self.string(word(self.types, at)?)? == name.as_bytes()).then(|| word(self.types, at + 4))?
        })
    }

    fn member(&self, id: u32, wanted: &[u8], depth: u32) -> Option<(Member, u32)> {
        let (at, kind, info) = self.strip(id)?;
        if !matches!(kind, STRUCT | UNION) || depth > 8 {
            return None;
        }
        let bit_fields = info >> 31 == 1;
        (0..info as usize & 0xffff).find_map(|i| {
            let at = at + 12 + 12 * i;
            let (name, ty) = (word(self.types, at)?, word(self.types, at + 4)?);
            let offset = word(self.types, at + 8)?;
            let member = if bit_fields {
                Member { bit_offset: offset & 0xff_ffff, bit_size: offset >> 24 }
            } else {
                Member { bit_offset: offset, bit_size: 0 }
            };
            if name == 0 {
                let (inner, ty) = self.member(ty, wanted, depth + 1)?;
                Some((Member { bit_offset: member.bit_offset.checked_add(inner.bit_offset)?, ..inner }, ty))
            } else {
                (self.string(name)? == wanted).then_some((member, ty))
            }
        })
    }

    /// Position, kind and info of a type behind typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Option<(usize, u32, u32)> {
        for _ in 0..64 {
            if id == 0 {
                return None;
            }
            let at = *self.positions.get(id as usize)? as usize;
            let info = word(self.types, at + 4)?;
            match info >> 24 & 0x1f {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = word(self.types, at + 8)?,
                kind => return Some((at, kind, info)),
            }
        }
        None
    }

    fn string(&self, offset: u32) -> Option<&'a [u8]> {
        let tail = self.strings.get(offset as usize..)?;
        Some(&tail[..tail.iter().position(|&b| b == 0)?])
    }
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running_kernel() -> Vec<u8> {
        std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel's BTF")
    }

    #[test]
    fn members_enumerators_and_what_is_absent() {
        let data = running_kernel();
        let btf = Btf::parse(&data, &["path", "task_struct", "kernel_read_file_id", "user_namespace"]).expect("BTF");
        // include/linux/path.h: two pointers, on every kernel
        assert_eq!((btf.offset("path", "mnt"), btf.offset("path", "dentry")), (Some(0), Some(8)));
        assert_eq!(btf.offset("task_struct", "tgid"), btf.offset("task_struct", "pid").map(|at| at + 4));
        assert!(btf.offset("user_namespace", "ns.inum") > btf.offset("user_namespace", "ns"));
        assert_eq!(btf.offset("task_struct", "no_such_member"), None);
        assert_eq!(btf.offset("dentry", "d_parent"), None, "a type that was not asked for");
        assert_eq!(btf.enumerator("kernel_read_file_id", "READING_UNKNOWN"), Some(0));
        assert_eq!(btf.enumerator("kernel_read_file_id", "READING_NOTHING"), None);
    }

    #[test]
    fn a_damaged_file_gives_nothing_and_does_not_panic() {
        let data = running_kernel();
        for end in (0..data.len()).step_by(data.len() / 97 + 1) {
            let _ = Btf::parse(&data[..end], &["path"]).map(|b| b.offset("path", "mnt"));
        }
        let mut wild = data[..data.len().min(200_000)].to_vec();
        let mut state = 1u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % wild.len();
            wild[at] = (state >> 20) as u8;
        }
        let _ = Btf::parse(&wild, &["path"]).map(|b| b.offset("path", "mnt"));
        assert!(Btf::parse(b"no BTF at all", &[]).is_none());
    }
}
