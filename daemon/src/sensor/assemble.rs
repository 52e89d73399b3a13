//! Facts become events: what one thread does between a call and its return is one attempt.
//!
//! Facts come in the order of their time. A thread can be in one load, one unload, one request and one helper at a time (a
//! signature check can ask for a module in the middle of a load). An attempt whose return is never seen, because the kernel had no
//! kretprobe instance left or a ring was full, is ended by [`Assembler::tick`].

mod thread;

use std::{collections::HashMap, ops::Range, sync::Arc};

use kmodtrail_abi::{Kind, section};

use self::thread::{Kept, OpenRequest, Thread};
use super::{
    causes::{Cause, Helpers},
    clock::Clock,
    cutover::{Border, Cutover, Whose},
    fact::Fact,
    frame::{Context, Frame},
    handover::{self, Open},
    identity,
    lately::Lately,
    load::OpenLoad,
    unload::OpenUnload,
    usermode_helper::{After, OpenHelper},
};
use crate::event::{Event, KernelTaints, Origin, Outcome, Request, Taints, Verdict, What};

/// All open attempts.
#[derive(Debug)]
pub(super) struct Assembler {
    context: Context,
    threads: HashMap<u32, Thread>,
    helpers: Helpers,
    lately: Lately,
    /// The records of what is open are kept.
    keeps: bool,
    cutover: Cutover,
}

