//! For a person at a terminal: a line that says what happened, and an indented one with what else matters.
//!
//! Names, paths and arguments are chosen by whoever is watched. No byte of theirs may reach the terminal as anything but a visible
//! character: what is not printable is shown as Rust writes it, `\u{1b}`.

use std::{
    fmt::{self, Write as _},
    time::{Duration, SystemTime},
};

use anstyle::{AnsiColor, Style};

use crate::event::{Event, File, ModuleFacts, Outcome, Pod, Process, Severity, What};

/// Text in which everything that is not a visible character is escaped.
pub(crate) struct Visible<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Visible<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

struct Escape<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\'' | '"' | '\\' => self.0.write_char(c)?,
                // letters by their category that no font shows: Hangul fillers, and a Braille pattern without dots
                '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' => {
                    write!(self.0, "{}", c.escape_unicode())?;
                }
                // what is left of escape_debug: controls, format characters, separators, combining marks, private and unassigned ones
                c => write!(self.0, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

const fn style(severity: Severity) -> Style {
    match severity {
        Severity::Debug => Style::new().dimmed(),
        Severity::Info => AnsiColor::Green.on_default(),
        Severity::Warn => AnsiColor::Yellow.on_default(),
        Severity::Error | Severity::Fatal => AnsiColor::Red.on_default().bold(),
    }
}

/// Appends the lines about `event`.
pub fn render(event: &Event, severity: Severity, color: bool, out: &mut String) {
    let plain = Style::new();
    let (strong, faint) = if color { (style(severity), Style::new().dimmed()) } else { (plain, plain) };
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(event.time.wall));
    let time = humantime::format_rfc3339_millis(time.unwrap_or(SystemTime::UNIX_EPOCH));
    let sentence = Visible(event.sentence());
    let mut put = |text: fmt::Arguments<'_>| out.write_fmt(text).expect("writing to a String does not fail");
    put(format_args!("{faint}{time}{faint:#} {strong}{:<5}{strong:#} {sentence}\n", severity.text()));
    let details = details(event);
    if !details.is_empty() {
        put(format_args!("{:>30}{faint}", ""));
        for (i, (name, value)) in details.iter().enumerate() {
            let gap = if i == 0 { "" } else { "  " };
            put(format_args!("{gap}{name}={}", Visible(value)));
        }
        put(format_args!("{faint:#}\n"));
    }
}

