use std::{
    fs,
    ops::Range,
    os::unix::fs::{PermissionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, any_value},
    logs::v1::LogRecord,
};
use prost::Message as _;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use super::{appender::Appender, *};
use crate::{
    config::{FileCompression, FileFsync, Size},
    record::{self, Record},
    route::template::Template,
    sink::{
        frames::{Frames, Framing},
        numbered::{Numbered, delivered, numbers},
    },
};

/// Encoded records, framed, and where each ends.
pub(super) fn samples(encoding: Encoding, count: usize) -> (Vec<u8>, Vec<usize>) {
    let mut writer = record::Writer::default();
    let resource: Arc<[u8]> = [].into();
    let records: Vec<_> = crate::event::samples::all()
        .iter()
        .cycle()
        .take(count)
        .map(|event| {
            let mut bytes = Vec::new();
            writer.write(event, &mut bytes);
            bytes
        })
        .collect();
    let record = |bytes| Record::parse(bytes).expect("we wrote it");
    let outgoing: Vec<_> =
        records.iter().map(|bytes| Outgoing { resource: &resource, record: record(bytes) }).collect();
    let mut framer = Framer::new(encoding);
    let frames = framer.frame(&outgoing);
    (frames.bytes().to_vec(), (1..=count).map(|n| frames.length_of(n)).collect())
}

const ENCODINGS: [Encoding; 3] = [Encoding::OtlpJson, Encoding::OtlpProto, Encoding::Json];

