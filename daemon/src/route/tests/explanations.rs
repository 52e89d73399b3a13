//! What is said about where a record goes.

use super::*;
use crate::route::trial;

fn explained(config: &Config, event: &Event) -> Explanation {
    let bytes = written(event);
    Explainer::new(config).explain(&resource(), &parsed(&bytes))
}

#[test]
fn an_explanation_says_which_route_takes_it_and_which_condition_of_the_others_fails_with_what_it_found() {
    let config = config(
        r#"
        [[routes]]
        name = "alarms"
        to = ["a"]
        when = { event = "load", signature_not = "valid" }
        severity = "FATAL"
        drop_attributes = ["kmodtrail.cpu", "kmodtrail.stopped.*"]
        redact = { mask = ["process.user.name"], hash = ["process.pid", "kmodtrail.cpu"], key = { file = "DIR/key" } }
        [[routes]]
        name = "others"
        to = ["b"]
        when = { event = "load", signature = ["valid", "bad"], severity_min = "ERROR", process.pid_max = 1, refusal_present = true }
        "#,
    );
    let Explanation { sinks, routes } = explained(&config, &samples::load());
    let [a, b, c] = &sinks[..] else { panic!("{sinks:?}") };
    assert_eq!((a.sink.as_str(), &a.routes[..], a.severity), ("a", &["alarms".to_owned()][..], Some("FATAL")));
    assert!(!a.sampled_out && !a.limited && b.routes.is_empty() && c.routes.is_empty());
    let changes = [
        Change::SeverityWas("WARN"),
        Change::Dropped("kmodtrail.cpu".to_owned()),
        Change::Hashed("process.pid".to_owned()),
        Change::Masked("process.user.name".to_owned()),
        Change::Hashed("linux.kernel_module.requester.process.pid".to_owned()),
        Change::Masked("linux.kernel_module.requester.process.user.name".to_owned()),
    ];
    assert_eq!(a.changes, changes);
    assert_eq!(routes[0].why, Why::Takes);
    let failed = |condition: &str, found: &str| Failed { condition: condition.to_owned(), found: found.to_owned() };
    let Why::Fails(found) = &routes[1].why else { panic!("{routes:?}") };
    let expected = [
        failed("linux.kernel_module.refusal_present = true", "absent"),
        failed("linux.kernel_module.signature.state = [\"bad\", \"valid\"]", "\"unsigned\""),
        failed("process.pid_max = 1", "4242"),
        failed("severity_min = \"ERROR\"", "\"WARN\""),
    ];
    for expected in &expected {
        assert!(found.contains(expected), "{expected:?} is not in {found:?}");
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn an_explanation_says_what_comes_too_late_and_what_is_sampled_or_limited() {
    let config = config(
        r#"
        [routing]
        match = "first"
        [[routes]]
        name = "one"
        to = ["a", "b"]
        when = { event = "load" }
        sample = 0.000001
        [[routes]]
        name = "two"
        to = ["a"]
        rate_limit = { count = 1, interval = "1s" }
        "#,
    );
    let load = explained(&config, &samples::load());
    assert!(load.sinks[0].sampled_out && !load.sinks[0].limited);
    assert_eq!(load.routes[1].why, Why::ComesTooLate("one".to_owned()));
    let started = samples::all().into_iter().find(|e| e.what.name() == "kmodtrail.started").expect("a sample");
    let started = explained(&config, &started);
    assert!(started.sinks[0].limited && !started.sinks[0].sampled_out && started.sinks[1].routes.is_empty());
}

#[test]
fn tests_of_routes_pass_where_records_go_where_they_must_and_say_why_they_don_t() {
    let text = |expect: &str| {
        format!(
            r#"
            [[routes]]
            name = "alarms"
            to = ["a"]
            when = {{ event = "load", signature_not = "valid", taints = "unsigned_module", "process.pid_min" = 2, "signature.ok" = false, host.name = "h" }}
            severity = "ERROR"
            [[routes]]
            name = "everything"
            to = ["b", "c"]
            [[tests]]
            name = "alarm"
            record = {{ event = "load", signature = "bad", taints = ["unsigned_module"], process.pid = 2, "signature.ok" = false, host.name = "h", severity = "WARN" }}
            {expect}
            "#
        )
    };
    let outcome = |expect: &str| trial::run(&config(&text(expect))).remove(0);
    assert!(outcome("expect = [\"c\", \"a\", \"b\"]").failures.is_empty());
    let failure = |expect: &str| outcome(expect).failures.remove(0);
    assert_eq!(failure("expect = [\"b\", \"c\"]").what, "it goes to \"a\", too, by the route \"alarms\"");
    assert_eq!(failure("expect = []").what.matches("it goes to").count(), 3);
    let severity = failure("expect = [\"a\", \"b\", \"c\"]\nseverity = \"ERROR\"");
    assert_eq!(severity.what, "it goes to \"b\" as WARN, not ERROR; it goes to \"c\" as WARN, not ERROR");
    let valid = text("expect = [\"a\", \"b\", \"c\"]").replace("signature = \"bad\"", "signature = \"valid\"");
    let failure = trial::run(&config(&valid)).remove(0).failures.remove(0);
    assert_eq!(failure.what, "it does not go to \"a\"");
    let explanation = failure.explanation.expect("it is explained");
    assert!(
        matches!(&explanation.routes[0].why, Why::Fails(failed) if failed[0].found == "\"valid\""),
        "{explanation:?}"
    );
}

#[test]
fn a_test_s_file_is_read_record_by_record() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("records.jsonl");
    let test = format!(
        "[[routes]]\nname = \"loads\"\nto = [\"a\"]\nwhen = {{ event = \"load\" }}\n[[routes]]\nname = \"rest\"\nto = [\"b\", \"c\"]\n[[tests]]\nname = \"t\"\nrecord = {file:?}\nexpect = [\"b\", \"c\"]\n",
    );
    let run = |text: &str| {
        std::fs::write(&file, text).expect("the test may write files");
        trial::run(&config(&test)).remove(0).failures.into_iter().map(|failure| failure.what).collect::<Vec<_>>()
    };
    let record = |event: &str| {
        format!(
            "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"eventName\":\"linux.kernel_module.{event}\"}}]}}]}}]}}\n"
        )
    };
    assert_eq!(run(&record("unload")), [""; 0]);
    assert_eq!(run(&(record("unload") + &record("load"))), ["record 2: it goes to \"a\", too, by the route \"loads\""]);
    assert_eq!(run(""), ["there is no record in its file"]);
    let nonsense = run("nonsense");
    assert!(nonsense[0].contains("records.jsonl: line 1: this is no OTLP/JSON log request"), "{nonsense:?}");
    std::fs::remove_file(&file).expect("it is there");
    let gone = trial::run(&config(&test)).remove(0).failures.remove(0).what;
    assert!(gone.contains("records.jsonl: No such file"), "{gone}");
}
