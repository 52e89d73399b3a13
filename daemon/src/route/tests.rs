//! What routes do to recorded events.

mod changes;
mod explanations;
mod limits;
mod same;

use std::{ops::Deref, sync::Arc};

use super::*;
use crate::{
    config,
    event::{Event, samples},
    record,
    resource::Resource,
};

/// A configuration in a folder that lives as long.
struct Etc {
    config: Config,
    _folder: tempfile::TempDir,
}

impl Deref for Etc {
    type Target = Config;
    fn deref(&self) -> &Config {
        &self.config
    }
}

/// A configuration with the sinks a, b and c. `DIR` in the text becomes its folder, which has a secret in the file `key`.
fn config(text: &str) -> Etc {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let dir = folder.path().display().to_string();
    let file = folder.path().join("kmodtrail.toml");
    std::fs::write(folder.path().join("key"), "Jefe").expect("the test may write files");
    let sink = |name: &str| format!("[sinks.{name}]\ntype = \"file\"\npath = \"{dir}/{name}\"\n");
    let text = format!("{}{}{}{}", sink("a"), sink("b"), sink("c"), text.replace("DIR", &dir));
    std::fs::write(&file, text).expect("the test's configuration is written");
    let loaded = config::load_with(&file, Some(config::no_environment()));
    let (config, _) = loaded.unwrap_or_else(|e| panic!("it is valid, but:\n{e}"));
    Etc { config, _folder: folder }
}

/// One route to a.
fn to_a(keys: &str) -> Etc {
    config(&format!(
        "[[routes]]\nname = \"tested\"\nto = [\"a\"]\n{keys}\n[[routes]]\nname = \"rest\"\nto = [\"b\", \"c\"]\n"
    ))
}

fn written(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::Writer::default().write(event, &mut bytes);
    bytes
}

fn parsed(bytes: &[u8]) -> Record<'_> {
    Record::parse(bytes).expect("it was written here")
}

/// A host.
fn resource() -> Arc<[u8]> {
    let mut resource = Resource::default();
    resource.set("host.name", "web-1");
    record::resource(&resource).into()
}

fn router(config: &Config, sink: &str) -> Router {
    Router::new(config, sink).unwrap_or_else(|e| panic!("{e}"))
}

/// What becomes of the record at the sink: the deciding route, or why none; a changed record is parsed again.
fn at(router: &mut Router, bytes: &[u8]) -> String {
    let mut out = b"before".to_vec();
    let decision = match router.route(&resource(), &parsed(bytes), &mut out) {
        Decision::Nowhere => "nowhere".to_owned(),
        Decision::Deliver { route, changed } => {
            assert_eq!(changed, out.len() > 6, "what is unchanged is not copied");
            route.to_string()
        }
        Decision::HeldBack { route, reason } => format!("{route}: {}", reason.name()),
    };
    assert!(out.starts_with(b"before"), "it is appended");
    decision
}

#[test]
fn a_condition_holds_for_the_events_it_names_only() {
    let config = config(
        r#"
        [[routes]]
        name = "loads"
        when = { event = ["load", "kmodtrail.lost"] }
        to = ["b"]
        [[routes]]
        name = "everything"
        to = ["c"]
        "#,
    );
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|sink| router(&config, sink));
    for event in samples::all() {
        let bytes = written(&event);
        let named = ["linux.kernel_module.load", "kmodtrail.lost"].contains(&event.what.name());
        assert_eq!(at(&mut a, &bytes), "nowhere");
        assert_eq!(at(&mut b, &bytes), if named { "loads" } else { "nowhere" }, "{}", event.what.name());
        assert_eq!(at(&mut c, &bytes), "everything");
    }
}

/// Whether a route with this `when` takes the load of a sample.
fn takes(when: &str) -> bool {
    let config = to_a(&format!("when = {{ {when} }}"));
    at(&mut router(&config, "a"), &written(&samples::load())) == "tested"
}

