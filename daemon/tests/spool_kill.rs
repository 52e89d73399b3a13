//! A process that appends to the spool is killed again and again, at any moment.
//!
//! The process is this test binary once more: where it finds the variable it appends until it is killed.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use kmodtrail::spool::{Begin, Chunk, Classify, Durability, Fate, Lane, Options, Spool, WhenFull};

const FOLDER: &str = "KMODTRAIL_TEST_SPOOL";
/// So often it is killed.
const ROUNDS: u64 = 20;

const OPTIONS: Options = Options {
    max_size: 256 << 20,
    max_age: Duration::from_secs(86_400),
    when_full: WhenFull::DropOldest,
    durability: Durability::None,
};

struct Nothing;

impl Classify for Nothing {
    fn fate(&self, _: &str, _: &[u8], _: &[u8]) -> Option<(Arc<str>, Arc<str>)> {
        unreachable!("there is room for all of it")
    }
}

/// The number of the entry, and what makes it long.
fn payload(number: u64) -> Vec<u8> {
    let length = 100 + number as usize * 37 % 3000;
    number.to_le_bytes().into_iter().chain((0..length).map(|i| (number as usize + i) as u8)).collect()
}

/// Appends from the entry on that nobody has acknowledged, and says after each commit how far it is.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn append(folder: &Path, from: u64) {
    let (_spool, mut writer) = Spool::open(folder, OPTIONS).expect("the spool is free");
    let mut number = from;
    loop {
        for _ in 0..=number % 50 {
            let lane = Lane::ALL[(number % 6) as usize];
            writer.push(lane, &payload(number)).expect("it is small");
            number += 1;
        }
        writer.commit(&Nothing).expect("the disk works");
        println!("committed {number}");
    }
}

/// Kills the process some time after it has committed something, and returns what it had said by then.
fn append_until_killed(folder: &Path, from: u64, round: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "what_a_commit_has_returned_for_outlives_kill_9", "--nocapture"])
        .env(FOLDER, format!("{from}:{}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test can be started again");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut committed = from;
    let mut lines =
        output.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
    // the later of two: some lines, so that it has begun, and then any moment
    committed = lines.by_ref().take(1 + round as usize * 7).last().unwrap_or(committed);
    let moment = Instant::now() + Duration::from_micros(round * 431 % 3000);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    child.kill().expect("it runs");
    child.wait().expect("it was started");
    lines.last().unwrap_or(committed)
}

#[test]
fn what_a_commit_has_returned_for_outlives_kill_9() {
    if let Ok(told) = std::env::var(FOLDER) {
        let (from, folder) = told.split_once(':').expect("the parent says both");
        return append(Path::new(folder), from.parse().expect("it is a number"));
    }
    let parent = tempfile::tempdir().expect("a folder for the test");
    let folder = parent.path().join("spool");
    drop(Spool::open(&folder, OPTIONS).expect("it can be made").0.reader("kafka", Begin::Opening).expect("it is free"));
    let (mut next, mut settled, mut longest) = (0, 0, Duration::ZERO);
    for round in 0..ROUNDS {
        let committed = append_until_killed(&folder, next, round);
        assert!(committed > next, "round {round}: it has committed something");
        let begin = Instant::now();
        let (spool, writer) = Spool::open(&folder, OPTIONS).expect("it is free");
        longest = longest.max(begin.elapsed());
        let mut reader = spool.reader("kafka", Begin::Opening).expect("it is free");
        let mut chunk = Chunk::default();
        while reader.read(&mut chunk, 1 << 20).expect("the disk works") > 0 {}
        // what a commit that was killed had written of some lanes is there too, and the same numbers were pushed again; an account keeps
        // a cursor per lane, so what was settled of them behind it comes again
        let (mut whole, mut others) = (Vec::with_capacity(chunk.entries.len()), Vec::new());
        for entry in &chunk.entries {
            let found = chunk.payload(entry);
            let number = u64::from_le_bytes(found[..8].try_into().expect("it has a number"));
            assert!(found == payload(number), "round {round}: {number} is as it was pushed");
            if number < committed && number == settled + whole.len() as u64 {
                whole.push(entry.position);
            } else {
                others.push(entry.position);
            }
        }
        let found = settled + whole.len() as u64;
        assert_eq!(found, committed, "round {round}: all that was committed is there, in order");
        let half = whole.len() / 2;
        for position in others.into_iter().chain(whole.into_iter().take(half)) {
            reader.settle(position, &Fate::Delivered);
        }
        reader.save().expect("the disk works");
        (next, settled) = (committed, settled + half as u64);
        let status = spool.status();
        let ledger = &status.readers[0];
        assert!(ledger.balanced(), "round {round}: {ledger:?}");
        assert_eq!((ledger.pending, status.damaged_entries), (next - settled, 0), "round {round}: {ledger:?}");
        drop(writer);
    }
    eprintln!("{next} entries, killed {ROUNDS} times; opened again in {longest:?} at most");
}
