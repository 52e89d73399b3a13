use std::{fs, os::unix::fs::PermissionsExt as _, thread};

use super::*;

fn fate(text: &str) -> Fate {
    match text {
        "nobody's" => Fate::RoutedNowhere,
        "bad" => {
            let route = Arc::from("default");
            Fate::Dropped(DropKey { route, event: Arc::from("load"), reason: Reason::Refused })
        }
        _ => Fate::Delivered,
    }
}

fn settle(reader: &mut Reader, entries: &[(Position, String)]) {
    entries.iter().for_each(|(position, text)| reader.settle(*position, &fate(text)));
}

/// Twice, so that it is in both slots.
fn save(reader: &mut Reader) {
    reader.save().expect("the disk works");
    reader.save().expect("the disk works");
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".segment")).collect()
}

#[test]
fn readers_get_the_entries_of_all_lanes_in_the_order_in_which_they_were_pushed() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut one = spool.reader("one", Begin::Opening).expect("it is free");
    let mut other = spool.reader("other", Begin::Opening).expect("it is free");
    let expected: Vec<_> = (0..600).map(|i| format!("entry {i}")).collect();
    for (i, text) in expected.iter().enumerate() {
        writer.set_context(format!("context {}", i / 250).as_bytes()).expect("it is small");
        push(&mut writer, i * i / 7 % LANES, text.as_bytes());
        if i % 7 == 0 {
            commit(&mut writer);
        }
    }
    assert_eq!(texts(&read(&mut one)).len(), 596, "what is not committed is not there");
    commit(&mut writer);
    assert_eq!(texts(&read(&mut other)), expected);
    let mut chunk = Chunk::default();
    while one.read(&mut chunk, 1).expect("the disk works") > 0 {}
    assert_eq!(chunk.entries.len(), 4);
    one.rewind();
    chunk.clear();
    for i in 0..600 {
        assert_eq!(one.read(&mut chunk, 1).expect("the disk works"), 1, "so little is one entry");
        assert_eq!(*chunk.entries[i].context, *format!("context {}", i / 250).as_bytes());
    }
    assert_eq!(segments(&disk).len(), 3 * LANES, "a new context is a new segment, where there is something for it");
}

#[test]
fn a_reader_gets_what_is_committed_meanwhile_in_its_order() {
    const COMMITS: usize = 500;
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    let reading = thread::spawn(move || {
        let mut chunk = Chunk::default();
        while chunk.entries.len() < COMMITS * LANES {
            reader.read(&mut chunk, usize::MAX).expect("the disk works");
        }
        chunk.entries.iter().map(|entry| String::from_utf8_lossy(chunk.payload(entry)).into_owned()).collect::<Vec<_>>()
    });
    let expected: Vec<_> = (0..COMMITS * LANES).map(|i| format!("entry {i}")).collect();
    for one in expected.chunks(LANES) {
        one.iter().enumerate().for_each(|(lane, text)| push(&mut writer, lane, text.as_bytes()));
        commit(&mut writer);
    }
    assert_eq!(reading.join().expect("it reads all"), expected);
}

#[test]
fn entries_are_settled_in_any_order_and_those_that_are_not_come_again() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    for text in ["a", "bad", "c", "nobody's", "e"] {
        push(&mut writer, 2, text.as_bytes());
    }
    commit(&mut writer);
    let entries = read(&mut reader);
    settle(&mut reader, &entries[1..4]);
    settle(&mut reader, &entries[3..4]);
    // what is said later does not count
    reader.settle(entries[1].0, &Fate::Delivered);
    let before = ledger(&spool, "kafka");
    assert_eq!((before.seen, before.delivered, before.pending, before.routed_nowhere), (5, 1, 2, 1));
    assert_eq!(dropped(&before, Reason::Refused), 1);
    assert_eq!(spool.take_losses(), [], "what the reader dropped the spool has not lost");

    reader.rewind();
    assert_eq!(texts(&read(&mut reader)), ["a", "e"]);
    drop(reader);
    let mut reader = spool.reader("kafka", Begin::Now).expect("the other one is gone");
    assert_eq!(texts(&read(&mut reader)), ["a", "e"]);
    settle(&mut reader, &entries[..1]);
    save(&mut reader);
    settle(&mut reader, &entries[4..]);

    // what was saved counts after a crash
    drop((reader, writer, spool));
    let (spool, _writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Now).expect("it is free");
    assert_eq!(texts(&read(&mut reader)), ["e"]);
    let after = ledger(&spool, "kafka");
    assert_eq!((after.seen, after.delivered, after.pending, after.routed_nowhere), (5, 2, 1, 1));
}

