//! An event as attributes of the registry: their names and values, no wire format yet.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use opentelemetry_semantic_conventions::attribute as otel;

use super::{Event, File, HookState, ModuleFacts, Process, ProcessId, Text, Verdict, What, names};

/// Where attributes go.
pub type Attributes<'v> = &'v mut dyn FnMut(&'static str, Value<'_>);

/// An attribute's value: what OpenTelemetry's AnyValue can hold of what we need.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A string.
    String(Cow<'a, str>),
    /// An integer.
    Int(i64),
    /// A truth.
    Bool(bool),
    /// Several.
    Array(Vec<Self>),
    /// Names and values.
    Map(Vec<(&'static str, Self)>),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(v: &'a str) -> Self {
        Self::String(v.into())
    }
}
impl From<String> for Value<'_> {
    fn from(v: String) -> Self {
        Self::String(v.into())
    }
}
impl<'a> From<&'a Text> for Value<'a> {
    fn from(v: &'a Text) -> Self {
        v.as_str().into()
    }
}
impl From<bool> for Value<'_> {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}
impl From<u32> for Value<'_> {
    fn from(v: u32) -> Self {
        Self::Int(v.into())
    }
}
impl From<i32> for Value<'_> {
    fn from(v: i32) -> Self {
        Self::Int(v.into())
    }
}
impl From<u64> for Value<'_> {
    /// OpenTelemetry has signed integers only; the bits of a mask stay as they are.
    fn from(v: u64) -> Self {
        Self::Int(v.cast_signed())
    }
}
impl<'a, T: Into<Value<'a>>> FromIterator<T> for Value<'a> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

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
    /// Flags that say something only where they are true.
    fn when(&mut self, name: &'static str, flag: bool) {
        if flag {
            self.set(name, true);
        }
    }
}

