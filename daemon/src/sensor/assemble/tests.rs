//! Stories of one or two threads, told in records as the kernel side writes them.

mod replaced;
mod resumed;

use std::sync::atomic::{AtomicBool, Ordering};

use kmodtrail_abi::{ABI, FileFacts, Head, Identity, Kind, head_flags, section};

use super::*;
use crate::event::{HelperOutcome, LoadSource, Outcome, Refusal, SignatureState, Text};

const SECOND: u64 = 1_000_000_000;

/// A record in the making.
struct Record {
    head: Head,
    identity: Option<(u64, Vec<(u32, u64)>)>,
    sections: Vec<u8>,
}

fn record(kind: Kind, tid: u32, time: u64) -> Record {
    let head = Head {
        abi: ABI,
        kind: kind as u16,
        flags: 0,
        epoch: 7,
        sequence: time,
        time,
        cpu: 1,
        tgid: tid,
        tid,
        position: 0,
        args: [0; 4],
    };
    Record { head, identity: None, sections: Vec::new() }
}

impl Record {
    fn args(mut self, args: [u64; 4]) -> Self {
        self.head.args = args;
        self
    }
    fn returned(self, value: i32, call: Kind) -> Self {
        self.args([i64::from(value).cast_unsigned(), call as u64, 0, 0])
    }
    /// A process that started then, by root.
    fn by(mut self, start: u64, ancestors: &[(u32, u64)]) -> Self {
        self.head.flags |= head_flags::IDENTITY | head_flags::MAY_LOAD;
        self.identity = Some((start, ancestors.to_vec()));
        self
    }
    fn unprivileged(mut self) -> Self {
        self.head.flags &= !head_flags::MAY_LOAD;
        self
    }
    fn section(mut self, kind: u16, flags: u16, bytes: &[u8]) -> Self {
        let word = u64::from(kind) | u64::from(flags) << 16 | (bytes.len() as u64) << 32;
        self.sections.extend(word.to_ne_bytes());
        self.sections.extend_from_slice(bytes);
        self.sections.resize(self.sections.len().next_multiple_of(8), 0);
        self
    }
    fn file(self, name: &str) -> Self {
        let facts =
            FileFacts { inode: 5, size: 9, magic: 0xef53, device: 8 << 20 | 1, mode: 0o100_644, uid: 0, links: 1 };
        let mut bytes = bytes_of(&facts).to_vec();
        bytes.push(name.len() as u8);
        bytes.extend(name.as_bytes());
        self.section(section::FILE, section::REACHED_ROOT, &bytes)
    }
    fn module(mut self, name: &str, taints: u64, sig_ok: u64) -> Self {
        self.head.args = [0xffff, taints, sig_ok, 0];
        self.section(section::NAME, 0, name.as_bytes())
    }
    fn bytes(&self) -> Vec<u8> {
        let mut out = bytes_of(&self.head).to_vec();
        if let Some((start, ancestors)) = &self.identity {
            // SAFETY: integers, for which zero is a value.
            let mut identity: Identity = unsafe { std::mem::zeroed() };
            identity.start = *start;
            identity.comm[..4].copy_from_slice(b"comm");
            identity.ancestor_count = ancestors.len() as u32;
            for (to, (tgid, start)) in identity.ancestors.iter_mut().zip(ancestors) {
                (to.tgid, to.start) = (*tgid, *start);
            }
            out.extend_from_slice(bytes_of(&identity));
        }
        out.extend_from_slice(&self.sections);
        out
    }
}

fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the three types it is called with consist of integers and have no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

fn assembler() -> Assembler {
    Assembler::new(Context::of_test())
}

fn tell(assembler: &mut Assembler, story: &[Record]) -> Vec<Event> {
    let mut events = Vec::new();
    for record in story {
        let bytes = record.bytes();
        assembler.take(
            &Fact::parse(&bytes).expect("a record"),
            0..0,
            &mut Border::default(),
            Clock::measure(),
            &mut events,
        );
    }
    events
}

fn loads(events: &[Event]) -> Vec<(&Event, &crate::event::Load)> {
    events.iter().filter_map(|e| if let What::Load(l) = &e.what { Some((e, &**l)) } else { None }).collect()
}

