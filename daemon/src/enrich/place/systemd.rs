//! Units, by the rules of systemd itself: `cg_path_get_unit` and those beside it in src/basic/cgroup-util.c.

use crate::event::{Place, Text};

/// Longest name of a unit, `UNIT_NAME_MAX`.
const LONGEST: usize = 255;

/// The kinds of unit: systemd.unit(5).
const KINDS: &[&str] =
    &["automount", "device", "mount", "path", "scope", "service", "slice", "socket", "swap", "target", "timer"];

/// What the components say of units.
pub(super) fn units(path: &str) -> Place {
    let mut place = Place::default();
    let (slice, rest) = slices(path);
    place.slice = slice.map(Text::from);
    let (first, inner) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(unit) = unit(first) else { return place };
    let session = unit.strip_prefix("session-").and_then(|s| s.strip_suffix(".scope")).filter(|s| is_session(s));
    let user = unit.strip_prefix("user@").and_then(|s| s.strip_suffix(".service"));
    place.session = session.map(Text::from);
    if session.is_some() || user.is_some_and(|uid| uid.parse::<u32>().is_ok()) {
        let (_, rest) = slices(inner);
        place.user_unit = self::unit(rest.split('/').next().unwrap_or_default()).map(Text::from);
    }
    place.unit = Some(unit.into());
    place
}

/// The last of the slices that the path begins with, and what follows them.
fn slices(mut path: &str) -> (Option<&str>, &str) {
    let mut slice = None;
    loop {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let Some(name) = name(first).filter(|name| name.ends_with(".slice")) else { return (slice, path) };
        (slice, path) = (Some(name), rest);
    }
}

/// The unit that a directory stands for, unless it is a slice.
fn unit(directory: &str) -> Option<&str> {
    name(directory).filter(|name| !name.ends_with(".slice"))
}

/// The unit or slice that a directory stands for: its name, with an underscore before it where the kernel has a file of such a name
/// (`cg_escape`). What systemd escapes in names of units it shows so, and so do we.
pub(super) fn name(directory: &str) -> Option<&str> {
    let name = directory.strip_prefix('_').unwrap_or(directory);
    let (stem, kind) = name.rsplit_once('.')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let valid = name.len() <= LONGEST && !stem.is_empty() && !stem.starts_with('@') && name.chars().all(fits);
    // a template itself never runs
    (valid && KINDS.contains(&kind) && !stem.ends_with('@')).then_some(name)
}

/// `session_id_valid`
fn is_session(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric())
}

/// What stood in a unit's name before it was escaped: systemd-escape(1). `None` where it is no valid escape, or no text.
pub(super) fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if let Some(escaped) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(escaped.get(..2)?, 16).ok()?);
            rest = &escaped[2..];
        } else {
            let plain = if first == '-' { "/" } else { &rest[..first.len_utf8()] };
            bytes.extend_from_slice(plain.as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    String::from_utf8(bytes).ok()
}