pub(super) fn but_process(event: &Event, visit: Attributes<'_>) {
    let mut put = Put(visit);
    put.set(otel::LOG_RECORD_UID, event.id().to_string());
    what(event, &mut put);
    put.set(names::BOOT_TIME, event.time.boot);
    put.set(names::EPOCH, event.origin.epoch_text());
    put.set(names::CPU, event.origin.cpu);
    put.set(names::SEQUENCE, event.origin.sequence);
    if !event.missing.is_empty() {
        put.set(names::MISSING, event.missing.iter().map(String::as_str).collect::<Value<'_>>());
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
            put.set(names::HELPER_ARGUMENTS, h.arguments.iter().collect::<Value<'_>>());
            put.maybe(names::HELPER_PID, h.task);
            put.set(names::HELPER_WAITED_FOR, h.waited_for);
            put.maybe(names::HELPER_EXIT_STATUS, h.exit_status);
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
            put.set(names::MODULE_SIGNATURE_STATE, v.state.name());
            errno(v.errno, put);
        }
        What::Load(l) => {
            put.maybe(names::MODULE_NAME, l.module.as_ref().map(|m| &m.name));
            put.maybe(names::MODULE_ALIAS, l.alias.as_ref());
            put.set(names::MODULE_OUTCOME, l.outcome.name());
            if let super::Outcome::Refused(_, Some(refusal)) = l.outcome {
                put.set(names::MODULE_REFUSAL, refusal.name());
            }
            errno(l.outcome.errno(), put);
            put.maybe(names::MODULE_SYSCALL, l.syscall.map(super::Syscall::name));
            put.when(names::MODULE_SYSCALL_COMPAT, l.compat);
            put.set(names::MODULE_FLAGS, l.flags.names().into_iter().collect::<Value<'_>>());
            put.maybe(names::MODULE_SOURCE, l.source.map(super::LoadSource::name));
            of_file(l.file.as_ref(), put);
            put.maybe(names::MODULE_IMAGE_SIZE, l.image_size);
            of_module(l.module.as_ref(), put);
            put.set(names::MODULE_SIGNATURE_STATE, l.signature.name());
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
            put.set(names::MODULE_FLAGS, u.flags.names().into_iter().collect::<Value<'_>>());
            of_module(u.module.as_ref(), put);
            put.maybe(names::MODULE_DURATION, u.duration);
        }
        What::Started(s) => {
            put.set(otel::SERVICE_VERSION, s.version);
            put.set(otel::OS_VERSION, &s.kernel);
        }
        What::Coverage(c) => put.set(names::HOOKS, Value::Array(c.hooks.iter().map(of_hook).collect())),
        What::Lost(l) => {
            put.set(names::LOST_EVENT, l.event);
            put.set(names::LOST_RECORD, l.record);
            put.set(names::LOST_COUNT, l.count);
        }
        What::Stopped(s) => {
            put.set(names::STOPPED_REASON, s.reason.as_str());
            put.set(names::STOPPED_EVENTS, s.events);
            put.set(names::STOPPED_KERNEL_RECORDS, s.kernel_records);
            put.set(names::STOPPED_LOST, s.lost);
        }
    }
}

fn of_hook(hook: &super::HookStatus) -> Value<'_> {
    let mut map = vec![("hook", Value::from(hook.name))];
    match &hook.state {
        HookState::Attached { symbol } => {
            map.extend([("state", "attached".into()), ("symbol", symbol.as_str().into())]);
        }
        HookState::Fallback { reason, by } => {
            map.extend([("state", "fallback".into()), ("by", (*by).into()), ("reason", reason.as_str().into())]);
        }
        HookState::Missing { reason, costs } => {
            map.extend([("state", "missing".into()), ("costs", (*costs).into()), ("reason", reason.as_str().into())]);
        }
        HookState::NotNeeded { reason } => {
            map.extend([("state", "not_needed".into()), ("reason", reason.as_str().into())]);
        }
    }
    Value::Map(map)
}

/// `error.type` is the errno's name, as the semantic conventions want a low-cardinality class of error.
fn errno(errno: Option<i32>, put: &mut Put<'_>) {
    put.maybe(names::MODULE_ERRNO, errno);
    if let Some(errno) = errno.filter(|&e| e != 0) {
        put.set(otel::ERROR_TYPE, errno_name(errno));
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
    put.set(otel::FILE_INODE, file.inode.to_string());
    put.set(otel::FILE_MODE, format!("{:04o}", file.mode & 0o7777));
    put.set(otel::FILE_OWNER_ID, file.uid.to_string());
    put.set(otel::FILE_SIZE, file.size);
    put.set(names::MODULE_DEVICE, format!("{}:{}", file.device.0, file.device.1));
    put.set(names::MODULE_LINKS, file.links);
}

fn of_module(module: Option<&ModuleFacts>, put: &mut Put<'_>) {
    let Some(module) = module else { return };
    put.maybe(names::MODULE_VERSION, module.version.as_ref());
    put.maybe(names::MODULE_SRCVERSION, module.srcversion.as_ref());
    if let Some(taints) = module.taints {
        put.set(names::MODULE_TAINTS_MASK, taints.0);
        put.set(names::MODULE_TAINTS_LETTERS, taints.letters());
        put.set(names::MODULE_TAINTS_NAMES, taints.names().into_iter().collect::<Value<'_>>());
    }
    put.maybe(names::MODULE_SIGNATURE_OK, module.sig_ok);
}

fn time_text(wall: u64) -> String {
    humantime::format_rfc3339_nanos(SystemTime::UNIX_EPOCH + Duration::from_nanos(wall)).to_string()
}

fn exec_id(boot_id: &str, id: ProcessId) -> String {
    format!("{boot_id}:{}:{}", id.start, id.pid)
}

pub(super) fn of_process(process: &Process, boot_id: &str, visit: Attributes<'_>) {
    let mut put = Put(visit);
    put.set(otel::PROCESS_PID, process.id.pid);
    put.set(otel::PROCESS_VPID, process.namespace_pid);
    put.set(otel::THREAD_ID, process.thread_id);
    put.set(otel::THREAD_NAME, &process.comm);
    put.set(otel::PROCESS_EXECUTABLE_NAME, process.name());
    put.maybe(otel::PROCESS_EXECUTABLE_PATH, process.executable.as_ref());
    put.when(names::PROCESS_EXECUTABLE_DELETED, process.executable_deleted);
    if let Some(arguments) = &process.arguments {
        put.set(otel::PROCESS_COMMAND_ARGS, arguments.list.iter().collect::<Value<'_>>());
        if arguments.cut {
            put.set(names::PROCESS_ARGUMENTS_CUT, true);
            put.set(names::PROCESS_ARGUMENTS_LENGTH, arguments.length);
        }
    }
    put.maybe(otel::PROCESS_WORKING_DIRECTORY, process.working_directory.as_ref());
    put.set(otel::PROCESS_CREATION_TIME, time_text(process.started));
    put.set(names::PROCESS_EXEC_ID, exec_id(boot_id, process.id));
    // the semantic conventions' `user` is the effective one
    put.set(otel::PROCESS_USER_ID, process.euid);
    put.maybe(otel::PROCESS_USER_NAME, process.effective_user.as_ref());
    put.set(otel::PROCESS_REAL_USER_ID, process.uid);
    put.maybe(otel::PROCESS_REAL_USER_NAME, process.user.as_ref());
    put.set(names::PROCESS_GROUP_ID, process.egid);
    put.set(names::PROCESS_REAL_GROUP_ID, process.gid);
    put.maybe(names::PROCESS_LOGIN_USER_ID, process.login_uid);
    put.maybe(names::PROCESS_LOGIN_USER_NAME, process.login_user.as_ref());
    put.maybe(names::PROCESS_AUDIT_SESSION, process.audit_session);
    put.set(names::PROCESS_CAPABILITIES, format!("{:016x}", process.capabilities));
    put.set(names::PROCESS_CGROUP_ID, process.cgroup.id);
    put.maybe(names::PROCESS_CGROUP_PATH, process.cgroup.path.as_ref());
    put.maybe(names::PROCESS_NAMESPACE_USER, process.namespaces.user);
    put.maybe(names::PROCESS_NAMESPACE_MOUNT, process.namespaces.mount);
    put.maybe(names::PROCESS_NAMESPACE_PID, process.namespaces.pid);
    put.maybe(names::PROCESS_NAMESPACE_NET, process.namespaces.net);
    put.when(names::PROCESS_KERNEL_THREAD, process.kernel_thread);
    if let Some(parent) = process.parent() {
        put.set(otel::PROCESS_PARENT_PID, parent.id.pid);
        put.set(names::PARENT_EXEC_ID, exec_id(boot_id, parent.id));
        put.set(names::PARENT_COMM, &parent.comm);
        put.maybe(names::PARENT_EXECUTABLE_PATH, parent.executable.as_ref());
        put.set(names::PARENT_USER_ID, parent.uid);
        put.set(names::PARENT_CREATION_TIME, time_text(parent.started));
    }
    if !process.ancestors.is_empty() {
        let map = |a: &super::Ancestor| {
            let mut map = vec![
                (otel::PROCESS_PID, a.id.pid.into()),
                (otel::PROCESS_CREATION_TIME, time_text(a.started).into()),
                (otel::PROCESS_REAL_USER_ID, a.uid.into()),
                (otel::THREAD_NAME, a.comm.as_str().to_owned().into()),
            ];
            map.extend(a.executable.as_ref().map(|e| (otel::PROCESS_EXECUTABLE_PATH, e.as_str().to_owned().into())));
            Value::Map(map)
        };
        put.set(names::ANCESTORS, Value::Array(process.ancestors.iter().map(map).collect()));
    }
}
