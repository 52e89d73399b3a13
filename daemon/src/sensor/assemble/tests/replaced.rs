//! One generation of programs takes the place of another in the middle of a story.

use super::{resumed::stories, *};

/// The story as a generation sees it: its times ten times as far apart, its records later by so much than the event.
fn seen(story: &[Record], later: u64) -> Vec<Vec<u8>> {
    let see = |record: &Record| {
        let mut bytes = record.bytes();
        let time = record.head.time * 10 + later;
        let at = std::mem::offset_of!(Head, time);
        bytes[at..at + 8].copy_from_slice(&time.to_ne_bytes());
        bytes
    };
    story.iter().map(see).collect()
}

/// What is told, in the order of its names and threads; the old generation is the first.
fn told(generations: &[(Cutover, Vec<Vec<u8>>)]) -> Vec<(String, u32)> {
    let clock = Clock::standing_at(100_000);
    let mut border = Border::default();
    let mut events = Vec::new();
    let assembler = |cutover| {
        let mut assembler = assembler();
        assembler.set_cutover(cutover);
        assembler
    };
    let mut assemblers: Vec<_> = generations.iter().map(|(cutover, _)| assembler(*cutover)).collect();
    let mut facts = Vec::new();
    for (number, (_, records)) in generations.iter().enumerate() {
        facts.extend(records.iter().map(|record| (number, Fact::parse(record).expect("a record"))));
    }
    facts.sort_by_key(|(number, fact)| (fact.head.time, std::cmp::Reverse(*number)));
    for (number, fact) in facts {
        assemblers[number].take(&fact, 0..0, &mut border, clock, &mut events);
        if number == 0 && generations.len() > 1 {
            border.set_busy(assemblers[0].busy());
        }
    }
    assemblers.iter_mut().for_each(|assembler| assembler.finish(clock, &mut events));
    let thread = |event: &Event| event.process.as_ref().map_or(0, |process| process.id.pid);
    let mut told: Vec<_> = events.iter().map(|event| (event.what.name().to_owned(), thread(event))).collect();
    told.sort();
    told
}

#[test]
fn whenever_one_generation_takes_the_place_of_another_everything_is_told_once() {
    for (number, story) in stories().iter().enumerate() {
        let whole = told(&[(Cutover::NONE, seen(story, 1))]);
        assert!(!whole.is_empty());
        let begin = story[0].head.time * 10;
        let end = story[story.len() - 1].head.time * 10 + 20;
        for at in begin..end {
            let old = (Cutover { since: 0, until: at }, seen(story, 1));
            // it was attached long before, or not so long, or in the middle of the call before
            for attached in [begin, at.saturating_sub(35), at - 2] {
                let mut records = seen(story, 0);
                records.retain(|record| Fact::parse(record).is_some_and(|fact| fact.head.time >= attached));
                let new = (Cutover { since: at, until: u64::MAX }, records);
                assert_eq!(told(&[old.clone(), new]), whole, "story {number}, at {at}, attached at {attached}");
            }
        }
    }
}
