//! Spools that older versions wrote, and what this version writes.

use std::{fs, path::PathBuf};

use super::*;
use crate::spool::format::VERSION;

/// What stands in each of them: these entries, of which the reader has settled the first.
const ENTRIES: [(usize, &str); 4] = [(0, "one"), (5, "two"), (0, ""), (3, "four")];
/// So that everybody's is the same, byte for byte.
const SALT: u32 = 0x1234_5678;

fn folder(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/spool/testdata/format-{version}"))
}

fn write() -> SimDisk {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    writer.set_salt(SALT);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    writer.set_context(b"host.name=web1").expect("it is small");
    for (lane, text) in ENTRIES {
        push(&mut writer, lane, text.as_bytes());
    }
    commit(&mut writer);
    let entries = read(&mut reader);
    reader.settle(entries[0].0, &Fate::Delivered);
    let route = Arc::from("default");
    let key = DropKey { route, event: Arc::from("load"), reason: Reason::Refused };
    reader.settle(entries[2].0, &Fate::Dropped(key));
    reader.save().expect("the disk works");
    disk
}

#[test]
fn what_is_written_is_the_format_of_this_version() {
    let disk = write();
    let folder = folder(VERSION);
    if std::env::var_os("KMODTRAIL_WRITE_TESTDATA").is_some() {
        fs::create_dir_all(&folder).expect("the folder can be made");
        for name in disk.names() {
            fs::write(folder.join(&name), disk.content(&name)).expect("the file can be written");
        }
    }
    let cure = "a new format needs a new VERSION, and a new folder made by running this test with KMODTRAIL_WRITE_TESTDATA=1; the \
                folders of older formats stay as they are";
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}; {cure}", folder.display()));
    let name = |file: io::Result<fs::DirEntry>| file.expect("the folder can be read").file_name();
    let mut names: Vec<_> = files.map(|file| name(file).into_string().expect("names are ASCII")).collect();
    names.sort();
    assert_eq!(names, disk.names(), "{cure}");
    for name in disk.names() {
        let expected = fs::read(folder.join(&name)).expect("the file can be read");
        assert!(disk.content(&name) == expected, "{name} has changed; {cure}");
    }
}

#[test]
fn spools_of_all_formats_are_read() {
    for version in 1..=VERSION {
        let disk = SimDisk::new();
        for file in fs::read_dir(folder(version)).expect("every format has its folder") {
            let file = file.expect("the folder can be read");
            let content = fs::read(file.path()).expect("the file can be read");
            disk.set_content(file.file_name().to_str().expect("names are ASCII"), &content);
        }
        let (spool, mut writer) = open(&disk);
        assert_eq!(spool.readers(), [Arc::from("kafka")], "format {version}");
        let mut reader = spool.reader("kafka", Begin::Now).expect("it is free");
        let mut chunk = Chunk::default();
        while reader.read(&mut chunk, 1 << 20).expect("the disk works") > 0 {}
        let texts: Vec<_> = chunk.entries.iter().map(|entry| chunk.payload(entry)).collect();
        assert_eq!(texts, [&b"two"[..], b"four"], "format {version}");
        assert!(chunk.entries.iter().all(|entry| *entry.context == *b"host.name=web1"), "format {version}");
        let ledger = ledger(&spool, "kafka");
        assert_eq!((ledger.seen, ledger.delivered, ledger.pending), (4, 1, 2), "format {version}: {ledger:?}");
        assert_eq!(dropped(&ledger, Reason::Refused), 1, "format {version}: {ledger:?}");
        push(&mut writer, 5, b"new");
        commit(&mut writer);
        assert_eq!(super::texts(&read(&mut reader)), ["new"], "format {version}");
    }
}

#[test]
fn a_newer_format_is_refused_and_says_what_to_do() {
    for suffix in [".segment", ".reader"] {
        let disk = write();
        let name = disk.names().into_iter().find(|name| name.ends_with(suffix)).expect("there is one");
        let mut bytes = disk.content(&name);
        // of the segment's header there are two copies; the version is at 12 in both kinds of file, behind the CRC
        let (starts, length) = if suffix == ".segment" { ([0, 64], 64) } else { ([0, 16 << 10], 0) };
        for start in starts {
            let length = if length == 0 { 28 + format::u32_at(&bytes, start + 24) as usize } else { length };
            bytes[start + 12..start + 16].copy_from_slice(&(VERSION + 1).to_le_bytes());
            let sum = format::crc(&bytes[start + 12..start + length]);
            bytes[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
        }
        disk.set_content(&name, &bytes);
        let refused = Spool::open_on(Arc::new(disk.clone()), Path::new("/spool"), OPTIONS).expect_err("it is newer");
        let text = refused.to_string();
        assert!(
            text.contains("/spool") && text.contains(&name) && text.contains("as new as the one that wrote it"),
            "{text}"
        );
        assert_eq!(disk.content(&name), bytes, "and nothing is touched");
    }
}
