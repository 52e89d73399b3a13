//! An event as attributes of the registry: their names and values, no wire format yet.

mod process;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use opentelemetry_semantic_conventions::attribute as otel;

pub(super) use self::process::of_process;
use super::{
    Appended, Attributes, Event, File, HookState, Inventory, Items, KernelTaints, ModuleFacts, ModuleFile, Package,
    Probes, Setting, Signature, Taints, Text, Value, Verdict, What, names,
};

/// Calls the visitor, leaving out what there is none of.
struct Put<'v>(Attributes<'v>);

impl Put<'_> {
    fn set<'a>(&mut self, name: &'static str, value: impl Into<Value<'a>>) {
        (self.0)(name, value.into());
    }
    fn maybe<'a>(&mut self, name: &'static str, value: Option<impl Into<Value<'a>>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }
    fn each<'a, T: Into<Value<'a>>>(&mut self, name: &'static str, values: impl IntoIterator<Item = T> + Clone) {
        self.set(name, Value::Array(&|put| values.clone().into_iter().for_each(|v| put(v.into()))));
    }
    /// As [`Self::each`], where there are any.
    fn some(&mut self, name: &'static str, values: &[Text]) {
        if !values.is_empty() {
            self.each(name, values);
        }
    }
    /// Flags that say something only where they are true.
    fn when(&mut self, name: &'static str, flag: bool) {
        if flag {
            self.set(name, true);
        }
    }
}

pub(super) fn but_process(event: &Event, visit: Attributes<'_>) {
    let mut put = Put(visit);
    put.set(otel::LOG_RECORD_UID, format_args!("{}", event.id()));
    what(event, &mut put);
    put.maybe(names::PARENT_SPAN_ID, event.parent.map(|p| p.to_string()).as_ref());
    put.set(names::BOOT_TIME, event.time.boot);
    put.set(names::EPOCH, format_args!("{:016x}", event.origin.epoch));
    put.set(names::CPU, event.origin.cpu);
    put.set(names::SEQUENCE, event.origin.sequence);
    if !event.missing.is_empty() {
        put.each(names::MISSING, &event.missing);
    }
}

