//! What is changed on the way, held against OpenTelemetry's own types.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    logs::v1::LogRecord,
};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    config::{DropAttributes, Globs, Redact, Secret},
    event::schema::{self, Type},
};

/// The record as the sink a gets it.
fn changed(config: &Config, event: &Event) -> LogRecord {
    let bytes = written(event);
    let mut out = Vec::new();
    let record = match router(config, "a").route(&resource(), &parsed(&bytes), &mut out) {
        Decision::Deliver { changed: true, .. } => &out,
        Decision::Deliver { changed: false, .. } => &bytes,
        other => panic!("{other:?}"),
    };
    LogRecord::decode(&**record).unwrap_or_else(|e| panic!("{e}"))
}

fn attribute<'r>(record: &'r LogRecord, name: &str) -> Option<&'r Any> {
    record.attributes.iter().find(|a| a.key == name).and_then(|a| a.value.as_ref()?.value.as_ref())
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Any::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_severity_that_is_said_decides() {
    let config = config(
        r#"
        [[routes]]
        name = "all"
        to = ["a"]
        [[routes]]
        name = "alarm"
        to = ["b", "a", "b"]
        severity = "FATAL"
        [[routes]]
        name = "too late"
        to = ["c", "a", "b"]
        when = { event_glob = "*" }
        severity = "DEBUG"
        "#,
    );
    let load = written(&samples::load());
    for (sink, route, severity, text) in
        [("a", "all", 21, "FATAL"), ("b", "alarm", 21, "FATAL"), ("c", "too late", 5, "DEBUG")]
    {
        let mut out = Vec::new();
        let decision = format!("{:?}", router(&config, sink).route(&[], &parsed(&load), &mut out));
        assert_eq!(decision, format!("Deliver {{ route: {route:?}, changed: true }}"));
        let record = parsed(&out);
        assert_eq!((record.severity, record.severity_text), (severity, text));
        assert_eq!(record.uid(), parsed(&load).uid());
    }
}

#[test]
fn what_is_redacted_is_nowhere_in_the_record() {
    let config = to_a(
        r#"redact = { hash = ["process.user.name", "process.pid", "process.real_user.id"], mask = ["file.path", "process.command_args", "process.executable.path"], key = { file = "DIR/key" } }"#,
    );
    let before = LogRecord::decode(&*written(&samples::load())).expect("we wrote it");
    assert_eq!(
        body(&before),
        "insmod[4242] (kmod, root) for mount[4100] (root) loaded the module evil from /tmp/evil.ko, unsigned, taints OE"
    );
    let record = changed(&config, &samples::load());
    // printf root | openssl dgst -sha256 -hmac Jefe
    let hash = "160a499b3e61e4772a8874ed075f1ae84e9c342ac24d75151e0bd3cd76e1b6fb";
    assert_eq!(attribute(&record, "process.user.name"), Some(&Any::StringValue(hash.to_owned())));
    let Some(Any::IntValue(pid)) = attribute(&record, "process.pid") else { panic!("{record:?}") };
    // what is hidden of a process is hidden of the one behind it
    let name = "linux.kernel_module.requester.process.pid";
    let Some(Any::IntValue(requester)) = attribute(&record, name) else { panic!("{record:?}") };
    assert_eq!(
        body(&record),
        format!(
            "***[{pid}] (kmod, {hash}) for mount[{requester}] ({hash}) loaded the module evil from ***, unsigned, taints OE"
        )
    );
    let Some(Any::ArrayValue(arguments)) = attribute(&record, "process.command_args") else { panic!("{record:?}") };
    assert_eq!(arguments.values.len(), 3);
    let text = format!("{record:?}");
    for hidden in ["\"root\"", "/tmp/evil.ko", "IntValue(4242)", "IntValue(4100)", "/usr/bin/mount", "/usr/bin/kmod"] {
        assert!(!text.contains(hidden), "{hidden} is still in {text}");
    }
    // what an ancestor has by the same name is the same value
    let real = attribute(&record, "process.real_user.id").expect("it is there");
    let Some(Any::ArrayValue(ancestors)) = attribute(&record, "linux.process.ancestors") else { panic!("{record:?}") };
    let Some(Any::KvlistValue(nearest)) = &ancestors.values[0].value else { panic!("{ancestors:?}") };
    let users: Vec<_> = nearest.values.iter().filter(|a| a.key == "process.real_user.id").collect();
    assert_eq!(users.len(), 1);
    assert_eq!(users[0].value.as_ref().and_then(|v| v.value.as_ref()), Some(real));
}

#[test]
fn what_any_of_the_routes_takes_away_is_away_and_dropped_is_less_than_redacted() {
    let config = config(
        r#"
        [[routes]]
        name = "one"
        to = ["a"]
        drop_attributes = ["kmodtrail.*", "process.user.name"]
        [[routes]]
        name = "two"
        to = ["a"]
        drop_attributes = ["file.path"]
        redact = { mask = ["process.user.name", "module"] }
        "#,
    );
    let record = changed(&config, &samples::load());
    assert!(record.attributes.iter().all(|a| !a.key.starts_with("kmodtrail.") && a.key != "file.path"), "{record:?}");
    assert_eq!(attribute(&record, "process.user.name"), None);
    assert_eq!(attribute(&record, "linux.kernel_module.name"), Some(&Any::StringValue("***".to_owned())));
    // to drop saves room, to redact hides
    assert!(body(&record).ends_with("the module *** from /tmp/***.ko, unsigned, taints OE"), "{}", body(&record));
}

