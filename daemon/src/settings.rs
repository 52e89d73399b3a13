//! Settings that decide what is loaded, and how: kernel.modprobe, kernel.modules_disabled, the folders of modprobe and modules-load, and
//! those with the keys that modules are signed with.
//!
//! Values of the kernel are looked at once a second; the sensor has seen who wrote them meanwhile, and what, where that is a text. Folders
//! are watched by inotify(7), which does not tell who it was.

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
    event::{Event, FileChange, Setting, Text, What},
    host::Host,
};

/// modprobe.d(5), modules-load.d(5); then where the keys are: dkms(8), update-secureboot-policy(1), the kernel's
/// Documentation/admin-guide/module-signing.rst and IMA's appraisal, akmods.
const FOLDERS: [&str; 13] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/lib/modprobe.d",
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
    "/var/lib/dkms",
    "/var/lib/shim-signed/mok",
    "/etc/keys",
    "/etc/pki/akmods/certs",
    "/etc/pki/akmods/private",
];
/// So much of a value is kept, bytes. KMOD_PATH_LEN is 256.
const LONGEST_VALUE: usize = 256;
/// How often folders that were not there are looked for, in calls.
const RETRY: u32 = 30;

/// A file with a value, as the kernel shows its settings.
#[derive(Debug)]
struct Value {
    path: PathBuf,
    file: Option<File>,
    last: Option<Vec<u8>>,
    /// The writes since the last look.
    writes: Vec<Event>,
    /// The last write before it, which had changed nothing yet: it is told by its beginning.
    begun: Option<Event>,
    /// What was found at the last look, where no write was seen: it may not have been read then.
    unexplained: bool,
}

/// Something that has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// What the kernel has said of it.
    Seen(Event),
    /// Nobody has seen who it was.
    Found(What),
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
    /// `paths`: files with values; `told`: those that an earlier process has told, so that what has changed since is told, too.
    #[must_use]
    pub fn new(paths: &[PathBuf], told: &[(PathBuf, Option<Vec<u8>>)]) -> Self {
        let host = Host::find();
        let folder = |path| Folder { path: PathBuf::from(path), place: host.path(Path::new(path)) };
        let mut settings = Self::with(paths, FOLDERS.map(folder).to_vec());
        for value in &mut settings.values {
            if let Some((_, last)) = told.iter().find(|(path, _)| *path == value.path) {
                value.last.clone_from(last);
            }
        }
        settings
    }

    /// The values as they were told, by the paths of their files.
    #[must_use]
    pub fn told(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        self.values.iter().map(|value| (value.path.clone(), value.last.clone())).collect()
    }

    fn with(paths: &[PathBuf], folders: Vec<Folder>) -> Self {
        let value = |path: &PathBuf| {
            let file = File::open(path).ok();
            Value {
                last: file.as_ref().and_then(read),
                file,
                path: path.clone(),
                writes: Vec::new(),
                begun: None,
                unexplained: false,
            }
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

    /// Takes what the sensor has seen of settings out of the events: it comes back from [`Self::tick`], with what it has changed.
    pub fn observe(&mut self, events: &mut Vec<Event>) {
        let writes = events.extract_if(.., |event| matches!(event.what, What::Setting(_)));
        for write in writes {
            let of = |value: &&mut Value| match &write.what {
                What::Setting(Setting::Value { path, .. }) => *path == value.path(),
                _ => false,
            };
            if let Some(value) = self.values.iter_mut().find(of) {
                value.writes.push(write);
            }
        }
    }

    /// To be called about once a second, after [`Self::observe`]: what has changed since.
    pub fn tick(&mut self) -> Vec<Change> {
        let mut changes: Vec<_> = self.values.iter_mut().flat_map(Value::changes).collect();
        let mut found = Vec::new();
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
        changes.extend(found.into_iter().map(What::Setting).map(Change::Found));
        changes
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
    fn path(&self) -> Text {
        Text::from_bytes(self.path.as_os_str().as_bytes())
    }

    fn look(&mut self) -> Option<Vec<u8>> {
        if self.file.is_none() {
            // a parameter of a module that is loaded later
            self.file = File::open(&self.path).ok();
        }
        let now = self.file.as_ref().and_then(read);
        if now.is_none() {
            self.file = None;
        }
        now
    }

    /// Where a text was written and written back, both were changes. What another value makes of itself is only known from a look.
    fn changes(&mut self) -> Vec<Change> {
        let now = self.look();
        let mut writes = std::mem::take(&mut self.writes);
        let last = writes.pop();
        let mut changes = Vec::new();
        for write in writes {
            if let What::Setting(Setting::Value { after: Some(written), .. }) = &write.what {
                changes.extend(self.becomes(Some(written.bytes()), Some(write)));
            }
        }
        let begun = self.begun.take();
        if now == self.last {
            (self.begun, self.unexplained) = (last, false);
            return changes;
        }
        let write = last.or(begun);
        // the next look finds it again, and the kernel's word of it by then
        if write.is_some() || std::mem::replace(&mut self.unexplained, true) {
            self.unexplained = false;
            changes.extend(self.becomes(now, write));
        }
        changes
    }

    fn becomes(&mut self, now: Option<Vec<u8>>, write: Option<Event>) -> Option<Change> {
        if now == self.last {
            return None;
        }
        let before = std::mem::replace(&mut self.last, now);
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| Text::from_bytes(bytes));
        let what = What::Setting(Setting::Value { path: self.path(), before: text(&before), after: text(&self.last) });
        Some(match write {
            Some(event) => Change::Seen(Event { what, ..event }),
            None => Change::Found(what),
        })
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
mod tests;