fn signed_load(tid: u32, at: u64) -> Vec<Record> {
    vec![
        record(Kind::FinitModule, tid, at).by(at - 5, &[(1, 1)]).args([3, 0, 0xf00, 0]).file("dummy.ko"),
        record(Kind::ReadFile, tid, at + 1).args([0xf00, 2, 1, 0]),
        record(Kind::PostReadFile, tid, at + 2).args([0xf00, 2, 17497, 0]),
        record(Kind::LoadModule, tid, at + 3).args([0xabc, 17400, 0, 0]),
        record(Kind::VerifySignature, tid, at + 4),
        record(Kind::InitModuleFunction, tid, at + 5).module("dummy", 0, 1),
        record(Kind::ModuleLive, tid, at + 6),
    ]
}

#[test]
fn one_load_gives_read_verify_and_load_with_one_trace() {
    let mut story = signed_load(10, 100);
    story.push(record(Kind::SyscallReturn, 10, 107).returned(0, Kind::FinitModule));
    let events = tell(&mut assembler(), &story);
    assert_eq!(names(&events), ["read", "verify", "load"]);
    assert!(events[0].trace.is_some() && events.iter().all(|e| e.trace == events[0].trace));
    let (event, load) = loads(&events)[0];
    assert_eq!(
        (load.outcome, load.signature.state, load.source),
        (Outcome::Success, SignatureState::Valid, Some(LoadSource::File))
    );
    assert_eq!((load.duration, load.image_size, event.time.boot), (Some(7), Some(17400), 107));
    assert_eq!(
        load.parameters.as_ref().map(|p| p.text.as_str()),
        Some(""),
        "parse_args was not called: there are none"
    );
    let ids: std::collections::HashSet<_> = events.iter().map(Event::id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_return_that_is_never_seen_is_made_up_for_by_the_live_module() {
    let mut assembler = assembler();
    let mut story = signed_load(10, 100);
    story.push(record(Kind::FinitModule, 10, 300).by(95, &[]));
    let events = tell(&mut assembler, &story);
    let (event, load) = loads(&events)[0];
    assert_eq!(load.outcome, Outcome::Success);
    assert!(event.missing.iter().any(|m| m.starts_with("linux.kernel_module.errno")), "{:?}", event.missing);
    // the second one has nothing but its beginning, and its thread does not exist
    let mut events = Vec::new();
    assembler.finish(Clock::measure(), &mut events);
    assert_eq!(loads(&events)[0].1.outcome, Outcome::Unknown);
}

#[test]
fn the_file_that_was_read_counts_not_the_descriptors() {
    let story = [
        record(Kind::FinitModule, 10, 100).by(95, &[]).args([3, 0, 0xf00, 0]).file("good.ko"),
        record(Kind::ReadFile, 10, 101).args([0xbad, 2, 1, 0]).file("evil.ko"),
        record(Kind::SyscallReturn, 10, 102).returned(-8, Kind::FinitModule),
    ];
    let events = tell(&mut assembler(), &story);
    assert_eq!(loads(&events)[0].1.file.as_ref().map(|f| f.path.as_str()), Some("/evil.ko"));
    assert_eq!(loads(&events)[0].1.outcome, Outcome::Failure(Some(8)));
}

#[test]
fn the_gate_that_closed_is_named() {
    let end = |story: Vec<Record>, errno: i32| {
        let mut story = story;
        story.push(record(Kind::SyscallReturn, 10, 900).returned(-errno, Kind::FinitModule));
        loads(&tell(&mut assembler(), &story))[0].1.outcome
    };
    let begin = || record(Kind::FinitModule, 10, 100).by(95, &[]);
    let read = || record(Kind::ReadFile, 10, 101);
    let module = || record(Kind::LoadModule, 10, 102);
    assert_eq!(end(vec![begin().unprivileged()], 1), Outcome::Refused(1, Some(Refusal::Capability)));
    assert_eq!(end(vec![begin()], 1), Outcome::Refused(1, Some(Refusal::ModulesDisabled)));
    assert_eq!(end(vec![begin(), read()], 13), Outcome::Refused(13, Some(Refusal::SecurityModule)));
    assert_eq!(end(vec![begin(), read(), module()], 129), Outcome::Refused(129, Some(Refusal::Signature)));
    let lockdown = record(Kind::SignatureCheckRefused, 10, 103).returned(-1, Kind::LoadModule);
    assert_eq!(end(vec![begin(), read(), module(), lockdown], 1), Outcome::Refused(1, Some(Refusal::Lockdown)));
    assert_eq!(
        end(vec![begin(), read(), module()], 1),
        Outcome::Refused(1, Some(Refusal::Blacklist)),
        "the signature's check did not refuse it"
    );
    let mut inlined = Assembler::new(Context { sees_signature_check: false, ..Context::of_test() });
    let story = [begin(), read(), module(), record(Kind::SyscallReturn, 10, 900).returned(-1, Kind::FinitModule)];
    assert_eq!(
        loads(&tell(&mut inlined, &story))[0].1.outcome,
        Outcome::Refused(1, None),
        "a blacklist, or lockdown: not known"
    );
    assert_eq!(end(vec![begin(), read(), module()], 8), Outcome::Failure(Some(8)));
}

/// A load of an image with this at its end: what mod_verify_sig returned, or that it was not called; the module's flag, where it got so far.
fn state(flags: u64, appended: bool, verified: Option<i32>, sig_ok: Option<u64>) -> SignatureState {
    let image = record(Kind::LoadModule, 10, 102).args([0xabc, 5000, flags, 0]);
    let mut story = vec![
        record(Kind::FinitModule, 10, 100).by(95, &[]).args([3, flags, 0xf00, 0]),
        if appended { image.section(section::SIGNATURE, 0, &[0; 12]) } else { image },
    ];
    story.extend(verified.map(|value| record(Kind::VerifySignature, 10, 103).returned(value, Kind::LoadModule)));
    story.extend(sig_ok.map(|ok| record(Kind::InitModuleFunction, 10, 104).module("m", 0, ok)));
    story.push(
        record(Kind::SyscallReturn, 10, 105).returned(if sig_ok.is_some() { 0 } else { -129 }, Kind::FinitModule),
    );
    loads(&tell(&mut assembler(), &story))[0].1.signature.state
}

#[test]
fn what_the_kernel_did_with_the_signature_is_told_apart() {
    assert_eq!(state(0, true, Some(0), Some(1)), SignatureState::Valid);
    assert_eq!(state(0, false, None, Some(0)), SignatureState::Unsigned);
    assert_eq!(state(0, false, None, None), SignatureState::Unsigned, "refused, as this kernel demands one");
    assert_eq!(state(0, true, Some(-126), Some(0)), SignatureState::UntrustedKey);
    assert_eq!(state(0, true, Some(-65), None), SignatureState::Unsupported);
    assert_eq!(state(0, true, Some(-129), None), SignatureState::Bad);
    assert_eq!(state(0, true, Some(-74), None), SignatureState::Bad);
    assert_eq!(state(3, true, None, Some(0)), SignatureState::NotChecked, "forced in: the kernel does not look");
    assert_eq!(state(0, true, None, Some(0)), SignatureState::Unknown, "the check's return was missed");
    assert_eq!(state(0, true, None, Some(1)), SignatureState::Valid);
}

#[test]
fn a_call_that_waited_for_another_one_with_the_same_file_says_so() {
    let call = |returned| {
        let end = record(Kind::SyscallReturn, 10, 105).returned(returned, Kind::FinitModule);
        let story = [record(Kind::FinitModule, 10, 100).by(95, &[]).file("dummy.ko"), end];
        let events = tell(&mut assembler(), &story);
        let load = loads(&events)[0].1;
        (load.outcome, load.joined)
    };
    assert_eq!(call(0), (Outcome::Success, true));
    assert_eq!(call(-17), (Outcome::Failure(Some(17)), false), "what it shares of a failure is not known");
    let mut story = signed_load(10, 100);
    story.push(record(Kind::SyscallReturn, 10, 107).returned(0, Kind::FinitModule));
    assert!(!loads(&tell(&mut assembler(), &story))[0].1.joined);
}

#[test]
fn where_the_kernel_checks_no_signatures_it_says_so() {
    let mut assembler =
        Assembler::new(Context { checks_signatures: false, sees_verification: false, ..Context::of_test() });
    let story = [
        record(Kind::FinitModule, 10, 100).by(95, &[]),
        record(Kind::LoadModule, 10, 102),
        record(Kind::InitModuleFunction, 10, 104).module("m", 0, kmodtrail_abi::UNKNOWN),
        record(Kind::SyscallReturn, 10, 105).returned(0, Kind::FinitModule),
    ];
    assert_eq!(loads(&tell(&mut assembler, &story))[0].1.signature.state, SignatureState::NotChecked);
}

#[test]
fn taints_of_the_kernel_are_told_once_with_who_brought_them() {
    let taint = |tid, at, flag| record(Kind::AddTaint, tid, at).args([flag, 0, 0, 0]);
    let story = [
        record(Kind::FinitModule, 10, 100).by(95, &[(1, 1)]),
        taint(10, 101, 12),
        taint(10, 102, 13),
        record(Kind::InitModuleFunction, 10, 104).module("m", 12288, 0),
        record(Kind::SyscallReturn, 10, 105).returned(0, Kind::FinitModule),
        // the same again, as two CPUs can tell it; and another one, by a process that loads nothing
        taint(11, 106, 13).by(96, &[]),
        taint(11, 107, 6).by(96, &[]),
        taint(11, 108, 64).by(96, &[]),
    ];
    let mut assembler = assembler();
    let events = tell(&mut assembler, &story);
    let taints: Vec<_> = events
        .iter()
        .filter_map(|e| if let What::Taint(t) = &e.what { Some((e, t.before.0, t.after.0)) } else { None })
        .collect();
    assert_eq!(taints.iter().map(|t| (t.1, t.2)).collect::<Vec<_>>(), [(0, 4096), (4096, 12288), (12288, 12352)]);
    let (load_event, load) = loads(&events)[0];
    assert_eq!(load.kernel_taints, Some(KernelTaints { before: Taints(0), after: Taints(12288) }));
    assert_eq!((&taints[0].0.process, taints[0].0.trace), (&load_event.process, load_event.trace));
    assert_eq!(taints[2].0.process.as_ref().map(|p| p.id.pid), Some(11));
    assert_eq!(assembler.untold_taints(Taints(12352)), None);
    let untold = assembler.untold_taints(Taints(1));
    assert_eq!(untold, Some(KernelTaints { before: Taints(12352), after: Taints(12353) }), "none is taken back");
}

#[test]
fn an_init_function_that_fails_is_a_failure_of_a_known_module() {
    let mut story = signed_load(10, 100);
    story.pop();
    story.push(record(Kind::FreeModule, 10, 110).module("dummy", 0, 1));
    let mut missed = assembler();
    let mut events = tell(&mut missed, &story);
    assert!(events.is_empty(), "free_module inside a load is no unload");
    missed.finish(Clock::measure(), &mut events);
    assert_eq!(loads(&events)[0].1.outcome, Outcome::Failure(None), "without the return the errno is not known");
    story.push(record(Kind::SyscallReturn, 10, 111).returned(-22, Kind::FinitModule));
    let events = tell(&mut assembler(), &story);
    let load = loads(&events)[0].1;
    assert_eq!(
        (load.outcome, load.module.as_ref().map(|m| m.name.as_str())),
        (Outcome::Failure(Some(22)), Some("dummy"))
    );
}

/// A request for fs-xfs, and the program that the kernel is about to run for it.
fn request_of(tid: u32, at: u64, info: u64, wait: u64) -> Vec<Record> {
    vec![
        record(Kind::ModuleRequest, tid, at).by(at - 9, &[(1, 1)]).section(section::NAME, 0, b"fs-xfs"),
        record(Kind::HelperExec, tid, at + 1)
            .args([info, wait, 0, 0])
            .section(section::HELPER_PATH, 0, b"/sbin/modprobe")
            .section(section::HELPER_ARGV, 0, b"/sbin/modprobe\0-q\0--\0fs-xfs\0"),
    ]
}

fn task(info: u64, pid: u32, at: u64) -> Record {
    record(Kind::HelperTask, pid, at).args([info, 0, 0, 0])
}

/// UMH_WAIT_PROC | UMH_KILLABLE
const WAIT: u64 = 6;

fn request(tid: u32, at: u64) -> Vec<Record> {
    let mut story = request_of(tid, at, 0x51b, WAIT);
    story.push(task(0x51b, 77, at + 5));
    story
}

/// A load by a process that started then.
fn load_by(pid: u32, start: u64, at: u64, ancestors: &[(u32, u64)]) -> Vec<Record> {
    vec![
        record(Kind::FinitModule, pid, at).by(start, ancestors).file("xfs.ko"),
        record(Kind::SyscallReturn, pid, at + 1).returned(0, Kind::FinitModule),
    ]
}

fn returned(tid: u32, at: u64, value: i32) -> Record {
    record(Kind::HelperReturn, tid, at).returned(value, Kind::HelperExec)
}

fn helper(event: &Event) -> &crate::event::Helper {
    let What::Helper(helper) = &event.what else { panic!("{event:?}") };
    helper
}

fn helpers(events: &[Event]) -> Vec<&crate::event::Helper> {
    events.iter().filter_map(|e| if let What::Helper(h) = &e.what { Some(h) } else { None }).collect()
}

/// Names of the events, in their order.
fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|e| e.what.name().rsplit('.').next().unwrap_or_default()).collect()
}

