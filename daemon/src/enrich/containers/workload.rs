//! What a pod was made for, by the labels that Kubernetes' own controllers set.
//!
//! The name is what the controller made the pod's name of; where that does not fit (a name that was too long and cut) nothing is said.

use std::collections::HashMap;

use crate::event::{Workload, WorkloadKind};

/// The workload of the pod of this name.
pub(super) fn of(pod: &str, labels: &HashMap<String, String>) -> Option<Workload> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let (kind, name) = if let Some(hash) = label("pod-template-hash") {
        // the ReplicaSet's name has the hash, the pod's a suffix behind it
        (WorkloadKind::Deployment, without_suffix(pod)?.strip_suffix(hash)?.strip_suffix('-')?)
    } else if let Some(job) = label("batch.kubernetes.io/job-name").or_else(|| label("job-name")) {
        (WorkloadKind::Job, job)
    } else if label("statefulset.kubernetes.io/pod-name").is_some() {
        (WorkloadKind::StatefulSet, without_suffix(pod)?)
    } else if label("pod-template-generation").is_some() && label("controller-revision-hash").is_some() {
        (WorkloadKind::DaemonSet, without_suffix(pod)?)
    } else {
        return None;
    };
    (!name.is_empty()).then(|| Workload { kind, name: name.into() })
}

fn without_suffix(pod: &str) -> Option<&str> {
    pod.rsplit_once('-').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_every_controller_tell_its_workload() {
        let workload = |pod: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            of(pod, &labels).map(|workload| format!("{} {}", workload.kind.name(), workload.name))
        };
        let hash = ("pod-template-hash", "6d4cf56db6");
        assert_eq!(workload("web-app-6d4cf56db6-x7k2p", &[hash]).as_deref(), Some("Deployment web-app"));
        let daemon = [("controller-revision-hash", "5f"), ("pod-template-generation", "1")];
        assert_eq!(workload("log-agent-x7k2p", &daemon).as_deref(), Some("DaemonSet log-agent"));
        let stateful = [("controller-revision-hash", "db-5f"), ("statefulset.kubernetes.io/pod-name", "db-0")];
        assert_eq!(workload("db-0", &stateful).as_deref(), Some("StatefulSet db"));
        assert_eq!(workload("backup-28-x7k2p", &[("job-name", "backup-28")]).as_deref(), Some("Job backup-28"));
        // a pod of its own, a name that was cut, labels that somebody else has set
        assert_eq!(workload("test-pod", &[("app", "test")]), None);
        assert_eq!(workload("a-very-long-name-x7k2p", &[hash]), None);
        assert_eq!(workload("-6d4cf56db6-x", &[hash]), None);
        assert_eq!(workload("plain", &[hash]), None);
    }
}
