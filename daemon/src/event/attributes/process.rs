//! A process, and where it runs.

use std::fmt;

use opentelemetry_semantic_conventions::attribute as otel;

use super::{Put, time};
use crate::event::{Ancestor, Attributes, Items, Place, Process, ProcessId, QosClass, Runtime, Value, names};

/// `linux.process.exec_id`.
struct ExecId<'a>(&'a str, ProcessId);

impl fmt::Display for ExecId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.0, self.1.start, self.1.pid)
    }
}

pub(in crate::event) fn of_process(process: &Process, boot_id: &str, visit: Attributes<'_>) {
    let mut put = Put(visit);
    put.set(otel::PROCESS_PID, process.id.pid);
    put.set(otel::PROCESS_VPID, process.namespace_pid);
    put.set(otel::THREAD_ID, process.thread_id);
    put.set(otel::THREAD_NAME, &process.comm);
    put.set(otel::PROCESS_EXECUTABLE_NAME, process.name());
    put.maybe(otel::PROCESS_EXECUTABLE_PATH, process.executable.as_ref());
    put.when(names::PROCESS_EXECUTABLE_DELETED, process.executable_deleted);
    if let Some(arguments) = &process.arguments {
        put.each(otel::PROCESS_COMMAND_ARGS, &arguments.list);
        if arguments.cut {
            put.set(names::PROCESS_ARGUMENTS_CUT, true);
            put.set(names::PROCESS_ARGUMENTS_LENGTH, arguments.length);
        }
    }
    put.maybe(otel::PROCESS_WORKING_DIRECTORY, process.working_directory.as_ref());
    put.set(otel::PROCESS_CREATION_TIME, format_args!("{}", time(process.started)));
    put.set(names::PROCESS_EXEC_ID, format_args!("{}", ExecId(boot_id, process.id)));
    // the semantic conventions' `user` is the effective one
    put.set(otel::PROCESS_USER_ID, process.euid);
    put.maybe(otel::PROCESS_USER_NAME, process.effective_user.as_ref());
    put.set(otel::PROCESS_REAL_USER_ID, process.uid);
    put.maybe(otel::PROCESS_REAL_USER_NAME, process.user.as_ref());
    put.set(names::PROCESS_GROUP_ID, process.egid);
    put.maybe(names::PROCESS_GROUP_NAME, process.effective_group.as_ref());
    put.set(names::PROCESS_REAL_GROUP_ID, process.gid);
    put.maybe(names::PROCESS_REAL_GROUP_NAME, process.group.as_ref());
    put.maybe(names::PROCESS_LOGIN_USER_ID, process.login_uid);
    put.maybe(names::PROCESS_LOGIN_USER_NAME, process.login_user.as_ref());
    put.maybe(names::PROCESS_AUDIT_SESSION, process.audit_session);
    put.maybe(otel::PROCESS_SESSION_LEADER_PID, process.session_leader);
    put.maybe(names::PROCESS_TTY, process.tty.as_ref());
    put.set(names::PROCESS_CAPABILITIES, format_args!("{:016x}", process.capabilities));
    put.set(names::PROCESS_CGROUP_ID, process.cgroup.id);
    put.maybe(names::PROCESS_CGROUP_PATH, process.cgroup.path.as_ref());
    of_place(&process.place, &mut put);
    put.maybe(names::PROCESS_NAMESPACE_USER, process.namespaces.user);
    put.set(names::PROCESS_NAMESPACE_USER_LEVEL, process.namespaces.user_level);
    put.maybe(names::PROCESS_NAMESPACE_MOUNT, process.namespaces.mount);
    put.maybe(names::PROCESS_NAMESPACE_PID, process.namespaces.pid);
    put.maybe(names::PROCESS_NAMESPACE_NET, process.namespaces.net);
    if let Some(of_host) = &process.host_namespaces {
        put.each(names::PROCESS_NAMESPACES_OF_HOST, of_host.iter().copied());
    }
    put.when(names::PROCESS_KERNEL_THREAD, process.kernel_thread);
    if let Some(parent) = process.parent() {
        put.set(otel::PROCESS_PARENT_PID, parent.id.pid);
        put.set(names::PARENT_EXEC_ID, format_args!("{}", ExecId(boot_id, parent.id)));
        put.set(names::PARENT_COMM, &parent.comm);
        put.maybe(names::PARENT_EXECUTABLE_PATH, parent.executable.as_ref());
        put.set(names::PARENT_USER_ID, parent.uid);
        put.set(names::PARENT_CREATION_TIME, format_args!("{}", time(parent.started)));
    }
    if !process.ancestors.is_empty() {
        put.set(names::ANCESTORS, Value::Array(&|put| process.ancestors.iter().for_each(|a| of_ancestor(a, put))));
    }
}

fn of_place(place: &Place, put: &mut Put<'_>) {
    put.maybe(names::UNIT_NAME, place.unit.as_ref());
    put.maybe(names::SLICE, place.slice.as_ref());
    put.maybe(names::USER_UNIT, place.user_unit.as_ref());
    put.maybe(names::SESSION, place.session.as_ref());
    if let Some(container) = &place.container {
        let details = &container.details;
        put.set(otel::CONTAINER_ID, &container.id);
        put.maybe(otel::CONTAINER_RUNTIME_NAME, container.runtime.map(Runtime::name));
        put.maybe(otel::CONTAINER_NAME, details.name.as_ref());
        put.maybe(otel::CONTAINER_IMAGE_NAME, details.image_name.as_ref());
        put.some(otel::CONTAINER_IMAGE_TAGS, &details.image_tags);
        put.maybe(otel::CONTAINER_IMAGE_ID, details.image_id.as_ref());
        put.some(otel::CONTAINER_IMAGE_REPO_DIGESTS, &details.image_digests);
        if let Some(started) = details.started {
            put.set(names::CONTAINER_START_TIME, format_args!("{}", time(started)));
        }
        put.maybe(names::CONTAINER_PID, details.pid);
    }
    let Some(pod) = &place.pod else { return };
    put.maybe(otel::K8S_POD_UID, Some(&pod.uid).filter(|uid| !uid.is_empty()));
    put.maybe(names::POD_QOS_CLASS, pod.qos.map(QosClass::name));
    put.maybe(otel::K8S_NAMESPACE_NAME, pod.namespace.as_ref());
    put.maybe(otel::K8S_POD_NAME, pod.name.as_ref());
    put.maybe(otel::K8S_CONTAINER_NAME, pod.container.as_ref());
    put.some(names::POD_LABELS, &pod.labels);
    if let Some(workload) = &pod.workload {
        put.set(names::WORKLOAD_KIND, workload.kind.name());
        put.set(names::WORKLOAD_NAME, &workload.name);
    }
}

fn of_ancestor(ancestor: &Ancestor, put: Items<'_>) {
    put(Value::Map(&|put| {
        let mut put = Put(put);
        put.set(otel::PROCESS_PID, ancestor.id.pid);
        put.set(otel::PROCESS_CREATION_TIME, format_args!("{}", time(ancestor.started)));
        put.set(otel::PROCESS_REAL_USER_ID, ancestor.uid);
        put.set(otel::THREAD_NAME, &ancestor.comm);
        put.maybe(otel::PROCESS_EXECUTABLE_PATH, ancestor.executable.as_ref());
        if let Some(arguments) = &ancestor.arguments {
            put.each(otel::PROCESS_COMMAND_ARGS, &arguments.list);
            put.when(names::PROCESS_ARGUMENTS_CUT, arguments.cut);
        }
    }));
}
