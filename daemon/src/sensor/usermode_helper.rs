//! One program that the kernel runs to load a module, from call_usermodehelper_exec to its return.

use kmodtrail_abi::section;

use super::{causes::Cause, clock::Clock, fact::Fact, frame::Frame};
use crate::event::{Event, Helper, HelperOutcome, SpanId, Text, What};

/// UMH_WAIT_EXEC, UMH_WAIT_PROC: include/linux/umh.h. The call returns when the program runs, or when it has ended; with neither at once.
const WAIT_EXEC: u32 = 1;
const WAIT_PROC: u32 = 2;
/// ERESTARTSYS, include/linux/errno.h: a signal killed the requester while it waited.
const RESTART: i32 = -512;

/// What may still come of a helper whose requester goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It may be started yet.
    WillRun,
    /// It may still run.
    Runs,
    /// Nothing: it has ended, or was never started.
    Ended,
}

#[derive(Debug)]
pub(super) struct OpenHelper {
    frame: Frame,
    /// `struct subprocess_info *`
    info: u64,
    wait: u32,
    path: Text,
    arguments: Vec<Text>,
    alias: Option<Text>,
    task: Option<u32>,
    loads: Loads,
}

/// Attempts of the helper, and of those that it started, to load modules.
#[derive(Debug, Default)]
struct Loads {
    began: u32,
    ended: u32,
    succeeded: u32,
}

/// WIFSIGNALED: wait(2).
const fn was_killed(status: i32) -> bool {
    status & 0x7f != 0
}

impl OpenHelper {
    /// `alias`: what the request asked for, where it was seen.
    pub(super) fn begin(frame: Frame, fact: &Fact<'_>, alias: Option<Text>) -> Self {
        let arguments = fact.section(section::HELPER_ARGV).map_or(&[][..], |s| s.bytes);
        let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments).split(|&b| b == 0);
        Self {
            frame,
            info: fact.head.args[0],
            wait: fact.head.args[1] as u32,
            path: fact.text(section::HELPER_PATH).unwrap_or_default(),
            arguments: arguments.map(Text::from_bytes).collect(),
            alias,
            task: None,
            loads: Loads::default(),
        }
    }

    /// What its task is started for; `thread`: the one that asked.
    pub(super) fn cause(&self, thread: u32) -> Cause {
        Cause {
            trace: self.frame.trace,
            helper: self.span(),
            thread,
            alias: self.alias.clone(),
            requester: self.frame.behind(),
        }
    }

    pub(super) const fn info(&self) -> u64 {
        self.info
    }

    pub(super) const fn began(&self) -> u64 {
        self.frame.boot
    }

    pub(super) const fn task(&self) -> Option<u32> {
        self.task
    }

    pub(super) fn runs_as(&mut self, task: u32) {
        self.task = Some(task);
    }

    /// How many of its loads began, ended, succeeded.
    pub(super) const fn loads(&self) -> [u32; 3] {
        let Loads { began, ended, succeeded } = self.loads;
        [began, ended, succeeded]
    }

    /// As another process has counted them.
    pub(super) const fn set_loads(&mut self, [began, ended, succeeded]: [u32; 3]) {
        self.loads = Loads { began, ended, succeeded };
    }

    pub(super) const fn load_began(&mut self) {
        self.loads.began += 1;
    }

    pub(super) const fn load_ended(&mut self, succeeded: bool) {
        self.loads.ended += 1;
        self.loads.succeeded += succeeded as u32;
    }

    /// `returned`: what the call gave; `None` where it was not seen.
    pub(super) const fn after(&self, returned: Option<i32>) -> After {
        match returned {
            Some(RESTART) => After::WillRun,
            Some(..0) => After::Ended,
            Some(_) | None if self.wait & WAIT_PROC != 0 => After::Ended,
            Some(_) | None if self.wait & WAIT_EXEC != 0 => After::Runs,
            Some(_) | None => After::WillRun,
        }
    }

    fn outcome(&self, exit_status: Option<i32>) -> HelperOutcome {
        match (exit_status, &self.loads) {
            (_, loads) if loads.succeeded > 0 => HelperOutcome::Loaded,
            (Some(..0), _) => HelperOutcome::NotStarted,
            // without its task nobody knows which loads are its own
            (None, _) => HelperOutcome::Unknown,
            _ if self.task.is_none() => HelperOutcome::Unknown,
            (Some(_), loads) if loads.began > loads.ended => HelperOutcome::Unknown,
            (Some(status), loads) if loads.ended > 0 || was_killed(status) => HelperOutcome::Failed,
            (Some(_), _) => HelperOutcome::NothingFound,
        }
    }

    /// `returned`: what the call gave, and when; `None` where it was not seen.
    pub(super) fn end(mut self, returned: Option<(i32, u64)>, clock: Clock) -> Event {
        let waits = self.wait & WAIT_PROC != 0;
        let exit_status = match returned {
            None => Err("the return was not seen"),
            Some((RESTART, _)) => Err("the requester was killed while it waited"),
            Some((status, _)) if waits || status < 0 => Ok(status),
            Some(_) => Err("the requester did not wait for it"),
        };
        let exit_status = exit_status
            .map_err(|why| self.frame.missing.push(format!("linux.kernel_module.helper.exit_status: {why}")))
            .ok();
        let outcome = self.outcome(exit_status);
        let began = self.frame.boot;
        let duration = returned.map(|(_, time)| time.saturating_sub(began));
        self.frame.boot = returned.map_or(began, |(_, time)| time);
        self.frame.event(
            clock,
            What::Helper(Helper {
                path: self.path,
                arguments: self.arguments,
                alias: self.alias,
                task: self.task,
                waited_for: waits,
                exit_status,
                outcome,
                unexpected: Vec::new(),
                duration,
            }),
        )
    }

    /// The record about it.
    pub(super) fn span(&self) -> SpanId {
        self.frame.origin.span_id(What::HELPER)
    }
}
