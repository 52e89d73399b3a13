//! From tables to [`Config`]: every section, and what must hold between them.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::{
    Config, Log, Resource, Route, Sensor, Sink, When,
    layers::Layers,
    problem::{Report, did_you_mean},
    sink, spool,
    table::Table,
};

/// What was wrong is in `report`; only where it has no error the result may be used.
pub(super) fn config(Layers { root, complete }: Layers, main: &str, report: &Report) -> Config {
    let root = Value::new(Some(&main.to_owned()), root);
    let Some(mut root) = Table::new("", root, main, report) else { unreachable!("it was made of a table") };
    let sensor = root.table("sensor").map(sensor).unwrap_or_default();
    let spool = root.table("spool").map(spool::spool).unwrap_or_default();
    let dead_letters = root.table("dead_letters").map(spool::dead_letters).unwrap_or_default();
    let status = root.table("status").map(spool::status).unwrap_or_default();
    let shutdown = root.table("shutdown").map(spool::shutdown).unwrap_or_default();
    let sinks = sinks(&mut root, report);
    let routes = routes(&mut root, main, report);
    let log = root.table("log").map(log).unwrap_or_default();
    let resource = root.table("resource").map(|t| resource(t, report)).unwrap_or_default();
    root.finish();
    if complete {
        between(&sinks, &routes, main, report);
    }
    let sinks = sinks.into_values().filter_map(|s| s.sink).collect();
    let routes = routes.into_iter().map(|r| r.route).collect();
    Config { sensor, spool, dead_letters, status, shutdown, sinks, routes, log, resource }
}

fn sensor(mut table: Table<'_>) -> Sensor {
    let default = Sensor::default();
    let sensor = Sensor {
        critical_ring_size: table.optional("critical_ring_size").unwrap_or(default.critical_ring_size),
        bulk_ring_size: table.optional("bulk_ring_size").unwrap_or(default.bulk_ring_size),
        disabled_hooks: table.optional("disabled_hooks").unwrap_or(default.disabled_hooks),
    };
    table.finish();
    sensor
}

fn log(mut table: Table<'_>) -> Log {
    let log = Log { level: table.optional("level").unwrap_or_default() };
    table.finish();
    log
}

fn resource(mut table: Table<'_>, report: &Report) -> Resource {
    let place = table.place("attributes");
    let attributes = table.table("attributes").map(Table::into_strings).unwrap_or_default();
    for (name, _) in &attributes {
        if name.split('.').any(str::is_empty) || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            let key = format!("resource.attributes.{name:?}");
            report.error(&place, &key, "that is no name", "a name such as \"deployment.environment.name\"");
        }
    }
    table.finish();
    Resource { attributes }
}

/// A sink and where it stands; `sink` is `None` where something in it is wrong.
struct Found {
    place: String,
    sink: Option<Sink>,
}

fn sinks(root: &mut Table<'_>, report: &Report) -> BTreeMap<String, Found> {
    let Some(all) = root.table("sinks") else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (name, table) in all.into_tables() {
        let place = table.place("type");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            let what = format!("{name:?} can't be a sink's name");
            report.error(&place, "sinks", what, "1 to 64 of a-z, 0-9, _ and -");
        }
        let sink = sink::read(&name, table);
        found.insert(name, Found { place, sink });
    }
    found
}

/// A route, where it stands, and its key ("routes[0]").
struct FoundRoute {
    place: String,
    key: String,
    route: Route,
}

fn routes(root: &mut Table<'_>, main: &str, report: &Report) -> Vec<FoundRoute> {
    let items = match root.take("routes").map(|v| v.kind) {
        Some(ValueKind::Array(items)) => items,
        _ => vec![],
    };
    let mut found = Vec::new();
    for (i, item) in items.into_iter().enumerate() {
        let key = format!("routes[{i}]");
        let Some(mut table) = Table::new(&key, item, main, report) else { continue };
        let place = table.place("name");
        let name: Option<String> = table.required("name");
        let when = table.table("when").map(when).unwrap_or_default();
        let to_place = table.place("to");
        let to: Option<Vec<String>> = table.required("to");
        if to.as_ref().is_some_and(Vec::is_empty) {
            table.wrong(&to_place, "to", "it is empty: what this route matches would go nowhere", "names of sinks");
        }
        let severity = table.optional("severity");
        table.finish();
        // a name that is missing has been reported; it must not count as a duplicate
        let name = name.unwrap_or_else(|| key.clone());
        found.push(FoundRoute { place, key, route: Route { name, when, to: to.unwrap_or_default(), severity } });
    }
    found
}

fn when(mut table: Table<'_>) -> When {
    let place = table.place("event");
    let event = table.optional::<Vec<_>>("event");
    if event.as_ref().is_some_and(Vec::is_empty) {
        table.wrong(&place, "event", "it is empty: the route would match nothing", "names of events, or no such key");
    }
    table.finish();
    When { event }
}

/// What must hold between sinks and routes.
fn between(sinks: &BTreeMap<String, Found>, routes: &[FoundRoute], main: &str, report: &Report) {
    if sinks.is_empty() {
        report.error(main, "sinks", "there is none", "at least one [sinks.NAME]");
    }
    if routes.is_empty() {
        report.error(main, "routes", "there is none: nothing would be delivered", "at least one [[routes]]");
    }
    let mut names = BTreeSet::new();
    let mut used = BTreeSet::new();
    let known = sinks.keys().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    for FoundRoute { place, key, route } in routes {
        if !names.insert(&route.name) {
            let what = format!("another route is called {:?} too", route.name);
            report.error(place, &format!("{key}.name"), what, "a name of its own");
        }
        for sink in &route.to {
            used.insert(sink);
            if !sinks.contains_key(sink) {
                let what = format!("there is no sink {sink:?}{}", did_you_mean(sink, sinks.keys().map(String::as_str)));
                report.error(place, &format!("{key}.to"), what, if known.is_empty() { "none yet" } else { &known });
            }
        }
    }
    for (name, found) in sinks {
        if !used.contains(name) && !routes.is_empty() {
            let what = "no route leads to it";
            report.warning(
                &found.place,
                &format!("sinks.{name}"),
                what,
                "a route with its name in `to`, or no such sink",
            );
        }
    }
    let mut paths = BTreeMap::new();
    for found in sinks.values() {
        let Some(Sink { name, kind: super::SinkKind::File(file), .. }) = &found.sink else { continue };
        if let Some(other) = paths.insert(&file.path, name) {
            let what = format!("the sink {other:?} writes to {} too", file.path.display());
            report.error(&found.place, &format!("sinks.{name}.path"), what, "a path of its own");
        }
    }
}