fn what(event: &Event, put: &mut Put<'_>) {
    match &event.what {
        What::Request(r) => {
            put.set(names::MODULE_ALIAS, &r.alias);
            verdict(r.verdict, put);
        }
        What::Helper(h) => {
            put.maybe(names::MODULE_ALIAS, h.alias.as_ref());
            put.set(names::HELPER_PATH, &h.path);
            put.each(names::HELPER_ARGUMENTS, &h.arguments);
            put.maybe(names::HELPER_PID, h.task);
            put.set(names::HELPER_WAITED_FOR, h.waited_for);
            put.maybe(names::HELPER_EXIT_STATUS, h.exit_status);
            put.set(names::HELPER_OUTCOME, h.outcome.name());
            if !h.unexpected.is_empty() {
                put.each(names::HELPER_UNEXPECTED, &h.unexpected);
            }
            put.maybe(names::MODULE_DURATION, h.duration);
        }
        What::Read(r) => {
            put.set(names::MODULE_SOURCE, r.file.as_ref().map_or("memory", |f| f.source.name()));
            of_file(r.file.as_ref(), put);
            put.maybe(names::MODULE_READ_SIZE, r.bytes);
            put.set(names::MODULE_COMPRESSED, r.compressed);
            verdict(r.verdict, put);
        }
        What::Verify(v) => {
            put.maybe(names::MODULE_NAME, v.name.as_ref());
            of_file(v.file.as_ref(), put);
            signature(&v.signature, put);
            errno(v.errno, put);
        }
        What::Load(l) => {
            put.maybe(names::MODULE_NAME, l.name());
            put.maybe(names::MODULE_ALIAS, l.alias.as_ref());
            put.set(names::MODULE_OUTCOME, l.outcome.name());
            if let super::Outcome::Refused(_, Some(refusal)) = l.outcome {
                put.set(names::MODULE_REFUSAL, refusal.name());
            }
            errno(l.outcome.errno(), put);
            put.when(names::MODULE_JOINED, l.joined);
            put.maybe(names::MODULE_SYSCALL, l.syscall.map(super::Syscall::name));
            put.when(names::MODULE_SYSCALL_COMPAT, l.compat);
            put.each(names::MODULE_FLAGS, &l.flags.names());
            put.maybe(names::MODULE_SOURCE, l.source.map(super::LoadSource::name));
            of_file(l.file.as_ref(), put);
            put.maybe(names::MODULE_IMAGE_SIZE, l.image_size);
            of_module(l.module.as_ref(), put);
            if let Some(contents) = &l.contents {
                of_contents(contents, l.module.as_ref(), put);
            }
            signature(&l.signature, put);
            if let Some(taints) = l.kernel_taints {
                kernel_taints(taints, put);
            }
            if let Some(parameters) = &l.parameters {
                put.set(names::MODULE_PARAMETERS, &parameters.text);
                put.when(names::MODULE_PARAMETERS_CUT, parameters.cut);
            }
            put.maybe(names::MODULE_DURATION, l.duration);
        }
        What::Unload(u) => {
            put.set(names::MODULE_NAME, &u.name);
            put.set(names::MODULE_OUTCOME, u.outcome.name());
            if let super::Outcome::Refused(_, Some(refusal)) = u.outcome {
                put.set(names::MODULE_REFUSAL, refusal.name());
            }
            errno(u.outcome.errno(), put);
            put.set(names::MODULE_SYSCALL, super::Syscall::DeleteModule.name());
            put.each(names::MODULE_FLAGS, &u.flags.names());
            of_module(u.module.as_ref(), put);
            put.maybe(names::MODULE_REFERENCES, u.references);
            put.some(names::MODULE_HOLDERS, &u.holders);
            put.maybe(names::MODULE_DURATION, u.duration);
        }
        What::Taint(taints) => {
            put.each(names::KERNEL_TAINTS_ADDED, &taints.added().names());
            kernel_taints(*taints, put);
        }
        What::Inventory(i) => inventory(i, put),
        What::Hidden(h) => {
            put.set(names::MODULE_NAME, &h.name);
            put.each(names::HIDDEN_LISTED, h.listed.iter().copied());
            put.each(names::HIDDEN_MISSING, h.missing.iter().copied());
        }
        What::Setting(Setting::Value { path, before, after }) => {
            put.set(names::SETTING_PATH, path);
            put.set(names::SETTING_CHANGE, "value");
            put.maybe(names::SETTING_BEFORE, before.as_ref());
            put.maybe(names::SETTING_AFTER, after.as_ref());
        }
        What::Setting(Setting::File { path, change }) => {
            put.set(names::SETTING_PATH, path);
            put.set(names::SETTING_CHANGE, change.name());
        }
        What::Started(s) => {
            put.set(otel::SERVICE_VERSION, s.version);
            put.set(otel::OS_VERSION, &s.kernel);
            put.set(names::STARTED_PROBES, s.probes.name());
            match &s.probes {
                Probes::Attached { refused, unwatched_for } => {
                    put.maybe(names::STARTED_REFUSED, refused.as_deref());
                    put.maybe(names::STARTED_UNWATCHED_FOR, *unwatched_for);
                }
                Probes::Adopted(left) | Probes::Replaced(left) => {
                    put.set(names::STARTED_UNREAD_FOR, left.unread_for);
                    put.set(names::STARTED_WAITING, left.waiting);
                }
            }
        }
        What::Coverage(c) => put.set(names::HOOKS, Value::Array(&|put| c.hooks.iter().for_each(|h| of_hook(h, put)))),
        What::Heartbeat(h) => {
            put.set(names::HEARTBEAT_MODULES, h.modules);
            put.set(names::HEARTBEAT_DIGEST, &h.digest);
            put.set(names::HEARTBEAT_EVENTS, h.events);
            put.set(names::HEARTBEAT_KERNEL_RECORDS, h.kernel_records);
            put.set(names::HEARTBEAT_LOST, h.lost);
        }
        What::Lost(l) => {
            put.set(names::LOST_EVENT, l.event);
            put.set(names::LOST_RECORD, l.record);
            put.set(names::LOST_COUNT, l.count);
        }
        What::Dropped(d) => {
            put.set(names::DROPPED_SINK, &d.sink);
            put.maybe(names::DROPPED_ROUTE, d.route.as_ref());
            put.maybe(names::DROPPED_EVENT, d.event.as_ref());
            put.set(names::DROPPED_REASON, d.reason.name());
            put.maybe(names::DROPPED_KEY, d.key.as_ref());
            put.set(names::DROPPED_COUNT, d.count);
        }
        What::Stopped(s) => {
            put.set(names::STOPPED_REASON, s.reason.as_str());
            put.set(names::STOPPED_EVENTS, s.events);
            put.set(names::STOPPED_KERNEL_RECORDS, s.kernel_records);
            put.set(names::STOPPED_LOST, s.lost);
        }
    }
}

