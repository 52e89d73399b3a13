//! The index decides as one would who looks at every route, one condition after the other.

use proptest::prelude::*;

use super::*;
use crate::config::{Match, Route, Routing, When};

/// Conditions of every kind, each alone.
const CONDITIONS: &[&str] = &[
    r#"event = ["load", "kmodtrail.lost"]"#,
    r#"event = "verify""#,
    r#"event_not = "load""#,
    r#"event_glob = "*.un*""#,
    r#"event_not_regex = "^linux""#,
    r#"severity_min = "WARN""#,
    r#"severity_not = "INFO""#,
    r#"signature = "unsigned""#,
    r#"signature_not = "valid""#,
    r#"module = "evil""#,
    r#"taints_all = ["unsigned_module", "out_of_tree_module"]"#,
    r#"process.user.name = "root""#,
    r#"process.user.name_present = false"#,
    r#"process.command_args_glob = "*.ko""#,
    r#"file.size_min = 1000"#,
    r#"host.name = "web-1""#,
    r#"host.name_not_glob = "web-*""#,
    r#"service.version = "0.1.0""#,
    r#"signature.ok = false"#,
];

fn conditions() -> Vec<Condition> {
    let routes = CONDITIONS
        .iter()
        .enumerate()
        .map(|(i, when)| format!("[[routes]]\nname = \"{i}\"\nto = [\"a\"]\nwhen = {{ {when} }}\n"));
    let config = config(&routes.collect::<String>());
    config.routes.iter().flat_map(|route| route.when.0.clone()).collect()
}

/// What routes and records are made of, once.
struct Material {
    conditions: Vec<Condition>,
    template: Config,
    records: Vec<Vec<u8>>,
}

impl Material {
    fn new() -> Self {
        let records = samples::all().iter().map(written).collect();
        Self { conditions: conditions(), template: to_a("").clone(), records }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_and_a_look_at_every_route_decide_alike(
        routes in prop::collection::vec(
            (
                prop::collection::vec(0..CONDITIONS.len(), 0..4),
                prop::sample::subsequence(vec!["a", "b", "c"], 1..=3),
                prop::option::of(prop::sample::select(Severity::ALL.to_vec())),
            ),
            0..12,
        ),
        first in any::<bool>(),
        unknown_event in any::<bool>(),
    ) {
        thread_local! {
            static MATERIAL: Material = Material::new();
        }
        MATERIAL.with(|Material { conditions, template, records }| {
            let routes = routes.iter().enumerate().map(|(i, (when, to, severity))| Route {
                name: i.to_string(),
                when: When(when.iter().map(|&c| conditions[c].clone()).collect()),
                to: to.iter().map(|&sink| sink.to_owned()).collect(),
                severity: *severity,
                ..template.routes[0].clone()
            });
            let routing = Routing { r#match: if first { Match::First } else { Match::All } };
            let config = Config { routing, routes: routes.collect(), ..template.clone() };
            let table = RoutingTable::new(&config);
            let mut routers = ["a", "b", "c"].map(|sink| (sink, router(&config, sink)));
            for bytes in records {
                let mut record = parsed(bytes);
                if unknown_event {
                    record.event_name = "linux.kernel_module.something_new";
                }
                let resource = resource();
                let most = if first { 1 } else { usize::MAX };
                let holds = |route: &Route| {
                    route.when.0.iter().all(|c| c.holds(condition::find(&c.attribute, &resource, &record)))
                };
                let applying: Vec<_> = (0..config.routes.len()).filter(|&i| holds(&config.routes[i])).take(most).collect();
                let decided = table.decide(&resource, &record);
                for (sink, router) in &mut routers {
                    let leading: Vec<_> =
                        applying.iter().copied().filter(|&i| config.routes[i].to.iter().any(|to| to == sink)).collect();
                    let found = decided.iter().find(|destination| destination.sink == *sink);
                    prop_assert_eq!(found.map_or(&[][..], |destination| &destination.routes), &leading[..]);
                    let severity = leading.iter().find_map(|&i| config.routes[i].severity);
                    prop_assert_eq!(found.and_then(Destination::severity), severity);
                    let changed = severity.is_some_and(|s| s as u8 != record.severity);
                    let expected = match leading.first() {
                        Some(&i) => Decision::Deliver { route: &Arc::from(config.routes[i].name.as_str()), changed },
                        None => Decision::Nowhere,
                    };
                    let mut out = Vec::new();
                    prop_assert_eq!(router.route(&resource, &record, &mut out), expected);
                    if changed {
                        prop_assert_eq!(parsed(&out).severity, severity.expect("it is changed") as u8);
                    }
                }
            }
            Ok(())
        })?;
    }
}
