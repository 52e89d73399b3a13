use std::{fs, io::Write as _, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::event::{Load, Process, samples};

/// As a process of this host's would have it.
fn event(path: &Path) -> Event {
    let mut event = samples::load();
    let metadata = fs::metadata(path).expect("the file is there");
    let What::Load(load) = &mut event.what else { panic!("it is a load") };
    let file = load.file.as_mut().expect("it has one");
    file.path = Text::from_bytes(path.as_os_str().as_encoded_bytes());
    (file.path_cut, file.inode, file.size) = (false, metadata.ino(), metadata.size());
    // no device: as a file system without a disk
    file.device = (0, 1);
    (load.contents, load.descriptor) = (None, None);
    event.time.wall = u64::MAX;
    event.missing.clear();
    let process: &mut Process = Arc::make_mut(event.process.as_mut().expect("it has one"));
    process.namespaces.mount = Host::find().namespace;
    process.id.pid = std::process::id();
    event
}

fn load(event: &Event) -> &Load {
    let What::Load(load) = &event.what else { panic!("it is a load") };
    load
}

/// A relocatable ELF file with these sections.
fn elf(modinfo: &[u8], build_id: &[u8]) -> Vec<u8> {
    const HEADER: usize = 64;
    let names = b"\0.modinfo\0.note.gnu.build-id\0.shstrtab\0";
    let mut note = Vec::new();
    for word in [4, build_id.len() as u32, 3] {
        note.extend(u32::to_le_bytes(word));
    }
    note.extend(b"GNU\0");
    note.extend(build_id);
    let mut file = vec![0; HEADER];
    let mut headers = vec![0; 64];
    for (name, kind, content) in [(1u32, 1u32, modinfo), (10, 7, &note), (29, 3, names)] {
        let mut header = Vec::new();
        header.extend(name.to_le_bytes());
        header.extend(kind.to_le_bytes());
        for value in [0, 0, file.len() as u64, content.len() as u64, 0, 1, 0] {
            // flags, address, offset, size, link and info, alignment, entry size
            header.extend(u64::to_le_bytes(value));
        }
        headers.extend(header);
        file.extend_from_slice(content);
    }
    let at = file.len() as u64;
    file[..20].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 62, 0]);
    file[20] = 1;
    file[40..48].copy_from_slice(&at.to_le_bytes());
    for (at, value) in [(52, 64u16), (58, 64), (60, 4), (62, 3)] {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    file.extend(headers);
    file
}

const MODINFO: &[u8] = b"license=GPL\0\0author=Eve\0author=Mallory\0vermagic=6.1.0 SMP \0version=1.2\0srcversion=ABC\0depends=libcrc32c,xor\0intree=Y\0alias=fs-x\0alias=xfs\0nonsense\0=\0";

fn hex(bytes: &[u8]) -> String {
    const_hex::encode(Sha256::digest(bytes))
}

fn files() -> ModuleFiles {
    ModuleFiles::new(Host::find(), Duration::from_secs(60))
}

#[test]
fn a_load_gets_the_hash_and_the_modinfo_of_its_file() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("m.ko");
    let image = elf(MODINFO, &[0xab; 20]);
    fs::write(&path, &image).expect("the test may write");
    let mut event = event(&path);
    files().read(&mut event, &mut None);
    assert_eq!(event.missing, Vec::<String>::new());
    let contents = load(&event).contents.as_ref().expect("it was read");
    assert_eq!((contents.sha256.as_deref(), contents.compression), (Some(hex(&image).as_str()), None));
    let info = &contents.info;
    let text = |text: &Option<Text>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(
        [&info.license, &info.author, &info.vermagic, &info.version, &info.srcversion].map(text),
        ["GPL", "Eve", "6.1.0 SMP ", "1.2", "ABC"]
    );
    assert_eq!(info.depends.iter().map(ToString::to_string).collect::<Vec<_>>(), ["libcrc32c", "xor"]);
    assert_eq!((info.intree, info.aliases, info.build_id.as_deref()), (true, 2, Some("ab".repeat(20).as_str())));
    assert_eq!(contents.error, None);
}

