mod damage;
mod formats;
mod model;
mod sim;
mod stories;

use std::{path::Path, sync::Arc, time::Duration};

use self::sim::SimDisk;
use super::*;

/// Everything is one event's, for one route; what is empty is for nobody.
struct Default;

impl Classify for Default {
    fn fate(&self, _: &str, _: &[u8], payload: &[u8]) -> Option<(Arc<str>, Arc<str>)> {
        (!payload.is_empty()).then(|| (Arc::from("default"), Arc::from("load")))
    }
}

const OPTIONS: Options = Options {
    max_size: Options::LEAST_SIZE,
    max_age: Duration::from_secs(86_400),
    when_full: WhenFull::DropOldest,
    durability: Durability::Always,
};

fn open_with(disk: &SimDisk, options: Options) -> (Spool, Writer) {
    Spool::open_on(Arc::new(disk.clone()), Path::new("/spool"), options).expect("the disk works")
}

fn open(disk: &SimDisk) -> (Spool, Writer) {
    open_with(disk, OPTIONS)
}

fn push(writer: &mut Writer, lane: usize, payload: &[u8]) {
    writer.push(Lane::ALL[lane], payload).expect("it is small");
}

fn commit(writer: &mut Writer) {
    writer.commit(&Default).expect("the disk works");
}

/// Everything that can be read now, as text.
fn read(reader: &mut Reader) -> Vec<(Position, String)> {
    let mut chunk = Chunk::default();
    while reader.read(&mut chunk, 1 << 20).expect("the disk works") > 0 {}
    let text = |entry| String::from_utf8(chunk.payload(entry).to_vec()).expect("it was text");
    chunk.entries.iter().map(|entry| (entry.position, text(entry))).collect()
}

fn texts(read: &[(Position, String)]) -> Vec<&str> {
    read.iter().map(|(_, text)| &**text).collect()
}

fn ledger(spool: &Spool, reader: &str) -> Ledger {
    let ledgers = spool.status().readers;
    let ledger = ledgers.into_iter().find(|ledger| &*ledger.reader == reader).expect("it has an account");
    assert!(ledger.balanced(), "{ledger:?}");
    ledger
}

fn dropped(ledger: &Ledger, reason: Reason) -> u64 {
    ledger.dropped.iter().filter(|dropped| dropped.key.reason == reason).map(|dropped| dropped.count).sum()
}