/// The only event of that name.
fn only<'a>(events: &'a [Event], name: &str) -> &'a Event {
    let mut found = events.iter().filter(|e| e.what.name().ends_with(name));
    let (Some(event), None) = (found.next(), found.next()) else { panic!("not one {name}: {events:?}") };
    event
}

/// Whose call it was, by process id.
fn requester(event: &Event) -> Option<u32> {
    event.requester.as_ref().map(|process| process.id.pid)
}

#[test]
fn what_the_helper_loads_belongs_to_the_request() {
    let mut story = request(20, 100);
    let mut load = signed_load(77, 200);
    load[0] = record(Kind::FinitModule, 77, 200).by(104, &[(2, 1)]).file("xfs.ko");
    story.extend(load);
    story.push(record(Kind::SyscallReturn, 77, 210).returned(0, Kind::FinitModule));
    story.push(returned(20, 220, 0));
    let events = tell(&mut assembler(), &story);
    assert_eq!(names(&events), ["request", "read", "verify", "load", "helper"]);
    assert!(events.iter().all(|e| e.trace == events[0].trace && e.trace.is_some()), "{events:?}");
    let [request, read, verify, load, run] = &events[..] else { panic!("{events:?}") };
    assert_eq!([request.parent, run.parent], [None, request.span_id()]);
    assert_eq!(load.parent, run.span_id());
    assert_eq!([read.parent, verify.parent], [load.span_id(); 2]);
    assert_eq!([request, run].map(requester), [None; 2], "they are the requester's own");
    assert_eq!([read, verify, load].map(requester), [Some(20); 3]);
    assert_eq!(loads(&events)[0].1.alias.as_ref().map(Text::as_str), Some("fs-xfs"));
    let helper = helper(run);
    assert_eq!((helper.task, helper.exit_status, helper.duration), (Some(77), Some(0), Some(119)));
    assert_eq!((helper.outcome, helper.waited_for), (HelperOutcome::Loaded, true));
    assert_eq!(helper.arguments.iter().map(Text::as_str).collect::<Vec<_>>(), ["/sbin/modprobe", "-q", "--", "fs-xfs"]);
}

