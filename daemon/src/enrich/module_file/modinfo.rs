//! What a module says of itself, in its ELF section .modinfo: include/linux/moduleinfo.h.

use object::{
    Endian as _, Endianness, FileKind,
    elf::{self, FileHeader32, FileHeader64},
    read::elf::{FileHeader, SectionHeader as _},
};

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
    match FileKind::parse(image) {
        Ok(FileKind::Elf32) => of::<FileHeader32<Endianness>>(image),
        Ok(FileKind::Elf64) => of::<FileHeader64<Endianness>>(image),
        _ => Err("it is no ELF file"),
    }
}

fn of<Elf: FileHeader<Endian = Endianness>>(image: &[u8]) -> Result<Modinfo, &'static str> {
    let sections = Sections::<Elf>::of(image)?;
    let data = sections.find(b".modinfo\0").ok_or("it has no section .modinfo")?;
    let data = data.ok_or("its section .modinfo is not inside the file")?;
    let mut info = Modinfo { build_id: build_id(&sections), ..Modinfo::default() };
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

fn build_id<Elf: FileHeader<Endian = Endianness>>(sections: &Sections<'_, Elf>) -> Option<String> {
    let note = sections.find(b".note.gnu.build-id\0")??;
    // namesz, descsz, type, "GNU\0", description: three words, and the name takes one
    let word = |at: usize| Some(sections.endian.read_u32(note.get(at..at + 4)?.try_into().ok()?));
    if (word(0)?, word(8)?, note.get(12..16)?) != (4, elf::NT_GNU_BUILD_ID, b"GNU\0") {
        return None;
    }
    let id = note.get(16..16 + (word(4)? as usize).min(LONGEST_BUILD_ID))?;
    (!id.is_empty()).then(|| const_hex::encode(id))
}

struct Sections<'a, Elf: FileHeader> {
    image: &'a [u8],
    endian: Elf::Endian,
    headers: &'a [Elf::SectionHeader],
    names: &'a [u8],
}

impl<'a, Elf: FileHeader<Endian = Endianness>> Sections<'a, Elf> {
    fn of(image: &'a [u8]) -> Result<Self, &'static str> {
        let header = Elf::parse(image).map_err(|_| "it is no ELF file")?;
        let endian = header.endian().map_err(|_| "it is no ELF file")?;
        if header.e_type(endian) != elf::ET_REL {
            return Err("it is no relocatable ELF file, as modules are");
        }
        let headers = header.section_headers(endian, image).map_err(|_| "its sections are not inside the file")?;
        let names = header.shstrndx(endian, image).ok().and_then(|index| headers.get(index as usize));
        let names = names.and_then(|names| names.data(endian, image).ok());
        Ok(Self { image, endian, headers, names: names.ok_or("its sections have no names")? })
    }

    /// What is in the first section of this name, which ends with a NUL; `Some(None)` where that is not inside the file.
    ///
    /// Names are compared where they stand. To look for their ends would take for ever: of a million sections each can have a name of a
    /// hundred megabytes.
    fn find(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        let is = |header: &&Elf::SectionHeader| {
            self.names.get(header.sh_name(self.endian) as usize..).is_some_and(|names| names.starts_with(name))
        };
        self.headers.iter().find(is).map(|header| header.data(self.endian, self.image).ok())
    }
}