#[test]
fn a_reader_is_there_once_and_begins_where_it_is_told() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    push(&mut writer, 0, b"first");
    commit(&mut writer);
    let mut early = spool.reader("early", Begin::Opening).expect("it is free");
    let mut late = spool.reader("late", Begin::Now).expect("it is free");
    let refused = spool.reader("late", Begin::Now).expect_err("there is one");
    assert!(refused.to_string().contains("\"late\""), "{refused}");
    for name in ["", &"x".repeat(65)] {
        spool.reader(name, Begin::Now).expect_err("it can't be a file's name");
    }
    push(&mut writer, 0, b"second");
    commit(&mut writer);
    assert_eq!(texts(&read(&mut early)), ["first", "second"]);
    assert_eq!(texts(&read(&mut late)), ["second"]);

    drop((early, late, writer, spool));
    let (spool, _writer) = open(&disk);
    let mut new = spool.reader("new", Begin::Opening).expect("it is free");
    assert_eq!(read(&mut new), [], "what was there before is not for it");
}

#[test]
fn a_reader_that_is_forgotten_holds_nothing_back() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut kafka = spool.reader("kafka", Begin::Opening).expect("it is free");
    let gone = spool.reader("gone/../away", Begin::Opening).expect("it is free");
    for _ in 0..100 {
        push(&mut writer, 0, &[b'x'; 1000]);
    }
    commit(&mut writer);
    let entries = read(&mut kafka);
    settle(&mut kafka, &entries);
    save(&mut kafka);
    spool.forget("gone/../away").expect_err("it is in use");
    drop(gone);
    writer.tick(&Default);
    assert_eq!(segments(&disk).len(), 2);
    assert_eq!(spool.readers(), [Arc::from("gone/../away"), Arc::from("kafka")]);
    assert_eq!(spool.forget("gone/../away").expect("nobody uses it"), 100);
    assert_eq!(spool.forget("gone/../away").expect("it is gone already"), 0);
    writer.tick(&Default);
    assert!(segments(&disk).is_empty(), "what is settled is deleted: {:?}", disk.names());
    assert_eq!(spool.readers(), [Arc::from("kafka")]);
}

