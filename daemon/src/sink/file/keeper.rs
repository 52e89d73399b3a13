//! Looks after rotated files on a thread of its own: compresses them, and deletes them when their time has come.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use super::{
    compress::{clear, compress},
    failure::Failure,
    rotated::{self, Form, Rotated},
};
use crate::config::{self, FileCompression};

/// How long it may take until a file that is too old is deleted, where nothing else happens.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The thread. Dropped, it stops within the time that a block needs to be compressed; what it did not finish is done at the next start.
#[derive(Debug)]
pub(super) struct Keeper {
    paths: Option<mpsc::Sender<PathBuf>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread, where there is something to do for it.
    pub(super) fn start(sink: &str, config: &config::FileSink) -> io::Result<Option<Self>> {
        let keep = Keep::new(config);
        if !keep.does_something() {
            return Ok(None);
        }
        let (paths, receiver) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { sink: sink.to_owned(), keep, stop: Arc::clone(&stop), said: None };
        // the kernel shows the first 15 bytes
        let thread = thread::Builder::new().name(format!("keep {sink}")).spawn(move || work.run(&receiver))?;
        Ok(Some(Self { paths: Some(paths), stop, thread: Some(thread) }))
    }

    /// From now on it looks after the rotated files of this one, and does so at once.
    pub(super) fn look_after(&self, path: &Path) {
        if let Some(paths) = &self.paths {
            // the thread ends only with this sender
            let _ = paths.send(path.to_owned());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.paths = None;
        if let Some(thread) = self.thread.take() {
            // it panics nowhere, and there is nothing to be done about it here
            let _ = thread.join();
        }
    }
}

/// What becomes of rotated files.
#[derive(Debug, Clone)]
pub(super) struct Keep {
    compress: FileCompression,
    files: Option<u64>,
    age: Option<Duration>,
    size: Option<u64>,
}

impl Keep {
    pub(super) fn new(config: &config::FileSink) -> Self {
        Self {
            compress: config.compress,
            files: config.keep_files.map(Into::into),
            age: config.keep_age,
            size: config.keep_size.map(|size| size.0),
        }
    }

    fn does_something(&self) -> bool {
        self.compress != FileCompression::None || self.files.is_some() || self.age.is_some() || self.size.is_some()
    }

    /// Compresses what is to be compressed, and deletes what is to be deleted. What fails does not keep it from the rest.
    pub(super) fn tidy(&self, path: &Path, now: SystemTime, stop: &AtomicBool) -> Result<(), Failure> {
        let compressed = self.compress_all(path, stop);
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        compressed.and(self.delete(path, now))
    }

    fn compress_all(&self, path: &Path, stop: &AtomicBool) -> Result<(), Failure> {
        let mut result = Ok(());
        let mut files = list(path)?;
        // what an earlier process did not finish goes before something takes its name
        files.sort_by_key(|file| file.form != Form::Part);
        for file in files {
            let done = match file.form {
                Form::Part => clear(&file.path, &file.plain()),
                Form::Plain => compress(&file.path, self.compress, stop),
                Form::Compressed => Ok(()),
            };
            result = result.and(done.map_err(|source| Failure { doing: "compress", path: file.path, source }));
        }
        result
    }

    fn delete(&self, path: &Path, now: SystemTime) -> Result<(), Failure> {
        let mut result = Ok(());
        let (mut count, mut size) = (0, 0);
        for file in list(path)?.into_iter().rev() {
            count += 1;
            size += file.size;
            let Some(why) = self.why_not(&file, count, size, now) else { continue };
            match fs::remove_file(&file.path) {
                Ok(()) => tracing::info!(path = %file.path.display(), "rotated file deleted: {why}"),
                Err(source) => result = result.and(Err(Failure { doing: "delete", path: file.path, source })),
            }
        }
        result
    }

    /// Why this file is not kept, the so-manyth of those that have so many bytes together, counted from the newest.
    fn why_not(&self, file: &Rotated, count: u64, size: u64, now: SystemTime) -> Option<&'static str> {
        if self.files.is_some_and(|most| count > most) {
            Some("there are more than keep_files")
        } else if self.age.is_some_and(|oldest| rotated::age(file, now) > oldest) {
            Some("it is older than keep_age")
        } else if self.size.is_some_and(|most| size > most) {
            Some("with those after it there is more than keep_size")
        } else {
            None
        }
    }
}

fn list(path: &Path) -> Result<Vec<Rotated>, Failure> {
    rotated::list(path).map_err(|source| Failure { doing: "find what was rotated from", path: path.to_owned(), source })
}

#[derive(Debug)]
struct Work {
    sink: String,
    keep: Keep,
    stop: Arc<AtomicBool>,
    /// What was wrong at the last time.
    said: Option<String>,
}

