//! One generation of programs in the kernel: what a process attaches, and the processes after it adopt.
//!
//! Its descriptors are all that there is of it: as long as somebody has them the programs run and the rings fill. systemd's store keeps
//! them while no process of the daemon is there; without it they end with the process, and so does the watching.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use kmodtrail_abi::{ABI, Identity};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    SensorError, Settings,
    clock::Clock,
    counters::Counters,
    cutover,
    handover::Handover,
    layout::Layout,
    policy::Tainted,
    programs::{self, Attached},
    ring::Ring,
    setting::WatchedSettings,
};
use crate::{event::Coverage, systemd::Store};

/// What a descriptor is: the second part of its name in the store, behind the generation's epoch.
mod role {
    /// A hook: one for each that is attached.
    pub(super) const HOOK: &str = "hook";
    /// The table of tail calls: the kernel empties it when nobody has it any more.
    pub(super) const CALLS: &str = "calls";
    pub(super) const CRITICAL: &str = "critical";
    pub(super) const BULK: &str = "bulk";
    pub(super) const COUNTERS: &str = "counters";
    pub(super) const HANDOVER: &str = "handover";
    /// The last one that is stored: without it the others are half of a generation.
    pub(super) const ABOUT: &str = "about";
    pub(super) const ALL: [&str; 7] = [HOOK, CALLS, CRITICAL, BULK, COUNTERS, HANDOVER, ABOUT];
}

/// All names in the store begin like this.
const PREFIX: &str = "kmodtrail-";

/// The name of a descriptor in the store; `generation`: the epoch, in hexadecimal digits.
fn name(generation: &str, role: &str) -> String {
    format!("{PREFIX}{generation}-{role}")
}

/// What is to be known of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// [`ABI`] of its records.
    abi: u16,
    /// Bytes of an [`Identity`] in them.
    identity_bytes: usize,
    /// Of the object, and what it is given.
    made_of: String,
    /// In every record of it.
    pub(super) epoch: u64,
    /// What began before, CLOCK_BOOTTIME, nanoseconds, is told by the generation before it, where there is one that can be read.
    since: u64,
    cpus: usize,
    critical_ring_bytes: u32,
    bulk_ring_bytes: u32,
    /// How many there are.
    hooks: usize,
    /// Hooks of the table and the kernel's functions that they are attached to.
    attached: Vec<(String, String)>,
    /// Those that are not, and why.
    reasons: Vec<(String, String)>,
    /// `struct module` has a place for what was found out about the signature.
    pub(super) checks_signatures: bool,
}

/// Why what an earlier process left can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// There is only a part of it.
    #[error("a part of it is missing")]
    Incomplete,
    /// Nobody knows how to read it.
    #[error("it was made by another version of kmodtrail, whose records this one does not know")]
    Unknown,
    /// The kernel does not want it.
    #[error("{0}")]
    Kernel(#[from] io::Error),
}

/// What earlier processes left.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// One that is as this process would make it.
    pub(super) same: Option<Generation>,
    /// Others, oldest first: what they still have is read, and then they go.
    pub(super) others: Vec<Generation>,
    /// Why something else is of no use.
    pub(super) refused: Vec<String>,
}

/// Programs that run, and the way to what they say.
#[derive(Debug)]
pub(super) struct Generation {
    /// They hold the programs in the kernel.
    _descriptors: Vec<OwnedFd>,
    pub(super) about: About,
    pub(super) critical: Ring,
    pub(super) bulk: Ring,
    pub(super) counters: Counters,
    /// Where somebody keeps the descriptors.
    pub(super) handover: Option<Handover>,
}

/// What generations that can take each other's place have in common.
pub(super) fn made_of(settings: &Settings) -> String {
    let mut hash = Sha256::new();
    hash.update(programs::OBJECT);
    hash.update(format!("{settings:?}"));
    const_hex::encode(hash.finalize())
}