#[test]
fn dependencies_that_the_helper_loads_first_belong_to_the_request_each() {
    let mut story = request(20, 100);
    story.extend(load_by(77, 104, 200, &[]));
    story.extend(load_by(77, 104, 210, &[]));
    story.push(returned(20, 220, 0));
    let events = tell(&mut assembler(), &story);
    assert_eq!(names(&events), ["request", "load", "load", "helper"]);
    assert_eq!([requester(&events[1]), requester(&events[2])], [Some(20); 2]);
    assert_eq!([events[1].parent, events[2].parent], [events[3].span_id(); 2]);
}

#[test]
fn a_shell_that_the_helper_ran_belongs_to_it_and_a_later_process_of_the_same_number_does_not() {
    let cause = |start: u64, ancestors: &[(u32, u64)]| {
        let mut assembler = assembler();
        tell(&mut assembler, &request(20, 100));
        let events = tell(&mut assembler, &load_by(77, start, 300, ancestors));
        (loads(&events)[0].1.alias.is_some(), requester(&events[0]))
    };
    assert_eq!(cause(104, &[]), (true, Some(20)), "the helper itself");
    assert_eq!(cause(250, &[(76, 240), (77, 104)]), (true, Some(20)), "its grandchild");
    assert_eq!(cause(250, &[]), (false, None), "its number, used again");
    assert_eq!(cause(250, &[(77, 240)]), (false, None), "a child of its number, used again");
}

