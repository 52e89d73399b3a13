//! What user space knows and the kernel's record does not say.
//!
//! Nothing is asked about the acting process itself: it may have ended, or have become another program. The kernel's record has it. What
//! is asked about is what lasts longer: its ancestors, its users, its container.

mod ancestors;
mod containers;
mod module_file;
mod place;
mod signature;
mod users;

use self::{
    ancestors::Ancestors, containers::Containers, module_file::ModuleFiles, signature::Signatures, users::Users,
};
use std::sync::Arc;

use crate::{
    config,
    event::{Event, Process},
};

/// Everything that is looked up, and what is remembered of it.
#[derive(Debug)]
pub struct Enrich {
    users: Users,
    /// When the file of users was looked at, CLOCK_REALTIME.
    users_seen: u64,
    ancestors: Ancestors,
    signatures: Signatures,
    module_files: ModuleFiles,
    containers: Containers,
}

/// So long a change of the file of users may go unnoticed, nanoseconds.
const FRESH: u64 = 1_000_000_000;

/// A process before and after.
struct Enriched {
    before: Arc<Process>,
    after: Arc<Process>,
    missing: Vec<String>,
}

impl Enrich {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: &config::Enrich) -> Self {
        Self {
            users: Users::new("/etc/passwd"),
            users_seen: 0,
            ancestors: Ancestors::new("/proc"),
            containers: Containers::new(config),
            signatures: Signatures::default(),
            module_files: ModuleFiles::new(config.wait),
        }
    }

    /// Adds to the events of one batch what can be found out.
    pub fn enrich(&mut self, events: &mut [Event]) {
        let Some(now) = events.first().map(|e| e.time.observed) else { return };
        if now.abs_diff(self.users_seen) > FRESH {
            self.users_seen = now;
            self.users.refresh();
        }
        // the events of one attempt share their process: it is looked up once
        let mut done: Vec<Enriched> = Vec::new();
        let mut deadline = None;
        for event in events {
            self.signatures.read(event);
            self.module_files.place(event);
            self.module_files.read(event, &mut deadline);
            let Some(process) = &mut event.process else { continue };
            if !done.iter().any(|d| Arc::ptr_eq(&d.before, process)) {
                done.push(self.process(process, event.time.boot));
            }
            let Some(found) = done.iter().find(|d| Arc::ptr_eq(&d.before, process)) else { continue };
            *process = Arc::clone(&found.after);
            event.missing.extend_from_slice(&found.missing);
        }
    }

    fn process(&mut self, before: &Arc<Process>, now: u64) -> Enriched {
        let mut process = Process::clone(before);
        let mut missing = Vec::new();
        process.user = self.users.name(process.uid);
        process.effective_user = self.users.name(process.euid);
        process.login_user = process.login_uid.and_then(|uid| self.users.name(uid));
        process.place = process.cgroup.path.as_ref().map(|path| place::of(path.as_str())).unwrap_or_default();
        self.containers.add(&mut process.place, now, &mut missing);
        self.ancestors.add_executables(&mut process, now, &mut missing);
        Enriched { before: Arc::clone(before), after: Arc::new(process), missing }
    }
}
