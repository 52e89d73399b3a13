//! What a module says of itself, in its ELF section .modinfo: include/linux/moduleinfo.h.

use object::{File, Object as _, ObjectKind, ObjectSection as _, elf};

pub(super) use crate::event::Modinfo;
use crate::event::Text;

/// The longest section that is looked at, bytes: some drivers have hundreds of aliases.
const LONGEST_SECTION: usize = 1 << 20;
/// The longest value that is kept, bytes.
const LONGEST_VALUE: usize = 256;
/// Modules that one may depend on.
const MOST_DEPENDS: usize = 64;
/// A build id has 20 bytes; so many are kept.
const LONGEST_BUILD_ID: usize = 64;

/// Of a module's image. What is there is taken from attackers, too: the error says what is wrong with it.
pub(super) fn read(image: &[u8]) -> Result<Modinfo, &'static str> {
    let file = File::parse(image).map_err(|_| "it is no ELF file")?;
    if file.kind() != ObjectKind::Relocatable {
        return Err("it is no relocatable ELF file, as modules are");
    }
    let section = file.section_by_name(".modinfo").ok_or("it has no section .modinfo")?;
    let data = section.data().map_err(|_| "its section .modinfo is not inside the file")?;
    let mut info = Modinfo { build_id: build_id(&file), ..Modinfo::default() };
    for entry in data[..data.len().min(LONGEST_SECTION)].split(|&byte| byte == 0) {
        let Some(at) = entry.iter().position(|&byte| byte == b'=') else { continue };
        let (key, value) = (&entry[..at], &entry[at + 1..]);
        let text = || Some(Text::from_bytes(&value[..value.len().min(LONGEST_VALUE)]));
        // as the kernel's get_modinfo: the first one counts
        match key {
            b"name" if info.name.is_none() => info.name = text(),
            b"license" if info.license.is_none() => info.license = text(),
            b"author" if info.author.is_none() => info.author = text(),
            b"vermagic" if info.vermagic.is_none() => info.vermagic = text(),
            b"version" if info.version.is_none() => info.version = text(),
            b"srcversion" if info.srcversion.is_none() => info.srcversion = text(),
            b"depends" if info.depends.is_empty() => {
                let names = value.split(|&byte| byte == b',').filter(|name| !name.is_empty());
                let names = names.map(|name| Text::from_bytes(&name[..name.len().min(LONGEST_VALUE)]));
                info.depends = names.take(MOST_DEPENDS).collect();
            }
            b"intree" => info.intree = true,
            b"alias" => info.aliases += 1,
            _ => {}
        }
    }
    Ok(info)
}

fn build_id(file: &File<'_>) -> Option<String> {
    let section = file.section_by_name(".note.gnu.build-id")?;
    let note = section.data().ok()?;
    // namesz, descsz, type, "GNU\0", description: three words, and the name takes one
    let word = |at: usize| {
        let bytes = note.get(at..at + 4)?.try_into().ok()?;
        Some(if file.is_little_endian() { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    if (word(0)?, word(8)?, note.get(12..16)?) != (4, elf::NT_GNU_BUILD_ID, b"GNU\0") {
        return None;
    }
    let id = note.get(16..16 + (word(4)? as usize).min(LONGEST_BUILD_ID))?;
    (!id.is_empty()).then(|| const_hex::encode(id))
}
