//! What all events of one attempt have in common.

use std::sync::Arc;

use super::{causes::Cause, clock::Clock, generation::Generation, policy::Policy, setting::WatchedSettings};
use crate::event::{Event, HookState, Origin, Process, SpanId, Taints, TraceId, What};

/// What the assembler must know of the sensor.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) boot_id: Arc<str>,
    /// mod_verify_sig's return is attached: a module without it is unsigned.
    pub(super) sees_verification: bool,
    /// parse_args is attached: a module without it has no parameters.
    pub(super) sees_parameters: bool,
    /// module_sig_check's return is attached: what it did not refuse was refused by something behind it.
    pub(super) sees_signature_check: bool,
    /// `struct module` has a place for what was found out about the signature: CONFIG_MODULE_SIG.
    pub(super) checks_signatures: bool,
    /// The kernel's taints, where they are watched.
    pub(super) taints: Option<Taints>,
    /// What the running kernel demands; `None` where the records are another kernel's.
    pub(super) policy: Option<Arc<Policy>>,
    /// Whose writers are told.
    pub(super) settings: Arc<WatchedSettings>,
}

/// What all generations' contexts have in common.
pub(super) struct Shared {
    pub(super) boot_id: Arc<str>,
    pub(super) taints: Option<Taints>,
    pub(super) policy: Arc<Policy>,
    pub(super) settings: Arc<WatchedSettings>,
}

impl Shared {
    pub(super) fn context(&self, generation: &Generation) -> Context {
        let coverage = generation.coverage();
        let attached = |name| {
            let hook = coverage.hooks.iter().find(|h| h.name == name);
            hook.is_some_and(|h| matches!(h.state, HookState::Attached { .. }))
        };
        Context {
            boot_id: Arc::clone(&self.boot_id),
            sees_verification: attached("verify_signature"),
            sees_parameters: attached("parse_args"),
            sees_signature_check: attached("signature_check"),
            checks_signatures: generation.about.checks_signatures,
            // what came since the hook is there will come again, as a record
            taints: self.taints.filter(|_| attached("add_taint")),
            policy: Some(Arc::clone(&self.policy)),
            settings: Arc::clone(&self.settings),
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Context {
    /// Everything is seen.
    pub(super) fn of_test() -> Self {
        Self {
            boot_id: "boot".into(),
            sees_verification: true,
            sees_parameters: true,
            sees_signature_check: true,
            checks_signatures: true,
            taints: Some(Taints(0)),
            policy: None,
            settings: Arc::default(),
        }
    }
}

/// Everything that an event needs beside what it says.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) origin: Origin,
    pub(super) boot: u64,
    pub(super) process: Option<Arc<Process>>,
    /// What the kernel started that process for, where it did.
    pub(super) cause: Option<Arc<Cause>>,
    pub(super) missing: Vec<String>,
    pub(super) trace: TraceId,
    pub(super) parent: Option<SpanId>,
}

impl Frame {
    pub(super) fn event(&self, clock: Clock, what: What) -> Event {
        Event {
            time: clock.timestamps(self.boot),
            origin: self.origin.clone(),
            trace: Some(self.trace),
            parent: self.parent,
            process: self.process.clone(),
            requester: self.cause.as_ref().and_then(|cause| cause.requester.clone()),
            what,
            missing: self.missing.clone(),
        }
    }

    /// The same who and why, at another moment.
    pub(super) fn at(&self, origin: Origin, boot: u64) -> Self {
        Self { origin, boot, ..self.clone() }
    }

    /// The same who and why, in the middle of the attempt whose record about `event_name` has this frame.
    pub(super) fn within(&self, event_name: &str, origin: Origin, boot: u64) -> Self {
        Self { parent: Some(self.origin.span_id(event_name)), ..self.at(origin, boot) }
    }

    /// The process behind it: not the helper that the kernel started for it.
    pub(super) fn behind(&self) -> Option<Arc<Process>> {
        match &self.cause {
            Some(cause) => cause.requester.clone(),
            None => self.process.clone(),
        }
    }
}
