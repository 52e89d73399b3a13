//! The body of a log record: one English sentence that a person reads first.

use super::{
    Event, FileChange, HelperOutcome, HookState, Load, LoadSource, Outcome, Probes, Process, Setting, SignatureState,
    Started, Verdict, What, attributes::errno_name,
};

pub(super) fn of(event: &Event) -> String {
    let who = who(event);
    match &event.what {
        What::Request(r) => match r.verdict {
            Verdict::Refused(errno) => {
                format!("{who} made the kernel ask for \"{}\", refused ({})", r.alias, errno_name(errno))
            }
            _ => format!("{who} made the kernel ask for \"{}\"", r.alias),
        },
        What::Helper(h) => {
            let arguments: Vec<&str> = h.arguments.iter().skip(1).map(super::Text::as_str).collect();
            let end = match h.exit_status {
                Some(0) | None => String::new(),
                Some(status) if status < 0 => format!(", which could not be started ({})", errno_name(-status)),
                Some(status) if status & 0x7f != 0 => format!(", which was killed by signal {}", status & 0x7f),
                Some(status) => format!(", which exited with {}", status >> 8),
            };
            let found = match h.outcome {
                HelperOutcome::NothingFound => ": it found nothing to load",
                HelperOutcome::Failed => ": it could load nothing",
                HelperOutcome::Loaded | HelperOutcome::NotStarted | HelperOutcome::Unknown => "",
            };
            format!("the kernel ran {} {} for {who}{end}{found}", h.path, arguments.join(" "))
        }
        What::Read(r) => {
            let from = r.file.as_ref().map_or("memory", |f| f.path.as_str());
            match r.verdict {
                Verdict::Refused(errno) => {
                    format!("{who} was refused to read a module from {from} ({})", errno_name(errno))
                }
                _ => format!("{who} had the kernel read a module from {from}"),
            }
        }
        What::Verify(v) => {
            let which = v
                .name
                .as_ref()
                .or(v.file.as_ref().map(|f| &f.path))
                .map_or("a module from memory", super::Text::as_str);
            format!("the kernel checked the signature of {which}: {}", signature(v.signature.state))
        }
        What::Load(l) => load(l, &who),
        What::Unload(u) => match u.outcome {
            Outcome::Success if u.flags.forced() => format!("{who} forced the module {} out", u.name),
            Outcome::Success => format!("{who} unloaded the module {}", u.name),
            outcome => format!("{who} tried to unload the module {}: {}", u.name, outcome_text(outcome)),
        },
        What::Taint(taints) => {
            let added = taints.added();
            format!("{who} tainted the kernel: {} ({})", added.names().join(", "), added.letters())
        }
        What::Inventory(i) if i.before_start => format!("the module {} was loaded before kmodtrail watched", i.name),
        What::Inventory(i) => format!("the module {} is loaded, and no record says by whom", i.name),
        What::Hidden(h) => {
            let (listed, missing) = (h.listed.join(", "), h.missing.join(", "));
            format!("the module {} is hidden: {missing} does not have it, {listed} does", h.name)
        }
        What::Setting(Setting::Value { path, before, after }) => {
            let text = |value: &Option<super::Text>| {
                value.as_ref().map_or_else(|| "nothing".to_owned(), |v| format!("\"{v}\""))
            };
            let by = event.process.as_ref().map(|_| format!(", by {who}")).unwrap_or_default();
            format!("{path} was {}, and is {}{by}", text(before), text(after))
        }
        What::Setting(Setting::File { path, change }) => match change {
            FileChange::Created => format!("{path} is new"),
            FileChange::Written => format!("{path} was written"),
            FileChange::Removed => format!("{path} was removed"),
            FileChange::Attributes => format!("{path} has another owner, mode or time"),
        },
        What::Heartbeat(h) => {
            format!("kmodtrail watches: {} modules, {} events, {} kernel records lost", h.modules, h.events, h.lost)
        }
        What::Started(Started { version, kernel, probes }) => match probes {
            Probes::Attached { unwatched_for: None, .. } => format!("kmodtrail {version} watches the kernel {kernel}"),
            Probes::Attached { unwatched_for: Some(gap), .. } => {
                format!("kmodtrail {version} watches the kernel {kernel} again: nobody did for {} ms", gap / 1_000_000)
            }
            Probes::Adopted(left) | Probes::Replaced(left) => format!(
                "kmodtrail {version} goes on watching the kernel {kernel}: {} records have waited, nobody was there for {} ms",
                left.waiting,
                left.unread_for / 1_000_000
            ),
        },
        What::Coverage(c) => {
            let count = |f: fn(&HookState) -> bool| c.hooks.iter().filter(|h| f(&h.state)).count();
            let missing = count(|s| matches!(s, HookState::Missing { .. }));
            let fallback = count(|s| matches!(s, HookState::Fallback { .. }));
            let attached = count(|s| matches!(s, HookState::Attached { .. }));
            format!("{attached} hooks are attached, {fallback} have a fallback, {missing} are missing")
        }
        What::Lost(l) => {
            format!("{} kernel records \"{}\" did not fit into the ring buffer and are lost", l.count, l.record)
        }
        What::Dropped(d) => {
            let of = d.event.as_ref().map(|event| format!(" {event:?}")).unwrap_or_default();
            let route = d.route.as_ref().map(|route| format!(" (route {route:?})")).unwrap_or_default();
            format!("{} records{of} do not reach the sink {:?}{route}: {}", d.count, d.sink, d.reason.sentence())
        }
        What::Stopped(s) => format!("kmodtrail stopped watching: {}", s.reason),
    }
}