#[test]
fn two_requests_for_one_alias_at_once_have_each_their_own_requester() {
    let mut story = request_of(20, 100, 0xa, WAIT);
    story.extend(request_of(21, 110, 0xb, WAIT));
    story.extend([task(0xb, 78, 120), task(0xa, 77, 121)]);
    story.extend(load_by(77, 119, 130, &[]));
    story.extend(load_by(78, 118, 140, &[]));
    story.extend([returned(21, 150, 0), returned(20, 151, 0)]);
    let events = tell(&mut assembler(), &story);
    assert_eq!(names(&events), ["request", "request", "load", "load", "helper", "helper"]);
    for (request, load, helper, pid) in
        [(0, 2, 5, 20), (1, 3, 4, 21)].map(|(r, l, h, p)| (&events[r], &events[l], &events[h], p))
    {
        assert_eq!((requester(load), load.trace, load.parent), (Some(pid), request.trace, helper.span_id()));
        assert_eq!((helper.trace, helper.parent), (request.trace, request.span_id()));
    }
    assert_ne!(events[0].trace, events[1].trace);
}

#[test]
fn an_address_that_is_used_again_while_the_first_helper_runs_is_the_second_s() {
    let mut story = request_of(20, 100, 0xa, WAIT);
    story.push(task(0xa, 77, 101));
    story.extend(request_of(21, 110, 0xa, WAIT));
    story.push(task(0xa, 78, 120));
    story.extend(load_by(77, 100, 130, &[]));
    story.extend(load_by(78, 119, 140, &[]));
    let events = tell(&mut assembler(), &story);
    assert_eq!(loads(&events).iter().map(|(e, _)| requester(e)).collect::<Vec<_>>(), [Some(20), Some(21)]);
}