impl Assembler {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            threads: HashMap::new(),
            helpers: Helpers::default(),
            lately: Lately::default(),
            keeps: false,
            cutover: Cutover::NONE,
        }
    }

    /// Only what began then is told.
    pub(super) const fn set_cutover(&mut self, cutover: Cutover) {
        self.cutover = cutover;
    }

    /// What is told.
    pub(super) const fn cutover(&self) -> Cutover {
        self.cutover
    }

    /// Threads that are in the middle of something that is told.
    pub(super) fn busy(&self) -> impl Iterator<Item = u32> {
        self.threads.iter().filter(|(_, thread)| !thread.theirs).map(|(tid, _)| *tid)
    }

    /// Nothing is open.
    pub(super) fn is_idle(&self) -> bool {
        self.threads.is_empty()
    }

    /// From here on [`Self::open`] has something to say.
    pub(super) const fn keep_open(&mut self) {
        self.keeps = true;
    }

    /// The batch is over whose records were at the places that [`Self::take`] was told.
    pub(super) fn keep(&mut self, batch: &[u8]) {
        if self.keeps {
            self.threads.values_mut().for_each(|thread| thread.kept.settle(batch));
        }
    }

    /// What threads are in the middle of.
    pub(super) fn open(&self) -> Vec<Open> {
        let open = |thread: &Thread| Open {
            records: thread.kept.records.clone(),
            attempts: thread.attempts(),
            theirs: thread.theirs,
            evidence_told: thread.load.as_ref().is_some_and(OpenLoad::evidence_told),
            loads: thread.helper.as_ref().map(OpenHelper::loads).unwrap_or_default(),
        };
        self.threads.values().map(open).collect()
    }

    /// Goes on where another process was: the same facts once more, and what they told before is told no more.
    pub(super) fn resume(&mut self, taints: Option<Taints>, open: &[Open], clock: Clock) {
        let mut records: Vec<_> = open.iter().flat_map(|open| handover::split(&open.records)).collect();
        records.sort_by_key(|record| Fact::parse(record).map(|fact| fact.head.time));
        let mut told = Vec::new();
        for fact in records.into_iter().filter_map(Fact::parse) {
            let tid = fact.head.tid;
            let thread = self.threads.remove(&tid).unwrap_or_default();
            self.follow(thread, &fact, 0..0, clock, &mut told);
        }
        for open in open {
            let Some(fact) = handover::split(&open.records).find_map(Fact::parse) else { continue };
            let Some(thread) = self.threads.get_mut(&fact.head.tid) else { continue };
            thread.kept = Kept { records: open.records.clone(), new: Vec::new() };
            thread.close_others(open.attempts);
            thread.theirs = open.theirs;
            if let Some(helper) = &mut thread.helper {
                helper.set_loads(open.loads);
            }
            if let Some(load) = thread.load.as_mut().filter(|_| open.evidence_told) {
                load.tell_evidence(None, &self.context, clock, &mut told);
            }
        }
        self.threads.retain(|_, thread| !thread.is_idle());
        if self.context.taints.is_some() {
            self.context.taints = taints;
        }
    }

    /// The kernel's taints, as far as they were told.
    pub(super) const fn taints(&self) -> Option<Taints> {
        self.context.taints
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
    fn frame(&mut self, fact: &Fact<'_>, clock: Clock) -> Frame {
        let mut missing = Vec::new();
        let process = identity::process(fact, clock, &mut missing);
        let cause = process.as_ref().and_then(|process| self.helpers.cause_of(process));
        if process.is_none() {
            missing.push("process: the record that began this was not seen".to_owned());
        }
        if cause.as_ref().is_some_and(|cause| cause.requester.is_none()) {
            missing.push("linux.kernel_module.requester: the record of the request was not seen".to_owned());
        }
        let origin = self.origin(fact);
        Frame {
            boot: fact.head.time,
            process: process.map(|process| self.lately.share(process, fact.head.time)),
            trace: cause.as_ref().map_or_else(|| origin.trace_id(), |cause| cause.trace),
            parent: cause.as_ref().map(|cause| cause.helper),
            origin,
            cause,
            missing,
        }
    }

    /// The same, in the middle of what the thread does: a signature check can ask for a module.
    fn frame_within(&mut self, thread: &Thread, fact: &Fact<'_>, clock: Clock) -> Frame {
        let mut frame = self.frame(fact, clock);
        if let Some(load) = &thread.load {
            let around = load.frame().within(What::LOAD, self.origin(fact), fact.head.time);
            if frame.process.is_none() {
                return around;
            }
            (frame.trace, frame.parent) = (around.trace, around.parent);
        }
        frame
    }

    /// What of these taints no record has told. Callers of add_taint in its own file may have a copy of it inside, and records can be lost.
    pub(super) fn untold_taints(&mut self, taints: Taints) -> Option<KernelTaints> {
        let before = self.context.taints?;
        let after = Taints(before.0 | taints.0);
        self.context.taints = Some(after);
        (after != before).then_some(KernelTaints { before, after })
    }

    /// Takes one fact; appends the events that it ends. `record`: where it lies in the batch.
    pub(super) fn take(
        &mut self,
        fact: &Fact<'_>,
        record: Range<usize>,
        border: &mut Border,
        clock: Clock,
        events: &mut Vec<Event>,
    ) {
        let tid = fact.head.tid;
        let thread = match self.threads.remove(&tid) {
            Some(thread) => thread,
            None => match self.cutover.whose(fact, border) {
                Whose::Ours => Thread::default(),
                Whose::Theirs => Thread { theirs: true, ..Thread::default() },
                Whose::Nobodys => return,
            },
        };
        if thread.theirs {
            self.follow(thread, fact, record, clock, &mut Vec::new());
        } else {
            self.follow(thread, fact, record, clock, events);
        }
    }

    fn follow(
        &mut self,
        mut thread: Thread,
        fact: &Fact<'_>,
        record: Range<usize>,
        clock: Clock,
        events: &mut Vec<Event>,
    ) {
        let tid = fact.head.tid;
        thread.tgid = fact.head.tgid;
        thread.left = false;
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
                    load.identify(self.frame(fact, clock));
                    self.count_began(&load);
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
            Kind::SettingWrite => {
                if let Some(write) = self.context.settings.write(fact) {
                    events.push(self.frame(fact, clock).event(clock, What::Setting(write)));
                }
            }
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
                let frame = self.frame_within(&thread, fact, clock);
                thread.request = Some(OpenRequest { frame, alias: fact.text(section::NAME).unwrap_or_default() });
            }
            Kind::ModuleRequestRefused => {
                end_request(&mut thread, Verdict::Refused(-fact.returned()), clock, events);
            }
            Kind::HelperExec => self.begin_helper(&mut thread, fact, clock, events),
            Kind::HelperTask => self.helper_task(fact, record.clone()),
            Kind::HelperReturn => self.end_helper(&mut thread, Some(fact), clock, events),
        }
        if !thread.is_idle() {
            if self.keeps {
                thread.kept.new.push(record);
            }
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
        let frame = self.frame_within(thread, fact, clock);
        events.push(frame.event(clock, What::Taint(KernelTaints { before, after })));
    }

    fn open_load(&mut self, fact: &Fact<'_>, clock: Clock) -> OpenLoad {
        let load = OpenLoad::begin(self.frame(fact, clock), fact, self.context.taints);
        self.count_began(&load);
        load
    }

    fn end_load(&mut self, thread: &mut Thread, returned: Option<i32>, clock: Clock, events: &mut Vec<Event>) {
        let Some(load) = thread.load.take() else { return };
        let cause = load.frame().cause.clone();
        let outcome = load.end(returned, &self.context, clock, events);
        if let Some(helper) = cause.and_then(|cause| self.helper_of(&cause)) {
            helper.load_ended(outcome == Outcome::Success);
        }
    }

    fn count_began(&mut self, load: &OpenLoad) {
        if let Some(helper) = load.frame().cause.clone().and_then(|cause| self.helper_of(&cause)) {
            helper.load_began();
        }
    }

    /// The helper that was started for this, where its requester still waits.
    fn helper_of(&mut self, cause: &Cause) -> Option<&mut OpenHelper> {
        let helper = self.threads.get_mut(&cause.thread)?.helper.as_mut()?;
        (helper.span() == cause.helper).then_some(helper)
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
            Some(r) => (r.frame.within(What::REQUEST, self.origin(fact), fact.head.time), Some(r.alias)),
            None => (self.frame_within(thread, fact, clock), None),
        };
        let helper = OpenHelper::begin(frame, fact, alias);
        self.helpers.announce(helper.info(), helper.cause(fact.head.tid));
        thread.helper = Some(helper);
    }

    /// Runs in the task that becomes the helper; its requester's thread is another one.
    fn helper_task(&mut self, fact: &Fact<'_>, record: Range<usize>) {
        let Some(cause) = self.helpers.start(fact.head.args[0], fact.head.tgid, fact.head.time) else { return };
        let Some(helper) = self.helper_of(&cause) else { return };
        helper.runs_as(fact.head.tgid);
        if self.keeps
            && let Some(thread) = self.threads.get_mut(&cause.thread)
        {
            thread.kept.new.push(record);
        }
    }

    fn end_helper(&mut self, thread: &mut Thread, returned: Option<&Fact<'_>>, clock: Clock, events: &mut Vec<Event>) {
        let Some(helper) = thread.helper.take() else { return };
        let returned = returned.map(|fact| (fact.returned(), fact.head.time));
        let after = helper.after(returned.map(|(value, _)| value));
        if after != After::WillRun {
            self.helpers.withdraw(helper.info());
        }
        if let (After::Ended, Some(task)) = (after, helper.task()) {
            self.helpers.ended(task);
        }
        events.push(helper.end(returned, clock));
    }

    /// Ends what has waited for long enough, where the thread is no longer in the call.
    pub(super) fn tick(&mut self, clock: Clock, events: &mut Vec<Event>) {
        let mut threads = std::mem::take(&mut self.threads);
        let mut unheard = Vec::new();
        for (&tid, thread) in &mut threads {
            let events = if thread.theirs { &mut unheard } else { &mut *events };
            if let Some(load) = thread.load.as_mut().filter(|load| thread::is_due(load.began(), clock.boot())) {
                load.tell_evidence(None, &self.context, clock, events);
            }
            let [load, unload, request, helper] = thread.left_behind(tid, clock.boot());
            if load {
                self.end_load(thread, None, clock, events);
            }
            if unload {
                self.end_unload(thread, None, clock, events);
            }
            if request {
                end_request(thread, Verdict::Unknown, clock, events);
            }
            if helper {
                self.end_helper(thread, None, clock, events);
            }
        }
        threads.retain(|_, thread| !thread.is_idle());
        self.threads = threads;
    }

    /// Ends everything: nobody will see the returns.
    pub(super) fn finish(&mut self, clock: Clock, events: &mut Vec<Event>) {
        for (_, mut thread) in std::mem::take(&mut self.threads).into_iter().filter(|(_, thread)| !thread.theirs) {
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