#[test]
fn when_it_is_full_the_oldest_of_the_lowest_lane_goes_and_is_counted() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reads = spool.reader("reads", Begin::Opening).expect("it is free");
    let _sleeps = spool.reader("sleeps", Begin::Opening).expect("it is free");
    push(&mut writer, 5, b"worth most");
    push(&mut writer, 1, &[]);
    commit(&mut writer);
    let in_hand = read(&mut reads);
    for _ in 0..1200 {
        push(&mut writer, 1, &[b'x'; 1000]);
        commit(&mut writer);
    }
    assert!(disk.used() <= OPTIONS.max_size);
    let (reads_ledger, sleeps) = (ledger(&spool, "reads"), ledger(&spool, "sleeps"));
    assert_eq!((reads_ledger.seen, reads_ledger.routed_nowhere), (1202, 0), "it has the empty one in its hands");
    assert_eq!((sleeps.seen, sleeps.routed_nowhere), (1202, 1), "that one was nobody's");
    let lost = dropped(&sleeps, Reason::SpoolFull);
    assert!(lost > 100 && lost == dropped(&reads_ledger, Reason::SpoolFull), "{sleeps:?}");
    let told: Vec<_> = spool.take_losses();
    assert_eq!(told.len(), 2);
    for loss in told {
        let Dropped { key, count } = loss.dropped;
        assert_eq!((&*key.route, &*key.event, key.reason, count), ("default", "load", Reason::SpoolFull, lost));
    }
    assert_eq!(spool.take_losses(), [], "it is told once");

    settle(&mut reads, &in_hand);
    let rest = read(&mut reads);
    assert_eq!(rest.len() as u64, 1200 - lost);
    settle(&mut reads, &rest);
    assert_eq!(ledger(&spool, "reads").pending, 0);
    assert_eq!(ledger(&spool, "reads").delivered, 1202 - lost);

    // in the hands of the one, and gone for the other: a crash now changes nothing for the other
    drop((reads, _sleeps, writer, spool));
    let (spool, _writer) = open(&disk);
    assert_eq!(ledger(&spool, "sleeps"), sleeps);
    assert_eq!(dropped(&ledger(&spool, "reads"), Reason::SpoolFull), lost + 1, "what it had in its hands is gone");
}

#[test]
fn bulk_is_kept_out_where_that_is_wanted_and_comes_in_when_there_is_room() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open_with(&disk, Options { when_full: WhenFull::BlockBulk, ..OPTIONS });
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    let bulk = Lane::BULK[1];
    let mut pushed = 0;
    while writer.takes_bulk() && pushed < 2000 {
        writer.push(bulk, &[b'x'; 1000]).expect("it is small");
        pushed += 1;
        commit(&mut writer);
    }
    assert_eq!(writer.waiting(bulk), 1, "the last one is not committed");
    assert!(disk.used() > OPTIONS.max_size / 4 * 3 && disk.used() <= OPTIONS.max_size / 8 * 7, "{}", disk.used());
    push(&mut writer, 3, b"not bulk");
    commit(&mut writer);
    assert_eq!((writer.waiting(Lane::ALL[3]), writer.waiting(bulk)), (0, 1));
    writer.tick(&Default);
    assert!(!writer.takes_bulk());

    let entries = read(&mut reader);
    assert_eq!(entries.len(), pushed);
    settle(&mut reader, &entries);
    save(&mut reader);
    commit(&mut writer);
    assert!(writer.takes_bulk());
    assert_eq!(read(&mut reader).len(), 1);
    assert_eq!(spool.take_losses(), [], "nothing is lost");

    // the room that is kept for the others can be used up too
    for _ in 0..2000 {
        push(&mut writer, 3, &[b'y'; 1000]);
    }
    commit(&mut writer);
    let lost = dropped(&ledger(&spool, "kafka"), Reason::SpoolFull);
    assert!(lost > 0 && lost <= 2000, "{lost}");
    assert!(disk.used() <= OPTIONS.max_size);
}

#[test]
fn what_waits_too_long_is_dropped_and_a_host_that_sleeps_or_restarts_does_not_matter() {
    let disk = SimDisk::new();
    let options = Options { max_age: Duration::from_secs(100), ..OPTIONS };
    let (spool, mut writer) = open_with(&disk, options);
    let _reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    push(&mut writer, 5, b"old");
    commit(&mut writer);
    disk.pass(Duration::from_secs(60));
    drop((_reader, writer, spool));
    let (spool, mut writer) = open_with(&disk, options);
    push(&mut writer, 4, b"young");
    commit(&mut writer);
    disk.pass(Duration::from_secs(40));
    writer.tick(&Default);
    assert_eq!(ledger(&spool, "kafka").pending, 2);
    assert_eq!(spool.status().oldest_age_seconds, Some(100));
    disk.pass(Duration::from_secs(1));
    writer.tick(&Default);
    let after = ledger(&spool, "kafka");
    assert_eq!((after.pending, dropped(&after, Reason::TooOld)), (1, 1));
}

