//! What the runtimes know of the container that a process is in.
//!
//! Their files are read first: they are small, local and need nobody's answer, and in them stand the names of a container that ends right
//! after its call. What they lack of a pod (labels, digest of the image) the runtime is asked for over its CRI socket. What was found is
//! remembered: it is known also when the container is gone, and nothing happens while no module does.

mod cri;
mod files;
mod image;
#[cfg(test)]
mod tests;
mod workload;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;

use self::{cri::Cri, files::Files};
use crate::{
    config,
    event::{Container, Details, Place, Pod, Runtime, Text},
    host::Host,
};

/// Containers by runtime and id.
#[derive(Debug)]
pub(super) struct Containers {
    files: Files,
    /// `None`: nobody is to be asked.
    cri: Option<Cri>,
    known: LruCache<Key, Known>,
    /// So long records may still wait for answers.
    patience: Duration,
    /// What `patience` grows to again.
    wait: Duration,
    waited: Instant,
}

type Key = (Option<Runtime>, Text);

#[derive(Debug)]
struct Known {
    /// When it was looked up, CLOCK_BOOTTIME, nanoseconds.
    at: u64,
    found: Found,
}

/// What was found of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    details: Details,
    pod: Option<Pod>,
    /// What could not be found, and why.
    missing: Vec<String>,
}

/// A container costs some 2 KiB.
const MOST: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");
/// So long it may go unnoticed that a container was started again, or that its name is another's, nanoseconds.
const FRESH: u64 = 1_000_000_000;
/// So long a runtime is not asked again for what it did not say, nanoseconds.
const AGAIN: u64 = 10_000_000_000;
/// One part in so many of the time may go into waiting, however many containers there are and however slow their runtime is.
const SHARE: u32 = 20;

const NAME: &str = "container.name";
const POD: &str = "k8s.pod.name";
/// What only CRI knows.
const DIGESTS: &str = "container.image.repo_digests";

impl Containers {
    pub(super) fn new(config: &config::Enrich, host: &Host) -> Self {
        Self {
            files: Files::of(host),
            cri: Cri::new(config, host),
            known: LruCache::new(MOST),
            patience: config.wait,
            wait: config.wait,
            waited: Instant::now(),
        }
    }

    /// Adds what can be found out. `now`: of the event, CLOCK_BOOTTIME.
    pub(super) fn add(&mut self, place: &mut Place, now: u64, missing: &mut Vec<String>) {
        let Some(container) = &mut place.container else { return };
        if container.delegated {
            missing.push(format!("{NAME}: the id is of a user's or a service's own making"));
            return;
        }
        self.take_answers(now);
        let key = (container.runtime, container.id.clone());
        if !self.known.get(&key).is_some_and(|known| known.is_current(now)) {
            let found = self.look_up(container, place.pod.as_ref());
            // what was known of a container that is gone by now is worth more than that it is gone
            let remembered =
                self.known.get(&key).filter(|_| found.details == Details::default() && is_unique(container));
            let found = remembered.map_or(found, |known| known.found.clone());
            self.known.put(key.clone(), Known { at: now, found });
            self.wait_for(&key, now);
        }
        let Some(Known { found, .. }) = self.known.get(&key) else { return };
        container.details = found.details.clone();
        if let Some(pod) = &found.pod {
            let of_path = place.pod.take().unwrap_or_default();
            let uid = if of_path.uid.is_empty() { pod.uid.clone() } else { of_path.uid };
            place.pod = Some(Pod { uid, qos: of_path.qos, ..pod.clone() });
        }
        missing.extend_from_slice(&found.missing);
    }

    /// What the files say, and the question for the rest.
    fn look_up(&mut self, container: &Container, pod: Option<&Pod>) -> Found {
        let mut found = self.files.look_up(container).unwrap_or_else(|why| {
            let what = if pod.is_some() { POD } else { NAME };
            Found { missing: vec![format!("{what}: {why}")], ..Found::default() }
        });
        let speaks_cri = matches!(container.runtime, None | Some(Runtime::Containerd | Runtime::CriO));
        if (pod.is_some() || found.pod.is_some())
            && speaks_cri
            && let Some(cri) = &mut self.cri
        {
            let key = (container.runtime, container.id.clone());
            let why = cri.ask(&key).err().unwrap_or("its runtime has not answered yet");
            found.missing.push(format!("{DIGESTS}: {why}"));
        }
        found
    }

    /// What has come meanwhile.
    fn take_answers(&mut self, now: u64) {
        while let Some(answer) = self.cri.as_mut().and_then(Cri::answer) {
            self.put(answer, now);
        }
    }

    /// Waits for what was asked about this one, within what may be waited. Nothing is read from the kernel meanwhile: its rings keep it.
    fn wait_for(&mut self, key: &Key, now: u64) {
        let start = Instant::now();
        self.patience = self.wait.min(self.patience + (start - self.waited) / SHARE);
        let until = start + self.patience;
        while self.cri.as_ref().is_some_and(|cri| cri.is_awaited(key)) {
            let Some(answer) = self.cri.as_mut().and_then(|cri| cri.answer_until(until)) else { break };
            self.put(answer, now);
        }
        self.waited = Instant::now();
        self.patience = self.patience.saturating_sub(self.waited - start);
    }

    fn put(&mut self, answer: cri::Answer, now: u64) {
        let cri::Answer { key, said } = answer;
        let Some(Known { at, found }) = self.known.get_mut(&key) else { return };
        *at = now;
        match said {
            Ok(said) => found.add(said),
            Err(why) => {
                found.missing.retain(|missing| !missing.starts_with(DIGESTS));
                found.missing.push(format!("{DIGESTS}: {why}"));
            }
        }
    }
}

/// Whether no other container ever has this id: those that runtimes draw. The others are names.
fn is_unique(container: &Container) -> bool {
    container.id.as_str().len() == 64
}

impl Known {
    /// Whether it can be told without another look.
    fn is_current(&self, now: u64) -> bool {
        let age = now.abs_diff(self.at);
        match &self.found {
            // what the kubelet has made never starts again
            Found { pod: Some(_), missing, .. } => missing.is_empty() || age < AGAIN,
            Found { pod: None, .. } => age < FRESH,
        }
    }
}

impl Found {
    /// What CRI says counts; it lacks the process.
    fn add(&mut self, said: Found) {
        let pid = self.details.pid;
        *self = Self { details: Details { pid, ..said.details }, ..said };
    }
}
