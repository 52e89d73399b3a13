//! Which modules are loaded: by what was seen, and by the kernel's own lists.
//!
//! What was there before the daemon is told at its start (inventory). From then on every load and unload is seen, and a list that lacks a
//! module tells of somebody who has taken it out of there (hidden). Lists are read while modules come and go, so a difference counts only
//! where it is still there some seconds later and nothing has happened to that module in between. A module whose load was seen is
//! missed however well it hides; one that was hidden before the daemon came only where the lists differ.

mod lists;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use self::lists::{Lists, Snapshot};
use crate::{
    config,
    event::{Event, Heartbeat, Hidden, Inventory, Outcome, Process, SignatureState, SpanId, Text, TraceId, What},
    host::Host,
    sensor::Totals,
};

/// So long a difference must last, nanoseconds: an unload's record comes at its end, and where its return was missed two seconds later.
const LASTING: u64 = 5_000_000_000;

/// So often a difference must have been seen: where the daemon itself stood still, what explains it has not been read in time.
const LOOKS: u32 = 5;

/// Names of the lists in records.
const PROC_MODULES: &str = "/proc/modules";
const SYS_MODULE: &str = "/sys/module";
const BTF: &str = "/sys/kernel/btf";
/// What was seen.
const RECORDS: &str = "records";

/// Something to tell, and who has loaded the module that it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What.
    pub what: What,
    /// Who; nobody where the load was not seen.
    pub loader: Loader,
}

/// Who has loaded a module, as the record of the load says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loader {
    /// The process.
    pub process: Option<Arc<Process>>,
    /// The one behind it.
    pub requester: Option<Arc<Process>>,
    /// The trace of the load.
    pub trace: Option<TraceId>,
    /// The load's record in it.
    pub load: Option<SpanId>,
}

impl From<&Event> for Loader {
    fn from(event: &Event) -> Self {
        let (process, requester) = (event.process.clone(), event.requester.clone());
        Self { process, requester, trace: event.trace, load: event.span_id() }
    }
}

impl From<What> for Finding {
    fn from(what: What) -> Self {
        Self { what, loader: Loader::default() }
    }
}

/// In which lists a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    records: bool,
    proc_modules: bool,
    sys_module: bool,
    btf: bool,
}

/// A module about which lists differ.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    places: Places,
    /// Nothing has changed since, CLOCK_BOOTTIME.
    since: u64,
    /// How often it was seen so.
    looks: u32,
}

/// What is known, and what is due.
#[derive(Debug)]
pub struct Loaded {
    lists: Lists,
    kernel_release: String,
    /// Who has loaded them; `None`: it was there before.
    known: BTreeMap<Text, Option<Loader>>,
    /// When something happened to a module last, CLOCK_BOOTTIME; forgotten after [`LASTING`].
    touched: HashMap<Text, u64>,
    /// Where lists differ.
    suspects: BTreeMap<Text, Suspect>,
    told: BTreeMap<Text, Places>,
    /// Records were lost: what was seen is not all that happened.
    uncertain: bool,
    check_interval: u64,
    heartbeat_interval: u64,
    next_check: u64,
    next_heartbeat: u64,
    /// The lists can't be read: told once.
    blind: bool,
}

impl Loaded {
    /// Of the running kernel.
    #[must_use]
    pub fn new(config: &config::Modules, kernel_release: &str) -> Self {
        Self::with(Lists::default(), config, kernel_release)
    }

    fn with(lists: Lists, config: &config::Modules, kernel_release: &str) -> Self {
        let nanoseconds = |interval: Duration| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self {
            lists,
            kernel_release: kernel_release.to_owned(),
            known: BTreeMap::new(),
            touched: HashMap::new(),
            suspects: BTreeMap::new(),
            told: BTreeMap::new(),
            uncertain: false,
            check_interval: nanoseconds(config.check_interval),
            heartbeat_interval: nanoseconds(config.heartbeat_interval),
            next_check: 0,
            next_heartbeat: 0,
            blind: false,
        }
    }