fn of_hook(hook: &super::HookStatus, put: Items<'_>) {
    put(Value::Map(&|put| {
        let mut put = Put(put);
        put.set("hook", hook.name);
        match &hook.state {
            HookState::Attached { symbol } => {
                put.set("state", "attached");
                put.set("symbol", symbol);
            }
            HookState::Fallback { reason, by } => {
                put.set("state", "fallback");
                put.set("by", *by);
                put.set("reason", reason);
            }
            HookState::Missing { reason, costs } => {
                put.set("state", "missing");
                put.set("costs", *costs);
                put.set("reason", reason);
            }
            HookState::NotNeeded { reason } => {
                put.set("state", "not_needed");
                put.set("reason", reason);
            }
        }
    }));
}

/// `error.type` is the errno's name, as the semantic conventions want a low-cardinality class of error.
fn errno(errno: Option<i32>, put: &mut Put<'_>) {
    put.maybe(names::MODULE_ERRNO, errno);
    if let Some(errno) = errno.filter(|&e| e != 0) {
        put.set(otel::ERROR_TYPE, &errno_name(errno));
    }
}

/// "EKEYREJECTED"; a number that has no name is "errno_524".
pub(super) fn errno_name(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("errno_{errno}"),
        known => format!("{known:?}"),
    }
}

fn verdict(verdict: Verdict, put: &mut Put<'_>) {
    match verdict {
        Verdict::Allowed => put.set(names::MODULE_VERDICT, "allowed"),
        Verdict::Unknown => put.set(names::MODULE_VERDICT, "unknown"),
        Verdict::Refused(number) => {
            put.set(names::MODULE_VERDICT, "refused");
            errno(Some(number), put);
        }
    }
}

fn of_file(file: Option<&File>, put: &mut Put<'_>) {
    let Some(file) = file else { return };
    put.set(otel::FILE_PATH, &file.path);
    put.when(names::MODULE_PATH_CUT, file.path_cut);
    // strings, by the semantic conventions
    put.set(otel::FILE_INODE, format_args!("{}", file.inode));
    put.set(otel::FILE_MODE, format_args!("{:04o}", file.mode & 0o7777));
    put.set(otel::FILE_OWNER_ID, format_args!("{}", file.uid));
    put.set(otel::FILE_SIZE, file.size);
    put.set(names::MODULE_DEVICE, format_args!("{}:{}", file.device.0, file.device.1));
    put.set(names::MODULE_LINKS, file.links);
}

fn inventory(module: &Inventory, put: &mut Put<'_>) {
    put.set(names::MODULE_NAME, &module.name);
    put.set(names::INVENTORY_BEFORE_START, module.before_start);
    put.maybe(names::INVENTORY_COUNT, module.count);
    put.set(names::MODULE_SIZE, module.size);
    put.maybe(names::MODULE_REFERENCES, module.references);
    put.maybe(names::MODULE_VERSION, module.version.as_ref());
    put.maybe(names::MODULE_SRCVERSION, module.srcversion.as_ref());
    if let Some(taints) = module.taints {
        module_taints(taints, put);
    }
    put.set(names::MODULE_SIGNATURE_STATE, module.signature.name());
    put.maybe(otel::FILE_PATH, module.path.as_ref());
}