/// Loads and attaches everything.
pub(super) fn attach(settings: &Settings, made_of: String, store: &Store) -> Result<Generation, SensorError> {
    let mut layout = Layout::of_running_kernel()?;
    layout.check()?;
    let clock = Clock::measure();
    // unique per load of the programs: wall clock, so that it is also unique over reboots
    let epoch = clock.wall(clock.boot());
    layout.settings.epoch = epoch;
    layout.settings.taints = Tainted::of_running_kernel().now().unwrap_or_default().0;
    layout.settings.watched_settings = WatchedSettings::new(&settings.watched_settings).names();
    super::raise_memlock_limit();
    let attached = programs::attach(&layout, settings)?;
    // from then on, when both have been attached for long enough to see every beginning
    let since = Clock::measure().boot() + cutover::NEAR;
    let checks_signatures = layout.offsets.module_sig_ok != kmodtrail_abi::ABSENT;
    Generation::new(attached, settings, made_of, (epoch, since), checks_signatures, store)
}

impl Generation {
    /// Takes over what earlier processes have left.
    pub(super) fn find(store: &mut Store, made_of: &str) -> Found {
        let mut parts = BTreeMap::<String, Vec<(String, OwnedFd)>>::new();
        for (name, descriptor) in store.take(PREFIX) {
            let (generation, role) = name[PREFIX.len()..].split_once('-').unwrap_or_default();
            parts.entry(generation.to_owned()).or_default().push((role.to_owned(), descriptor));
        }
        let mut found = Found::default();
        let mut whole = Vec::new();
        for (generation, parts) in parts {
            match Self::adopt(parts) {
                Ok(adopted) => whole.push(adopted),
                Err(why) => {
                    forget(store, &generation);
                    found.refused.push(format!("generation {generation}: {why}"));
                }
            }
        }
        whole.sort_by_key(|generation| generation.about.epoch);
        // an older one that is the same again was replaced by what came after it
        found.same = whole.pop_if(|generation| generation.about.made_of == made_of);
        found.others = whole;
        found
    }

    fn adopt(parts: Vec<(String, OwnedFd)>) -> Result<Self, Refused> {
        let mut hooks = Vec::new();
        let mut others = BTreeMap::new();
        for (role, descriptor) in parts {
            if role == role::HOOK {
                hooks.push(descriptor);
            } else {
                others.insert(role, descriptor);
            }
        }
        let mut take = |role| others.remove(role).ok_or(Refused::Incomplete);
        let about = About::read(take(role::ABOUT)?.into())?;
        if hooks.len() != about.hooks {
            return Err(Refused::Incomplete);
        }
        hooks.push(take(role::CALLS)?);
        Ok(Self {
            critical: Ring::map(take(role::CRITICAL)?, about.critical_ring_bytes).map_err(io::Error::from)?,
            bulk: Ring::map(take(role::BULK)?, about.bulk_ring_bytes).map_err(io::Error::from)?,
            counters: Counters::map(take(role::COUNTERS)?, about.cpus).map_err(io::Error::from)?,
            handover: Some(Handover::adopt(take(role::HANDOVER)?).map_err(io::Error::from)?),
            _descriptors: hooks,
            about,
        })
    }

    /// Makes one of what was just attached, and gives it to the store to keep.
    fn new(
        attached: Attached,
        settings: &Settings,
        made_of: String,
        (epoch, since): (u64, u64),
        checks_signatures: bool,
        store: &Store,
    ) -> Result<Self, SensorError> {
        let Attached { hooks, calls, critical, bulk, counters, cpus, symbols, reasons } = attached;
        let names = |(name, text): (&str, String)| (name.to_owned(), text);
        let about = About {
            abi: ABI,
            identity_bytes: size_of::<Identity>(),
            made_of,
            epoch,
            since,
            cpus,
            critical_ring_bytes: settings.critical_ring_bytes,
            bulk_ring_bytes: settings.bulk_ring_bytes,
            hooks: hooks.len(),
            attached: symbols.into_iter().map(names).collect(),
            reasons: reasons.into_iter().map(names).collect(),
            checks_signatures,
        };
        let handover = if store.is_there() {
            let hooks: Vec<_> = hooks.iter().map(|hook| hook.as_fd()).collect();
            let maps =
                [(role::CALLS, &calls), (role::CRITICAL, &critical), (role::BULK, &bulk), (role::COUNTERS, &counters)];
            let kept = keep(store, &hooks, &maps.map(|(name, map)| (name, map.as_fd())), &about);
            kept.inspect_err(|error| {
                tracing::warn!(%error, "systemd does not keep what is attached to the kernel: nothing is seen while the daemon restarts; allowed: FileDescriptorStoreMax=256 in the unit");
            })
            .ok()
        } else {
            None
        };
        let ring = |name, map, size| Ring::map(map, size).map_err(|e| SensorError::Ring { name, source: e.into() });
        let mut descriptors = hooks;
        descriptors.push(calls);
        Ok(Self {
            critical: ring("CRITICAL", critical, about.critical_ring_bytes)?,
            bulk: ring("BULK", bulk, about.bulk_ring_bytes)?,
            counters: Counters::map(&counters, about.cpus).map_err(|source| SensorError::Counters { source })?,
            handover,
            _descriptors: descriptors,
            about,
        })
    }

