//! The part of CRI that is asked for: package runtime.v1 of <https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto>.
//!
//! Only the fields that are read; the whole of it would need protoc to build, and be a hundred times as long.

use std::collections::HashMap;

/// `RuntimeService.ListContainers`
pub(in super::super) const LIST_CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
/// `RuntimeService.ContainerStatus`
pub(in super::super) const CONTAINER_STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
/// `RuntimeService.PodSandboxStatus`
pub(in super::super) const POD_SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ListContainersRequest {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) filter: Option<ContainerFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ContainerFilter {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct Container {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ContainerStatus {
    #[prost(message, optional, tag = "2")]
    pub(in super::super) metadata: Option<ContainerMetadata>,
    /// Nanoseconds since the epoch of Unix; 0 before it has started.
    #[prost(int64, tag = "5")]
    pub(in super::super) started_at: i64,
    #[prost(message, optional, tag = "8")]
    pub(in super::super) image: Option<ImageSpec>,
    /// With its digest, where it came from a registry; else its id.
    #[prost(string, tag = "9")]
    pub(in super::super) image_ref: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(in super::super) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(in super::super) image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) status: Option<PodSandboxStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct PodSandboxStatus {
    #[prost(message, optional, tag = "2")]
    pub(in super::super) metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "7")]
    pub(in super::super) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(in super::super) name: String,
    #[prost(string, tag = "2")]
    pub(in super::super) uid: String,
    #[prost(string, tag = "3")]
    pub(in super::super) namespace: String,
}
