//! `[sinks.NAME]`: one file per type, and one line here.

mod file;

pub use self::file::FileSink;
use super::{Sink, SinkKind, problem::did_you_mean, table::Table};

/// Every type of sink.
const TYPES: &[&str] = &["file"];

pub(super) fn read(name: &str, mut table: Table<'_>) -> Option<Sink> {
    let place = table.place("type");
    let given = table.required::<String>("type")?;
    let encoding = table.optional("encoding").unwrap_or_default();
    let kind = match given.as_str() {
        "file" => file::read(&mut table).map(SinkKind::File),
        unknown => {
            let what = format!("there is no type {unknown:?}{}", did_you_mean(unknown, TYPES.iter().copied()));
            table.wrong(&place, "type", what, TYPES.join(", "));
            // which keys it may have is not known
            return None;
        }
    };
    table.finish();
    Some(Sink { name: name.to_owned(), encoding, kind: kind? })
}