#[test]
fn an_address_whose_request_is_over_is_nobody_s() {
    let mut assembler = assembler();
    let mut story = request_of(20, 100, 0xa, WAIT);
    story.push(returned(20, 110, -12)); // no memory for the task
    story.push(task(0xa, 78, 120));
    story.extend(load_by(78, 119, 140, &[]));
    let events = tell(&mut assembler, &story);
    assert_eq!(names(&events), ["request", "helper", "load"]);
    assert_eq!((helper(&events[1]).outcome, requester(&events[2])), (HelperOutcome::NotStarted, None));
}

#[test]
fn a_helper_that_nobody_waits_for_loads_for_its_requester_all_the_same() {
    // UMH_WAIT_EXEC returns when the program runs, UMH_NO_WAIT perhaps before its task is there
    for (wait, order) in [(1, [0, 1]), (0, [1, 0]), (0, [0, 1])] {
        let mut story = request_of(20, 100, 0xa, wait);
        let mut two = [Some(task(0xa, 77, 110)), Some(returned(20, 110, 0))];
        story.extend(order.map(|i| two[i].take().expect("each once")));
        story.extend(load_by(77, 109, 130, &[]));
        let events = tell(&mut assembler(), &story);
        assert_eq!(names(&events), ["request", "helper", "load"]);
        let (run, load) = (&events[1], &events[2]);
        assert_eq!((requester(load), load.parent), (Some(20), run.span_id()), "{wait} {order:?}");
        let told = helper(run);
        assert_eq!((told.waited_for, told.exit_status, told.outcome), (false, None, HelperOutcome::Unknown));
        assert!(run.missing.iter().any(|m| m.starts_with("linux.kernel_module.helper.exit_status: ")), "{run:?}");
    }
}

#[test]
fn a_requester_that_is_killed_while_it_waits_stays_the_requester() {
    for order in [[0, 1], [1, 0]] {
        let mut story = request_of(20, 100, 0xa, WAIT);
        let mut two = [Some(task(0xa, 77, 110)), Some(returned(20, 110, -512))];
        story.extend(order.map(|i| two[i].take().expect("each once")));
        story.extend(load_by(77, 109, 130, &[]));
        let events = tell(&mut assembler(), &story);
        assert_eq!((requester(only(&events, "load")), helper(&events[1]).exit_status), (Some(20), None), "{order:?}");
        assert!(
            events[1].missing.iter().any(|m| m.ends_with("the requester was killed while it waited")),
            "{events:?}"
        );
    }
}

