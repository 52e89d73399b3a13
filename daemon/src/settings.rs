//! Settings that decide what is loaded, and how: kernel.modprobe, kernel.modules_disabled, the folders of modprobe and modules-load.
//!
//! Values of the kernel are looked at once a second, as nothing says when they change; folders are watched by inotify(7). Neither tells who
//! it was, and a value that is changed and changed back between two looks is not seen. (A hook on every write of a setting would tell, and
//! would fire when nothing about modules happens.)

use std::{
    collections::HashMap,
    fs::File,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor},
};

use crate::{
    event::{FileChange, Setting, Text, What},
    host::Host,
};

/// modprobe.d(5), modules-load.d(5).
const FOLDERS: [&str; 8] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/lib/modprobe.d",
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
];
/// So much of a value is kept, bytes. KMOD_PATH_LEN is 256.
const LONGEST_VALUE: usize = 256;
/// How often folders that were not there are looked for, in calls.
const RETRY: u32 = 10;

/// A file with a value, as the kernel shows its settings.
#[derive(Debug)]
struct Value {
    path: PathBuf,
    file: Option<File>,
    last: Option<Vec<u8>>,
}

/// A folder of the host's.
#[derive(Debug, Clone)]
struct Folder {
    /// Its path.
    path: PathBuf,
    /// Where that is to be found.
    place: PathBuf,
}

/// All that is watched.
#[derive(Debug)]
pub struct Settings {
    values: Vec<Value>,
    inotify: Option<Inotify>,
    watched: HashMap<WatchDescriptor, Folder>,
    absent: Vec<Folder>,
    calls: u32,
}

impl Settings {
    /// `paths`: files with values.
    #[must_use]
    pub fn new(paths: &[PathBuf]) -> Self {
        let host = Host::find();
        let folder = |path| Folder { path: PathBuf::from(path), place: host.path(Path::new(path)) };
        Self::with(paths, FOLDERS.map(folder).to_vec())
    }

    fn with(paths: &[PathBuf], folders: Vec<Folder>) -> Self {
        let value = |path: &PathBuf| {
            let file = File::open(path).ok();
            Value { last: file.as_ref().and_then(read), file, path: path.clone() }
        };
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        if let Err(error) = &inotify {
            tracing::warn!(%error, "can't watch the folders of modprobe.d and modules-load.d; allowed: a higher fs.inotify.max_user_instances");
        }
        let mut settings = Self {
            values: paths.iter().map(value).collect(),
            inotify: inotify.ok(),
            watched: HashMap::new(),
            absent: folders,
            calls: 0,
        };
        settings.watch();
        settings
    }

    fn watch(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        self.absent.retain(|folder| match inotify.add_watch(&folder.place, changes) {
            Ok(descriptor) => {
                // two of them may be one folder: /lib is mostly a link
                self.watched.entry(descriptor).or_insert_with(|| folder.clone());
                false
            }
            Err(_) => true,
        });
    }

    /// To be called about once a second: what has changed since.
    pub fn tick(&mut self) -> Vec<What> {
        let mut found: Vec<_> = self.values.iter_mut().filter_map(Value::changed).collect();
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(RETRY) {
            self.watch();
        }
        while let Some(inotify) = &self.inotify {
            match inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        found.extend(self.of_folder(event.wd, event.mask, event.name.as_deref().map(Path::new)));
                    }
                }
                Err(Errno::EINTR) => {}
                // EAGAIN: that was all
                Err(_) => break,
            }
        }
        found.dedup();
        found.into_iter().map(What::Setting).collect()
    }

    fn of_folder(&mut self, folder: WatchDescriptor, mask: AddWatchFlags, name: Option<&Path>) -> Option<Setting> {
        if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            tracing::warn!(
                "changes in the folders of modprobe.d and modules-load.d were too many to be told one by one"
            );
            return None;
        }
        if mask.contains(AddWatchFlags::IN_IGNORED) {
            // the folder is gone; it may come back
            self.absent.push(self.watched.remove(&folder)?);
            return None;
        }
        let path = self.watched.get(&folder)?.path.join(name?);
        let change = match mask {
            mask if mask.contains(AddWatchFlags::IN_CREATE) => FileChange::Created,
            mask if mask.contains(AddWatchFlags::IN_CLOSE_WRITE) => FileChange::Written,
            mask if mask.intersects(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) => FileChange::Removed,
            mask if mask.contains(AddWatchFlags::IN_MOVED_TO) => FileChange::Created,
            _ => FileChange::Attributes,
        };
        Some(Setting::File { path: Text::from_bytes(path.as_os_str().as_bytes()), change })
    }
}

