//! From tables to [`Config`]: every section, and what must hold between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use config::Value;

use super::{
    Config, FilePath, Log, Resource, Sensor, Sink, SinkKind, enrich, layers::Layers, modules, problem::Report, route,
    sink, spool, table::Table, telemetry,
};

/// What was wrong is in `report`, and has its default here.
pub(super) fn config(Layers { root, complete }: Layers, main: &str, report: &Report) -> Config {
    let root = Value::new(Some(&main.to_owned()), root);
    let Some(mut root) = Table::new("", root, main, report) else { unreachable!("it was made of a table") };
    let sensor = root.table("sensor").map(sensor).unwrap_or_default();
    let modules = root.table("modules").map(modules::read).unwrap_or_default();
    let enrich = root.table("enrich").map(enrich::read).unwrap_or_default();
    let spool = root.table("spool").map(spool::spool).unwrap_or_default();
    let dead_letters = root.table("dead_letters").map(spool::dead_letters).unwrap_or_default();
    let status = root.table("status").map(spool::status).unwrap_or_default();
    let shutdown = root.table("shutdown").map(spool::shutdown).unwrap_or_default();
    let sinks = sinks(&mut root, report);
    let log = root.table("log").map(log).unwrap_or_default();
    let telemetry = root.table("telemetry").and_then(telemetry::read);
    let resource = root.table("resource").map(|t| resource(t, report)).unwrap_or_default();
    let routing = root.table("routing").map(route::routing).unwrap_or_default();
    let routes = route::routes(&mut root, &resource.attributes, main, report);
    let tests = route::tests(&mut root, &resource.attributes, main, report);
    root.finish();
    if complete {
        let names = sinks.keys().map(String::as_str).collect();
        let used = route::between(&names, routing, &routes, &tests, report);
        if sinks.is_empty() {
            report.error(main, "sinks", "there is none", "at least one [sinks.NAME]");
        }
        if routes.is_empty() {
            report.error(main, "routes", "there is none: nothing would be delivered", "at least one [[routes]]");
        } else {
            unused(&sinks, &used, report);
        }
        between(&sinks, report);
    }
    let sinks = sinks.into_values().filter_map(|s| s.sink).collect();
    let routes = routes.into_iter().map(|found| found.item).collect();
    let tests = tests.into_iter().map(|found| found.item).collect();
    Config {
        sensor,
        modules,
        enrich,
        spool,
        dead_letters,
        status,
        shutdown,
        sinks,
        routing,
        routes,
        tests,
        log,
        telemetry,
        resource,
    }
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

/// Warns of sinks that no route leads to.
fn unused(sinks: &BTreeMap<String, Found>, used: &BTreeSet<&str>, report: &Report) {
    for (name, found) in sinks.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        let allowed = "a route with its name in `to`, or no such sink";
        report.warning(&found.place, &format!("sinks.{name}"), "no route leads to it", allowed);
    }
}

/// What must hold between sinks.
fn between(sinks: &BTreeMap<String, Found>, report: &Report) {
    let mut places = BTreeMap::new();
    for found in sinks.values() {
        let Some(Sink { name, kind, .. }) = &found.sink else { continue };
        let (output, key) = match kind {
            SinkKind::File(file) => match &file.path {
                // one file may have two names
                FilePath::Constant(path) => (fs::canonicalize(path).unwrap_or_else(|_| path.clone()), "path"),
                FilePath::Template(template) => (template.to_string().into(), "path"),
            },
            SinkKind::Stdout => ("standard output".into(), "type"),
            SinkKind::Kafka(_) | SinkKind::Otlp(_) => continue,
        };
        if let Some(other) = places.insert(output.clone(), name) {
            let what = format!("the sink {other:?} writes to {} too", output.display());
            report.error(&found.place, &format!("sinks.{name}.{key}"), what, "a place of its own");
        }
    }
}