#[test]
fn a_helper_that_is_killed_says_so_and_keeps_what_it_loaded() {
    let mut story = request(20, 100);
    story.extend(load_by(77, 104, 200, &[]));
    story.push(returned(20, 210, 9));
    let events = tell(&mut assembler(), &story);
    let told = helper(&events[2]);
    assert_eq!((told.exit_status, told.outcome), (Some(9), HelperOutcome::Loaded));
}

#[test]
fn what_came_of_a_helper_is_told() {
    let outcome = |story: Vec<Record>, value: i32| {
        let mut story = story;
        story.push(returned(20, 900, value));
        helpers(&tell(&mut assembler(), &story))[0].outcome
    };
    let mut failed = request(20, 100);
    failed.push(record(Kind::FinitModule, 77, 200).by(104, &[]));
    let begun: Vec<_> =
        failed.iter().map(|r| Record { identity: r.identity.clone(), sections: r.sections.clone(), ..*r }).collect();
    failed.push(record(Kind::SyscallReturn, 77, 201).returned(-17, Kind::FinitModule));
    assert_eq!(outcome(failed, 256), HelperOutcome::Failed);
    assert_eq!(outcome(begun, 256), HelperOutcome::Unknown, "what became of its attempt was not seen");
    assert_eq!(outcome(request(20, 100), 256), HelperOutcome::NothingFound);
    assert_eq!(outcome(request(20, 100), 0), HelperOutcome::NothingFound, "it was there already");
    assert_eq!(outcome(request(20, 100), -2), HelperOutcome::NotStarted);
    assert_eq!(outcome(request(20, 100), 9), HelperOutcome::Failed, "it was killed");
    assert_eq!(outcome(request_of(20, 100, 0xa, WAIT), 0), HelperOutcome::Unknown, "its task was not seen");
}

#[test]
fn what_a_signature_check_asks_for_belongs_to_the_load_in_whose_middle_it_is() {
    let mut story = signed_load(10, 100);
    let rest = story.split_off(4);
    story.extend(request(10, 200));
    story.extend(load_by(77, 204, 230, &[]));
    story.push(returned(10, 250, 0));
    story.extend(rest);
    story.push(record(Kind::SyscallReturn, 10, 260).returned(0, Kind::FinitModule));
    let events = tell(&mut assembler(), &story);
    assert_eq!(names(&events), ["request", "load", "helper", "read", "verify", "load"]);
    let [request, nested, run, read, _, outer] = &events[..] else { panic!("{events:?}") };
    assert!(events.iter().all(|e| e.trace == outer.trace), "{events:?}");
    assert_eq!([outer.parent, request.parent, run.parent], [None, outer.span_id(), request.span_id()]);
    assert_eq!([nested.parent, read.parent], [run.span_id(), outer.span_id()]);
    assert_eq!([nested, outer, request].map(requester), [Some(10), None, None]);
}

#[test]
fn behind_a_helper_s_own_request_stands_who_made_the_kernel_start_the_helper() {
    let mut story = request_of(5, 50, 0xa, WAIT);
    story.push(task(0xa, 10, 55));
    story.push(record(Kind::FinitModule, 10, 60).by(54, &[]));
    let mut own = request(10, 200);
    own[0] = record(Kind::ModuleRequest, 10, 200).by(54, &[]).section(section::NAME, 0, b"crypto-sha512");
    story.extend(own);
    story.extend(load_by(77, 204, 230, &[]));
    let events = tell(&mut assembler(), &story);
    let nested = only(&events, "load");
    assert_eq!((requester(nested), nested.trace), (Some(5), events[0].trace));
    assert_eq!(
        events.iter().filter(|e| names(&[(*e).clone()]) == ["request"]).map(requester).collect::<Vec<_>>(),
        [None, Some(5)]
    );
}

#[test]
fn a_helper_whose_request_was_not_seen_keeps_its_loads_together_and_says_what_is_missing() {
    let mut story = request(20, 100);
    story.remove(0);
    story.extend(load_by(77, 104, 200, &[]));
    story.push(returned(20, 220, 0));
    let events = tell(&mut assembler(), &story);
    assert_eq!(names(&events), ["load", "helper"]);
    let [load, run] = &events[..] else { panic!("{events:?}") };
    assert_eq!((load.trace, load.parent, requester(load)), (run.trace, run.span_id(), None));
    assert!(load.missing.iter().any(|m| m.starts_with("linux.kernel_module.requester: ")), "{load:?}");
}