impl Value {
    fn changed(&mut self) -> Option<Setting> {
        if self.file.is_none() {
            // a parameter of a module that is loaded later
            self.file = File::open(&self.path).ok();
        }
        let now = self.file.as_ref().and_then(read);
        if now.is_none() {
            self.file = None;
        }
        if now == self.last {
            return None;
        }
        let before = std::mem::replace(&mut self.last, now);
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| Text::from_bytes(bytes));
        let path = Text::from_bytes(self.path.as_os_str().as_bytes());
        Some(Setting::Value { path, before: text(&before), after: text(&self.last) })
    }
}

/// Without the newline at its end.
fn read(file: &File) -> Option<Vec<u8>> {
    let mut bytes = [0; LONGEST_VALUE];
    let read = file.read_at(&mut bytes, 0).ok()?;
    let value = &bytes[..read];
    Some(value.strip_suffix(b"\n").unwrap_or(value).to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(settings: &mut Settings) -> Vec<Setting> {
        settings
            .tick()
            .into_iter()
            .filter_map(|what| if let What::Setting(s) = what { Some(s) } else { None })
            .collect()
    }

    #[test]
    fn a_value_that_changes_is_told_with_what_it_was() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("modprobe");
        let late = folder.path().join("late");
        fs::write(&path, "/sbin/modprobe\n").expect("the test may write");
        let mut watched = Settings::with(&[path.clone(), late.clone()], vec![]);
        assert_eq!(settings(&mut watched), []);
        fs::write(&path, "/tmp/x\n").expect("the test may write");
        let value = |path: &Path, before: Option<&str>, after: Option<&str>| Setting::Value {
            path: path.display().to_string().as_str().into(),
            before: before.map(Text::from),
            after: after.map(Text::from),
        };
        assert_eq!(settings(&mut watched), [value(&path, Some("/sbin/modprobe"), Some("/tmp/x"))]);
        assert_eq!(settings(&mut watched), []);
        fs::write(&late, "1\n").expect("the test may write");
        assert_eq!(settings(&mut watched), [value(&late, None, Some("1"))]);
    }

    #[test]
    fn what_happens_in_a_folder_is_told_also_in_one_that_comes_later() {
        let root = tempfile::tempdir().expect("a folder for the test");
        let (there, later) = (root.path().join("there"), root.path().join("later"));
        fs::create_dir(&there).expect("the test may write");
        let folder = |path: &str, place: &Path| Folder { path: path.into(), place: place.to_owned() };
        let folders = vec![folder("/etc/modprobe.d", &there), folder("/etc/modules-load.d", &later)];
        let mut watched = Settings::with(&[], folders);
        fs::write(there.join("a.conf"), "install usb-storage /bin/false\n").expect("the test may write");
        fs::rename(there.join("a.conf"), there.join("b.conf")).expect("the test may rename");
        fs::remove_file(there.join("b.conf")).expect("the test may delete");
        let file = |path: &str, change| Setting::File { path: path.into(), change };
        assert_eq!(
            settings(&mut watched),
            [
                file("/etc/modprobe.d/a.conf", FileChange::Created),
                file("/etc/modprobe.d/a.conf", FileChange::Written),
                file("/etc/modprobe.d/a.conf", FileChange::Removed),
                file("/etc/modprobe.d/b.conf", FileChange::Created),
                file("/etc/modprobe.d/b.conf", FileChange::Removed),
            ]
        );
        fs::create_dir(&later).expect("the test may write");
        for _ in 0..RETRY {
            assert_eq!(settings(&mut watched), []);
        }
        fs::write(later.join("c.conf"), "dummy\n").expect("the test may write");
        let told = settings(&mut watched);
        assert_eq!(told.last(), Some(&file("/etc/modules-load.d/c.conf", FileChange::Written)), "{told:?}");
        // it goes, and comes again
        fs::remove_dir_all(&later).expect("the test may delete");
        settings(&mut watched);
        fs::create_dir(&later).expect("the test may write");
        for _ in 0..RETRY {
            settings(&mut watched);
        }
        fs::write(later.join("d.conf"), "dummy\n").expect("the test may write");
        let told = settings(&mut watched);
        assert_eq!(told.last(), Some(&file("/etc/modules-load.d/d.conf", FileChange::Written)), "{told:?}");
    }
}
