//! The processes of a moment ago: who does several things in a row is looked up and encoded once.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;

use crate::event::{Process, ProcessId};

const MOST: NonZeroUsize = NonZeroUsize::new(16).expect("it is not zero");
/// A moment, nanoseconds: what user space knows of a process may change.
const MOMENT: u64 = 1_000_000_000;
/// So much the wall clock's distance from the boot clock, measured again and again, differs where nobody has set it, nanoseconds.
const INEXACT: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Lately(LruCache<ProcessId, (u64, Arc<Process>)>);

impl Default for Lately {
    fn default() -> Self {
        Self(LruCache::new(MOST))
    }
}

impl Lately {
    /// The process as it was a moment ago, where nothing about it has changed. `now`: CLOCK_BOOTTIME, nanoseconds.
    pub(super) fn share(&mut self, mut process: Process, now: u64) -> Arc<Process> {
        if let Some((since, known)) = self.0.get(&process.id)
            && now.abs_diff(*since) < MOMENT
        {
            adopt(&mut process.started, known.started);
            for (ancestor, known) in process.ancestors.iter_mut().zip(&known.ancestors) {
                if ancestor.id == known.id {
                    adopt(&mut ancestor.started, known.started);
                }
            }
            if process == **known {
                return Arc::clone(known);
            }
        }
        let id = process.id;
        let process = Arc::new(process);
        self.0.put(id, (now, Arc::clone(&process)));
        process
    }
}

/// The same start, measured once more, is told alike.
fn adopt(started: &mut u64, known: u64) {
    if started.abs_diff(known) < INEXACT {
        *started = known;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn only_the_same_process_of_a_moment_ago_is_shared() {
        let mut lately = Lately::default();
        let process = || Process::clone(samples::load().process.as_ref().expect("the sample has one"));
        let first = lately.share(process(), 1_000);

        let mut measured_again = process();
        measured_again.started += 100;
        measured_again.ancestors.iter_mut().for_each(|ancestor| ancestor.started -= 100);
        assert!(Arc::ptr_eq(&first, &lately.share(measured_again, 2_000)), "nothing has changed");
        assert!(!Arc::ptr_eq(&first, &lately.share(process(), 1_000 + MOMENT)), "that was long ago");

        let changes: [fn(&mut Process); 5] = [
            |process| process.id.start += 1,
            |process| process.euid += 1,
            |process| process.thread_id += 1,
            |process| process.started += INEXACT,
            |process| process.ancestors[0].id.pid += 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut lately = Lately::default();
            let first = lately.share(process(), 1_000);
            let mut other = process();
            change(&mut other);
            let told = lately.share(other.clone(), 1_000);
            assert!(!Arc::ptr_eq(&first, &told) && *told == other, "change {number}");
        }
    }
}