fn module_taints(taints: Taints, put: &mut Put<'_>) {
    put.set(names::MODULE_TAINTS_MASK, taints.0);
    put.set(names::MODULE_TAINTS_LETTERS, &taints.letters());
    put.each(names::MODULE_TAINTS_NAMES, &taints.names());
}

fn of_module(module: Option<&ModuleFacts>, put: &mut Put<'_>) {
    let Some(module) = module else { return };
    put.maybe(names::MODULE_VERSION, module.version.as_ref());
    put.maybe(names::MODULE_SRCVERSION, module.srcversion.as_ref());
    if let Some(taints) = module.taints {
        module_taints(taints, put);
    }
    put.maybe(names::MODULE_SIGNATURE_OK, module.sig_ok);
}

/// What is known from the kernel already is not said again.
fn of_contents(contents: &ModuleFile, module: Option<&ModuleFacts>, put: &mut Put<'_>) {
    put.set(otel::FILE_MODIFIED, format_args!("{}", time(contents.modified)));
    put.maybe(names::MODULE_SHA256, contents.sha256.as_ref());
    put.maybe(names::MODULE_FILE_COMPRESSION, contents.compression);
    if contents.compression.is_some() {
        put.set(names::MODULE_FILE_SHA256, &contents.file_sha256);
    }
    put.maybe(names::MODULE_FILE_ERROR, contents.error.as_ref());
    if contents.error.is_none() {
        let info = &contents.info;
        if module.is_none_or(|m| m.version.is_none()) {
            put.maybe(names::MODULE_VERSION, info.version.as_ref());
        }
        if module.is_none_or(|m| m.srcversion.is_none()) {
            put.maybe(names::MODULE_SRCVERSION, info.srcversion.as_ref());
        }
        put.maybe(names::MODULE_LICENSE, info.license.as_ref());
        put.maybe(names::MODULE_AUTHOR, info.author.as_ref());
        put.maybe(names::MODULE_VERMAGIC, info.vermagic.as_ref());
        put.each(names::MODULE_DEPENDS, &info.depends);
        put.set(names::MODULE_INTREE, info.intree);
        put.set(names::MODULE_ALIASES, info.aliases);
        put.maybe(names::MODULE_BUILD_ID, info.build_id.as_ref());
    }
    match &contents.package {
        Some(Package::Owned { manager, name, version }) => {
            put.set(names::PACKAGE_OWNED, true);
            put.set(names::PACKAGE_MANAGER, *manager);
            put.set(names::PACKAGE_NAME, name);
            put.maybe(names::PACKAGE_VERSION, version.as_ref());
        }
        Some(Package::NotOwned) => put.set(names::PACKAGE_OWNED, false),
        Some(Package::Unknown(_)) | None => {}
    }
}

fn signature(signature: &Signature, put: &mut Put<'_>) {
    put.set(names::MODULE_SIGNATURE_STATE, signature.state.name());
    put.maybe(names::MODULE_SIGNATURE_ENFORCED, signature.enforced);
    put.maybe(names::MODULE_SIGNATURE_PRESENT, signature.appended.is_there());
    put.maybe(names::MODULE_SIGNATURE_KEYRING, signature.keyring);
    match &signature.appended {
        Appended::Block(block) => {
            put.maybe(names::MODULE_SIGNATURE_SIGNER, block.signer.as_ref());
            put.set(names::MODULE_SIGNATURE_KEY_ID, &block.key_id);
            put.set(names::MODULE_SIGNATURE_HASH, &block.hash_algorithm);
            if let Some(made) = block.time {
                put.set(names::MODULE_SIGNATURE_TIME, format_args!("{}", time(made)));
            }
        }
        Appended::Unreadable(why) => put.set(names::MODULE_SIGNATURE_ERROR, *why),
        Appended::Unknown | Appended::Nothing | Appended::Raw(_) => {}
    }
}

fn kernel_taints(taints: KernelTaints, put: &mut Put<'_>) {
    put.set(names::KERNEL_TAINTS_BEFORE, taints.before.0);
    put.set(names::KERNEL_TAINTS_AFTER, taints.after.0);
}

fn time(wall: u64) -> impl fmt::Display {
    humantime::format_rfc3339_nanos(SystemTime::UNIX_EPOCH + Duration::from_nanos(wall))
}
