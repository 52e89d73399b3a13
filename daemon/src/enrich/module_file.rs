//! The module's file: its hash, what modinfo would say, the package that it belongs to.
//!
//! Read by a thread of its own, once as long as the file stays the same; an event waits for it up to a bound. A file is read from where
//! the process that loaded it sees it, and taken only where it is the very file that the kernel has read, unchanged since.

mod modinfo;
mod open;
mod package;
mod read;

use std::{
    ffi::OsString,
    io,
    num::NonZeroUsize,
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use lru::LruCache;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::read::{Compression, contents};
use self::{
    open::{Identity, NotTheSame, Opened, Place},
    package::Packages,
    read::{TooMuch, read},
};
use crate::{
    event::{Event, File, LoadSource, ModuleFile, Package, Process, Text, What, names},
    host::Host,
};

/// What is known of a file has about 1 KiB.
const MOST: NonZeroUsize = NonZeroUsize::new(512).expect("it is not zero");
/// What can't be read is not tried again for so long: whoever loads a file for ever must not make us wait for ever.
const AGAIN: Duration = Duration::from_secs(10);

/// A file to be read.
struct Task {
    opened: Opened,
    /// Where its package would have it; `None` for a file of a container.
    path: Option<PathBuf>,
}

type Answer = (Identity, Result<Arc<ModuleFile>, String>);

/// Files that were read, and the thread that reads others.
#[derive(Debug)]
pub(super) struct ModuleFiles {
    known: LruCache<Identity, Arc<ModuleFile>>,
    failed: LruCache<Identity, (Instant, String)>,
    tasks: Option<mpsc::SyncSender<Task>>,
    answers: mpsc::Receiver<Answer>,
    /// The thread is at one that nobody waits for any more.
    late: bool,
    wait: Duration,
    host: Host,
    /// Whether the host has these files.
    of_host: LruCache<(Text, u64, (u32, u32)), bool>,
}

impl ModuleFiles {
    /// `wait`: how long the events of one batch wait for it altogether.
    pub(super) fn new(host: Host, wait: Duration) -> Self {
        let mut packages = Packages::of(&host);
        // one at a time: who waits is one
        let (tasks, todo) = mpsc::sync_channel::<Task>(1);
        let (done, answers) = mpsc::channel();
        let work = move || {
            for Task { opened, path } in todo {
                let result = read(&opened).map(|mut file| {
                    file.package = path.and_then(|path| packages.owner(&path));
                    Arc::new(file)
                });
                if done.send((opened.identity, result.map_err(|why: TooMuch| why.to_string()))).is_err() {
                    return;
                }
            }
        };
        let started = thread::Builder::new().name("kmodtrail-files".to_owned()).spawn(work);
        if let Err(error) = &started {
            tracing::error!(%error, "can't start the thread that reads module files: records have no hashes");
        }
        Self {
            known: LruCache::new(MOST),
            failed: LruCache::new(MOST),
            tasks: started.is_ok().then_some(tasks),
            answers,
            late: false,
            wait,
            host,
            of_host: LruCache::new(MOST),
        }
    }

    /// The process has another mount namespace than the host.
    fn is_elsewhere(&self, process: Option<&Process>) -> bool {
        let namespace = process.and_then(|p| p.namespaces.mount);
        namespace.is_some() && self.host.namespace.is_some() && namespace != self.host.namespace
    }

    /// Tells files of containers from the host's: a process with a mount namespace of its own, and a file that the host does not have at
    /// that path. (Services have such namespaces, too, and mostly the host's files in them.)
    pub(super) fn place(&mut self, event: &mut Event) {
        if !self.is_elsewhere(event.process.as_deref()) {
            return;
        }
        let (file, source) = match &mut event.what {
            What::Load(load) => (&mut load.file, Some(&mut load.source)),
            What::Read(read) => (&mut read.file, None),
            What::Verify(verify) => (&mut verify.file, None),
            _ => return,
        };
        let Some(file) = file.as_mut().filter(|file| file.source == LoadSource::File) else { return };
        let key = (file.path.clone(), file.inode, file.device);
        let (host, file_now) = (&self.host, &*file);
        if !*self.of_host.get_or_insert(key, || open::is_of(host, file_now)) {
            file.source = LoadSource::ContainerFile;
            if let Some(source) = source {
                *source = Some(LoadSource::ContainerFile);
            }
        }
    }

    /// Adds to loads what their files say. `deadline`: of the batch.
    pub(super) fn read(&mut self, event: &mut Event, deadline: &mut Option<Instant>) {
        // who may not load makes as many as he likes
        if event.may_flood() {
            return;
        }
        let process = event.process.as_deref();
        let What::Load(load) = &mut event.what else { return };
        let Some(file) = &load.file else {
            if load.source == Some(LoadSource::Memory) {
                event
                    .missing
                    .push("linux.kernel_module.hash.sha256: the bytes came from the process's memory".to_owned());
            }
            return;
        };
        let pid = process.map(|p| p.id.pid);
        let found = match open::open(file, &self.host, self.is_elsewhere(process), pid, load.descriptor) {
            Ok((opened, _)) if opened.changed > event.time.wall => {
                Err("the file has changed since it was read".to_owned())
            }
            Ok((opened, place)) => {
                let path = (place == Place::Host).then(|| PathBuf::from(OsString::from_vec(file.path.bytes())));
                self.of(Task { opened, path }, deadline.get_or_insert_with(|| Instant::now() + self.wait))
            }
            Err(why) => Err(explain(&why, file)),
        };
        match found {
            Ok(found) => {
                if let Some(why) = package_unknown(&found) {
                    event.missing.push(format!("{}: {why}", names::PACKAGE_OWNED));
                }
                load.contents = Some(found);
            }
            Err(why) => event.missing.push(format!("linux.kernel_module.hash.sha256: {why}")),
        }
    }

    fn of(&mut self, task: Task, deadline: &Instant) -> Result<Arc<ModuleFile>, String> {
        let wanted = task.opened.identity;
        self.take_answers();
        let failed = self.failed.get(&wanted).filter(|(when, _)| when.elapsed() < AGAIN);
        match (self.known.get(&wanted).cloned(), failed) {
            // what its package is may be told later
            (Some(known), None) if package_unknown(&known).is_some() => {
                return Ok(self.read_now(task, deadline).unwrap_or(known));
            }
            (Some(known), _) => return Ok(known),
            (None, Some((_, why))) => return Err(why.clone()),
            (None, None) => {}
        }
        self.read_now(task, deadline)
    }

    fn read_now(&mut self, task: Task, deadline: &Instant) -> Result<Arc<ModuleFile>, String> {
        let wanted = task.opened.identity;
        if self.late {
            return Err("another file is still being read".to_owned());
        }
        let Some(tasks) = &self.tasks else { return Err("there is no thread to read it".to_owned()) };
        if tasks.try_send(task).is_err() {
            return Err("the thread that reads files has ended".to_owned());
        }
        self.late = true;
        while let Ok(answer) = self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let (identity, result) = self.keep(answer);
            if identity == wanted {
                return result;
            }
        }
        Err(format!("it was not read within {} ms", self.wait.as_millis()))
    }

    /// What was late is there for the next one who asks.
    fn take_answers(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            _ = self.keep(answer);
        }
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        self.late = false;
        match &answer {
            (identity, Ok(file)) => {
                if let Some(why) = package_unknown(file) {
                    self.failed.put(*identity, (Instant::now(), why.to_owned()));
                }
                self.known.put(*identity, Arc::clone(file));
            }
            (identity, Err(why)) => drop(self.failed.put(*identity, (Instant::now(), why.clone()))),
        }
        answer
    }
}

fn package_unknown(file: &ModuleFile) -> Option<&str> {
    match &file.package {
        Some(Package::Unknown(why)) => Some(why),
        _ => None,
    }
}

fn explain(why: &NotTheSame, file: &File) -> String {
    match why {
        NotTheSame::Other if file.source == LoadSource::DeletedFile => "the file is deleted".to_owned(),
        NotTheSame::Other => "there is another file at its path now".to_owned(),
        NotTheSame::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "not permitted (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH)".to_owned()
        }
        NotTheSame::Io(_) if file.source == LoadSource::Memfd => "the process that had the memfd is gone".to_owned(),
        NotTheSame::Io(error) if error.kind() == io::ErrorKind::NotFound => "the file is gone".to_owned(),
        NotTheSame::Io(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
