//! Our own attribute names. OpenTelemetry's come from `opentelemetry_semantic_conventions`; what these mean stands in
//! config/registry/, and a test holds the two together.

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) const $name: &str = $text;)*
        #[cfg(test)]
        pub(super) const ALL: &[&str] = &[$($text,)*];
    };
}

names! {
    MODULE_NAME = "linux.kernel_module.name";
    MODULE_ALIAS = "linux.kernel_module.alias";
    MODULE_OUTCOME = "linux.kernel_module.outcome";
    MODULE_REFUSAL = "linux.kernel_module.refusal";
    MODULE_ERRNO = "linux.kernel_module.errno";
    MODULE_SYSCALL = "linux.kernel_module.syscall";
    MODULE_SYSCALL_COMPAT = "linux.kernel_module.syscall.compat";
    MODULE_FLAGS = "linux.kernel_module.flags";
    MODULE_SOURCE = "linux.kernel_module.source";
    MODULE_COMPRESSED = "linux.kernel_module.compressed";
    MODULE_DURATION = "linux.kernel_module.duration_ns";
    MODULE_IMAGE_SIZE = "linux.kernel_module.image.size";
    MODULE_READ_SIZE = "linux.kernel_module.read.size";
    MODULE_PATH_CUT = "linux.kernel_module.file.path_cut";
    MODULE_DEVICE = "linux.kernel_module.file.device";
    MODULE_LINKS = "linux.kernel_module.file.links";
    MODULE_TAINTS_MASK = "linux.kernel_module.taints.mask";
    MODULE_TAINTS_LETTERS = "linux.kernel_module.taints.letters";
    MODULE_TAINTS_NAMES = "linux.kernel_module.taints.names";
    MODULE_SIGNATURE_OK = "linux.kernel_module.signature.ok";
    MODULE_SIGNATURE_STATE = "linux.kernel_module.signature.state";
    MODULE_PARAMETERS = "linux.kernel_module.parameters";
    MODULE_PARAMETERS_CUT = "linux.kernel_module.parameters_cut";
    MODULE_VERSION = "linux.kernel_module.version";
    MODULE_SRCVERSION = "linux.kernel_module.srcversion";
    MODULE_VERDICT = "linux.kernel_module.verdict";
    HELPER_PATH = "linux.kernel_module.helper.path";
    HELPER_ARGUMENTS = "linux.kernel_module.helper.arguments";
    HELPER_EXIT_STATUS = "linux.kernel_module.helper.exit_status";
    HELPER_PID = "linux.kernel_module.helper.pid";
    HELPER_WAITED_FOR = "linux.kernel_module.helper.waited_for";
    PROCESS_EXEC_ID = "linux.process.exec_id";
    PROCESS_EXECUTABLE_DELETED = "linux.process.executable.deleted";
    PROCESS_ARGUMENTS_CUT = "linux.process.arguments_cut";
    PROCESS_ARGUMENTS_LENGTH = "linux.process.arguments_length";
    PROCESS_GROUP_ID = "linux.process.group.id";
    PROCESS_REAL_GROUP_ID = "linux.process.real_group.id";
    PROCESS_LOGIN_USER_ID = "linux.process.login_user.id";
    PROCESS_LOGIN_USER_NAME = "linux.process.login_user.name";
    PROCESS_AUDIT_SESSION = "linux.process.audit_session.id";
    PROCESS_CAPABILITIES = "linux.process.capabilities.effective";
    PROCESS_CGROUP_ID = "linux.process.cgroup.id";
    PROCESS_CGROUP_PATH = "linux.process.cgroup.path";
    PROCESS_NAMESPACE_USER = "linux.process.namespaces.user";
    PROCESS_NAMESPACE_MOUNT = "linux.process.namespaces.mnt";
    PROCESS_NAMESPACE_PID = "linux.process.namespaces.pid";
    PROCESS_NAMESPACE_NET = "linux.process.namespaces.net";
    PROCESS_KERNEL_THREAD = "linux.process.kernel_thread";
    PARENT_EXEC_ID = "linux.process.parent.exec_id";
    PARENT_EXECUTABLE_PATH = "linux.process.parent.executable.path";
    PARENT_COMM = "linux.process.parent.comm";
    PARENT_USER_ID = "linux.process.parent.real_user.id";
    PARENT_CREATION_TIME = "linux.process.parent.creation.time";
    ANCESTORS = "linux.process.ancestors";
    BOOT_TIME = "kmodtrail.boot_time_ns";
    EPOCH = "kmodtrail.epoch";
    CPU = "kmodtrail.cpu";
    SEQUENCE = "kmodtrail.sequence";
    LOST_COUNT = "kmodtrail.lost.count";
    LOST_EVENT = "kmodtrail.lost.event";
    LOST_RECORD = "kmodtrail.lost.record";
    DROPPED_SINK = "kmodtrail.dropped.sink";
    DROPPED_ROUTE = "kmodtrail.dropped.route";
    DROPPED_EVENT = "kmodtrail.dropped.event";
    DROPPED_REASON = "kmodtrail.dropped.reason";
    DROPPED_KEY = "kmodtrail.dropped.key";
    DROPPED_COUNT = "kmodtrail.dropped.count";
    MISSING = "kmodtrail.enrichment.missing";
    HOOKS = "kmodtrail.hooks";
    STOPPED_REASON = "kmodtrail.stopped.reason";
    STOPPED_EVENTS = "kmodtrail.stopped.events";
    STOPPED_KERNEL_RECORDS = "kmodtrail.stopped.kernel_records";
    STOPPED_LOST = "kmodtrail.stopped.lost";
}