    /// What began then, CLOCK_BOOTTIME, nanoseconds, and later is told by this generation. `oldest`: of those that can be read now.
    pub(super) fn tells_from(&self, oldest: bool) -> u64 {
        let decided = self.handover.as_ref().and_then(Handover::since);
        decided.unwrap_or(if oldest { 0 } else { self.about.since })
    }

    /// Nobody keeps it any more: it is taken out of the kernel with this value, or this process.
    pub(super) fn forget(&self, store: &Store) {
        forget(store, &format!("{:x}", self.about.epoch));
    }

    /// See [`made_of`].
    pub(super) fn made_of(&self) -> &str {
        &self.about.made_of
    }

    /// The id of one of its maps: it exists as long as the generation does.
    pub(super) fn map(&self) -> Option<u32> {
        // what bpf_map_show_fdinfo tells, kernel/bpf/syscall.c
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.critical.fd().as_raw_fd())).ok()?;
        told.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok())
    }

    /// What is attached.
    pub(super) fn coverage(&self) -> Coverage {
        let as_map = |list: &[(String, String)]| list.iter().cloned().collect();
        programs::coverage(&as_map(&self.about.attached), &as_map(&self.about.reasons))
    }
}

/// Has the store keep nothing of a generation.
fn forget(store: &Store, generation: &str) {
    for role in role::ALL {
        if let Err(error) = store.forget(&name(generation, role)) {
            tracing::warn!(%error, generation, role, "systemd keeps what nobody will use");
        }
    }
}