type Details = Vec<(&'static str, String)>;

/// What a reader would ask next, most useful first.
fn details(event: &Event) -> Details {
    let mut details = Details::new();
    match &event.what {
        What::Request(_)
        | What::Taint(_)
        | What::Inventory(_)
        | What::Hidden(_)
        | What::Setting(_)
        | What::Heartbeat(_)
        | What::Started(_)
        | What::Coverage(_)
        | What::Lost(_)
        | What::Dropped(_)
        | What::Stopped(_) => {}
        What::Helper(h) => details.extend(h.task.map(|pid| ("helper", format!("[{pid}]")))),
        What::Read(r) => of_file(r.file.as_ref(), &mut details),
        What::Verify(v) => of_file(v.file.as_ref(), &mut details),
        What::Load(l) => {
            of_file(l.file.as_ref(), &mut details);
            details.push(("signature", l.signature.state.name().to_owned()));
            of_module(l.module.as_ref(), &mut details);
            of_outcome(l.outcome, &mut details);
            let given = l.parameters.as_ref().filter(|p| !p.text.is_empty());
            details.extend(given.map(|p| ("parameters", p.text.to_string())));
        }
        What::Unload(u) => {
            of_module(u.module.as_ref(), &mut details);
            details.extend(u.references.map(|count| ("references", count.to_string())));
            let holders: Vec<_> = u.holders.iter().map(ToString::to_string).collect();
            details.extend((!holders.is_empty()).then(|| ("holders", holders.join(", "))));
            of_outcome(u.outcome, &mut details);
        }
    }
    if let Some(process) = &event.process {
        of_process(process, &mut details);
    }
    if !event.missing.is_empty() {
        details.push(("missing", event.missing.join(", ")));
    }
    details
}

fn of_file(file: Option<&File>, details: &mut Details) {
    let Some(file) = file else { return };
    let cut = if file.path_cut { ", beginning of the path unknown" } else { "" };
    let value = format!("{} (uid {}, mode {:04o}, {} bytes{cut})", file.path, file.uid, file.mode & 0o7777, file.size);
    details.push(("file", value));
}

fn of_module(module: Option<&ModuleFacts>, details: &mut Details) {
    let taints = module.and_then(|m| m.taints).filter(|t| !t.is_empty());
    details.extend(taints.map(|t| ("taints", t.names().join(","))));
}

fn of_outcome(outcome: Outcome, details: &mut Details) {
    details.push(("outcome", outcome.name().to_owned()));
}

fn of_process(process: &Process, details: &mut Details) {
    match (&process.place.pod, &process.place.container) {
        (Some(Pod { namespace: Some(namespace), name: Some(name), .. }), _) => {
            details.push(("pod", format!("{namespace}/{name}")));
        }
        (_, Some(container)) => {
            details.push(("container", container.details.name.as_ref().unwrap_or(&container.id).to_string()));
        }
        _ => details.extend(process.cgroup.path.as_ref().map(|path| ("cgroup", path.to_string()))),
    }
    if let Some(parent) = process.parent() {
        let executable = parent.executable.as_ref().map(|e| format!(" {e}")).unwrap_or_default();
        details.push(("parent", format!("{}[{}]{executable}", parent.comm, parent.id.pid)));
    }
    if let Some(arguments) = &process.arguments {
        let list: Vec<_> = arguments.list.iter().map(crate::event::Text::as_str).collect();
        let more = if arguments.cut { " ..." } else { "" };
        details.push(("command", format!("{}{more}", list.join(" "))));
    }
    if let Some(uid) = process.login_uid {
        details.push(("login", process.login_user.as_ref().map_or_else(|| uid.to_string(), ToString::to_string)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn rendered(event: &Event, color: bool) -> String {
        let mut out = String::new();
        render(event, event.severity(), color, &mut out);
        out
    }

    /// Characters that can move a cursor, change the order of what is shown, or hide.
    fn dangerous() -> impl Iterator<Item = char> {
        let ranges = [
            0..=0x1f,
            0x7f..=0x9f,
            0xad..=0xad,
            0x061c..=0x061c,
            0x180b..=0x180f,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xd800..=0xf8ff, // surrogates are no chars, the private use area is
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xfff9..=0xfffb,
            0xe0000..=0xe0fff,
            0x0300..=0x036f,
        ];
        ranges.into_iter().flatten().filter_map(char::from_u32)
    }

    #[test]
    fn nothing_an_attacker_chooses_controls_the_terminal() {
        for c in dangerous() {
            let hostile = format!("a{c}b");
            let text = rendered(&samples::hostile(hostile.as_bytes()), false);
            assert!(text.is_ascii(), "{c:?} is still there: {text:?}");
            assert!(text.bytes().all(|b| b == b'\n' || (0x20..0x7f).contains(&b)), "{c:?} is still there: {text:?}");
            assert_eq!(text.matches('\n').count(), 2, "{c:?} made a line: {text:?}");
            assert!(text.contains("a\\") || c == '\0', "{c:?} is not shown: {text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown() {
        let text = rendered(&samples::hostile(b"a\xffb\x9b31m"), false);
        assert!(text.contains(r"a\377b\23331m"), "{text:?}");
        assert!(text.is_ascii(), "{text:?}");
    }

    #[test]
    fn letters_of_all_languages_stay() {
        let name = "größe-модуль-模块-'\"\\ and space";
        let text = rendered(&samples::hostile(name.as_bytes()), false);
        assert!(text.contains(name), "{text:?}");
    }

    #[test]
    fn color_is_there_only_where_it_was_asked_for() {
        for event in samples::all() {
            let (plain, colored) = (rendered(&event, false), rendered(&event, true));
            assert!(!plain.contains('\x1b'), "{plain:?}");
            assert!(colored.contains("\x1b["), "{colored:?}");
            assert_eq!(without_color(&colored), plain);
        }
    }

    /// Without the sequences that color makes: ESC [ ... m.
    fn without_color(text: &str) -> String {
        let mut parts = text.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |out, part| out + part.split_once('m').map_or("", |(_, rest)| rest))
    }

    #[test]
    fn a_load_says_who_what_and_from_where() {
        let text = rendered(&samples::load(), false);
        let expected = "2023-11-14T22:15:00.000Z WARN  insmod[4242] (kmod, root) for mount[4100] (root) loaded the module evil from /tmp/evil.ko, unsigned, taints OE\n";
        let (first, second) = text.split_at(text.find('\n').expect("two lines") + 1);
        assert_eq!(first, expected);
        for detail in [
            "signature=unsigned",
            "taints=out_of_tree_module,unsigned_module",
            "outcome=success",
            "pod=demo-app/test-6d4cf56db6-x7k2p",
            "parent=bash[4000] /usr/bin/bash",
            "login=alice",
            "missing=linux.process.parent.executable.path: the process had ended",
        ] {
            assert!(second.contains(detail), "{detail} is not in {second:?}");
        }
    }
}
