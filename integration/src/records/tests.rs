//! Reading OTLP/JSON as a collector would.

use serde_json::json;

use super::*;

fn line(name: &str, attributes: &Value) -> String {
    json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "host.name", "value": { "stringValue": "h" } }] },
        "scopeLogs": [{ "logRecords": [{
            "timeUnixNano": "1700000000000000001", "observedTimeUnixNano": "1700000000000000002",
            "severityNumber": 13, "severityText": "WARN", "eventName": name,
            "body": { "stringValue": "loaded" }, "attributes": attributes, "traceId": "00ff",
        }] }],
    }] })
    .to_string()
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({ "key": key, "value": value })
}

#[test]
fn every_kind_of_value_becomes_the_plain_one() {
    let attributes = json!([
        attribute("s", &json!({ "stringValue": "x" })),
        attribute("i", &json!({ "intValue": "9007199254740993" })),
        attribute("b", &json!({ "boolValue": false })),
        attribute("a", &json!({ "arrayValue": { "values": [{ "stringValue": "x" }, { "intValue": "1" }] } })),
        attribute("m", &json!({ "kvlistValue": { "values": [attribute("k", &json!({ "intValue": "2" }))] } })),
    ]);
    let records = Records::parse(&line("load", &attributes)).expect("parses");
    let record = records.of("load").one().expect("one");
    record.expect("s", "x").expect("string");
    record.expect("i", 9_007_199_254_740_993_i64).expect("integer, exactly");
    record.expect("b", false).expect("boolean");
    record.expect("a", json!(["x", 1])).expect("array");
    record.expect("m", json!({ "k": 2 })).expect("map");
    assert_eq!(record.time, 1_700_000_000_000_000_001);
    assert_eq!((record.severity.as_str(), record.trace_id.as_str(), record.line), ("WARN", "00ff", 1));
    assert_eq!(record.resource["host.name"], "h");
}

#[test]
fn a_failed_expectation_says_what_was_expected_and_shows_all_records() {
    let name = |name: &str| json!([attribute("name", &json!({ "stringValue": name }))]);
    let text = [line("load", &name("one")), line("load", &name("two")), line("unload", &name("one"))].join("\n");
    let records = Records::parse(&text).expect("parses");
    records.of("load").with("name", "one").one().expect("one of them");
    let error = records.of("load").with("name", "three").one().expect_err("none of them").to_string();
    for part in ["exactly 1 record load with name=\"three\"", "found 0", "name=\"two\"", "#3 unload"] {
        assert!(error.contains(part), "no {part:?} in: {error}");
    }
}

#[test]
fn a_line_that_is_no_request_is_named() {
    let error = Records::parse("{\"resourceLogs\": []}\nnonsense\n").expect_err("line 2");
    assert!(format!("{error:#}").contains("line 2"), "{error:#}");
}