#[test]
fn what_is_settled_is_deleted_and_its_file_used_again() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    let mut most = 0;
    for _ in 0..200 {
        for _ in 0..20 {
            push(&mut writer, 0, &[b'x'; 1000]);
        }
        commit(&mut writer);
        let entries = read(&mut reader);
        settle(&mut reader, &entries);
        most = most.max(disk.names().len());
    }
    assert_eq!(ledger(&spool, "kafka").delivered, 4000);
    assert!(most < 8, "four megabytes went through {most} files");
    assert!(disk.files_made() < 10, "{} files were made", disk.files_made());

    // when nothing comes any more nothing is left
    save(&mut reader);
    disk.pass(Duration::from_secs(20));
    writer.tick(&Default);
    assert_eq!(disk.names(), ["kafka.reader"]);
    assert_eq!(spool.status().bytes, disk.used());
    push(&mut writer, 0, b"and on");
    commit(&mut writer);
    let entries = read(&mut reader);
    assert_eq!((entries[0].0.sequence, &*entries[0].1), (4000, "and on"), "no sequence is used twice");
    drop((reader, writer, spool));
    let (spool, mut writer) = open(&disk);
    push(&mut writer, 0, b"and on");
    commit(&mut writer);
    assert_eq!(ledger(&spool, "kafka").seen, 4002);
}

/// Nothing of what was not synced is on the disk.
struct Misfortune;

impl sim::Fortune for Misfortune {
    fn kept(&mut self) -> bool {
        false
    }

    fn torn(&mut self, _: usize) -> usize {
        0
    }
}

#[test]
fn what_a_failed_sync_left_is_written_once_more() {
    for durability in [Durability::Always, Durability::Interval(Duration::from_secs(1))] {
        let disk = SimDisk::new();
        let (spool, mut writer) = open_with(&disk, Options { durability, ..OPTIONS });
        let _reader = spool.reader("kafka", Begin::Opening).expect("it is free");
        let expected: Vec<_> = (0..12).map(|i| format!("entry {i}")).collect();
        // of the calls of a commit and of a sync one after the other fails
        for (working, text) in expected.iter().enumerate() {
            push(&mut writer, 0, text.as_bytes());
            disk.fail(working as u32, 1);
            let _: Result<(), CommitError> = writer.commit(&Default);
            let _: io::Result<()> = spool.shared.sync();
            disk.fail(0, 0);
        }
        commit(&mut writer);
        let _: io::Result<()> = spool.shared.sync();
        assert!(segments(&disk).len() > 1, "what failed is not written to any more: {:?}", disk.names());
        assert_eq!(spool.status().error, None);
        drop((_reader, writer, spool));
        disk.lose_power(&mut Misfortune);
        let (spool, _writer) = open(&disk);
        let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
        assert_eq!(texts(&read(&mut reader)), expected, "{durability:?}");
    }
}

#[test]
fn on_a_full_disk_entries_wait_in_memory_and_the_error_says_so() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    // enough for the header of a segment, and half an entry
    disk.set_free(Some(140));
    push(&mut writer, 0, b"waits");
    let error = writer.commit(&Default).expect_err("the disk is full").to_string();
    assert!(error.contains("/spool") && error.contains("1 records wait"), "{error}");
    assert_eq!(spool.status().error.as_ref(), Some(&error));
    assert_eq!((writer.waiting(Lane::ALL[0]), read(&mut reader).len()), (1, 0));
    disk.set_free(None);
    commit(&mut writer);
    assert_eq!(spool.status().error, None);
    assert_eq!(texts(&read(&mut reader)), ["waits"]);
    assert_eq!((segments(&disk).len(), spool.status().bytes), (1, disk.used()), "nothing else is left of it");
}

