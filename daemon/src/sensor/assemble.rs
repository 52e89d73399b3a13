//! Facts become events: what one thread does between a call and its return is one attempt.
//!
//! Facts come in the order of their time. A thread can be in one load, one unload, one request and one helper at a time (a
//! signature check can ask for a module in the middle of a load). An attempt whose return is never seen, because the kernel had no
//! kretprobe instance left or a ring was full, is ended by [`Assembler::tick`].

use std::{collections::HashMap, sync::Arc};

use kmodtrail_abi::{Kind, section};

use super::{
    causes::HelperTasks,
    clock::Clock,
    fact::Fact,
    frame::{Context, Frame},
    identity,
    load::OpenLoad,
    unload::OpenUnload,
};
use crate::event::{Event, Helper, KernelTaints, Origin, Request, Taints, Text, Verdict, What};

/// How long an attempt may stay open before it is looked at, nanoseconds.
const PATIENCE: u64 = 2_000_000_000;

#[derive(Debug)]
struct OpenRequest {
    frame: Frame,
    alias: Text,
}

#[derive(Debug)]
struct OpenHelper {
    frame: Frame,
    helper: Helper,
    info: u64,
}

/// What one thread is in the middle of.
#[derive(Debug, Default)]
struct Thread {
    tgid: u32,
    load: Option<OpenLoad>,
    unload: Option<OpenUnload>,
    request: Option<OpenRequest>,
    helper: Option<OpenHelper>,
}

impl Thread {
    fn is_idle(&self) -> bool {
        self.load.is_none() && self.unload.is_none() && self.request.is_none() && self.helper.is_none()
    }
}

/// All open attempts.
#[derive(Debug)]
pub(super) struct Assembler {
    context: Context,
    threads: HashMap<u32, Thread>,
    /// subprocess_info -> thread whose request it is.
    requesters: HashMap<u64, u32>,
    helpers: HelperTasks,
}

impl Assembler {
    pub(super) fn new(context: Context) -> Self {
        Self { context, threads: HashMap::new(), requesters: HashMap::new(), helpers: HelperTasks::default() }
    }

    fn origin(&self, fact: &Fact<'_>) -> Origin {
        Origin {
            boot_id: Arc::clone(&self.context.boot_id),
            epoch: fact.head.epoch,
            cpu: fact.head.cpu,
            sequence: fact.head.sequence,
        }
    }

    /// Who and when, for an attempt that begins with this fact.
    fn frame(&self, fact: &Fact<'_>, clock: Clock) -> Frame {
        let mut missing = Vec::new();
        let process = identity::process(fact, clock, &mut missing);
        if process.is_none() {
            missing.push("process: the record that began this was not seen".to_owned());
        }
        Frame { origin: self.origin(fact), boot: fact.head.time, process: process.map(Arc::new), missing, trace: None }
    }

    /// What of these taints no record has told. Callers of add_taint in its own file may have a copy of it inside, and records can be lost.
    pub(super) fn untold_taints(&mut self, taints: Taints) -> Option<KernelTaints> {
        let before = self.context.taints?;
        let after = Taints(before.0 | taints.0);
        self.context.taints = Some(after);
        (after != before).then_some(KernelTaints { before, after })
    }

