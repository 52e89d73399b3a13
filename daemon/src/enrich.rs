//! What user space knows and the kernel's record does not say.
//!
//! Nothing is asked about the acting process itself: it may have ended, or have become another program. The kernel's record has it. What
//! is asked about is what lasts longer: its ancestors, its users, its container.

mod ancestors;
mod containers;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod keyrings;
mod module_file;
mod namespaces;
mod place;
mod signature;
mod userdb;
mod usermode_helper;
mod users;
mod uses;

use std::{collections::BTreeMap, num::NonZeroUsize, path::Path, sync::Arc};

use lru::LruCache;

use self::{
    ancestors::Ancestors,
    containers::Containers,
    module_file::ModuleFiles,
    namespaces::HostNamespaces,
    signature::Signatures,
    userdb::{Id, UserDb},
    usermode_helper::Helpers,
    users::Names,
    uses::Uses,
};
use crate::{
    config,
    event::{Event, Process, Text, What, names::REQUESTER},
    host::Host,
};

/// Everything that is looked up, and what is remembered of it.
#[derive(Debug)]
pub struct Enrich {
    users: Names,
    groups: Names,
    /// When the files of users and groups were looked at, CLOCK_REALTIME.
    names_seen: u64,
    userdb: UserDb,
    namespaces: HostNamespaces,
    ancestors: Ancestors,
    signatures: Signatures,
    module_files: ModuleFiles,
    containers: Containers,
    helpers: Helpers,
    uses: Uses,
    /// By the address of what it was before: the events of one attempt share their process, and what the kernel loads for a requester comes
    /// when that may have ended.
    done: LruCache<usize, Enriched>,
    missing: BTreeMap<String, u64>,
}

/// A process has a few kilobytes.
const MOST: NonZeroUsize = NonZeroUsize::new(256).expect("it is not zero");

/// So long a change of the files of users and groups may go unnoticed, nanoseconds.
const FRESH: u64 = 1_000_000_000;

/// A process before and after.
#[derive(Debug)]
struct Enriched {
    /// Keeps its address from being another's.
    _before: Arc<Process>,
    after: Arc<Process>,
    missing: Vec<String>,
}

