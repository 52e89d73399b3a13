//! Where a process runs: the unit, container and pod that its control group stands for.

use super::Text;

/// What the path of a control group says, and what the runtimes know of the container in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The unit of the system's manager: a service, a scope, or another with processes.
    pub unit: Option<Text>,
    /// The innermost slice that this unit is in.
    pub slice: Option<Text>,
    /// The unit of a user's own manager.
    pub user_unit: Option<Text>,
    /// The login session, as loginctl(1) shows it.
    pub session: Option<Text>,
    /// The container.
    pub container: Option<Container>,
    /// The pod that the container belongs to.
    pub pod: Option<Pod>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The runtime's id; of a machine of systemd-nspawn its name.
    pub id: Text,
    /// The runtime, where the path tells.
    pub runtime: Option<Runtime>,
    /// It is below a service, such as a user's own manager: whom that service belongs to could have chosen any id.
    pub delegated: bool,
    /// What the runtime knows of it.
    pub details: Details,
}

/// What a runtime knows of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Its name.
    pub name: Option<Text>,
    /// The image's name, without a tag.
    pub image_name: Option<Text>,
    /// The image's tags.
    pub image_tags: Vec<Text>,
    /// The image's id at the runtime.
    pub image_id: Option<Text>,
    /// The image's name at its registry, with the digest of its manifest.
    pub image_digests: Vec<Text>,
    /// Its start, nanoseconds since the epoch of Unix.
    pub started: Option<u64>,
    /// Its first process, initial PID namespace.
    pub pid: Option<u32>,
}

/// What runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// containerd: the runtime of most Kubernetes nodes, nerdctl and ctr.
    Containerd,
    /// CRI-O
    CriO,
    /// Docker
    Docker,
    /// Podman
    Podman,
    /// runc, without anything above it that shows.
    Runc,
    /// systemd-nspawn
    Nspawn,
}

impl Runtime {
    /// The value of `container.runtime.name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Runc => "runc",
            Self::Nspawn => "systemd-nspawn",
        }
    }
}

/// A pod of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Its uid: of a static pod a hash of its manifest. Empty where only the runtime says that it is a pod.
    pub uid: Text,
    /// Its QoS class.
    pub qos: Option<QosClass>,
    /// Its namespace.
    pub namespace: Option<Text>,
    /// Its name.
    pub name: Option<Text>,
    /// Name of the container in the pod's specification.
    pub container: Option<Text>,
    /// The labels that the configuration allows, as `key=value`.
    pub labels: Vec<Text>,
    /// What it was made for.
    pub workload: Option<Workload>,
}

/// A pod's QoS class, <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Guaranteed
    Guaranteed,
    /// Burstable
    Burstable,
    /// BestEffort
    BestEffort,
}

impl QosClass {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// What a pod was made for, as far as its labels show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Of which kind it is.
    pub kind: WorkloadKind,
    /// Its name, in the pod's namespace.
    pub name: Text,
}

/// A kind of [`Workload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    /// Deployment
    Deployment,
    /// DaemonSet
    DaemonSet,
    /// StatefulSet
    StatefulSet,
    /// Job
    Job,
}

impl WorkloadKind {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
            Self::StatefulSet => "StatefulSet",
            Self::Job => "Job",
        }
    }
}