#[test]
fn an_attribute_of_another_version_is_dropped_by_its_glob() {
    let config = to_a("drop_attributes = [\"kmodtrail.*\"]");
    let mut record = LogRecord { event_name: "new".to_owned(), ..LogRecord::default() };
    for key in ["kmodtrail.of_tomorrow", "other"] {
        record.attributes.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue::default()),
            ..Default::default()
        });
    }
    let (bytes, mut out) = (record.encode_to_vec(), Vec::new());
    router(&config, "a").route(&[], &parsed(&bytes), &mut out);
    record.attributes.remove(0);
    assert_eq!(LogRecord::decode(&*out), Ok(record));
}

#[test]
fn what_a_route_would_change_and_the_record_does_not_have_is_no_change() {
    let config =
        to_a("severity = \"WARN\"\ndrop_attributes = [\"kmodtrail.stopped.*\"]\nredact = { mask = [\"refusal\"] }");
    let bytes = written(&samples::load());
    let mut out = Vec::new();
    let decision = format!("{:?}", router(&config, "a").route(&[], &parsed(&bytes), &mut out));
    assert_eq!((decision.as_str(), out.len()), ("Deliver { route: \"tested\", changed: false }", 0));
}

#[test]
fn a_cut_or_altered_record_is_routed_without_a_panic() {
    let config = to_a(
        "severity = \"FATAL\"\ndrop_attributes = [\"kmodtrail.*\"]\nredact = { mask = [\"process.user.name\", \"process.pid\"] }\ndedupe = { by = [\"module\"], interval = \"1s\" }",
    );
    let mut router = router(&config, "a");
    let bytes = written(&samples::load());
    let mut route = |bytes: &[u8]| {
        if let Ok(record) = Record::parse(bytes) {
            router.route(bytes, &record, &mut Vec::new());
        }
    };
    (0..bytes.len()).for_each(|end| route(&bytes[..end]));
    let mut altered = bytes.clone();
    for i in 0..bytes.len() {
        for value in [0xff, bytes[i] ^ 1] {
            altered[i] = value;
            route(&altered);
        }
        altered[i] = bytes[i];
    }
}

/// The change as a person would make it, on OpenTelemetry's own types.
fn edited(attributes: &[KeyValue], drop: &DropAttributes, mask: &Redact, outer: bool) -> Vec<KeyValue> {
    let edit = |a: &KeyValue| {
        let masked = outer || mask.mask.contains(a.key.as_str());
        let value = a.value.as_ref().map(|value| edited_value(value, drop, mask, masked));
        (!drop.names.contains(a.key.as_str())).then(|| KeyValue { value, ..a.clone() })
    };
    attributes.iter().filter_map(edit).collect()
}

fn edited_value(value: &AnyValue, drop: &DropAttributes, mask: &Redact, masked: bool) -> AnyValue {
    let value = value.value.as_ref().and_then(|value| match value {
        Any::ArrayValue(array) => {
            let values = array.values.iter().map(|value| edited_value(value, drop, mask, masked)).collect();
            Some(Any::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue { values }))
        }
        Any::KvlistValue(map) => {
            let values = edited(&map.values, drop, mask, masked);
            Some(Any::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList { values }))
        }
        Any::StringValue(_) if masked => Some(Any::StringValue("***".to_owned())),
        Any::IntValue(_) if masked => Some(Any::IntValue(-1)),
        _ if masked => None,
        other => Some(other.clone()),
    });
    AnyValue { value }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_record_is_what_opentelemetry_makes_of_the_same_change(
        picked in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..20),
        event in any::<prop::sample::Index>(),
        severity in prop::option::of(prop::sample::select(Severity::ALL.to_vec())),
    ) {
        thread_local! {
            static TEMPLATE: Config = to_a("").clone();
        }
        let names: Vec<_> = schema::of_records().filter(|(name, _)| *name != schema::UID).collect();
        let mut drop = DropAttributes { names: Default::default(), globs: Globs::default() };
        let mut redact = Redact::default();
        for (index, dropped) in picked {
            match *index.get(&names) {
                (name, Type::Bool | Type::Maps) => drop.names.insert(name),
                (name, _) if dropped => drop.names.insert(name),
                (name, _) => redact.mask.insert(name),
            };
        }
        let mut config = TEMPLATE.with(Clone::clone);
        config.routes[0].drop_attributes = Some(drop.clone());
        config.routes[0].redact = Some(redact.clone());
        config.routes[0].severity = severity;
        let event = event.get(&samples::all()).clone();
        let mut expected = LogRecord::decode(&*written(&event)).expect("we wrote it");
        let found = changed(&config, &event);
        expected.attributes = edited(&expected.attributes, &drop, &redact, false);
        let severity = severity.unwrap_or_else(|| event.severity());
        expected.severity_number = severity as i32;
        severity.text().clone_into(&mut expected.severity_text);
        // which words of the body go is told by the tests above
        expected.body.clone_from(&found.body);
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_key_that_can_not_be_read_is_an_error_by_its_place() {
    let mut config = to_a("redact = { hash = [\"process.pid\"], key = { file = \"DIR/key\" } }");
    let redact = config.config.routes[0].redact.as_mut().expect("it is there");
    redact.key = Some(Secret::File("/no/such/key".into()));
    let error = Router::new(&config, "a").expect_err("there is no key").to_string();
    assert!(error.contains("/no/such/key") && error.contains("No such file"), "{error}");
    Router::new(&config, "b").unwrap_or_else(|e| panic!("no route to b needs it: {e}"));
}
