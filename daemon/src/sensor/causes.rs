//! Which tasks the kernel has started to load a module, and for whom.
//!
//! call_usermodehelper_exec runs in the requester's thread, call_usermodehelper_exec_async in the task that becomes the helper: both
//! have the same `struct subprocess_info *`, which is used again once the helper runs.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;

use crate::event::{Process, SpanId, Text, TraceId};

/// What a helper was started for.
#[derive(Debug)]
pub(super) struct Cause {
    /// The request's trace.
    pub(super) trace: TraceId,
    /// The helper's record.
    pub(super) helper: SpanId,
    /// The thread that asked.
    pub(super) thread: u32,
    /// What was asked for; `None`: the request was not seen.
    pub(super) alias: Option<Text>,
    /// The process behind it, which is no helper itself; `None`: the request was not seen.
    pub(super) requester: Option<Arc<Process>>,
}

#[derive(Debug)]
struct Task {
    /// When it was about to become the helper, CLOCK_BOOTTIME.
    boot: u64,
    cause: Arc<Cause>,
}

/// The kernel runs 50 at a time (MAX_KMOD_CONCURRENT). What is left over is of requesters that did not wait for the end.
const MAX: NonZeroUsize = NonZeroUsize::new(512).expect("it is not zero");

/// Helpers that are about to run, and those that run.
#[derive(Debug)]
pub(super) struct Helpers {
    /// By `struct subprocess_info *`.
    announced: LruCache<u64, Arc<Cause>>,
    /// By process id: the last helper that had it.
    tasks: LruCache<u32, Task>,
}

impl Default for Helpers {
    fn default() -> Self {
        Self { announced: LruCache::new(MAX), tasks: LruCache::new(MAX) }
    }
}

impl Helpers {
    /// A helper will be started; what was announced with this address before never was.
    pub(super) fn announce(&mut self, info: u64, cause: Cause) {
        self.announced.put(info, Arc::new(cause));
    }

    /// A task is about to become the helper.
    pub(super) fn start(&mut self, info: u64, pid: u32, boot: u64) -> Option<Arc<Cause>> {
        let cause = self.announced.pop(&info)?;
        self.tasks.put(pid, Task { boot, cause: Arc::clone(&cause) });
        Some(cause)
    }

    /// The kernel will start no helper with this address, or has done so.
    pub(super) fn withdraw(&mut self, info: u64) {
        self.announced.pop(&info);
    }

    /// The helper has ended: nothing that it started has it among its ancestors any more.
    pub(super) fn ended(&mut self, pid: u32) {
        self.tasks.pop(&pid);
    }

    /// What `process`, or one of its ancestors (an `install` line in modprobe.d runs a shell), was started for. The task was there when
    /// it became the helper; a process that started later only has its pid.
    pub(super) fn cause_of(&self, process: &Process) -> Option<Arc<Cause>> {
        let mut line = std::iter::once(process.id).chain(process.ancestors.iter().map(|a| a.id));
        line.find_map(|id| self.tasks.peek(&id.pid).filter(|task| id.start <= task.boot))
            .map(|task| Arc::clone(&task.cause))
    }
}
