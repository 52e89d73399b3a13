//! A process ends in the middle of a story, and another one goes on.

use super::*;

/// Stories of all kinds of attempts, each with threads that are in the middle of something at most of its moments.
pub(super) fn stories() -> Vec<Vec<Record>> {
    let mut nested = signed_load(10, 100);
    let rest = nested.split_off(4);
    nested.extend(request(10, 200));
    nested.extend(load_by(77, 204, 230, &[]));
    nested.extend(load_by(77, 204, 240, &[]));
    nested.push(returned(10, 250, 0));
    nested.extend(rest);
    nested.push(record(Kind::SyscallReturn, 10, 260).returned(0, Kind::FinitModule));

    let mut at_once = request_of(20, 100, 0xa, WAIT);
    at_once.extend(request_of(21, 110, 0xb, WAIT));
    at_once.push(task(0xb, 78, 120));
    at_once.push(task(0xa, 77, 121));
    at_once.push(record(Kind::FinitModule, 77, 130).by(104, &[]).file("xfs.ko"));
    at_once.push(record(Kind::FinitModule, 78, 131).by(104, &[]).file("xfs.ko"));
    at_once.push(record(Kind::SyscallReturn, 78, 140).returned(-17, Kind::FinitModule));
    at_once.push(returned(21, 150, 0));
    at_once.push(record(Kind::SyscallReturn, 77, 160).returned(0, Kind::FinitModule));
    at_once.push(returned(20, 170, 0));

    let unload = vec![
        record(Kind::DeleteModule, 30, 300).by(290, &[]).section(section::NAME, 0, b"dummy"),
        record(Kind::FreeModule, 30, 301).module("dummy", 0, 1),
        record(Kind::SyscallReturn, 30, 302).returned(0, Kind::DeleteModule),
    ];
    vec![nested, at_once, unload]
}

/// The first process reads so many records, the others the rest.
fn told(story: &[Record], ends: &[usize]) -> Vec<Event> {
    let clock = Clock::standing_at(1_000);
    let mut events = Vec::new();
    let mut assembler = assembler();
    assembler.keep_open();
    for (number, record) in story.iter().enumerate() {
        if ends.contains(&number) {
            let open = assembler.open();
            assembler = super::assembler();
            assembler.keep_open();
            assembler.resume(Some(Taints(0)), &open, clock);
        }
        let bytes = record.bytes();
        assembler.take(
            &Fact::parse(&bytes).expect("a record"),
            0..bytes.len(),
            &mut Border::default(),
            clock,
            &mut events,
        );
        assembler.keep(&bytes);
    }
    assert!(assembler.open().is_empty(), "the story is over");
    events
}

#[test]
fn another_process_goes_on_at_any_point_of_a_story_and_tells_the_same() {
    for (number, story) in stories().iter().enumerate() {
        let whole = told(story, &[]);
        assert!(!whole.is_empty(), "story {number}");
        for first in 0..story.len() {
            for second in first..story.len() {
                assert_eq!(told(story, &[first, second]), whole, "story {number}, after {first} and {second} records");
            }
        }
    }
}

#[test]
fn what_time_has_ended_is_not_told_again() {
    let clock = Clock::standing_at(100 * SECOND);
    let mut first = assembler();
    first.keep_open();
    // its reads and its request are told after a while, as it goes on and on
    let busy = Busy::new();
    let mut story = signed_load(busy.tid, 100);
    story.push(record(Kind::ModuleRequest, busy.tid, 120).by(1, &[]).section(section::NAME, 0, b"fs-xfs"));
    let mut events = Vec::new();
    for record in &story {
        let bytes = record.bytes();
        first.take(&Fact::parse(&bytes).expect("a record"), 0..bytes.len(), &mut Border::default(), clock, &mut events);
        first.keep(&bytes);
    }
    first.tick(clock, &mut events);
    first.tick(clock, &mut events);
    let mut names = names(&events);
    names.sort_unstable();
    assert_eq!(names, ["read", "request", "verify"]);
    let mut second = assembler();
    second.resume(Some(Taints(0)), &first.open(), clock);
    let mut rest = Vec::new();
    second.finish(clock, &mut rest);
    assert_eq!(super::names(&rest), ["load"]);
}