    /// What is loaded already, and was not seen to be. To be called when loads are seen already, so that none falls between. `now`: CLOCK_BOOTTIME.
    pub fn inventory(&mut self, now: u64) -> Vec<What> {
        self.next_check = now.saturating_add(self.check_interval);
        self.next_heartbeat = now.saturating_add(self.heartbeat_interval);
        let Some(snapshot) = self.read() else { return Vec::new() };
        let files = files(&Host::find(), &self.kernel_release);
        // those that are being loaded now give a record of their own
        let live: Vec<_> = snapshot.listed.iter().filter(|(_, module)| module.live).map(|(name, _)| name).collect();
        let before: Vec<_> = live.iter().filter(|name| !self.known.contains_key(**name)).collect();
        let count = Some(before.len() as u64);
        let records =
            before.into_iter().map(|name| What::Inventory(self.describe(name, &snapshot, count, &files))).collect();
        let known = live.into_iter().map(|name| (name.clone(), self.known.remove(name).flatten())).collect();
        self.known = known;
        records
    }

    fn describe(&self, name: &Text, at: &Snapshot, count: Option<u64>, files: &HashMap<Text, Text>) -> Inventory {
        let taints = self.lists.taints(name);
        let listed = at.listed.get(name);
        Inventory {
            name: name.clone(),
            before_start: count.is_some(),
            count,
            size: listed.map_or(0, |module| module.size),
            references: listed.and_then(|module| module.references),
            version: self.lists.attribute(name, "version"),
            srcversion: self.lists.attribute(name, "srcversion"),
            // the flag says that a valid one was lacking, whatever was wrong with it
            signature: match taints {
                Some(taints) if !taints.is_unsigned() && self.lists.checks_signatures() => SignatureState::Valid,
                Some(_) if !self.lists.checks_signatures() => SignatureState::NotChecked,
                _ => SignatureState::Unknown,
            },
            taints,
            path: files.get(name).cloned(),
        }
    }

    /// Takes notice of what was seen.
    pub fn observe(&mut self, events: &[Event]) {
        for event in events {
            let name = match &event.what {
                What::Load(load) => {
                    let Some(module) = &load.module else { continue };
                    if load.outcome == Outcome::Success {
                        self.known.insert(module.name.clone(), Some(event.into()));
                        // right after each load
                        self.next_check = self.next_check.min(event.time.boot);
                    }
                    &module.name
                }
                What::Unload(unload) => {
                    let name = unload.module.as_ref().map_or(&unload.name, |module| &module.name);
                    if unload.outcome == Outcome::Success {
                        self.known.remove(name);
                    }
                    name
                }
                What::Lost(lost) => {
                    // linux.kernel_module.load or unload, or both: the kernel counts by hook
                    self.uncertain |= lost.event.ends_with("load");
                    continue;
                }
                _ => continue,
            };
            self.touched.insert(name.clone(), event.time.boot);
        }
    }

    /// To be called about once a second. `now`: CLOCK_BOOTTIME.
    pub fn tick(&mut self, now: u64, events: u64, totals: Totals) -> Vec<Finding> {
        let mut findings = Vec::new();
        let heartbeat = now >= self.next_heartbeat;
        if now >= self.next_check || heartbeat || !self.suspects.is_empty() {
            let Some(snapshot) = self.read() else { return findings };
            self.check(&snapshot, now, &mut findings);
            self.next_check = now.saturating_add(self.check_interval);
            if heartbeat {
                self.next_heartbeat = now.saturating_add(self.heartbeat_interval);
                findings.push(What::Heartbeat(beat(&snapshot, events, totals)).into());
            }
        }
        self.touched.retain(|_, when| now.saturating_sub(*when) < 2 * LASTING);
        findings
    }

