//! One attempt to unload a module.

use kmodtrail_abi::{Kind, head_flags, section};
use nix::errno::Errno;

use super::{clock::Clock, fact::Fact, frame::Frame};
use crate::event::{Event, ModuleFacts, Outcome, Refusal, Text, Unload, UnloadFlags, What};

#[derive(Debug)]
pub(super) struct OpenUnload {
    frame: Frame,
    name: Option<Text>,
    flags: u32,
    may_load: bool,
    module: Option<ModuleFacts>,
}

impl OpenUnload {
    pub(super) fn begin(mut frame: Frame, fact: &Fact<'_>) -> Self {
        let is_call = fact.kind == Kind::DeleteModule;
        let name = if is_call { fact.text(section::NAME) } else { None };
        if is_call && name.is_none() {
            frame
                .missing
                .push("linux.kernel_module.name: not in the caller's memory when the call was made".to_owned());
        }
        let flags = if is_call { fact.head.args[1] as u32 } else { 0 };
        Self { frame, name, flags, may_load: !is_call || fact.has(head_flags::MAY_LOAD), module: None }
    }

    pub(super) fn began(&self) -> u64 {
        self.frame.boot
    }

    /// free_module.
    pub(super) fn take(&mut self, fact: &Fact<'_>) {
        if let Some(module) = fact.module() {
            self.module = Some(module);
        }
    }

    fn outcome(&self, returned: Option<i32>) -> Outcome {
        match returned {
            None if self.module.is_some() => Outcome::Success,
            None => Outcome::Unknown,
            Some(value) if value >= 0 => Outcome::Success,
            Some(value) if value == -(Errno::EPERM as i32) => {
                // delete_module(2), kernel/module/main.c: the capability, or modules_disabled
                let gate = if self.may_load { Refusal::ModulesDisabled } else { Refusal::Capability };
                Outcome::Refused(-value, Some(gate))
            }
            Some(value) => Outcome::Failure(Some(-value)),
        }
    }

    pub(super) fn end(mut self, returned: Option<&Fact<'_>>, clock: Clock) -> Event {
        if returned.is_none() && self.module.is_none() {
            self.frame.missing.push("linux.kernel_module.errno: the return was not seen".to_owned());
        }
        let outcome = self.outcome(returned.map(Fact::returned));
        let name = self.module.as_ref().map(|m| m.name.clone()).or(self.name.take()).unwrap_or_default();
        let duration = returned.map(|r| r.head.time.saturating_sub(self.frame.boot));
        self.frame.boot = returned.map_or(self.frame.boot, |r| r.head.time);
        let what = Unload {
            name,
            flags: UnloadFlags(self.flags),
            outcome,
            module: self.module.take(),
            references: None,
            holders: Vec::new(),
            duration,
        };
        self.frame.event(clock, What::Unload(what))
    }
}