fn who(event: &Event) -> String {
    let process = event.process.as_deref().map_or_else(|| "an unknown process".to_owned(), name);
    match &event.requester {
        Some(requester) => format!("{process} for {}", name(requester)),
        None => process,
    }
}

fn name(p: &Process) -> String {
    let user = match &p.effective_user {
        Some(name) => name.to_string(),
        None => format!("uid {}", p.euid),
    };
    // the command name is what people know it by ("modprobe"), but a process may call itself what it likes
    let (comm, program) = (p.comm.as_str(), p.name());
    if program.starts_with(comm) {
        format!("{program}[{}] ({user})", p.id.pid)
    } else {
        format!("{comm}[{}] ({program}, {user})", p.id.pid)
    }
}

fn signature(state: SignatureState) -> &'static str {
    match state {
        SignatureState::Valid => "valid",
        SignatureState::Unsigned => "it has none",
        SignatureState::UntrustedKey => "made with a key that this kernel does not trust",
        SignatureState::Bad => "bad",
        SignatureState::Unsupported => "of a kind that this kernel does not support",
        SignatureState::NotChecked => "not checked by this kernel",
        SignatureState::Unknown => "unknown",
    }
}

fn outcome_text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Success => "done".to_owned(),
        Outcome::Failure(None) => "failed".to_owned(),
        Outcome::Failure(Some(errno)) => format!("failed ({})", errno_name(errno)),
        Outcome::Refused(errno, None) => format!("refused ({})", errno_name(errno)),
        Outcome::Refused(errno, Some(by)) => {
            format!("refused by {} ({})", by.name().replace('_', " "), errno_name(errno))
        }
        Outcome::Unknown => "what became of it was not seen".to_owned(),
    }
}

fn load(l: &Load, who: &str) -> String {
    let from = match (&l.file, l.source) {
        (Some(file), _) => format!(" from {}", file.path),
        (None, Some(LoadSource::Memory)) => " from memory".to_owned(),
        _ => String::new(),
    };
    let subject = l.module.as_ref().map_or_else(|| "a module".to_owned(), |m| format!("the module {}", m.name));
    if l.outcome != Outcome::Success {
        return format!("{who} tried to load {subject}{from}: {}", outcome_text(l.outcome));
    }
    let signed = match l.signature.state {
        SignatureState::Unknown => String::new(),
        SignatureState::Unsigned => ", unsigned".to_owned(),
        state => format!(", signature {}", signature(state)),
    };
    let taints = l.module.as_ref().and_then(|m| m.taints).filter(|t| !t.is_empty());
    let taints = taints.map(|t| format!(", taints {}", t.letters())).unwrap_or_default();
    let claims = l.contents.as_ref().is_some_and(|c| c.info.intree) && l.signature.state != SignatureState::Valid;
    let claims = if claims { ", says that it is of the kernel's tree" } else { "" };
    format!("{who} loaded {subject}{from}{signed}{taints}{claims}")
}