/// A sink in a folder of its own.
struct House {
    /// `None`: somebody else's.
    _folder: Option<tempfile::TempDir>,
    path: PathBuf,
    config: config::FileSink,
    encoding: Encoding,
    health: Health,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let house = Self::at(&folder.path().join("events"));
        Self { _folder: Some(folder), ..house }
    }

    fn at(path: &Path) -> Self {
        let config = config::FileSink::new(path.to_owned());
        Self {
            _folder: None,
            path: path.to_owned(),
            config,
            encoding: Encoding::OtlpJson,
            health: Health::new("audit"),
        }
    }

    fn try_open(&self) -> Result<FileSink, OpenError> {
        FileSink::open("audit", &self.config, self.encoding, self.health.clone())
    }

    fn open(&self) -> FileSink {
        self.try_open().unwrap_or_else(|e| panic!("{e}"))
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// A path beside the file.
    fn beside(&self, name: &str) -> PathBuf {
        self.path().with_file_name(name)
    }

    #[track_caller]
    fn numbers(&self) -> Vec<u64> {
        self.numbers_of(self.path())
    }

    #[track_caller]
    fn numbers_of(&self, path: &Path) -> Vec<u64> {
        numbers(self.encoding, &fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// What was rotated, the oldest first.
    fn rotated(&self) -> Vec<PathBuf> {
        rotated::list(self.path()).expect("the folder can be read").into_iter().map(|file| file.path).collect()
    }
}

fn verdicts(sink: &mut FileSink, numbers: Range<u64>) -> Vec<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(sink.deliver(&Numbered::new(numbers).outgoing()))
}

#[track_caller]
fn all_delivered(sink: &mut FileSink, numbers: Range<u64>) {
    let verdicts = verdicts(sink, numbers.clone());
    assert_eq!(verdicts, vec![Verdict::Delivered; numbers.count()]);
}

/// None is delivered, and why.
#[track_caller]
fn none_delivered(sink: &mut FileSink, numbers: Range<u64>) -> String {
    match &verdicts(sink, numbers)[..] {
        [Verdict::Retry(first), rest @ ..] if rest.iter().all(|v| *v == Verdict::Retry(first.clone())) => {
            first.why.to_string()
        }
        other => panic!("all are to be tried again for one reason: {other:?}"),
    }
}

/// The one that is open.
fn file(sink: &mut FileSink) -> &mut Rotating {
    sink.files.iter_mut().next().expect("records were delivered").1
}

fn list(numbers: Range<u64>) -> Vec<u64> {
    numbers.collect()
}

/// Runs on a thread that sees a disk of its own at that folder.
fn on_small_disk(work: impl FnOnce(&Path) + Send) {
    assert!(geteuid().is_root(), "run the tests as root: only root can mount a disk");
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path();
    let alone = || {
        const NONE: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).expect("root may leave its mounts");
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).expect("root may keep mounts to itself");
        mount(NONE, path, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).expect("root may mount");
        work(path);
        umount2(path, MntFlags::MNT_DETACH).expect("root may unmount");
    };
    thread::scope(|scope| scope.spawn(alone).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Runs on a thread for which these system calls fail.
fn without<T: Send>(calls: &[libc::c_long], errno: i32, work: impl FnOnce() -> T + Send) -> T {
    let rules = calls.iter().map(|&call| (call, vec![])).collect();
    let arch = std::env::consts::ARCH.try_into().expect("a filter can be made here");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch);
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("it is a filter");
    let filtered = || {
        apply_filter(&program).expect("a thread may do less");
        work()
    };
    thread::scope(|scope| scope.spawn(filtered).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[track_caller]
fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not happen: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn records_are_appended_whole_and_in_order_in_each_encoding() {
    for encoding in ENCODINGS {
        let house = House { encoding, ..House::new() };
        let mut sink = house.open();
        all_delivered(&mut sink, 0..3);
        all_delivered(&mut sink, 3..200);
        drop(sink);
        all_delivered(&mut house.open(), 200..201);
        assert_eq!(house.numbers(), list(0..201), "{encoding:?}");
        assert_eq!(house.health.state().failures, 0);
    }
}

#[test]
fn what_a_crash_has_torn_is_cut_off_and_comes_again() {
    for encoding in ENCODINGS {
        let house = House { encoding, ..House::new() };
        all_delivered(&mut house.open(), 0..3);
        let whole = fs::read(house.path()).expect("it is there");
        // only its newline is missing: it may stay
        let kept = if encoding == Encoding::OtlpProto { 2 } else { 3 };
        for (torn, left) in [(1, kept), (2, 2), (30, 2)] {
            fs::write(house.path(), &whole[..whole.len() - torn]).expect("the test may write");
            all_delivered(&mut house.open(), 7..8);
            assert_eq!(house.numbers(), [list(0..left), vec![7]].concat(), "{encoding:?}, {torn} bytes");
        }
    }
}

#[test]
fn a_torn_line_that_can_not_be_cut_off_becomes_a_line_of_its_own() {
    let house = House::new();
    all_delivered(&mut house.open(), 0..1);
    let whole = fs::read_to_string(house.path()).expect("it is there");
    fs::write(house.path(), format!("{whole}{}", &whole[..40])).expect("the test may write");
    // as after chattr +a
    without(&[libc::SYS_ftruncate], libc::EPERM, || all_delivered(&mut house.open(), 0..1));
    let text = fs::read_to_string(house.path()).expect("it is there");
    assert_eq!(text, format!("{whole}{}\n{whole}", &whole[..40]));
}

#[test]
fn what_others_have_written_stays() {
    let house = House::new();
    fs::write(house.path(), "somebody's notes").expect("the test may write");
    let mut sink = house.open();
    all_delivered(&mut sink, 0..1);
    let text = || fs::read_to_string(house.path()).expect("it is there");
    let first = text().strip_prefix("somebody's notes\n").expect("they are still there").to_owned();
    fs::write(house.path(), text() + "more notes").expect("the test may write");
    all_delivered(&mut sink, 0..1);
    assert_eq!(text(), format!("somebody's notes\n{first}more notes\n{first}"));
}

#[test]
fn a_file_that_holds_something_else_than_messages_is_left_alone() {
    let mut house = House::new();
    all_delivered(&mut house.open(), 0..3);
    let before = fs::read(house.path()).expect("it is there");
    house.encoding = Encoding::OtlpProto;
    let mut sink = house.open();
    let why = none_delivered(&mut sink, 3..5);
    assert!(why.contains("what stands at byte 0 is no otlp_proto message") && why.contains("move it away"), "{why}");
    assert_eq!(fs::read(house.path()).expect("it is there"), before);
    fs::rename(house.path(), house.beside("old")).expect("the test may rename");
    all_delivered(&mut sink, 3..5);
    assert_eq!(house.numbers(), list(3..5));
}

#[test]
fn a_file_that_is_moved_or_deleted_is_made_anew_with_the_next_batch() {
    let house = House::new();
    let mut sink = house.open();
    all_delivered(&mut sink, 0..2);
    fs::rename(house.path(), house.beside("moved")).expect("the test may rename");
    all_delivered(&mut sink, 2..4);
    assert_eq!((house.numbers_of(&house.beside("moved")), house.numbers()), (list(0..2), list(2..4)));
    fs::remove_file(house.path()).expect("it is there");
    all_delivered(&mut sink, 4..6);
    assert_eq!(house.numbers(), list(4..6));
    // as logrotate does with `create`
    fs::rename(house.path(), house.beside("moved")).expect("the test may rename");
    fs::write(house.path(), "").expect("the test may write");
    all_delivered(&mut sink, 6..8);
    assert_eq!((house.numbers_of(&house.beside("moved")), house.numbers()), (list(4..6), list(6..8)));
}

#[test]
fn sighup_makes_a_file_that_was_moved_anew_at_once() {
    let house = House::new();
    let mut sink = house.open();
    all_delivered(&mut sink, 0..2);
    fs::rename(house.path(), house.beside("moved")).expect("the test may rename");
    sink.reopen();
    assert_eq!(house.numbers(), list(0..0));
    all_delivered(&mut sink, 2..4);
    assert_eq!((house.numbers_of(&house.beside("moved")), house.numbers()), (list(0..2), list(2..4)));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_appended_to_at_its_new_end() {
    for encoding in ENCODINGS {
        let house = House { encoding, ..House::new() };
        let mut sink = house.open();
        all_delivered(&mut sink, 0..3);
        let length = fs::metadata(house.path()).expect("it is there").len();
        let file = fs::File::options().write(true).open(house.path()).expect("the test may write");
        file.set_len(length - 10).expect("the test may cut it");
        all_delivered(&mut sink, 3..5);
        assert_eq!(house.numbers(), [0, 1, 3, 4], "{encoding:?}");
        // as logrotate does with `copytruncate`
        file.set_len(0).expect("the test may cut it");
        all_delivered(&mut sink, 5..7);
        assert_eq!(house.numbers(), list(5..7), "{encoding:?}");
    }
}

#[test]
fn a_file_that_is_deleted_while_it_is_written_has_delivered_nothing() {
    let house = House::new();
    let (bytes, ends) = samples(house.encoding, 3);
    let mut appender =
        Appender::open(house.path(), &house.config, Framing::of(house.encoding)).expect("it can be made");
    fs::remove_file(house.path()).expect("it is there");
    let (count, result) = appender.append(Frames::new(&bytes, &ends));
    assert_eq!(count, 0);
    assert!(result.expect_err("it is gone").to_string().contains("deleted it while it was written"));
}

#[test]
fn while_something_else_is_at_the_path_records_wait() {
    assert!(geteuid().is_root(), "run the tests as root: only root can give a link to another user");
    type Make = fn(&Path);
    let others: [(Make, &str); 4] = [
        (|path| fs::create_dir(path).expect("the test may make folders"), "it is a folder"),
        (|path| mkfifo(path, Mode::S_IRWXU).expect("the test may make a FIFO"), "it is a device, socket or pipe"),
        (|path| symlink("/dev/null", path).expect("the test may make links"), "it is a device, socket or pipe"),
        (
            |path| {
                symlink("/etc/hostname", path).expect("the test may make links");
                lchown(path, Some(65_534), None).expect("root may give it away");
            },
            "it is a link of the user 65534",
        ),
    ];
    let house = House::new();
    let mut sink = house.open();
    for (make, expected) in others {
        fs::remove_file(house.path()).expect("it is there");
        make(house.path());
        let why = none_delivered(&mut sink, 0..2);
        let path = house.path().display();
        assert!(why.contains(expected) && why.contains(&format!("can't open {path}")), "{why}");
        assert!(why.contains("let there be a regular file or nothing"), "{why}");
        let refused = house.try_open().expect_err("it is refused").to_string();
        assert!(refused.contains(expected), "{refused}");
        fs::rename(house.path(), house.beside("away")).expect("the test may rename");
        all_delivered(&mut sink, 0..2);
        assert_eq!(house.numbers(), list(0..2));
        let _ = fs::remove_dir(house.beside("away")).or_else(|_| fs::remove_file(house.beside("away")));
    }
}

#[test]
fn a_path_that_can_not_be_is_refused_at_the_start() {
    let house = House::new();
    let missing = House::at(&house.beside("missing/events"));
    let error = missing.try_open().expect_err("there is no folder").to_string();
    assert!(error.contains("sink \"audit\": can't open") && error.contains("No such file or directory"), "{error}");
}

#[test]
fn through_a_link_the_file_behind_it_is_written_and_rotated() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let house = House::new();
    let target = folder.path().join("target");
    symlink(&target, house.path()).expect("the test may make links");
    let mut link = House::at(house.path());
    link.config.rotate_age = Some(Duration::from_nanos(1));
    let mut sink = link.open();
    all_delivered(&mut sink, 0..2);
    all_delivered(&mut sink, 2..4);
    assert!(fs::symlink_metadata(house.path()).expect("it is there").is_symlink());
    assert_eq!((link.rotated().len(), link.numbers()), (0, list(2..4)));
    let behind = House::at(&target).rotated();
    assert_eq!(behind.iter().map(|path| link.numbers_of(path)).collect::<Vec<_>>(), [list(0..2)]);
}

#[test]
fn on_a_full_disk_only_whole_records_stand_and_the_others_wait() {
    on_small_disk(|disk| {
        for encoding in ENCODINGS {
            let house = House { encoding, ..House::at(&disk.join("events")) };
            let mut sink = house.open();
            let room = disk.join("room");
            fs::write(&room, vec![0; 30 << 10]).expect("there is room");
            let verdicts = verdicts(&mut sink, 0..2000);
            let count = delivered(&verdicts) as u64;
            assert!(count > 0, "there is room for some");
            assert_eq!(house.numbers(), list(0..count), "{encoding:?}");
            let Verdict::Retry(trouble) = &verdicts[count as usize] else { panic!("it does not fit: {verdicts:?}") };
            assert!(
                trouble.why.contains("No space left on device") && trouble.why.contains("make room"),
                "{trouble:?}"
            );
            let why = none_delivered(&mut sink, count..2000);
            assert!(why.contains("No space left on device"), "{why}");
            assert_eq!(house.numbers(), list(0..count), "{encoding:?}");
            // a full disk is no reason not to start
            drop(sink);
            let mut sink = house.open();
            fs::remove_file(&room).expect("it is there");
            all_delivered(&mut sink, count..count + 50);
            assert_eq!(house.numbers(), list(0..count + 50), "{encoding:?}");
            fs::remove_file(house.path()).expect("it is there");
        }
    });
}

#[test]
fn a_read_only_disk_keeps_nothing_from_starting_and_its_records_wait() {
    on_small_disk(|disk| {
        let house = House::at(&disk.join("events"));
        let mut sink = house.open();
        let remount = |flags| mount(Some("none"), disk, Some("tmpfs"), MsFlags::MS_REMOUNT | flags, None::<&str>);
        // before the first record nothing is open, which would keep the disk from that
        remount(MsFlags::MS_RDONLY).expect("root may remount");
        let why = none_delivered(&mut sink, 0..2);
        assert!(why.contains("Read-only file system") && why.contains("ReadWritePaths="), "{why}");
        drop(sink);
        let mut sink = house.open();
        assert_eq!(house.health.state().trouble, Some(why));
        remount(MsFlags::empty()).expect("root may remount");
        all_delivered(&mut sink, 0..2);
        assert_eq!(house.numbers(), list(0..2));
    });
}

#[test]
fn what_the_disk_does_not_confirm_is_not_delivered_and_written_anew() {
    let house = House::new();
    let mut sink = house.open();
    all_delivered(&mut sink, 0..2);
    let why = without(&[libc::SYS_fdatasync], libc::EIO, || none_delivered(&mut sink, 2..4));
    assert!(why.contains("Input/output error") && why.contains("the disk fails"), "{why}");
    // the pages that could not be written are gone
    assert_eq!(house.numbers(), list(0..2));
    all_delivered(&mut sink, 2..4);
    assert_eq!(house.numbers(), list(0..4));
    // the name of the file is part of it, also where another process has made it
    fs::remove_file(house.path()).expect("it is there");
    without(&[libc::SYS_fsync], libc::EIO, || none_delivered(&mut sink, 4..6));
    drop(sink);
    let mut sink = house.open();
    without(&[libc::SYS_fsync], libc::EIO, || none_delivered(&mut sink, 4..6));
    all_delivered(&mut sink, 4..6);
    without(&[libc::SYS_fsync], libc::EIO, || all_delivered(&mut sink, 6..8));
    assert_eq!(house.numbers(), list(4..8));
}

#[test]
fn without_fsync_the_disk_is_not_asked() {
    let mut house = House::new();
    house.config.fsync = FileFsync::None;
    let mut sink = house.open();
    without(&[libc::SYS_fdatasync, libc::SYS_fsync], libc::EIO, || all_delivered(&mut sink, 0..2));
    assert_eq!(house.numbers(), list(0..2));
}

#[test]
fn a_record_that_fits_only_in_part_and_can_not_be_cut_off_is_finished_first() {
    on_small_disk(|disk| {
        // the worker may have another one first
        for (encoding, same) in ENCODINGS.into_iter().flat_map(|encoding| [(encoding, true), (encoding, false)]) {
            let house = House { encoding, ..House::at(&disk.join("events")) };
            let mut sink = house.open();
            let room = disk.join("room");
            fs::write(&room, vec![0; 30 << 10]).expect("there is room");
            let verdicts = without(&[libc::SYS_ftruncate], libc::EPERM, || verdicts(&mut sink, 0..2000));
            let count = delivered(&verdicts) as u64;
            assert!(file(&mut sink).is_torn(), "a piece is left");
            fs::remove_file(&room).expect("it is there");
            if same {
                all_delivered(&mut sink, count..count + 10);
                assert_eq!(house.numbers(), list(0..count + 10), "{encoding:?}");
            } else {
                all_delivered(&mut sink, 5000..5001);
                assert_eq!(house.numbers(), [list(0..count + 1), vec![5000]].concat(), "{encoding:?}");
            }
            fs::remove_file(house.path()).expect("it is there");
        }
    });
}

#[test]
fn a_file_is_rotated_before_a_record_would_make_it_too_large() {
    for encoding in ENCODINGS {
        let mut house = House { encoding, ..House::new() };
        house.config.rotate_size = Some(Size(4000));
        let mut sink = house.open();
        all_delivered(&mut sink, 0..150);
        all_delivered(&mut sink, 150..155);
        drop(sink);
        all_delivered(&mut house.open(), 155..200);
        let files = [house.rotated(), vec![house.path().to_owned()]].concat();
        assert!(files.len() > 5, "{files:?}");
        assert!(files.iter().all(|path| fs::metadata(path).expect("it is there").len() <= 4000), "{files:?}");
        // as many as fit: with one more it would have been too large
        let lengths = files.windows(2).map(|two| fs::metadata(&two[0]).expect("it is there").len());
        assert!(lengths.min() > Some(4000 - 600), "{encoding:?}");
        let all: Vec<_> = files.iter().flat_map(|path| house.numbers_of(path)).collect();
        assert_eq!(all, list(0..200), "{encoding:?}");
        // a record that is larger than that has a file for itself
        house.config.rotate_size = Some(Size(10));
        all_delivered(&mut house.open(), 200..203);
        let files = [house.rotated().split_off(files.len()), vec![house.path().to_owned()]].concat();
        assert_eq!(files.iter().map(|path| house.numbers_of(path)).collect::<Vec<_>>(), [[200], [201], [202]]);
    }
}

#[test]
fn a_file_is_rotated_when_it_is_too_old() {
    let mut house = House::new();
    house.config.rotate_age = Some(Duration::from_secs(3600));
    let mut sink = house.open();
    all_delivered(&mut sink, 0..2);
    all_delivered(&mut sink, 2..4);
    assert_eq!(house.rotated(), [] as [PathBuf; 0]);
    drop(sink);
    house.config.rotate_age = Some(Duration::from_nanos(1));
    let mut sink = house.open();
    all_delivered(&mut sink, 4..6);
    assert_eq!((house.rotated().len(), house.numbers()), (1, list(4..6)));
    assert_eq!(house.numbers_of(&house.rotated()[0]), list(0..4));
}

#[test]
fn where_rotation_fails_records_are_appended_all_the_same() {
    let mut house = House::new();
    house.config.rotate_size = Some(Size(1000));
    let mut sink = house.open();
    without(&[libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2], libc::EPERM, || {
        all_delivered(&mut sink, 0..20);
        all_delivered(&mut sink, 20..40);
    });
    assert_eq!((house.rotated().len(), house.numbers()), (0, list(0..40)));
    all_delivered(&mut sink, 40..41);
    assert_eq!((house.rotated().len(), house.numbers()), (1, list(40..41)));
}

#[test]
fn rotated_files_are_compressed_in_the_background() {
    for (compress, extension) in [(FileCompression::Gzip, "gz"), (FileCompression::Zstd, "zst")] {
        let mut house = House::new();
        house.config.rotate_size = Some(Size(4000));
        house.config.compress = compress;
        house.config.mode = config::FileMode(0o604);
        let mut sink = house.open();
        all_delivered(&mut sink, 0..100);
        let compressed = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
        until("they are compressed", || house.rotated().iter().all(compressed));
        sink = {
            drop(sink);
            house.open()
        };
        all_delivered(&mut sink, 100..101);
        let mut all = Vec::new();
        for path in house.rotated() {
            assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o604);
            all.extend(numbers(house.encoding, &compress::tests::decompressed(&path)));
        }
        all.extend(house.numbers());
        assert_eq!(all, list(0..101));
    }
}

#[test]
fn while_a_new_configuration_takes_the_place_of_the_old_one_only_one_sink_writes() {
    let house = House::new();
    let mut old = house.open();
    all_delivered(&mut old, 0..2);
    let mut new = house.open();
    let why = none_delivered(&mut new, 2..4);
    assert!(why.contains("another sink still writes to it"), "{why}");
    all_delivered(&mut old, 2..4);
    drop(old);
    all_delivered(&mut new, 4..6);
    assert_eq!(house.numbers(), list(0..6));
}

#[test]
fn attributes_in_the_path_give_files_of_their_own_each_with_its_own_trouble() {
    let mut house = House::new();
    let folder = house.path().parent().expect("it has a folder").to_owned();
    let template = format!("{}/{{severity}}.log", folder.display());
    house.config.path = FilePath::Template(Template::parse(&template).unwrap_or_else(|e| panic!("{e}")));
    house.config.rotate_age = Some(Duration::from_nanos(1));
    let mut sink = house.open();
    let bytes: Vec<_> = [9, 17, 9, 17]
        .map(|severity| {
            let body = Some(AnyValue { value: Some(any_value::Value::StringValue(severity.to_string())) });
            LogRecord { severity_number: severity, body, ..LogRecord::default() }.encode_to_vec()
        })
        .into();
    let resource: Arc<[u8]> = [].into();
    let record = |bytes| Record::parse(bytes).expect("it is a record");
    let records: Vec<_> = bytes.iter().map(|bytes| Outgoing { resource: &resource, record: record(bytes) }).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut verdicts = |records| runtime.block_on(sink.deliver(records));
    assert_eq!(verdicts(&records), vec![Verdict::Delivered; 4]);
    let [info, error] = ["INFO.log", "ERROR.log"].map(|name| folder.join(name));
    assert_eq!((house.numbers_of(&info), house.numbers_of(&error)), (vec![9, 9], vec![17, 17]));
    fs::rename(&error, house.beside("moved")).expect("the test may rename");
    fs::create_dir(&error).expect("the test may make folders");
    let verdicts = verdicts(&records);
    assert!(
        matches!(&verdicts[..], [Verdict::Delivered, Verdict::Retry(_), Verdict::Delivered, Verdict::Retry(_)]),
        "{verdicts:?}"
    );
    // what was there before has been rotated
    assert_eq!((house.numbers_of(&info), rotated::list(&info).expect("it can be read").len()), (vec![9, 9], 1));
}