/// What waited while nothing could be read is more than the oldest segment: with one dropped for each commit, every commit would fail.
#[test]
fn on_a_full_disk_as_much_goes_as_comes() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    for _ in 0..200 {
        push(&mut writer, 0, &[b'x'; 1000]);
        commit(&mut writer);
    }
    disk.set_free(Some(0));
    for _ in 0..180 {
        push(&mut writer, 5, &[b'y'; 1000]);
    }
    commit(&mut writer);
    let ledger = ledger(&spool, "kafka");
    assert!(ledger.balanced() && writer.waiting(Lane::ALL[5]) == 0, "{ledger:?}");
    assert!((120..=200).contains(&dropped(&ledger, Reason::SpoolFull)), "{ledger:?}");
    drop(reader);
}

/// Half of each write that was not synced is on the disk.
struct Half;

impl sim::Fortune for Half {
    fn kept(&mut self) -> bool {
        false
    }

    fn torn(&mut self, bytes: usize) -> usize {
        bytes / 2
    }
}

#[test]
fn an_account_outlives_a_save_that_is_torn() {
    let disk = SimDisk::new();
    let options = Options { durability: Durability::Interval(Duration::from_secs(1)), ..OPTIONS };
    let (spool, mut writer) = open_with(&disk, options);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    for text in ["one", "two", "three"] {
        push(&mut writer, 0, text.as_bytes());
    }
    commit(&mut writer);
    let entries = read(&mut reader);
    settle(&mut reader, &entries[..1]);
    save(&mut reader);
    spool.shared.sync().expect("the disk works");
    drop((reader, writer, spool));
    // a process that goes on, and then power is lost, in the middle of its first save or of its second
    for settled in 1..3 {
        let disk = disk.copy();
        let (spool, writer) = open_with(&disk, options);
        let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
        for entry in &read(&mut reader)[..settled] {
            reader.settle(entry.0, &Fate::Delivered);
            reader.save().expect("the disk works");
        }
        drop((reader, writer, spool));
        disk.lose_power(&mut Half);
        let (spool, _writer) = open_with(&disk, options);
        let ledger = ledger(&spool, "kafka");
        assert_eq!((ledger.seen, ledger.delivered, ledger.pending), (3, 1, 2), "{settled} were settled");
    }
}

#[test]
fn only_so_many_reasons_are_told_apart() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    for _ in 0..200 {
        push(&mut writer, 0, b"x");
    }
    commit(&mut writer);
    for (i, (position, _)) in read(&mut reader).into_iter().enumerate() {
        let name = if i == 0 { "long".repeat(100) } else { format!("route {i}") };
        let key = DropKey { route: Arc::from(name), event: Arc::from("load"), reason: Reason::Refused };
        reader.settle(position, &Fate::Dropped(key));
    }
    let ledger = ledger(&spool, "kafka");
    let other = ledger.dropped.iter().find(|dropped| &*dropped.key.route == OTHER).expect("there are too many");
    assert!(ledger.dropped.len() <= 65 && other.count >= 136, "{}, {other:?}", ledger.dropped.len());
    save(&mut reader);
}

#[test]
fn what_is_too_large_is_refused() {
    let (_spool, mut writer) = open(&SimDisk::new());
    let error = writer.push(Lane::ALL[0], &vec![0; MAX_PAYLOAD + 1]).expect_err("it is too large");
    assert_eq!(
        error.to_string(),
        "65537 bytes are too many for the spool; allowed: up to 65536 for a record and 65536 for its context"
    );
    writer.set_context(&vec![0; MAX_CONTEXT + 1]).expect_err("it is too large");
    assert_eq!(writer.waiting(Lane::ALL[0]), 0);
    let small = Options { max_size: Options::LEAST_SIZE - 1, ..OPTIONS };
    let error = Spool::open_on(Arc::new(SimDisk::new()), Path::new("/spool"), small).expect_err("it is too small");
    assert_eq!(error.to_string(), "a spool of 1048575 bytes is too small; allowed: 1048576 bytes or more");
}