impl Enrich {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: &config::Enrich) -> Self {
        let host = Host::find();
        Self {
            users: Names::of_users(host.path(Path::new("/etc/passwd"))),
            groups: Names::of_groups(host.path(Path::new("/etc/group"))),
            names_seen: 0,
            userdb: UserDb::new(&host.path(Path::new("/run/systemd/userdb"))),
            namespaces: HostNamespaces::new(Path::new("/proc")),
            ancestors: Ancestors::new("/proc"),
            containers: Containers::new(config, &host),
            signatures: Signatures::default(),
            module_files: ModuleFiles::new(host.clone(), config.wait),
            helpers: Helpers::of(&host),
            uses: Uses::new("/sys/module"),
            done: LruCache::new(MOST),
            missing: BTreeMap::new(),
        }
    }

    /// Adds to the events of one batch what can be found out.
    pub fn enrich(&mut self, events: &mut [Event]) {
        let Some(now) = events.first().map(|e| e.time.observed) else { return };
        if now.abs_diff(self.names_seen) > FRESH {
            self.names_seen = now;
            self.users.refresh();
            self.groups.refresh();
        }
        let mut deadline = None;
        for event in events {
            self.signatures.read(event, now);
            self.module_files.place(event);
            self.module_files.read(event, &mut deadline);
            match &mut event.what {
                What::Helper(helper) => self.helpers.look_at(helper, event.time.boot, &mut event.missing),
                What::Unload(unload) => self.uses.read(unload, &mut event.missing),
                _ => {}
            }
            if let Some(process) = &mut event.process {
                let found = self.process(process, event.time.boot);
                *process = Arc::clone(&found.after);
                event.missing.extend_from_slice(&found.missing);
            }
            if let Some(requester) = &mut event.requester {
                let found = self.process(requester, event.time.boot);
                *requester = Arc::clone(&found.after);
                event.missing.extend(found.missing.iter().map(|what| format!("{REQUESTER}.{what}")));
            }
            self.count_missing(event);
        }
    }

    fn count_missing(&mut self, event: &Event) {
        for what in &event.missing {
            let attribute = what.split_once(": ").map_or(what.as_str(), |(attribute, _)| attribute);
            match self.missing.get_mut(attribute) {
                Some(count) => *count += 1,
                None => drop(self.missing.insert(attribute.to_owned(), 1)),
            }
        }
    }

    /// How often which attribute was not to be had.
    #[must_use]
    pub const fn missing(&self) -> &BTreeMap<String, u64> {
        &self.missing
    }

    fn process(&mut self, before: &Arc<Process>, now: u64) -> &Enriched {
        let address = Arc::as_ptr(before).addr();
        if !self.done.contains(&address) {
            let enriched = self.look_up(before, now);
            self.done.put(address, enriched);
        }
        self.done.get(&address).expect("it was put there")
    }

    /// From the files, which are read at once, else from who knows more than they say.
    fn name(&mut self, attribute: &str, id: Id, now: u64, missing: &mut Vec<String>) -> Option<Text> {
        let in_files = match id {
            Id::User(uid) => self.users.name(uid),
            Id::Group(gid) => self.groups.name(gid),
        };
        in_files.or_else(|| {
            let answer = self.userdb.name(id, now);
            answer.unwrap_or_else(|why| {
                missing.push(format!("{attribute}: {why}"));
                None
            })
        })
    }

    fn look_up(&mut self, before: &Arc<Process>, now: u64) -> Enriched {
        let mut process = Process::clone(before);
        let mut missing = Vec::new();
        let mut name = |attribute: &str, id| self.name(attribute, id, now, &mut missing);
        process.user = name("process.real_user.name", Id::User(process.uid));
        process.effective_user = name("process.user.name", Id::User(process.euid));
        process.login_user = process.login_uid.and_then(|uid| name("linux.process.login_user.name", Id::User(uid)));
        process.group = name("linux.process.real_group.name", Id::Group(process.gid));
        process.effective_group = name("linux.process.group.name", Id::Group(process.egid));
        process.place = process.cgroup.path.as_ref().map(|path| place::of(path.as_str())).unwrap_or_default();
        self.containers.add(&mut process.place, now, &mut missing);
        self.namespaces.add(&mut process, &mut missing);
        self.ancestors.add_programs(&mut process, now, &mut missing);
        Enriched { _before: Arc::clone(before), after: Arc::new(process), missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn a_requester_is_looked_up_once_and_told_alike_in_every_record() {
        let mut enrich = Enrich::new(&config::Enrich::default());
        let mut first = samples::load();
        if let Some(requester) = first.requester.as_mut().map(Arc::make_mut) {
            // a start that no process has
            requester.ancestors[0].executable = None;
            requester.ancestors[0].id.start = u64::MAX;
        }
        let mut batches = [vec![first.clone()], vec![first]];
        batches.iter_mut().for_each(|batch| enrich.enrich(batch));
        let [requester, again] =
            batches.each_ref().map(|batch| batch[0].requester.clone().expect("the sample has one"));
        assert!(Arc::ptr_eq(&requester, &again));
        assert_eq!(requester.effective_user, Some("root".into()));
        let missing = &batches[1][0].missing;
        let of_requester = "linux.kernel_module.requester.linux.process.parent.executable.path: ";
        assert!(missing.iter().any(|what| what.starts_with(of_requester)), "{missing:?}");
        // in both batches, whatever the reason
        let counted = enrich.missing().get(of_requester.trim_end_matches(": "));
        assert_eq!(counted, Some(&2), "{:?}", enrich.missing());
    }
}
