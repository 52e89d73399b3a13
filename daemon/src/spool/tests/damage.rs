//! Every byte of a spool damaged in turn.

use std::collections::BTreeMap;

use super::*;

/// What stands in the spool: text by position.
type Content = BTreeMap<Position, String>;

/// A spool with entries of several lanes and segments, some of them settled.
fn spool() -> (SimDisk, Content, usize) {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    for round in 0..3 {
        writer.set_context(format!("host {round}").as_bytes()).expect("it is small");
        for i in 0..4 {
            push(&mut writer, i % 3, format!("entry {i} of round {round}").as_bytes());
        }
        commit(&mut writer);
    }
    let entries = read(&mut reader);
    for (position, _) in &entries[..2] {
        reader.settle(*position, &Fate::Delivered);
        reader.save().expect("the disk works");
    }
    assert_eq!(entries.len(), 12);
    (disk, entries.into_iter().collect(), 10)
}

#[test]
fn a_damaged_byte_costs_its_entry_at_most_and_the_count_is_exact() {
    let (disk, content, pending) = spool();
    let (mut costs, mut redelivered) = ([0, 0], 0);
    for name in disk.names() {
        let bytes = disk.content(&name);
        // an account's file is empty for the most part
        let used = |&at: &usize| bytes[at] != 0 || at % 61 == 0 || name.ends_with(".segment");
        for at in (0..bytes.len()).filter(used) {
            let disk = disk.copy();
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x5a;
            disk.set_content(&name, &damaged);
            let (spool, mut writer) = open(&disk);
            let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
            let entries = read(&mut reader);
            for (position, text) in &entries {
                assert_eq!(content.get(position), Some(text), "{name}: byte {at}");
            }
            let ledger = ledger(&spool, "kafka");
            let lost = dropped(&ledger, Reason::Damaged) as usize;
            assert_eq!(ledger.pending as usize, entries.len(), "{name}: byte {at}: {ledger:?}");
            assert_eq!(ledger.seen, 12, "{name}: byte {at}: {ledger:?}");
            assert_eq!(ledger.dropped.iter().map(|dropped| dropped.count).sum::<u64>() as usize, lost, "{ledger:?}");
            assert_eq!(spool.status().damaged_entries as usize, lost);
            if name.ends_with(".reader") {
                assert_eq!(lost, 0, "byte {at} of the account");
                redelivered += usize::from(entries.len() > pending);
                assert!((pending..=pending + 1).contains(&entries.len()), "byte {at} of the account: {ledger:?}");
            } else {
                assert!(lost <= 1, "{name}: byte {at}: {ledger:?}");
                // one of the two that are settled may be the one
                assert!((pending..=pending + 1).contains(&(entries.len() + lost)), "{name}: byte {at}: {ledger:?}");
                costs[lost] += 1;
            }
            let told: u64 = spool.take_losses().iter().map(|loss| loss.dropped.count).sum();
            assert_eq!(told as usize, lost, "{name}: byte {at}");
            // and it goes on
            push(&mut writer, 0, b"next");
            commit(&mut writer);
            assert_eq!(texts(&read(&mut reader)), ["next"], "{name}: byte {at}");
        }
    }
    assert!(costs[0] > 0 && costs[1] > 0 && redelivered > 0, "headers, entries and accounts were damaged: {costs:?}");
}

#[test]
fn a_segment_that_is_gone_or_cut_off_is_told() {
    let (disk, content, pending) = spool();
    for name in disk.names().into_iter().filter(|name| name.ends_with(".segment")) {
        for left in [None, Some(0), Some(100), Some(250)] {
            let disk = disk.copy();
            match left {
                Some(bytes) => {
                    let content = disk.content(&name);
                    disk.set_content(&name, &content[..bytes.min(content.len())]);
                }
                None => Disk::remove(&disk, &name).expect("it is there"),
            }
            let (spool, _writer) = open(&disk);
            let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
            let entries = read(&mut reader);
            assert!(entries.iter().all(|(position, text)| content.get(position) == Some(text)), "{name}: {left:?}");
            let ledger = ledger(&spool, "kafka");
            let lost = ledger.dropped.iter().map(|dropped| dropped.count).sum::<u64>() as usize;
            assert_eq!(entries.len() + lost, pending, "{name}: {left:?}: {ledger:?}");
            assert_eq!(ledger.seen, 12, "{name}: {left:?}: {ledger:?}");
        }
    }
}

#[test]
fn an_entry_in_the_payload_of_a_damaged_one_is_no_entry() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    // somebody who knows the format, but not the salt
    let mut forged = Vec::new();
    format::encode_entry(&mut forged, 0, 1, 1, b"forged");
    push(&mut writer, 0, &forged);
    push(&mut writer, 0, b"real");
    commit(&mut writer);
    reader.save().expect("the disk works");
    drop((reader, writer, spool));
    let name = disk.names().into_iter().find(|name| name.ends_with(".segment")).expect("there is one");
    let mut bytes = disk.content(&name);
    bytes[128] ^= 1;
    disk.set_content(&name, &bytes);
    let (spool, _writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    assert_eq!(texts(&read(&mut reader)), ["real"]);
    assert_eq!(dropped(&ledger(&spool, "kafka"), Reason::Damaged), 1);
}

#[test]
fn a_place_that_the_disk_cannot_read_costs_its_sector_and_not_at_once() {
    let disk = SimDisk::new();
    let (spool, mut writer) = open(&disk);
    let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
    for i in 0..40 {
        push(&mut writer, 0, format!("{i:1000}").as_bytes());
    }
    commit(&mut writer);
    let name = disk.names().into_iter().find(|name| name.ends_with(".segment")).expect("there is one");
    disk.damage(&name, 12_500);
    let mut chunk = Chunk::default();
    for _ in 1..scan::TRIES {
        reader.read(&mut chunk, 1 << 20).expect_err("the disk can't");
    }
    while reader.read(&mut chunk, 1 << 20).expect("what can be read is read") > 0 {}
    // a sector has room for four of them, and two more are in it in part
    let lost = dropped(&ledger(&spool, "kafka"), Reason::Damaged);
    assert!((4..=5).contains(&lost), "{lost}");
    assert_eq!(chunk.entries.len() as u64 + lost, 40);
}