/// Has the store keep all of it, the description last.
fn keep(
    store: &Store,
    hooks: &[BorrowedFd<'_>],
    maps: &[(&str, BorrowedFd<'_>)],
    about: &About,
) -> io::Result<Handover> {
    let name = |role| name(&format!("{:x}", about.epoch), role);
    let handover = Handover::new()?;
    handover.alive(Clock::measure().boot());
    store.keep(&name(role::HOOK), hooks)?;
    for (role, map) in maps {
        store.keep(&name(role), &[*map])?;
    }
    store.keep(&name(role::HANDOVER), &[handover.fd()])?;
    store.keep(&name(role::ABOUT), &[about.write()?.as_fd()])?;
    store.barrier()?;
    Ok(handover)
}

impl About {
    fn write(&self) -> io::Result<File> {
        let mut file = File::from(memfd_create("kmodtrail about", MFdFlags::MFD_CLOEXEC)?);
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        Ok(file)
    }

    /// # Errors
    /// Where it is that of a version whose records nobody knows here.
    fn read(mut file: File) -> Result<Self, Refused> {
        /// No description is longer.
        const LONGEST: u64 = 1 << 20;
        let mut text = Vec::new();
        file.rewind()?;
        file.take(LONGEST).read_to_end(&mut text)?;
        let about: Self = serde_json::from_slice(&text).map_err(|_| Refused::Unknown)?;
        let known = about.abi == ABI && about.identity_bytes == size_of::<Identity>();
        if known { Ok(about) } else { Err(Refused::Unknown) }
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::ftruncate;

    use super::*;

    const RING: u32 = 4096;

    fn about(epoch: u64, made_of: &str) -> About {
        About {
            abi: ABI,
            identity_bytes: size_of::<Identity>(),
            made_of: made_of.to_owned(),
            epoch,
            since: 500,
            cpus: 1,
            critical_ring_bytes: RING,
            bulk_ring_bytes: RING,
            hooks: 2,
            attached: vec![("finit_module".to_owned(), "__x64_sys_finit_module".to_owned())],
            reasons: Vec::new(),
            checks_signatures: true,
        }
    }

    fn memory(bytes: i64) -> OwnedFd {
        let memory = memfd_create("part", MFdFlags::empty()).expect("it can be made");
        ftruncate(&memory, bytes).expect("it can grow");
        memory
    }

    /// What systemd would give back of it.
    fn parts(about: &About) -> Vec<(String, OwnedFd)> {
        let part = |role, descriptor| (name(&format!("{:x}", about.epoch), role), descriptor);
        let handover = Handover::new().expect("it can be made");
        let map = || memory(1 << 20);
        vec![
            part(role::HOOK, memory(0)),
            part(role::HOOK, memory(0)),
            part(role::CALLS, memory(0)),
            part(role::CRITICAL, map()),
            part(role::BULK, map()),
            part(role::COUNTERS, map()),
            part(role::HANDOVER, handover.fd().try_clone_to_owned().expect("one more descriptor")),
            part(role::ABOUT, about.write().expect("it can be written").into()),
        ]
    }

    fn find(parts: Vec<(String, OwnedFd)>) -> (Option<u64>, Vec<u64>, Vec<String>) {
        let found = Generation::find(&mut Store::with(parts), "ours");
        let epoch = |generation: &Generation| generation.about.epoch;
        (found.same.as_ref().map(epoch), found.others.iter().map(epoch).collect(), found.refused)
    }

    #[test]
    fn the_latest_is_adopted_where_it_is_as_it_should_be_and_the_others_are_read_to_their_end() {
        assert_eq!(find(Vec::new()), (None, vec![], vec![]));
        assert_eq!(find(parts(&about(1, "ours"))), (Some(1), vec![], vec![]));
        assert_eq!(find(parts(&about(1, "theirs"))), (None, vec![1], vec![]));
        let both = [parts(&about(2, "ours")), parts(&about(1, "theirs"))].into_iter().flatten().collect();
        assert_eq!(find(both), (Some(2), vec![1], vec![]));
        // it went back to other settings, and was killed then
        let both = [parts(&about(1, "ours")), parts(&about(2, "theirs"))].into_iter().flatten().collect();
        assert_eq!(find(both), (None, vec![1, 2], vec![]));
    }

    #[test]
    fn what_is_not_whole_or_unknown_is_refused_and_the_rest_is_adopted() {
        for missing in 0..parts(&about(2, "ours")).len() {
            let mut half = parts(&about(2, "ours"));
            let (name, _) = half.remove(missing);
            half.extend(parts(&about(1, "theirs")));
            let (same, others, refused) = find(half);
            assert_eq!((same, others), (None, vec![1]), "without {name}");
            assert_eq!(refused, ["generation 2: a part of it is missing"], "without {name}");
        }
        let refused = |about: &About, change: fn(&mut Vec<(String, OwnedFd)>)| {
            let mut parts = parts(about);
            change(&mut parts);
            let (same, others, refused) = find(parts);
            assert_eq!((same, others), (None, vec![]));
            refused.concat()
        };
        let unknown = "records this one does not know";
        assert!(refused(&About { abi: ABI + 1, ..about(1, "ours") }, |_| {}).contains(unknown));
        assert!(refused(&About { identity_bytes: 8, ..about(1, "ours") }, |_| {}).contains(unknown));
        let no_description = |parts: &mut Vec<(String, OwnedFd)>| parts[7].1 = memory(100);
        assert!(refused(&about(1, "ours"), no_description).contains(unknown));
        let no_handover = |parts: &mut Vec<(String, OwnedFd)>| parts[6].1 = memory(100);
        assert!(refused(&about(1, "ours"), no_handover).starts_with("generation 1: "));
        assert_eq!(find(vec![("kmodtrail-what".to_owned(), memory(0))]).2.len(), 1, "a name of another version");
    }

    #[test]
    fn what_was_written_is_read() {
        let about = about(7, "ours");
        let file = about.write().expect("it can be written");
        assert_eq!(About::read(file).expect("it is one of ours"), about);
    }
}
