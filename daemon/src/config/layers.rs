//! Files and environment variables, laid one over the other.
//!
//! A value of a later layer takes the place of the same value in an earlier one. Routes and their tests are the exception: those of all
//! files apply, in the order of the files, so that a package or a colleague can add a destination without repeating everybody else's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use config::{Config, ConfigError, Environment, FileFormat, Format, Map, Source, Value, ValueKind};

use super::problem::Report;

/// Prefix of environment variables.
pub(super) const PREFIX: &str = "KMODTRAIL";
/// What the crate `config` calls the origin of a value that an environment variable gave.
pub(super) const ENVIRONMENT: &str = "the environment";
/// Arrays of tables that add up.
const LISTS: [&str; 2] = ["routes", "tests"];
/// A configuration is written by people.
const LARGEST_FILE: u64 = 1 << 20;

/// One parsed file.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// All layers, one over the other.
pub(super) struct Layers {
    pub(super) root: Map<String, Value>,
    /// All files could be read: what is not there is really missing.
    pub(super) complete: bool,
}

/// Reads `main`, conf.d/*.toml beside it, and the environment. What can't be read is reported, the rest is given back.
pub(super) fn collect(main: &Path, environment: Option<Map<String, String>>, report: &Report) -> Layers {
    let mut builder = Config::builder();
    let mut lists = LISTS.map(|name| (name, Vec::new()));
    let mut complete = true;
    for path in files(main, report) {
        let Some(mut table) = parse(&path, report) else {
            complete = false;
            continue;
        };
        for (name, list) in &mut lists {
            if let Some(Value { kind: ValueKind::Array(here), .. }) = table.get_mut(*name) {
                list.append(here);
                table.remove(*name);
            }
        }
        builder = builder.add_source(Layer(table));
    }
    let variables = Environment::with_prefix(PREFIX).separator("__").source(environment);
    let built = builder.add_source(variables).build();
    let mut root = match built.map(|c| c.cache.kind) {
        Ok(ValueKind::Table(table)) => table,
        Ok(_) => Map::new(),
        Err(e) => {
            report.error(ENVIRONMENT, "", e.to_string(), "KMODTRAIL__SECTION__KEY=value, in UTF-8");
            Map::new()
        }
    };
    for (name, list) in lists {
        if let Some(wrong) = root.get(name) {
            let place = origin(wrong).unwrap_or_else(|| main.display().to_string());
            let allowed = format!("[[{name}]] in a file; an environment variable can't hold {name}");
            report.error(&place, name, "it is not an array of tables", allowed);
        }
        root.insert(name.to_owned(), Value::new(None, ValueKind::Array(list)));
    }
    Layers { root, complete }
}

/// The place that a value, or the first value in it, comes from.
pub(super) fn origin(value: &Value) -> Option<String> {
    value.origin().map(str::to_owned).or_else(|| match &value.kind {
        ValueKind::Table(table) => table.values().find_map(origin),
        ValueKind::Array(array) => array.iter().find_map(origin),
        _ => None,
    })
}

fn files(main: &Path, report: &Report) -> Vec<PathBuf> {
    let mut all = vec![main.to_owned()];
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return all,
        Err(e) => {
            report.error(&folder.display().to_string(), "", e.to_string(), "a folder that this user may read, or none");
            return all;
        }
    };
    let mut more = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => more.push(entry.path()),
            Err(e) => report.error(&folder.display().to_string(), "", e.to_string(), "a folder that can be read"),
        }
    }
    // an editor's swap file begins with a dot
    let hidden = |p: &Path| p.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
    more.retain(|p| p.extension().is_some_and(|e| e == "toml") && !hidden(p));
    more.sort();
    all.append(&mut more);
    all
}

fn parse(path: &Path, report: &Report) -> Option<Map<String, Value>> {
    let place = path.display().to_string();
    let refuse = |what: String, allowed: &str| {
        report.error(&place, "", what, allowed);
        None
    };
    let bytes = match fs::metadata(path) {
        Ok(found) if !found.is_file() => return refuse("it is not a file".into(), "a TOML file"),
        Ok(found) if found.len() > LARGEST_FILE => {
            return refuse(format!("it has {} bytes", found.len()), "a TOML file of at most 1 MiB");
        }
        Ok(_) => fs::read(path),
        Err(e) => Err(e),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(e) => return refuse(e.to_string(), "a TOML file that this user may read (name it with --config)"),
    };
    let text = match str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(e) => return refuse(format!("byte {} is not UTF-8", e.valid_up_to()), "a TOML file in UTF-8"),
    };
    match FileFormat::Toml.parse(Some(&place), text.trim_start_matches('\u{feff}')) {
        Ok(table) => Some(table),
        Err(e) => refuse(e.to_string().trim_end().to_owned(), "TOML, see https://toml.io"),
    }
}
