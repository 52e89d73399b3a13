//! Which record goes where: a pure function of the event and the routes.

use crate::{
    config::{Config, When},
    event::{Event, Severity},
};

/// Position of a sink in [`Config::sinks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkIndex(pub usize);

/// One record, one sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// To which sink.
    pub sink: SinkIndex,
    /// As how severe.
    pub severity: Severity,
}

/// The routes, with the sinks' names resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    when: When,
    to: Vec<SinkIndex>,
    severity: Option<Severity>,
}

impl When {
    /// Whether all conditions hold.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let name = event.what.name();
        self.event.as_ref().is_none_or(|names| names.iter().any(|n| n.as_str() == name))
    }
}

impl Routes {
    /// The routes of a configuration that has been checked: names of sinks that are not there are left out.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let index = |name: &String| config.sinks.iter().position(|s| s.name == *name).map(SinkIndex);
        let route = |r: &crate::config::Route| Route {
            when: r.when.clone(),
            to: r.to.iter().filter_map(index).collect(),
            severity: r.severity,
        };
        Self(config.routes.iter().map(route).collect())
    }

    /// Puts into `out` where the event goes: to every sink of every route that matches, to each of them once, in the order of the routes.
    /// The first of the matching routes to a sink that has a severity decides it.
    pub fn route(&self, event: &Event, out: &mut Vec<Delivery>) {
        out.clear();
        let own = event.severity();
        // bit by position in `out`; more than 64 sinks would only lose the rule "first one decides"
        let mut decided = 0u64;
        for route in self.0.iter().filter(|r| r.when.matches(event)) {
            for &sink in &route.to {
                let at = out.iter().position(|d| d.sink == sink).unwrap_or_else(|| {
                    out.push(Delivery { sink, severity: own });
                    out.len() - 1
                });
                let bit = 1u64.checked_shl(at as u32).unwrap_or(0);
                if let Some(severity) = route.severity.filter(|_| decided & bit == 0) {
                    out[at].severity = severity;
                    decided |= bit;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, event::samples};

    /// Routes as the configuration file has them, for the sinks a, b and c.
    fn routes(text: &str) -> Routes {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = folder.path().join("kmodtrail.toml");
        let sink =
            |name: &str| format!("[sinks.{name}]\ntype = \"file\"\npath = \"{}/{name}\"\n", folder.path().display());
        let text = format!("{}{}{}{text}", sink("a"), sink("b"), sink("c"));
        std::fs::write(&file, text).expect("the test's configuration is written");
        let (config, _) =
            config::load_with(&file, Some(config::no_environment())).expect("the test's routes are valid");
        Routes::new(&config)
    }

    fn sinks(routes: &Routes, event: &Event) -> Vec<(usize, Severity)> {
        let mut out = vec![];
        routes.route(event, &mut out);
        out.iter().map(|d| (d.sink.0, d.severity)).collect()
    }

    #[test]
    fn a_condition_holds_for_the_events_it_names_only() {
        let routes = routes(
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
        for event in samples::all() {
            let targets: Vec<_> = sinks(&routes, &event).into_iter().map(|(sink, _)| sink).collect();
            let named = ["linux.kernel_module.load", "kmodtrail.lost"].contains(&event.what.name());
            assert_eq!(targets, if named { vec![1, 2] } else { vec![2] }, "{}", event.what.name());
        }
    }

    #[test]
    fn a_sink_gets_a_record_once_and_the_first_severity_decides() {
        let routes = routes(
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
            severity = "DEBUG"
            "#,
        );
        let event = samples::load();
        assert_eq!(sinks(&routes, &event), [(0, Severity::Fatal), (1, Severity::Fatal), (2, Severity::Debug)]);
    }

    #[test]
    fn without_an_override_the_severity_is_the_events_own() {
        let routes = routes("[[routes]]\nname = \"all\"\nto = [\"a\", \"b\", \"c\"]\n");
        for event in samples::all() {
            assert_eq!(sinks(&routes, &event), [0, 1, 2].map(|i| (i, event.severity())), "{}", event.what.name());
        }
    }

    #[test]
    fn what_no_route_matches_goes_nowhere() {
        let routes = routes("[[routes]]\nname = \"u\"\nwhen = { event = [\"unload\"] }\nto = [\"a\", \"b\", \"c\"]\n");
        assert_eq!(sinks(&routes, &samples::load()), []);
    }
}