    /// Takes one fact; appends the events that it ends.
    pub(super) fn take(&mut self, fact: &Fact<'_>, clock: Clock, events: &mut Vec<Event>) {
        let tid = fact.head.tid;
        let mut thread = self.threads.remove(&tid).unwrap_or_default();
        thread.tgid = fact.head.tgid;
        match fact.kind {
            Kind::FinitModule | Kind::InitModule => {
                self.end_load(&mut thread, None, clock, events);
                thread.load = Some(self.open_load(fact, clock));
            }
            Kind::ReadFile
            | Kind::PostReadFile
            | Kind::LoadData
            | Kind::LoadModule
            | Kind::VerifySignature
            | Kind::SignatureCheckRefused
            | Kind::ParseArgs
            | Kind::InitModuleFunction
            | Kind::ModuleLive => {
                let origin = self.origin(fact);
                let load = thread.load.take();
                let mut load = load.unwrap_or_else(|| self.open_load(fact, clock));
                if fact.kind == Kind::LoadModule && load.is_anonymous() {
                    let frame = self.frame(fact, clock);
                    let cause = frame.process.as_ref().and_then(|p| self.helpers.cause_of(p));
                    load.identify(frame, cause);
                }
                load.take(fact, origin);
                thread.load = Some(load);
            }
            Kind::DeleteModule => {
                self.end_unload(&mut thread, None, clock, events);
                let frame = self.frame(fact, clock);
                thread.unload = Some(OpenUnload::begin(frame, fact));
            }
            Kind::FreeModule => self.free(&mut thread, fact, clock, events),
            Kind::AddTaint => self.tainted(&thread, fact, clock, events),
            Kind::SyscallReturn if fact.head.args[1] == Kind::DeleteModule as u64 => {
                self.end_unload(&mut thread, Some(fact), clock, events);
            }
            Kind::SyscallReturn | Kind::LoadModuleReturn => {
                if let Some(load) = &mut thread.load {
                    load.ended_at(fact.head.time);
                }
                self.end_load(&mut thread, Some(fact.returned()), clock, events);
            }
            Kind::ModuleRequest => {
                end_request(&mut thread, Verdict::Unknown, clock, events);
                let mut frame = self.frame(fact, clock);
                frame.trace = Some(frame.origin.trace_id());
                thread.request = Some(OpenRequest { frame, alias: fact.text(section::NAME).unwrap_or_default() });
            }
            Kind::ModuleRequestRefused => {
                end_request(&mut thread, Verdict::Refused(-fact.returned()), clock, events);
            }
            Kind::HelperExec => self.begin_helper(&mut thread, fact, clock, events),
            Kind::HelperTask => self.helper_task(fact),
            Kind::HelperReturn => self.end_helper(&mut thread, Some(fact), clock, events),
        }
        if !thread.is_idle() {
            self.threads.insert(tid, thread);
        }
    }

    /// The programs tell a flag that is new to them; two CPUs may tell the same.
    fn tainted(&mut self, thread: &Thread, fact: &Fact<'_>, clock: Clock, events: &mut Vec<Event>) {
        let Some(before) = self.context.taints else { return };
        let after = Taints(before.0 | 1u64.checked_shl(fact.head.args[0] as u32).unwrap_or(0));
        if after == before {
            return;
        }
        self.context.taints = Some(after);
        let frame = match &thread.load {
            Some(load) => load.frame().at(self.origin(fact), fact.head.time),
            None => self.frame(fact, clock),
        };
        events.push(frame.event(clock, What::Taint(KernelTaints { before, after })));
    }

    fn open_load(&self, fact: &Fact<'_>, clock: Clock) -> OpenLoad {
        let mut frame = self.frame(fact, clock);
        let cause = frame.process.as_ref().and_then(|p| self.helpers.cause_of(p));
        frame.trace = Some(cause.as_ref().map_or_else(|| frame.origin.trace_id(), |c| c.trace));
        OpenLoad::begin(frame, fact, cause.map(|c| c.alias), self.context.taints)
    }

    fn end_load(&mut self, thread: &mut Thread, returned: Option<i32>, clock: Clock, events: &mut Vec<Event>) {
        if let Some(load) = thread.load.take() {
            load.end(returned, &self.context, clock, events);
        }
    }

    fn end_unload(&mut self, thread: &mut Thread, returned: Option<&Fact<'_>>, clock: Clock, events: &mut Vec<Event>) {
        if let Some(unload) = thread.unload.take() {
            events.push(unload.end(returned, clock));
        }
    }

    /// free_module is the end of an unload and of a load whose init function failed.
    fn free(&mut self, thread: &mut Thread, fact: &Fact<'_>, clock: Clock, events: &mut Vec<Event>) {
        let origin = self.origin(fact);
        if let Some(unload) = &mut thread.unload {
            unload.take(fact);
        } else if let Some(load) = &mut thread.load {
            load.take(fact, origin);
        } else {
            // its beginning is lost: the module goes all the same
            let frame = self.frame(fact, clock);
            let mut unload = OpenUnload::begin(frame, fact);
            unload.take(fact);
            events.push(unload.end(None, clock));
        }
    }