impl Work {
    fn run(mut self, receiver: &mpsc::Receiver<PathBuf>) {
        let mut paths = BTreeSet::new();
        loop {
            match receiver.recv_timeout(INTERVAL) {
                Ok(path) => {
                    self.tidy(&path);
                    paths.insert(path);
                }
                Err(RecvTimeoutError::Timeout) => paths.iter().for_each(|path| self.tidy(path)),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tidy(&mut self, path: &Path) {
        let why = self.keep.tidy(path, SystemTime::now(), &self.stop).err().map(|failure| failure.to_string());
        if let Some(why) = &why
            && self.said.as_ref() != Some(why)
        {
            tracing::warn!(
                sink = self.sink,
                "rotated files stay as they are until the next rotation, or for an hour: {why}"
            );
        }
        self.said = why;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::{config::Size, sink::file::compress::tests::decompressed};

    /// 2026-01-02T03:04:05Z
    const SECONDS: u64 = 1_767_323_045;

    /// Rotated files of "events", one second apart, each of 100 bytes, and what is not ours.
    struct Folder(tempfile::TempDir);

    const OTHERS: [&str; 5] =
        ["events", "events.1", "events.20260102T030405Z.bak", "other.20260102T030405Z", "z.gz.part"];

    impl Folder {
        fn new(rotated: u64) -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder for the test"));
            OTHERS.iter().for_each(|name| folder.write(name));
            for second in 0..rotated {
                fs::write(folder.path("events"), [b'0' + second as u8; 100]).expect("the test may write");
                rotated::rotate(&folder.path("events"), time(second)).expect("there is a name");
            }
            folder.write("events");
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str) {
            fs::write(self.path(name), name).expect("the test may write");
        }

        fn tidy(&self, change: impl FnOnce(&mut config::FileSink)) -> Result<(), Failure> {
            let mut config = config::FileSink::new(self.path("events"));
            change(&mut config);
            Keep::new(&config).tidy(&self.path("events"), time(10), &AtomicBool::new(false))
        }

        /// Ends of the names of what was rotated. What is not ours must still be there.
        #[track_caller]
        fn rotated(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.path()).expect("it can be read");
            let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name"));
            let mut names: Vec<_> = names.collect();
            names.sort();
            for other in OTHERS {
                assert!(names.iter().any(|name| name == other), "{other} is gone: {names:?}");
            }
            names.retain(|name| !OTHERS.contains(&name.as_str()));
            names.into_iter().map(|name| name.replace("events.20260102T03040", "")).collect()
        }
    }

    fn time(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(SECONDS + second)
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many_too_old_or_too_large_ones() {
        let folder = Folder::new(5);
        folder.tidy(|_| {}).expect("there is nothing to do");
        assert_eq!(folder.rotated(), ["5Z", "6Z", "7Z", "8Z", "9Z"]);
        folder.tidy(|config| config.keep_files = NonZeroU64::new(4)).expect("it can be deleted");
        assert_eq!(folder.rotated(), ["6Z", "7Z", "8Z", "9Z"]);
        // the last is six seconds old by now
        folder.tidy(|config| config.keep_age = Some(Duration::from_secs(8))).expect("it can be deleted");
        assert_eq!(folder.rotated(), ["7Z", "8Z", "9Z"]);
        folder.tidy(|config| config.keep_size = Some(Size(299))).expect("it can be deleted");
        assert_eq!(folder.rotated(), ["8Z", "9Z"]);
        folder.tidy(|config| config.keep_size = Some(Size(200))).expect("it can be deleted");
        assert_eq!(folder.rotated(), ["8Z", "9Z"]);
    }

    #[test]
    fn size_is_what_they_have_when_they_are_compressed() {
        let folder = Folder::new(5);
        folder
            .tidy(|config| (config.compress, config.keep_size) = (FileCompression::Gzip, Some(Size(400))))
            .expect("it can be done");
        assert_eq!(folder.rotated(), ["5Z.gz", "6Z.gz", "7Z.gz", "8Z.gz", "9Z.gz"]);
    }

    #[test]
    fn what_a_crash_has_left_is_finished_and_a_half_compressed_file_is_never_taken_for_a_whole_one() {
        for (how, extension) in [(FileCompression::Gzip, "gz"), (FileCompression::Zstd, "zst")] {
            let folder = Folder::new(3);
            // in the middle of writing, in the middle of it with another compression, and before the original was deleted
            folder.write(&format!("events.20260102T030405Z.{extension}.part"));
            folder.write("events.20260102T030406Z.gz.part");
            folder.write("events.20260102T030406Z.zst.part");
            folder.write(&format!("events.20260102T030407Z.{extension}"));
            folder.tidy(|config| config.compress = how).expect("it can be done");
            let expected = ["5Z", "6Z", "7Z"].map(|name| format!("{name}.{extension}"));
            assert_eq!(folder.rotated(), expected);
            for (byte, name) in (b'0'..).zip(expected) {
                let path = folder.path(&format!("events.20260102T03040{name}"));
                assert_eq!(decompressed(&path), [byte; 100], "{}", path.display());
            }
        }
    }

    #[test]
    fn one_file_that_fails_keeps_nothing_from_the_others() {
        let folder = Folder::new(3);
        // the place of the compressed file is taken by what can't be replaced
        fs::create_dir_all(folder.path("events.20260102T030405Z.gz/x")).expect("the test may make folders");
        let failure = folder.tidy(|config| {
            (config.compress, config.keep_files) = (FileCompression::Gzip, NonZeroU64::new(2));
        });
        let failure = failure.expect_err("one fails").to_string();
        assert!(failure.contains("can't compress") && failure.contains("events.20260102T030405Z"), "{failure}");
        assert_eq!(folder.rotated(), ["5Z.gz", "6Z.gz", "7Z.gz"]);
        assert!(folder.path("events.20260102T030405Z.gz").is_dir());
    }
}
