//! What a kubelet tells a container runtime: to run a pod of one container, over CRI (package runtime.v1 of
//! <https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto>, the fields that are set here).
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

use std::{collections::HashMap, str::FromStr as _};

use anyhow::{Context as _, Result};
use clap::Parser;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// Runs a privileged pod on the host's network and prints the container's id.
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "/run/containerd/containerd.sock")]
    socket: String,
    #[arg(long)]
    namespace: String,
    #[arg(long)]
    name: String,
    #[arg(long)]
    uid: String,
    #[arg(long)]
    container: String,
    #[arg(long)]
    image: String,
    /// Of the pod, as key=value
    #[arg(long = "label")]
    labels: Vec<String>,
    /// Length of an annotation of the pod
    #[arg(long, default_value_t = 0)]
    annotation: usize,
    /// A slice where the runtime's driver is systemd's, else a folder
    #[arg(long)]
    cgroup_parent: String,
    /// Something of the host that the container has, as HOST:CONTAINER
    #[arg(long = "mount")]
    mounts: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandboxResponse {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "7")]
    annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    /// Also a container's: what is set here has the same tags in both.
    #[prost(message, optional, tag = "2")]
    security_context: Option<LinuxSandboxSecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxSandboxSecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
    #[prost(bool, tag = "6")]
    privileged: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "2")]
    pid: i32,
}

/// NamespaceMode
const CONTAINER: i32 = 1;
const NODE: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateContainerResponse {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(message, repeated, tag = "7")]
    mounts: Vec<Mount>,
    #[prost(message, optional, tag = "15")]
    linux: Option<LinuxContainerConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Mount {
    #[prost(string, tag = "1")]
    container_path: String,
    #[prost(string, tag = "2")]
    host_path: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxContainerConfig {
    #[prost(message, optional, tag = "2")]
    security_context: Option<LinuxContainerSecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxContainerSecurityContext {
    #[prost(bool, tag = "2")]
    privileged: bool,
    #[prost(message, optional, tag = "3")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StartContainerRequest {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StartContainerResponse {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Arguments { socket, namespace, name, uid, container, image, labels, annotation, cgroup_parent, mounts } =
        Arguments::parse();
    let endpoint = Endpoint::from_str(&format!("unix://{socket}"))?;
    let mut runtime = Grpc::new(endpoint.connect().await.with_context(|| format!("connecting to {socket}"))?);
    let mount = |mount: &String| {
        let (host_path, container_path) = mount.split_once(':').context("--mount is HOST:CONTAINER")?;
        anyhow::Ok(Mount { container_path: container_path.to_owned(), host_path: host_path.to_owned() })
    };
    let split = |label: &str| label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let namespace_options = Some(NamespaceOption { network: NODE, pid: CONTAINER });
    let security_context =
        Some(LinuxSandboxSecurityContext { namespace_options: namespace_options.clone(), privileged: true });
    let pod = PodSandboxConfig {
        metadata: Some(PodSandboxMetadata { name, uid, namespace }),
        labels: labels.iter().filter_map(|label| split(label)).collect(),
        annotations: HashMap::from([("annotation".to_owned(), "x".repeat(annotation))]),
        linux: Some(LinuxPodSandboxConfig { cgroup_parent, security_context }),
    };
    let request = RunPodSandboxRequest { config: Some(pod.clone()) };
    let RunPodSandboxResponse { pod_sandbox_id } = call(&mut runtime, "RunPodSandbox", request).await?;
    let security_context = Some(LinuxContainerSecurityContext { privileged: true, namespace_options });
    let config = ContainerConfig {
        metadata: Some(ContainerMetadata { name: container }),
        image: Some(ImageSpec { image }),
        mounts: mounts.iter().map(mount).collect::<Result<_>>()?,
        linux: Some(LinuxContainerConfig { security_context }),
    };
    let request = CreateContainerRequest { pod_sandbox_id, config: Some(config), sandbox_config: Some(pod) };
    let CreateContainerResponse { container_id } = call(&mut runtime, "CreateContainer", request).await?;
    let request = StartContainerRequest { container_id: container_id.clone() };
    let StartContainerResponse {} = call(&mut runtime, "StartContainer", request).await?;
    println!("{container_id}");
    Ok(())
}

async fn call<Q, A>(runtime: &mut Grpc<Channel>, method: &str, request: Q) -> Result<A>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    runtime.ready().await?;
    let path = PathAndQuery::from_str(&format!("/runtime.v1.RuntimeService/{method}"))?;
    let said = runtime.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await;
    Ok(said.with_context(|| method.to_owned())?.into_inner())
}