    fn begin_helper(&mut self, thread: &mut Thread, fact: &Fact<'_>, clock: Clock, events: &mut Vec<Event>) {
        let request = end_request(thread, Verdict::Allowed, clock, events);
        self.end_helper(thread, None, clock, events);
        let (frame, alias) = match request {
            Some(r) => (r.frame.at(self.origin(fact), fact.head.time), Some(r.alias)),
            None => (self.frame(fact, clock), None),
        };
        let arguments = fact.section(section::HELPER_ARGV).map_or(&[][..], |s| s.bytes);
        let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments).split(|&b| b == 0).map(Text::from_bytes);
        let info = fact.head.args[0];
        self.requesters.insert(info, fact.head.tid);
        thread.helper = Some(OpenHelper {
            frame,
            info,
            helper: Helper {
                path: fact.text(section::HELPER_PATH).unwrap_or_default(),
                arguments: arguments.collect(),
                alias,
                task: None,
                // UMH_NO_WAIT is 0, include/linux/umh.h
                waited_for: fact.head.args[1] as u32 != 0,
                exit_status: None,
                duration: None,
            },
        });
    }

    /// Runs in the task that becomes the helper; its requester's thread is another one.
    fn helper_task(&mut self, fact: &Fact<'_>) {
        let requester = self.requesters.remove(&fact.head.args[0]);
        let Some(open) = requester.and_then(|tid| self.threads.get_mut(&tid)?.helper.as_mut()) else { return };
        open.helper.task = Some(fact.head.tgid);
        if let (Some(trace), Some(alias)) = (open.frame.trace, &open.helper.alias) {
            self.helpers.add(fact.head.tgid, fact.head.time, trace, alias.clone());
        }
    }

    fn end_helper(&mut self, thread: &mut Thread, returned: Option<&Fact<'_>>, clock: Clock, events: &mut Vec<Event>) {
        let Some(mut open) = thread.helper.take() else { return };
        self.requesters.remove(&open.info);
        if let Some(fact) = returned {
            open.helper.exit_status = Some(fact.returned());
            open.helper.duration = Some(fact.head.time.saturating_sub(open.frame.boot));
            open.frame.boot = fact.head.time;
        } else {
            open.frame.missing.push("linux.kernel_module.helper.exit_status: the return was not seen".to_owned());
        }
        events.push(open.frame.event(clock, What::Helper(open.helper)));
    }

    /// Ends what has waited for long enough, where the thread is no longer in the call.
    pub(super) fn tick(&mut self, clock: Clock, events: &mut Vec<Event>) {
        let due = |boot: u64| clock.boot().saturating_sub(boot) > PATIENCE;
        let mut threads = std::mem::take(&mut self.threads);
        for (&tid, thread) in &mut threads {
            if thread.request.as_ref().is_some_and(|r| due(r.frame.boot)) {
                end_request(thread, Verdict::Unknown, clock, events);
            }
            if let Some(load) = thread.load.as_mut().filter(|l| due(l.began())) {
                load.tell_evidence(None, &self.context, clock, events);
            }
            let waiting = [thread.load.as_ref().map(OpenLoad::began), thread.unload.as_ref().map(OpenUnload::began)];
            if waiting.into_iter().flatten().any(due) && !super::threads::is_in_call(thread.tgid, tid) {
                self.end_load(thread, None, clock, events);
                self.end_unload(thread, None, clock, events);
            }
            // its requester waits as long as the helper runs, in whatever call it made
            let ended = |h: &OpenHelper| due(h.frame.boot) && !h.helper.task.is_some_and(super::threads::exists);
            if thread.helper.as_ref().is_some_and(ended) {
                self.end_helper(thread, None, clock, events);
            }
        }
        threads.retain(|_, thread| !thread.is_idle());
        self.threads = threads;
        self.helpers.forget_before(clock.boot());
    }

    /// Ends everything: nobody will see the returns.
    pub(super) fn finish(&mut self, clock: Clock, events: &mut Vec<Event>) {
        for (_, mut thread) in std::mem::take(&mut self.threads) {
            end_request(&mut thread, Verdict::Unknown, clock, events);
            self.end_load(&mut thread, None, clock, events);
            self.end_unload(&mut thread, None, clock, events);
            self.end_helper(&mut thread, None, clock, events);
        }
    }
}

fn end_request(thread: &mut Thread, verdict: Verdict, clock: Clock, events: &mut Vec<Event>) -> Option<OpenRequest> {
    let open = thread.request.take()?;
    events.push(open.frame.event(clock, What::Request(Request { alias: open.alias.clone(), verdict })));
    Some(open)
}

#[cfg(test)]
mod tests;
