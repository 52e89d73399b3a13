//! What is held back, and what is told of it.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Loads of the module, one at each of these seconds.
fn load(module: &str, second: u64) -> Vec<u8> {
    let mut event = samples::hostile(module.as_bytes());
    event.time.wall = 1_700_000_000 * SECOND + second * SECOND;
    event.origin.sequence = second * 1_000 + u64::from(module.as_bytes()[0]);
    written(&event)
}

fn now(second: u64) -> u64 {
    (1_700_000_000 + second) * SECOND
}

fn told(router: &mut Router, now: u64) -> Vec<(String, String, &'static str, u64)> {
    let all = router.summaries(now).into_iter();
    let mut all: Vec<_> = all.map(|h| (h.route.to_string(), h.key, h.reason.name(), h.count)).collect();
    all.sort();
    all
}

fn row(key: &str, reason: &'static str, count: u64) -> (String, String, &'static str, u64) {
    ("tested".to_owned(), key.to_owned(), reason, count)
}

#[test]
fn so_many_pass_in_an_interval_by_the_records_own_time_for_each_key() {
    let config = to_a("rate_limit = { count = 2, interval = \"10s\", by = [\"module\", \"host.name\"] }");
    let mut router = router(&config, "a");
    let mut at = |module, second| at(&mut router, &load(module, second));
    for (module, second, expected) in [
        ("x", 0, "tested"),
        ("x", 3, "tested"),
        ("x", 4, "tested: rate_limited"),
        ("y", 4, "tested"),
        ("x", 9, "tested: rate_limited"),
        ("x", 10, "tested"),
        ("y", 5, "tested"),
        ("y", 6, "tested: rate_limited"),
    ] {
        assert_eq!(at(module, second), expected, "{module} {second}");
    }
    assert_eq!(told(&mut router, now(9)), [], "the intervals are not over");
    assert_eq!(told(&mut router, now(14)), [row("x, web-1", "rate_limited", 2)]);
    assert_eq!(told(&mut router, u64::MAX), [row("y, web-1", "rate_limited", 1)]);
    assert_eq!(told(&mut router, u64::MAX), [], "nothing is told twice");
}

#[test]
fn of_records_that_are_alike_the_first_in_an_interval_passes_and_is_never_its_own_second() {
    let config = to_a("dedupe = { by = [\"module\"], interval = \"1min\" }");
    let mut router = router(&config, "a");
    let mut at = |module, second| at(&mut router, &load(module, second));
    assert_eq!(at("x", 0), "tested");
    assert_eq!(at("x", 0), "tested", "the same record, read again");
    assert_eq!(at("x", 1), "tested: duplicate");
    assert_eq!(at("y", 1), "tested");
    assert_eq!(at("x", 59), "tested: duplicate");
    assert_eq!(at("x", 60), "tested");
    assert_eq!(at("x", 0), "tested", "the clock was set back by an interval");
    assert_eq!(told(&mut router, u64::MAX), [row("x", "duplicate", 2)]);
}

#[test]
fn a_duplicate_does_not_use_up_the_rate_and_what_the_rate_holds_back_has_not_been_seen() {
    let config =
        to_a("dedupe = { by = [\"module\"], interval = \"1h\" }\nrate_limit = { count = 1, interval = \"10s\" }");
    let mut router = router(&config, "a");
    let mut at = |module, second| at(&mut router, &load(module, second));
    assert_eq!(at("x", 0), "tested");
    assert_eq!(at("x", 10), "tested: duplicate");
    assert_eq!(at("y", 11), "tested");
    assert_eq!(at("z", 12), "tested: rate_limited");
    assert_eq!(at("z", 22), "tested", "its first one was never delivered");
}

#[test]
fn a_sample_is_the_same_on_every_try_keeps_traces_together_and_is_about_as_large_as_was_asked() {
    let config = to_a("sample = 0.25");
    let mut kept = 0;
    for trace in 0..400 {
        let event = |sequence| {
            let mut event = samples::load();
            event.origin.sequence = sequence;
            event.trace = Some(crate::event::Origin { sequence: trace, ..event.origin.clone() }.trace_id());
            written(&event)
        };
        let decisions: Vec<_> =
            [1, 2, 2].map(|s| at(&mut router(&config, "a"), &event(trace * 10 + s))).into_iter().collect();
        assert!(decisions.iter().all(|d| *d == decisions[0]), "{decisions:?}");
        kept += usize::from(decisions[0] == "tested");
    }
    assert!((60..140).contains(&kept), "{kept} of 400");
    // without a trace the record's own id decides
    let mut router = router(&config, "a");
    let records = (0..400).map(|sequence| {
        let mut event = samples::load();
        (event.trace, event.origin.sequence) = (None, sequence);
        at(&mut router, &written(&event))
    });
    let kept = records.filter(|decision| decision == "tested").count();
    assert!((60..140).contains(&kept), "{kept} of 400");
    assert_eq!(told(&mut router, u64::MAX), [row("", "sampled", 400 - kept as u64)]);
}

#[test]
fn a_record_is_held_back_only_where_every_route_holds_it_back() {
    let config = config(
        r#"
        [[routes]]
        name = "tested"
        to = ["a"]
        rate_limit = { count = 1, interval = "1h" }
        [[routes]]
        name = "x always"
        to = ["a"]
        when = { module = "x" }
        "#,
    );
    let mut router = router(&config, "a");
    let mut at = |module, second| at(&mut router, &load(module, second));
    assert_eq!(at("y", 0), "tested");
    assert_eq!(at("x", 1), "x always");
    assert_eq!(at("y", 2), "tested: rate_limited");
    assert_eq!(told(&mut router, u64::MAX), [row("", "rate_limited", 1)], "x got there, and is not told");
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_forgotten_is_told() {
    let config = to_a("dedupe = { by = [\"module\"], interval = \"1h\" }");
    let mut router = router(&config, "a");
    assert_eq!(at(&mut router, &load("first", 0)), "tested");
    assert_eq!(at(&mut router, &load("first", 1)), "tested: duplicate");
    for i in 0..5000 {
        assert_eq!(at(&mut router, &load(&format!("m{i}"), 2)), "tested");
    }
    assert_eq!(at(&mut router, &load("first", 3)), "tested", "it has been forgotten");
    assert_eq!(told(&mut router, u64::MAX), [row("(others)", "duplicate", 1)]);
    let long = "ä".repeat(1000);
    at(&mut router, &load(&long, 0));
    at(&mut router, &load(&long, 1));
    let told = told(&mut router, u64::MAX);
    assert!(told[0].1.len() <= 256 && told[0].1.starts_with('ä'), "{told:?}");
}