#[test]
fn conditions_are_about_every_kind_of_value() {
    for (when, holds) in [
        (r#"signature = "unsigned""#, true),
        (r#"signature = ["valid", "bad"]"#, false),
        (r#"signature_not = ["valid"]"#, true),
        (r#"signature_not = ["valid", "unsigned"]"#, false),
        (r#"module = "evil""#, true),
        (r#"module = "evi""#, false),
        (r#"module_glob = "ev?l""#, true),
        (r#"file.path_glob = "/tmp/*.ko""#, true),
        (r#"file.path_not_glob = "/lib/*""#, true),
        (r#"file.path_regex = "evil""#, true),
        (r#"file.path_not_regex = "evil""#, false),
        (r#"file.size_min = 123456, file.size_max = 123456"#, true),
        (r#"file.size_min = 123457"#, false),
        (r#"file.size_max = 123455"#, false),
        (r#"process.pid = [1, 4242]"#, true),
        (r#"process.pid_not = 4242"#, false),
        (r#"signature.ok = false"#, true),
        (r#"signature.ok = true"#, false),
        (r#"taints = "unsigned_module""#, true),
        (r#"taints_any = ["unsigned_module", "user"]"#, true),
        (r#"taints_any = ["user"]"#, false),
        (r#"taints_all = ["unsigned_module", "out_of_tree_module"]"#, true),
        (r#"taints_all = ["unsigned_module", "user"]"#, false),
        (r#"taints_not = ["user"]"#, true),
        (r#"taints_not = ["unsigned_module"]"#, false),
        (r#"process.command_args_glob = "*.ko""#, true),
        (r#"process.command_args_not_glob = "*.ko""#, false),
        (r#"severity = "WARN""#, true),
        (r#"severity_min = "WARN""#, true),
        (r#"severity_min = "ERROR""#, false),
        (r#"severity_max = "INFO""#, false),
        (r#"severity_not = "INFO""#, true),
        (r#"host.name = "web-1""#, true),
        (r#"host.name_glob = "db-*""#, false),
        (r#"alias_present = true"#, true),
        (r#"refusal_present = true"#, false),
        (r#"refusal_present = false"#, true),
        (r#"refusal = "lockdown""#, false),
        (r#"refusal_not = "lockdown""#, true),
        (r#"linux.process.ancestors_present = true"#, true),
        (r#"event_glob = "linux.*", module = "evil", severity = "WARN""#, true),
        (r#"event_regex = "^kmodtrail", module = "evil""#, false),
        (r#"event_not = "load""#, false),
    ] {
        assert_eq!(takes(when), holds, "{when}");
    }
}

#[test]
fn a_severity_between_two_counts_as_the_lower_one_and_none_as_none() {
    let config = to_a("when = { severity_min = \"WARN\", severity_max = \"WARN\" }");
    let bytes = written(&samples::load());
    let mut router = router(&config, "a");
    let mut taken = |severity| {
        let record = Record { severity, ..parsed(&bytes) };
        router.route(&[], &record, &mut vec![]) != Decision::Nowhere
    };
    let taken: Vec<_> = (0..=24).filter(|&severity| taken(severity)).collect();
    assert_eq!(taken, [13, 14, 15, 16]);
    let below = to_a("when = { severity_max = \"DEBUG\" }");
    let mut router = self::router(&below, "a");
    let mut taken =
        |severity| router.route(&[], &Record { severity, ..parsed(&bytes) }, &mut vec![]) != Decision::Nowhere;
    assert!(!taken(0) && taken(1) && taken(5) && !taken(9));
}

#[test]
fn where_the_first_match_decides_later_routes_get_what_is_left() {
    let routes = r#"
        [[routes]]
        name = "loads"
        when = { event = "load" }
        to = ["a"]
        [[routes]]
        name = "everything"
        to = ["a", "b"]
        "#;
    let load = written(&samples::load());
    let other = samples::all().iter().find(|e| e.what.name().ends_with("unload")).map(written).expect("a sample");
    let first = config(&format!("[routing]\nmatch = \"first\"\n{routes}"));
    let all = config(routes);
    let of = |config: &Config, sink: &str, bytes: &[u8]| at(&mut router(config, sink), bytes);
    assert_eq!((of(&first, "a", &load), of(&first, "b", &load)), ("loads".to_owned(), "nowhere".to_owned()));
    assert_eq!((of(&first, "a", &other), of(&first, "b", &other)), ("everything".to_owned(), "everything".to_owned()));
    assert_eq!((of(&all, "a", &load), of(&all, "b", &load)), ("loads".to_owned(), "everything".to_owned()));
}

#[test]
fn what_no_route_matches_goes_nowhere_and_the_first_route_is_known_without_a_router() {
    let config = config(
        "[[routes]]\nname = \"u\"\nwhen = { event = [\"unload\"] }\nto = [\"a\"]\n[[routes]]\nname = \"l\"\nwhen = { event = \"load\" }\nto = [\"b\", \"b\", \"c\"]\n[[routes]]\nname = \"m\"\nto = [\"c\"]\n",
    );
    let table = RoutingTable::new(&config);
    let bytes = written(&samples::load());
    let first = |sink| table.first_route(sink, &[], &parsed(&bytes)).map(|name| name.to_string());
    assert_eq!((first("a"), first("b"), first("c"), first("x")), (None, Some("l".into()), Some("l".into()), None));
    let record = parsed(&bytes);
    let decided: Vec<_> = table.decide(&[], &record).into_iter().map(|d| (d.sink, d.routes)).collect();
    assert_eq!(decided, [("b", vec![1]), ("c", vec![1, 2])]);
}