#[test]
fn a_reader_an_hour_behind_and_its_writer_need_little_memory() {
    let disk = SimDisk::new();
    let options = Options { max_size: 32 << 20, durability: Durability::None, ..OPTIONS };
    let (spool, mut writer) = open_with(&disk, options);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    // a sink with 100 entries in its hands, and a far side that is down
    let mut chunk = Chunk::default();
    for second in 0..3600 {
        for i in 0..1000 {
            push(&mut writer, i % 3, b"sixty-four bytes, or about so many, are enough to fill a spool");
            if i % 100 == 0 {
                commit(&mut writer);
            }
        }
        commit(&mut writer);
        if second == 10 {
            reader.read(&mut chunk, 6000).expect("the disk works");
        }
        disk.pass(Duration::from_secs(1));
        writer.tick(&Default);
        disk.forget_history();
    }
    assert!(writer.capacity() < 64 << 10, "{} bytes wait to be written", writer.capacity());
    let behind = ledger(&spool, "kafka");
    assert_eq!(behind.seen, 3_600_000);
    assert!(dropped(&behind, Reason::SpoolFull) > 3_000_000 && behind.pending > 5000, "{behind:?}");
    chunk.clear();
    let mut most = 0;
    while reader.read(&mut chunk, 64 << 10).expect("the disk works") > 0 {
        chunk.entries.iter().for_each(|entry| reader.settle(entry.position, &Fate::Delivered));
        chunk.clear();
        most = most.max(reader.capacity());
    }
    assert!(most < 1 << 20, "{most} bytes to read with");
}

#[test]
fn whoever_waits_is_woken_up_by_a_commit() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    let waiting = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
        let mut texts = Vec::new();
        while texts.len() < 100 {
            runtime.block_on(reader.readable());
            let entries = read(&mut reader);
            assert!(!entries.is_empty(), "it is woken up for something");
            texts.extend(entries.into_iter().map(|(_, text)| text));
        }
        texts
    });
    let expected: Vec<_> = (0..100).map(|i| i.to_string()).collect();
    for text in &expected {
        push(&mut writer, 0, text.as_bytes());
        commit(&mut writer);
        thread::yield_now();
    }
    assert_eq!(waiting.join().expect("nothing panics"), expected);
}

#[test]
fn a_real_folder_is_private_and_for_one_process_alone() {
    let parent = tempfile::tempdir().expect("a folder for the test");
    let folder = parent.path().join("spool");
    let options = Options { durability: Durability::Interval(Duration::from_millis(1)), ..OPTIONS };
    let (spool, mut writer) = Spool::open(&folder, options).expect("it can be made");
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    fs::write(folder.join("notes.txt"), "not the spool's").expect("the test may write");
    push(&mut writer, 1, b"/usr/bin/secret --password");
    commit(&mut writer);
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(&folder), 0o700);
    for name in ["lock", "kafka.reader", &*segments_in(&folder)[0]] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let refused = Spool::open(&folder, options).expect_err("it is in use").to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    assert!(refused.contains(folder.to_str().expect("it is UTF-8")), "{refused}");

    let entries = read(&mut reader);
    settle(&mut reader, &entries);
    save(&mut reader);
    drop((reader, writer, spool));
    let (spool, _writer) = Spool::open(&folder, options).expect("it is free again");
    assert_eq!(ledger(&spool, "kafka").delivered, 1);
    assert_eq!(fs::read_to_string(folder.join("notes.txt")).expect("it stays"), "not the spool's");
    let refused = Spool::open(&folder.join("lock"), options).expect_err("it is no folder").to_string();
    assert!(refused.contains("lock") && refused.contains("allowed: a folder"), "{refused}");
}

fn segments_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("it is there").map(|file| file.expect("it can be read").file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".segment")).collect()
}