#[test]
fn a_compressed_file_has_the_hash_of_both_and_one_that_lies_says_so() {
    let image = elf(MODINFO, &[1; 20]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&image).expect("memory takes everything");
    let gzip = gzip.finish().expect("memory takes everything");
    let zstd = zstd::encode_all(&image[..], 3).expect("memory takes everything");
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).expect("an encoder");
    xz.write_all(&image).expect("memory takes everything");
    let xz = xz.finish().expect("memory takes everything");
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (name, bytes) in [("gzip", &gzip), ("zstd", &zstd), ("xz", &xz)] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("the test may write");
        let mut whole = event(&path);
        files().read(&mut whole, &mut None);
        let contents = load(&whole).contents.as_ref().expect("it was read");
        assert_eq!((contents.compression, contents.sha256.as_deref()), (Some(name), Some(hex(&image).as_str())));
        assert_eq!((contents.file_sha256.as_str(), contents.info.aliases), (hex(bytes).as_str(), 2));

        fs::write(&path, &bytes[..bytes.len() / 2]).expect("the test may write");
        let mut cut = event(&path);
        files().read(&mut cut, &mut None);
        let contents = load(&cut).contents.as_ref().expect("it was read");
        let error = contents.error.as_deref().expect("it is broken");
        assert!(error.starts_with(&format!("its {name} compression is broken")), "{error}");
        assert_eq!((contents.sha256.as_deref(), &contents.file_sha256), (None, &hex(&bytes[..bytes.len() / 2])));
    }
}

#[test]
fn a_small_file_that_becomes_a_huge_one_is_not_followed() {
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    let zeros = vec![0; 1 << 20];
    for _ in 0..129 {
        bomb.write_all(&zeros).expect("memory takes everything");
    }
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("bomb.ko.zst");
    fs::write(&path, bomb.finish().expect("memory takes everything")).expect("the test may write");
    let mut event = event(&path);
    files().read(&mut event, &mut None);
    let contents = load(&event).contents.as_ref().expect("it was read");
    assert_eq!(contents.error.as_deref(), Some("decompressed it has more than 128 MiB"));
}

#[test]
fn another_file_at_its_place_is_not_taken_for_it() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("m.ko");
    fs::write(&path, "the module").expect("the test may write");
    let loaded = event(&path);
    let missing = |change: &dyn Fn(&mut Event)| {
        let mut event = loaded.clone();
        change(&mut event);
        files().read(&mut event, &mut None);
        assert_eq!(load(&event).contents, None);
        event.missing.join("\n")
    };
    let changed = missing(&|event| event.time.wall = 1);
    assert_eq!(changed, "linux.kernel_module.hash.sha256: the file has changed since it was read");
    let grown = missing(&|event| {
        let What::Load(load) = &mut event.what else { return };
        load.file.as_mut().expect("it has one").size += 1;
    });
    assert_eq!(grown, "linux.kernel_module.hash.sha256: there is another file at its path now");
    let elsewhere = missing(&|event| {
        let What::Load(load) = &mut event.what else { return };
        load.file.as_mut().expect("it has one").device = (4095, 1);
    });
    assert_eq!(elsewhere, "linux.kernel_module.hash.sha256: there is another file at its path now");
    let gone = folder.path().join("gone");
    fs::rename(&path, &gone).expect("the test may rename");
    assert_eq!(missing(&|_| {}), "linux.kernel_module.hash.sha256: the file is gone");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("the test may make a FIFO");
    assert_eq!(missing(&|_| {}), "linux.kernel_module.hash.sha256: there is another file at its path now");
}

#[test]
fn a_file_that_the_host_does_not_have_at_its_path_is_a_containers() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("m.ko");
    fs::write(&path, "the module").expect("the test may write");
    let sources = |elsewhere: bool, there: bool| {
        let mut event = event(&path);
        let process = Arc::make_mut(event.process.as_mut().expect("it has one"));
        process.namespaces.mount = process.namespaces.mount.map(|inode| inode + u32::from(elsewhere));
        let What::Load(load) = &mut event.what else { panic!("it is a load") };
        load.file.as_mut().expect("it has one").inode += u64::from(!there);
        files().place(&mut event);
        let What::Load(load) = &event.what else { panic!("it is a load") };
        (load.source, load.file.as_ref().map(|file| file.source))
    };
    let all = |source| (Some(source), Some(source));
    assert_eq!(sources(true, false), all(LoadSource::ContainerFile));
    assert_eq!(sources(true, true), all(LoadSource::File), "a service with a mount namespace of its own");
    assert_eq!(sources(false, false), all(LoadSource::File), "another file is there by now");
}

