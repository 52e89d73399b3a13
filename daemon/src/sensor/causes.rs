//! Which tasks the kernel has started to load a module, and for which request.

use std::collections::VecDeque;

use crate::event::{Process, Text, TraceId};

/// A request whose helper is running, or was a moment ago.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    /// Process id of the helper.
    pid: u32,
    /// When the task was about to become the helper, CLOCK_BOOTTIME.
    boot: u64,
    /// The request's trace.
    pub(super) trace: TraceId,
    /// What was asked for.
    pub(super) alias: Text,
}

/// How long a helper may take to load what it was started for, nanoseconds.
const REMEMBERED: u64 = 600_000_000_000;
/// The kernel runs 50 at a time (MAX_KMOD_CONCURRENT); a flood must not fill our memory.
const MAX: usize = 4096;

/// The newest last.
#[derive(Debug, Default)]
pub(super) struct HelperTasks(VecDeque<Cause>);

impl HelperTasks {
    pub(super) fn add(&mut self, pid: u32, boot: u64, trace: TraceId, alias: Text) {
        if self.0.len() == MAX {
            self.0.pop_front();
        }
        self.0.push_back(Cause { pid, boot, trace, alias });
    }

    /// The request that `process`, or one of its ancestors (an `install` line in modprobe.d runs a shell), was started for. The
    /// task was there when it became the helper; a process that started later only has its pid.
    pub(super) fn cause_of(&self, process: &Process) -> Option<Cause> {
        let line = std::iter::once(process.id).chain(process.ancestors.iter().map(|a| a.id));
        let mut line = line.map(|id| self.0.iter().rev().find(|c| c.pid == id.pid && id.start <= c.boot));
        line.find_map(|c| c).cloned()
    }

    pub(super) fn forget_before(&mut self, now: u64) {
        while self.0.front().is_some_and(|c| now.saturating_sub(c.boot) > REMEMBERED) {
            self.0.pop_front();
        }
    }
}
