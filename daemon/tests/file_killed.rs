//! A process that writes, rotates and compresses files, and is killed at any moment: nothing that it said was delivered is missing.

#[path = "records/numbered.rs"]
mod numbered;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kmodtrail::{
    config::{self, Encoding, FileCompression, FileSink as Config, Size},
    sink::{Health, file::FileSink},
};
use numbered::{Numbered, delivered, numbers};

const ROUNDS: u64 = 20;
const BATCH: u64 = 50;
/// What tells the process that it is the one to be killed: the folder, and the number to begin with.
const VICTIM: &str = "KMODTRAIL_TEST_VICTIM";

const ENCODINGS: [(&str, Encoding); 2] = [("json", Encoding::OtlpJson), ("proto", Encoding::OtlpProto)];

fn config(folder: &Path, name: &str) -> Config {
    config::FileSink {
        rotate_size: Some(Size(20_000)),
        compress: FileCompression::Zstd,
        ..config::FileSink::new(folder.join(name))
    }
}

fn sinks(folder: &Path) -> Vec<FileSink> {
    let open = |(name, encoding)| {
        let sink = FileSink::open(name, &config(folder, name), encoding, Health::new(name));
        let mut sink = sink.unwrap_or_else(|e| panic!("{e}"));
        // not only when the first record comes
        sink.reopen();
        sink
    };
    ENCODINGS.into_iter().map(open).collect()
}

/// Delivers until it is killed, and says up to which number it has.
#[expect(clippy::print_stdout, reason = "the test reads it")]
fn victim(place: &str) -> ! {
    let (first, folder) = place.split_once(' ').expect("two words");
    let mut next = first.parse().expect("a number");
    let mut sinks = sinks(Path::new(folder));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    loop {
        let records = Numbered::new(next..next + BATCH);
        for sink in &mut sinks {
            assert_eq!(delivered(&runtime.block_on(sink.deliver(&records.outgoing()))) as u64, BATCH);
        }
        next += BATCH;
        println!("{next}");
    }
}

fn start(folder: &Path, first: u64) -> Child {
    let mut command = Command::new(env::current_exe().expect("it runs"));
    command.args(["--exact", "what_was_delivered_is_there_after_kill_9", "--nocapture"]);
    command.env(VICTIM, format!("{first} {}", folder.display())).stdout(Stdio::piped());
    command.spawn().expect("it can be started")
}

/// All numbers in the file and in what was rotated from it, whole or not at all.
fn found(folder: &Path, name: &str, encoding: Encoding) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let file_name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        if !file_name.starts_with(name) || file_name.ends_with(".part") {
            continue;
        }
        let mut bytes = fs::read(&path).expect("it can be read");
        if file_name.ends_with(".zst") {
            bytes = zstd::decode_all(&*bytes).unwrap_or_else(|e| panic!("{file_name}: {e}"));
        }
        found.extend(numbers(encoding, &bytes));
    }
    found
}

#[test]
fn what_was_delivered_is_there_after_kill_9() {
    if let Ok(place) = env::var(VICTIM) {
        victim(&place);
    }
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut said = 0;
    for round in 0..ROUNDS {
        let mut child = start(folder.path(), said);
        let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        // the harness has its own first lines
        while !line.trim().parse::<u64>().is_ok_and(|next| next >= said + BATCH * (1 + round % 7)) {
            line.clear();
            assert!(lines.read_line(&mut line).expect("it says numbers") > 0, "it ended before it was killed");
        }
        // somewhere in the next batches
        thread::sleep(Duration::from_micros(137 * (round * round % 61)));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let mut rest = String::new();
        lines.read_to_string(&mut rest).expect("it said text");
        // the last line may be torn
        let whole = rest.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last = whole.lines().filter_map(|line| line.parse().ok()).next_back();
        said = last.unwrap_or_else(|| line.trim().parse().expect("a number"));
        // what was left is repaired at the next start, and everything is there at once
        drop(sinks(folder.path()));
        for (name, encoding) in ENCODINGS {
            let found = found(folder.path(), name, encoding);
            let missing: Vec<_> = (0..said).filter(|number| !found.contains(number)).collect();
            assert_eq!(missing, [] as [u64; 0], "{name}, round {round}");
        }
    }
    // what was rotated is all compressed in the end
    let sinks = sinks(folder.path());
    let plain = || {
        let entries = fs::read_dir(folder.path()).expect("it can be read");
        let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name"));
        names.filter(|name| name.contains("Z") && !name.ends_with(".zst")).collect::<Vec<_>>()
    };
    let begin = Instant::now();
    while !plain().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "these are not compressed: {:?}", plain());
        thread::sleep(Duration::from_millis(10));
    }
    drop(sinks);
    for (name, encoding) in ENCODINGS {
        assert!(found(folder.path(), name, encoding).iter().copied().take(said as usize).eq(0..said), "{name}");
    }
}