#[test]
fn a_refused_request_has_no_helper() {
    let story = [
        record(Kind::ModuleRequest, 20, 100).by(90, &[]).section(section::NAME, 0, b"net-pf-9"),
        record(Kind::ModuleRequestRefused, 20, 101).returned(-13, Kind::ModuleRequest),
    ];
    let events = tell(&mut assembler(), &story);
    assert!(matches!(&events[..], [Event { what: What::Request(Request { verdict: Verdict::Refused(13), .. }), .. }]));
}

#[test]
fn a_module_that_goes_is_told_even_where_its_beginning_was_lost() {
    let events = tell(&mut assembler(), &[record(Kind::FreeModule, 10, 100).module("hello", 4096, 0)]);
    let [Event { what: What::Unload(unload), missing, process, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((unload.name.as_str(), unload.outcome, process), ("hello", Outcome::Success, &None));
    assert!(missing.iter().any(|m| m.starts_with("process:")), "{missing:?}");
}

#[test]
fn a_return_alone_tells_nothing() {
    let story = [
        record(Kind::SyscallReturn, 10, 100).returned(0, Kind::FinitModule),
        record(Kind::SyscallReturn, 10, 100).returned(0, Kind::DeleteModule),
        record(Kind::HelperReturn, 10, 100),
        record(Kind::LoadModuleReturn, 10, 100),
        record(Kind::HelperTask, 10, 100),
    ];
    let mut assembler = assembler();
    assert_eq!(tell(&mut assembler, &story), []);
    assert!(assembler.threads.is_empty());
}

/// A thread that runs as long as this value lives, in no call that one could see.
struct Busy {
    tid: u32,
    until: Arc<AtomicBool>,
}

impl Busy {
    fn new() -> Self {
        let until = Arc::new(AtomicBool::new(false));
        let (tell, hear) = std::sync::mpsc::channel();
        std::thread::spawn({
            let until = Arc::clone(&until);
            move || {
                // SAFETY: a call without arguments.
                tell.send(unsafe { nix::libc::gettid() }.cast_unsigned()).expect("the test waits");
                while !until.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        });
        Self { tid: hear.recv().expect("the thread tells"), until }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.until.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_request_of_a_thread_that_may_be_waiting_for_a_processor_is_waited_for() {
    let busy = Busy::new();
    let request = request(busy.tid, 100);
    for story in [&request[..1], &request[..2]] {
        let mut assembler = assembler();
        let mut events = tell(&mut assembler, story);
        let before = events.len();
        for seconds in [3, 4, 60] {
            assembler.tick(Clock::standing_at(seconds * SECOND), &mut events);
            assert_eq!(events.len(), before, "what it did next may come yet, after {seconds} s");
        }
        for seconds in [61, 62] {
            assembler.tick(Clock::standing_at(seconds * SECOND), &mut events);
        }
        assert_eq!(events.len(), before + 1, "it does something else, and goes on and on");
    }
}

#[test]
fn what_waits_is_ended_once_its_thread_is_gone() {
    let mut assembler = assembler();
    // no process has such a number: PID_MAX_LIMIT
    let nobody = 1 << 22;
    let mut story = signed_load(nobody, 100);
    story.push(record(Kind::ModuleRequest, nobody, 150).by(90, &[]));
    let mut events = tell(&mut assembler, &story);
    assert_eq!(events, []);
    let clock = Clock::measure();
    assert!(clock.boot() > 100 + 2 * SECOND, "the machine has been up for longer than the story's beginning");
    assembler.tick(clock, &mut events);
    assert!(
        events.iter().all(|e| matches!(&e.what, What::Read(_) | What::Verify(_))),
        "its return may still be in the rings"
    );
    assembler.tick(clock, &mut events);
    assert_eq!(loads(&events)[0].1.outcome, Outcome::Success);
    assert!(events.iter().any(|e| matches!(&e.what, What::Request(r) if r.verdict == Verdict::Unknown)));
    assert!(assembler.threads.is_empty());
}