#[test]
fn a_deleted_file_is_read_by_the_descriptor_of_a_process_that_still_has_it() {
    use std::os::fd::AsRawFd as _;
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("m.ko");
    fs::write(&path, elf(MODINFO, &[])).expect("the test may write");
    let mut event = event(&path);
    let open = fs::File::open(&path).expect("it is there");
    fs::remove_file(&path).expect("the test may delete");
    let What::Load(load) = &mut event.what else { panic!("it is a load") };
    load.descriptor = Some(open.as_raw_fd() as u32);
    files().read(&mut event, &mut None);
    let What::Load(load) = &event.what else { panic!("it is a load") };
    assert_eq!(load.contents.as_ref().map(|c| c.info.aliases), Some(2), "{:?}", event.missing);
}

#[test]
fn a_file_is_read_once_as_long_as_it_stays_the_same_and_is_there_later_where_it_was_late() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("m.ko");
    fs::write(&path, elf(MODINFO, &[])).expect("the test may write");
    let mut files = files();
    let contents = |files: &mut ModuleFiles, deadline: &mut Option<Instant>| {
        let mut event = event(&path);
        files.read(&mut event, deadline);
        (load(&event).contents.clone(), event.missing.join("\n"))
    };
    // nothing is waited for any more in this batch
    let (none, why) = contents(&mut files, &mut Some(Instant::now()));
    assert!(none.is_none() && why.contains("was not read within"), "{why}");
    let first = loop {
        let (first, why) = contents(&mut files, &mut None);
        if let Some(first) = first {
            break first;
        }
        assert!(why.contains("another file is still being read"), "{why}");
    };
    let (second, _) = contents(&mut files, &mut Some(Instant::now()));
    assert!(Arc::ptr_eq(&first, &second.expect("it is known")));
    fs::write(&path, elf(b"license=MIT\0", &[])).expect("the test may write");
    let (third, why) = contents(&mut files, &mut None);
    let license = third.and_then(|c| c.info.license.as_ref().map(ToString::to_string));
    assert_eq!(license.as_deref(), Some("MIT"), "{why}");
}

/// To look for the end of each name takes minutes.
#[test]
fn a_million_sections_with_an_endless_name_are_looked_at_once() {
    const SECTIONS: usize = 500_000;
    let mut image = elf(MODINFO, &[]);
    let (begin, of_names) = (image.len(), image.len() - 64);
    let mut names = image[of_names..].to_vec();
    image.resize(begin + SECTIONS * 64, 0);
    image.resize(image.len() + (8 << 20), b'x');
    names[24..32].copy_from_slice(&(begin as u64).to_le_bytes());
    names[32..40].copy_from_slice(&((image.len() - begin) as u64).to_le_bytes());
    for section in image[begin..begin + SECTIONS * 64].chunks_exact_mut(64) {
        section[..4].copy_from_slice(&((SECTIONS * 64) as u32).to_le_bytes());
    }
    // so many stand in the first section, and the last one has the names
    let last = begin + (SECTIONS - 1) * 64;
    image[last..last + 64].copy_from_slice(&names);
    image[begin + 32..begin + 40].copy_from_slice(&(SECTIONS as u64).to_le_bytes());
    image[begin + 40..begin + 44].copy_from_slice(&(SECTIONS as u32 - 1).to_le_bytes());
    image[40..48].copy_from_slice(&(begin as u64).to_le_bytes());
    image[60..64].copy_from_slice(&[0, 0, 0xff, 0xff]);
    assert_eq!(modinfo::read(&image), Err("it has no section .modinfo"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..600, bytes in prop::collection::vec(any::<u8>(), 0..24), cut in 0usize..600) {
        let mut image = elf(MODINFO, &[7; 20]);
        for (to, from) in image.iter_mut().skip(at).zip(bytes) {
            *to = from;
        }
        image.truncate(image.len().saturating_sub(cut));
        let _ = modinfo::read(&image);
    }
}