    fn check(&mut self, snapshot: &Snapshot, now: u64, findings: &mut Vec<Finding>) {
        if std::mem::take(&mut self.uncertain) {
            // what has gone may have gone without a record
            self.known.retain(|name, _| snapshot.listed.contains_key(name));
        }
        let names: BTreeSet<&Text> =
            self.known.keys().chain(snapshot.listed.keys()).chain(&snapshot.sysfs).chain(&snapshot.btf).collect();
        let mut suspects = BTreeMap::new();
        for name in names {
            let listed = snapshot.listed.get(name);
            let places = Places {
                records: self.known.contains_key(name),
                proc_modules: listed.is_some(),
                sys_module: snapshot.sysfs.contains(name),
                btf: snapshot.btf.contains(name),
            };
            // on its way in or out it is in some lists only
            if !places.differ() || listed.is_some_and(|module| !module.live) {
                continue;
            }
            let before = self.suspects.get(name).filter(|before| before.places == places);
            let Suspect { since, looks, .. } = before.copied().unwrap_or(Suspect { places, since: now, looks: 0 });
            // anything that has happened since may explain it
            let since = self.touched.get(name).map_or(since, |&touched| since.max(touched));
            suspects.insert(name.clone(), Suspect { places, since, looks: looks.saturating_add(1) });
        }
        self.told.retain(|name, places| suspects.get(name).is_some_and(|suspect| suspect.places == *places));
        for (name, Suspect { places, since, looks }) in &suspects {
            if now.saturating_sub(*since) < LASTING || *looks < LOOKS || self.told.contains_key(name) {
                continue;
            }
            self.told.insert(name.clone(), *places);
            findings.push(self.finding(name, *places, snapshot));
        }
        // what was told is looked at with the next regular check
        suspects.retain(|name, _| !self.told.contains_key(name));
        for name in self.told.iter().filter(|(_, places)| places.is_unseen_load()).map(|(name, _)| name.clone()) {
            self.known.entry(name).or_insert(None);
        }
        self.suspects = suspects;
    }

    fn finding(&self, name: &Text, places: Places, snapshot: &Snapshot) -> Finding {
        if places.is_unseen_load() {
            return What::Inventory(self.describe(name, snapshot, None, &HashMap::new())).into();
        }
        let all = [
            (RECORDS, places.records),
            (PROC_MODULES, places.proc_modules),
            (SYS_MODULE, places.sys_module),
            (BTF, places.btf),
        ];
        let listed = all.iter().filter(|(_, there)| *there).map(|(list, _)| *list).collect();
        // not every module has types, and what was hidden before the daemon came is in no record
        let missing = all[1..3].iter().filter(|(_, there)| !there).map(|(list, _)| *list).collect();
        let loader = self.known.get(name).cloned().flatten().unwrap_or_default();
        Finding { what: What::Hidden(Hidden { name: name.clone(), listed, missing }), loader }
    }

    fn read(&mut self) -> Option<Snapshot> {
        match self.lists.read() {
            Ok(snapshot) => {
                self.blind = false;
                Some(snapshot)
            }
            Err(error) => {
                if !self.blind {
                    tracing::warn!(
                        "the kernel's lists of modules can't be read, hidden ones are not looked for: {error}"
                    );
                }
                self.blind = true;
                None
            }
        }
    }
}

impl Places {
    fn differ(self) -> bool {
        !(self.records && self.proc_modules && self.sys_module)
    }

    /// The kernel shows it, and no record has.
    fn is_unseen_load(self) -> bool {
        !self.records && self.proc_modules && self.sys_module
    }
}

fn beat(snapshot: &Snapshot, events: u64, totals: Totals) -> Heartbeat {
    let mut digest = Sha256::new();
    for name in snapshot.listed.keys() {
        digest.update(name.as_str());
        digest.update("\n");
    }
    Heartbeat {
        modules: snapshot.listed.len() as u64,
        digest: const_hex::encode(digest.finalize()),
        events,
        kernel_records: totals.kernel_records,
        lost: totals.lost,
    }
}

/// Names of modules and their files, as depmod has them: /lib/modules/RELEASE/modules.dep.
fn files(host: &Host, release: &str) -> HashMap<Text, Text> {
    let folder = format!("/lib/modules/{release}");
    let Ok(text) = fs::read_to_string(host.path(Path::new(&folder).join("modules.dep").as_path())) else {
        return HashMap::new();
    };
    let file = |line: &str| {
        let path = line.split_once(':')?.0;
        let name = path.rsplit('/').next()?.split(".ko").next()?.replace('-', "_");
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
        Some((Text::from(name.as_str()), Text::from(whole.as_str())))
    };
    text.lines().filter_map(file).collect()
}

#[cfg(test)]
mod tests;
