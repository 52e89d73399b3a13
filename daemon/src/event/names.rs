//! Our own attribute names. OpenTelemetry's come from `opentelemetry_semantic_conventions`; what these mean stands in
//! config/registry/, and a test holds the two together.

use super::schema::Type::{self, Bool, Int, Maps, Taints, Text, Texts, Word};

macro_rules! names {
    ($($name:ident = $text:literal: $type:expr;)*) => {
        $(pub(crate) const $name: &str = $text;)*
        /// All of them, with their types.
        pub(super) const ALL: &[(&str, Type)] = &[$(($text, $type),)*];
    };
}

/// What the names of the requester's attributes begin with; its process's follow, in full.
pub(crate) const REQUESTER: &str = "linux.kernel_module.requester";

names! {
    MODULE_NAME = "linux.kernel_module.name": Text;
    MODULE_ALIAS = "linux.kernel_module.alias": Text;
    MODULE_OUTCOME = "linux.kernel_module.outcome": Word(&["success", "failure", "refused", "unknown"]);
    MODULE_REFUSAL = "linux.kernel_module.refusal": Word(&[
        "capability", "modules_disabled", "signature", "lockdown", "blacklist", "security_module",
    ]);
    MODULE_ERRNO = "linux.kernel_module.errno": Int;
    MODULE_SYSCALL = "linux.kernel_module.syscall": Word(&["init_module", "finit_module", "delete_module"]);
    MODULE_JOINED = "linux.kernel_module.joined": Bool;
    MODULE_SYSCALL_COMPAT = "linux.kernel_module.syscall.compat": Bool;
    MODULE_FLAGS = "linux.kernel_module.flags": Texts;
    MODULE_SOURCE = "linux.kernel_module.source": Word(&["file", "memory", "memfd", "deleted_file", "container_file"]);
    MODULE_COMPRESSED = "linux.kernel_module.compressed": Bool;
    MODULE_DURATION = "linux.kernel_module.duration_ns": Int;
    MODULE_IMAGE_SIZE = "linux.kernel_module.image.size": Int;
    MODULE_READ_SIZE = "linux.kernel_module.read.size": Int;
    MODULE_PATH_CUT = "linux.kernel_module.file.path_cut": Bool;
    MODULE_DEVICE = "linux.kernel_module.file.device": Text;
    MODULE_LINKS = "linux.kernel_module.file.links": Int;
    MODULE_TAINTS_MASK = "linux.kernel_module.taints.mask": Int;
    MODULE_TAINTS_LETTERS = "linux.kernel_module.taints.letters": Text;
    MODULE_TAINTS_NAMES = "linux.kernel_module.taints.names": Taints;
    MODULE_SIGNATURE_OK = "linux.kernel_module.signature.ok": Bool;
    MODULE_SIGNATURE_STATE = "linux.kernel_module.signature.state": Word(&[
        "valid", "unsigned", "untrusted_key", "bad", "unsupported", "not_checked", "unknown",
    ]);
    MODULE_SIGNATURE_ENFORCED = "linux.kernel_module.signature.enforced": Bool;
    MODULE_SIGNATURE_PRESENT = "linux.kernel_module.signature.present": Bool;
    MODULE_SIGNATURE_SIGNER = "linux.kernel_module.signature.signer": Text;
    MODULE_SIGNATURE_KEY_ID = "linux.kernel_module.signature.key_id": Text;
    MODULE_SIGNATURE_KEYRING = "linux.kernel_module.signature.keyring": Word(&[
        "builtin_trusted_keys", "machine", "platform", "secondary_trusted_keys",
    ]);
    MODULE_SIGNATURE_HASH = "linux.kernel_module.signature.hash_algorithm": Text;
    MODULE_SIGNATURE_TIME = "linux.kernel_module.signature.time": Text;
    MODULE_SIGNATURE_ERROR = "linux.kernel_module.signature.error": Text;
    KERNEL_TAINTS_BEFORE = "linux.kernel_module.kernel_taints.before": Int;
    KERNEL_TAINTS_AFTER = "linux.kernel_module.kernel_taints.after": Int;
    KERNEL_TAINTS_ADDED = "linux.kernel_module.kernel_taints.added": Taints;
    MODULE_PARAMETERS = "linux.kernel_module.parameters": Text;
    MODULE_PARAMETERS_CUT = "linux.kernel_module.parameters_cut": Bool;
    MODULE_VERSION = "linux.kernel_module.version": Text;
    MODULE_SRCVERSION = "linux.kernel_module.srcversion": Text;
    MODULE_LICENSE = "linux.kernel_module.license": Text;
    MODULE_AUTHOR = "linux.kernel_module.author": Text;
    MODULE_VERMAGIC = "linux.kernel_module.vermagic": Text;
    MODULE_DEPENDS = "linux.kernel_module.depends": Texts;
    MODULE_INTREE = "linux.kernel_module.intree": Bool;
    MODULE_ALIASES = "linux.kernel_module.aliases": Int;
    MODULE_BUILD_ID = "linux.kernel_module.build_id": Text;
    MODULE_SHA256 = "linux.kernel_module.hash.sha256": Text;
    MODULE_FILE_SHA256 = "linux.kernel_module.file.hash.sha256": Text;
    MODULE_FILE_COMPRESSION = "linux.kernel_module.file.compression": Word(&["gzip", "xz", "zstd"]);
    MODULE_FILE_ERROR = "linux.kernel_module.file.error": Text;
    PACKAGE_OWNED = "linux.kernel_module.package.owned": Bool;
    PACKAGE_MANAGER = "linux.kernel_module.package.manager": Word(&["dpkg", "rpm", "dkms"]);
    PACKAGE_NAME = "linux.kernel_module.package.name": Text;
    PACKAGE_VERSION = "linux.kernel_module.package.version": Text;
    MODULE_VERDICT = "linux.kernel_module.verdict": Word(&["allowed", "refused", "unknown"]);
    MODULE_SIZE = "linux.kernel_module.size": Int;
    MODULE_REFERENCES = "linux.kernel_module.references": Int;
    MODULE_HOLDERS = "linux.kernel_module.holders": Texts;
    INVENTORY_BEFORE_START = "linux.kernel_module.inventory.before_start": Bool;
    INVENTORY_COUNT = "linux.kernel_module.inventory.count": Int;
    HIDDEN_LISTED = "linux.kernel_module.hidden.listed": Texts;
    HIDDEN_MISSING = "linux.kernel_module.hidden.missing": Texts;
    SETTING_PATH = "linux.kernel_module.setting.path": Text;
    SETTING_CHANGE = "linux.kernel_module.setting.change": Word(&["value", "created", "written", "removed", "attributes"]);
    SETTING_BEFORE = "linux.kernel_module.setting.before": Text;
    SETTING_AFTER = "linux.kernel_module.setting.after": Text;
    PARENT_SPAN_ID = "linux.kernel_module.parent_span_id": Text;
    HELPER_PATH = "linux.kernel_module.helper.path": Text;
    HELPER_ARGUMENTS = "linux.kernel_module.helper.arguments": Texts;
    HELPER_EXIT_STATUS = "linux.kernel_module.helper.exit_status": Int;
    HELPER_PID = "linux.kernel_module.helper.pid": Int;
    HELPER_OUTCOME = "linux.kernel_module.helper.outcome": Word(&[
        "loaded", "failed", "nothing_found", "not_started", "unknown",
    ]);
    HELPER_UNEXPECTED = "linux.kernel_module.helper.unexpected": Texts;
    HELPER_WAITED_FOR = "linux.kernel_module.helper.waited_for": Bool;
    PROCESS_EXEC_ID = "linux.process.exec_id": Text;
    PROCESS_EXECUTABLE_DELETED = "linux.process.executable.deleted": Bool;
    PROCESS_ARGUMENTS_CUT = "linux.process.arguments_cut": Bool;
    PROCESS_ARGUMENTS_LENGTH = "linux.process.arguments_length": Int;
    PROCESS_GROUP_ID = "linux.process.group.id": Int;
    PROCESS_GROUP_NAME = "linux.process.group.name": Text;
    PROCESS_REAL_GROUP_ID = "linux.process.real_group.id": Int;
    PROCESS_REAL_GROUP_NAME = "linux.process.real_group.name": Text;
    PROCESS_LOGIN_USER_ID = "linux.process.login_user.id": Int;
    PROCESS_LOGIN_USER_NAME = "linux.process.login_user.name": Text;
    PROCESS_AUDIT_SESSION = "linux.process.audit_session.id": Int;
    PROCESS_TTY = "linux.process.tty": Text;
    PROCESS_CAPABILITIES = "linux.process.capabilities.effective": Text;
    PROCESS_CGROUP_ID = "linux.process.cgroup.id": Int;
    PROCESS_CGROUP_PATH = "linux.process.cgroup.path": Text;
    PROCESS_NAMESPACE_USER = "linux.process.namespaces.user": Int;
    PROCESS_NAMESPACE_USER_LEVEL = "linux.process.namespaces.user_level": Int;
    PROCESS_NAMESPACE_MOUNT = "linux.process.namespaces.mnt": Int;
    PROCESS_NAMESPACE_PID = "linux.process.namespaces.pid": Int;
    PROCESS_NAMESPACE_NET = "linux.process.namespaces.net": Int;
    PROCESS_NAMESPACES_OF_HOST = "linux.process.namespaces.of_host": Texts;
    PROCESS_KERNEL_THREAD = "linux.process.kernel_thread": Bool;
    PARENT_EXEC_ID = "linux.process.parent.exec_id": Text;
    PARENT_EXECUTABLE_PATH = "linux.process.parent.executable.path": Text;
    PARENT_COMM = "linux.process.parent.comm": Text;
    PARENT_USER_ID = "linux.process.parent.real_user.id": Int;
    PARENT_CREATION_TIME = "linux.process.parent.creation.time": Text;
    ANCESTORS = "linux.process.ancestors": Maps;
    UNIT_NAME = "systemd.unit.name": Text;
    SLICE = "systemd.slice": Text;
    USER_UNIT = "systemd.user_unit": Text;
    SESSION = "systemd.session": Text;
    CONTAINER_START_TIME = "linux.container.start_time": Text;
    CONTAINER_PID = "linux.container.pid": Int;
    POD_QOS_CLASS = "kmodtrail.k8s.pod.qos_class": Word(&["Guaranteed", "Burstable", "BestEffort"]);
    POD_LABELS = "kmodtrail.k8s.pod.labels": Texts;
    WORKLOAD_KIND = "kmodtrail.k8s.workload.kind": Word(&["Deployment", "DaemonSet", "StatefulSet", "Job"]);
    WORKLOAD_NAME = "kmodtrail.k8s.workload.name": Text;
    BOOT_TIME = "kmodtrail.boot_time_ns": Int;
    EPOCH = "kmodtrail.epoch": Text;
    CPU = "kmodtrail.cpu": Int;
    SEQUENCE = "kmodtrail.sequence": Int;
    LOST_COUNT = "kmodtrail.lost.count": Int;
    LOST_EVENT = "kmodtrail.lost.event": Text;
    LOST_RECORD = "kmodtrail.lost.record": Text;
    DROPPED_SINK = "kmodtrail.dropped.sink": Text;
    DROPPED_ROUTE = "kmodtrail.dropped.route": Text;
    DROPPED_EVENT = "kmodtrail.dropped.event": Text;
    DROPPED_REASON = "kmodtrail.dropped.reason": Word(&[
        "spool_full", "too_old", "damaged", "refused", "sampled", "rate_limited", "duplicate", "sink_removed", "unknown",
    ]);
    DROPPED_KEY = "kmodtrail.dropped.key": Text;
    DROPPED_COUNT = "kmodtrail.dropped.count": Int;
    MISSING = "kmodtrail.enrichment.missing": Texts;
    HOOKS = "kmodtrail.hooks": Maps;
    HEARTBEAT_MODULES = "kmodtrail.heartbeat.modules": Int;
    HEARTBEAT_DIGEST = "kmodtrail.heartbeat.digest": Text;
    HEARTBEAT_EVENTS = "kmodtrail.heartbeat.events": Int;
    HEARTBEAT_KERNEL_RECORDS = "kmodtrail.heartbeat.kernel_records": Int;
    HEARTBEAT_LOST = "kmodtrail.heartbeat.lost": Int;
    STARTED_PROBES = "kmodtrail.started.probes": Word(&["attached", "adopted", "replaced"]);
    STARTED_REFUSED = "kmodtrail.started.refused": Text;
    STARTED_UNWATCHED_FOR = "kmodtrail.started.unwatched_for_ns": Int;
    STARTED_UNREAD_FOR = "kmodtrail.started.unread_for_ns": Int;
    STARTED_WAITING = "kmodtrail.started.waiting": Int;
    STOPPED_REASON = "kmodtrail.stopped.reason": Text;
    STOPPED_EVENTS = "kmodtrail.stopped.events": Int;
    STOPPED_KERNEL_RECORDS = "kmodtrail.stopped.kernel_records": Int;
    STOPPED_LOST = "kmodtrail.stopped.lost": Int;
}
