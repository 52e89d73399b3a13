//! The spool on a disk that is really full: a tmpfs of two megabytes, in a mount namespace of its own.
//!
//! The process with the namespace is this test binary once more.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use kmodtrail::spool::{
    Begin, Chunk, Classify, DropKey, Durability, Fate, Lane, Options, Reader, Reason, Spool, WhenFull, Writer,
};
use nix::mount::{MsFlags, mount};

const FOLDER: &str = "KMODTRAIL_TEST_TMPFS";

struct Load;

impl Classify for Load {
    fn fate(&self, _: &str, _: &[u8], _: &[u8]) -> Option<(Arc<str>, Arc<str>)> {
        Some((Arc::from("default"), Arc::from("load")))
    }
}

fn options(when_full: WhenFull) -> Options {
    let durability = Durability::Interval(Duration::from_millis(10));
    // more than there is
    Options { max_size: 64 << 20, max_age: Duration::from_secs(86_400), when_full, durability }
}

fn open(folder: &Path, when_full: WhenFull) -> (Spool, Writer, Reader) {
    let (spool, writer) = Spool::open(folder, options(when_full)).expect("there is room to begin with");
    let reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    (spool, writer, reader)
}

fn push(writer: &mut Writer, lane: Lane, number: u64) {
    let payload: Vec<u8> = number.to_le_bytes().into_iter().chain([b'x'; 1000]).collect();
    writer.push(lane, &payload).expect("it is small");
}

/// The numbers of all entries that can be read.
fn read(reader: &mut Reader) -> Vec<u64> {
    let mut chunk = Chunk::default();
    while reader.read(&mut chunk, 1 << 20).expect("the disk can be read") > 0 {}
    let numbers: Vec<_> = chunk.entries.iter().map(|entry| number(chunk.payload(entry))).collect();
    chunk.entries.iter().for_each(|entry| reader.settle(entry.position, &Fate::Delivered));
    numbers
}

fn number(payload: &[u8]) -> u64 {
    assert_eq!(payload[8..], [b'x'; 1000]);
    u64::from_le_bytes(payload[..8].try_into().expect("it has a number"))
}

/// With a file that fills the disk nothing can be written; without it all is.
fn nothing_is_lost_or_doubled_while_others_fill_the_disk(folder: &Path) {
    let spool_folder = folder.join("waits");
    let (spool, mut writer, mut reader) = open(&spool_folder, WhenFull::BlockBulk);
    let bulk = Lane::BULK[0];
    let mut number = 0;
    let mut seen = Vec::new();
    for round in 0..30_u64 {
        let hog = folder.join("hog");
        let free =
            nix::sys::statvfs::statvfs(folder).map(|s| s.blocks_available() * s.fragment_size()).expect("it is there");
        // a little room, another one each time, so that an entry fits in part
        fs::write(&hog, vec![0; (free - round * 4096 % free) as usize]).expect("it fits");
        for _ in 0..20 {
            push(&mut writer, bulk, number);
            number += 1;
            writer.commit(&Load).expect("bulk is held back, which is no error");
        }
        fs::remove_file(&hog).expect("the test may delete");
        writer.commit(&Load).expect("there is room again");
        assert!(writer.takes_bulk() && writer.waiting(bulk) == 0, "round {round}");
        seen.extend(read(&mut reader));
        reader.save().expect("there is room for it");
        writer.tick(&Load);
    }
    assert_eq!(seen, (0..number).collect::<Vec<_>>());
    let status = spool.status();
    assert!(status.readers[0].balanced() && status.readers[0].delivered == number, "{status:?}");
    assert_eq!(spool.take_losses(), []);
    drop((reader, writer, spool));
    fs::remove_dir_all(spool_folder).expect("the test may delete");
}

/// The disk is smaller than the spool may be: the oldest goes, and the newest is there.
fn the_oldest_makes_room_for_the_newest(folder: &Path) {
    let spool_folder = folder.join("drops");
    let (spool, mut writer, mut reader) = open(&spool_folder, WhenFull::DropOldest);
    let lane = Lane::ALL[3];
    let mut number = 0;
    while number < 6000 {
        for _ in 0..10 {
            push(&mut writer, lane, number);
            number += 1;
        }
        // one segment goes for a commit, and that may be too little for it
        while writer.commit(&Load).is_err() {}
    }
    let lost = spool.take_losses();
    let key = DropKey { route: Arc::from("default"), event: Arc::from("load"), reason: Reason::SpoolFull };
    assert!(lost.len() == 1 && lost[0].dropped.key == key, "{lost:?}");
    let rest = read(&mut reader);
    assert_eq!(rest, (lost[0].dropped.count..number).collect::<Vec<_>>(), "what is not lost is there");
    assert!(rest.len() > 100, "and not all is lost: {}", rest.len());
    assert!(spool.status().readers[0].balanced());
    reader.save().expect("the account has its room");
    drop((reader, writer, spool));
    let begin = Instant::now();
    let (spool, _writer) = Spool::open(&spool_folder, options(WhenFull::DropOldest)).expect("a full disk can be read");
    eprintln!("a full spool was opened in {:?}", begin.elapsed());
    let status = spool.status();
    assert!(status.readers[0].balanced() && status.readers[0].pending == 0, "{status:?}");
}

#[test]
fn a_full_disk_loses_nothing_silently() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        mount(Some("spool"), folder, Some("tmpfs"), MsFlags::empty(), Some("size=2m"))
            .expect("this is its own namespace");
        nothing_is_lost_or_doubled_while_others_fill_the_disk(folder);
        the_oldest_makes_room_for_the_newest(folder);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the test");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().expect("it runs"))
        .args(["--exact", "a_full_disk_loses_nothing_silently", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .expect("unshare(1) of util-linux is there");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("a full spool was opened"), "{}\n{text}", output.status);
}
