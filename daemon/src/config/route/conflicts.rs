//! What must hold between routes, and between them and the sinks.

use std::collections::BTreeSet;

use super::{
    super::problem::{Report, did_you_mean},
    Found, Match, Route, RouteTest, Routing,
};

/// Reports what does not fit together. `sinks` are the names of those that the configuration has.
///
/// Gives the names of the sinks that a route leads to.
pub(in super::super) fn between<'f>(
    sinks: &BTreeSet<&str>,
    routing: Routing,
    routes: &'f [Found<Route>],
    tests: &[Found<RouteTest>],
    report: &Report,
) -> BTreeSet<&'f str> {
    let known = |place: &str, key: String, names: &[String]| {
        for sink in names.iter().filter(|name| !sinks.contains(name.as_str())) {
            let what = format!("there is no sink {sink:?}{}", did_you_mean(sink, sinks.iter().copied()));
            let all = sinks.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            report.error(place, &key, what, if all.is_empty() { "none yet" } else { &all });
        }
    };
    same_names(routes.iter().map(|found| (found.item.name.as_str(), found)), "route", report);
    same_names(tests.iter().map(|found| (found.item.name.as_str(), found)), "test", report);
    for Found { place, key, item } in routes {
        known(place, format!("{key}.to"), &item.to);
    }
    for Found { place, key, item } in tests {
        known(place, format!("{key}.expect"), &item.expect);
    }
    for (i, later) in routes.iter().enumerate() {
        if let Some((key, what, allowed)) =
            routes[..i].iter().find_map(|earlier| conflict(routing, &earlier.item, &later.item))
        {
            let key = if key.is_empty() { later.key.clone() } else { format!("{}.{key}", later.key) };
            report.error(&later.place, &key, what, allowed);
        }
    }
    routes.iter().flat_map(|found| found.item.to.iter().map(String::as_str)).collect()
}

fn same_names<'f, T: 'f>(all: impl Iterator<Item = (&'f str, &'f Found<T>)>, what: &str, report: &Report) {
    let mut names = BTreeSet::new();
    for (name, Found { place, key, .. }) in all {
        if !names.insert(name) {
            report.error(
                place,
                &format!("{key}.name"),
                format!("another {what} is called {name:?} too"),
                "a name of its own",
            );
        }
    }
}

/// What of a route can never come to anything because of an earlier one: key, what is wrong, what would be right.
fn conflict(routing: Routing, earlier: &Route, later: &Route) -> Option<(&'static str, String, &'static str)> {
    let always = earlier.when.0.is_empty() || earlier.when == later.when;
    let name = &earlier.name;
    match routing.r#match {
        Match::First if always => {
            let what = format!("it is never reached: the route {name:?} before it takes what it would take");
            Some(("", what, "another order, other conditions, or `match = \"all\"` in [routing]"))
        }
        Match::All if always && later.to.iter().any(|sink| earlier.to.contains(sink)) => {
            let decided = later.to.iter().all(|sink| earlier.to.contains(sink));
            if decided && earlier.severity.zip(later.severity).is_some_and(|(a, b)| a != b) {
                let what = format!(
                    "it never decides: the route {name:?} before it says another one for the same records and sink"
                );
                return Some(("severity", what, "the special route before the general one"));
            }
            let (Some(before), Some(after)) = (&earlier.redact, &later.redact) else { return None };
            let both = before.hash.intersection(&after.mask).chain(before.mask.intersection(&after.hash)).max()?;
            let what = format!("the route {name:?} redacts {both} in another way for the same records and sink");
            Some(("redact", what, "the same in both, or in one of them only"))
        }
        Match::All | Match::First => None,
    }
}
