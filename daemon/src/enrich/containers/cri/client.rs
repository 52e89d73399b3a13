//! Asks a runtime, in a thread of its own.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::FileTypeExt as _,
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Uri, http::uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use nix::{fcntl::OFlag, unistd::geteuid};
use tokio::{net::UnixStream, time::timeout};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{
    super::{Found, Key, image, workload},
    Answer,
    api::{
        CONTAINER_STATUS, ContainerFilter, ContainerStatusRequest, ContainerStatusResponse, LIST_CONTAINERS,
        ListContainersRequest, ListContainersResponse, POD_SANDBOX_STATUS, PodSandboxStatusRequest,
        PodSandboxStatusResponse,
    },
};
use crate::{
    event::{Pod, Text},
    host::Host,
};

/// So long a runtime is given for all that is asked about a container.
const LIMIT: Duration = Duration::from_secs(5);

/// What is asked, and whom.
pub(super) struct Client {
    host: Host,
    sockets: Vec<Socket>,
    /// Labels of pods that are told.
    labels: Vec<String>,
}

struct Socket {
    path: PathBuf,
    connection: Option<Grpc<Channel>>,
}

impl Client {
    pub(super) fn new(host: &Host, sockets: &[PathBuf], labels: &[String]) -> Self {
        let sockets = sockets.iter().map(|path| Socket { path: path.clone(), connection: None }).collect();
        Self { host: host.clone(), sockets, labels: labels.to_vec() }
    }

    /// Answers until nobody asks any more.
    pub(super) fn run(mut self, mut questions: tokio::sync::mpsc::Receiver<Key>, answers: &mpsc::Sender<Answer>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!("nobody can be asked about pods: {error}"),
        };
        runtime.block_on(async {
            while let Some(key) = questions.recv().await {
                let said = self.said(key.1.as_str()).await;
                if answers.send(Answer { key, said }).is_err() {
                    break;
                }
            }
        });
    }

    /// What the first runtime says that has it; else why none does.
    async fn said(&mut self, id: &str) -> Result<Found, String> {
        let mut why = Vec::new();
        for socket in &mut self.sockets {
            // a host has one of them, as a rule
            let place = place(&self.host, &socket.path);
            if place.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                socket.connection = None;
                continue;
            }
            let said = timeout(LIMIT, socket.ask(place, id, &self.labels)).await;
            match said.unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(LIMIT)))) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => why.push(format!("{} does not have it", socket.path.display())),
                Err(error) => {
                    socket.connection = None;
                    why.push(format!("{}: {error}", socket.path.display()));
                }
            }
        }
        if why.is_empty() { Err("no runtime has a CRI socket here".to_owned()) } else { Err(why.join(", ")) }
    }
}

impl Socket {
    async fn ask(&mut self, place: io::Result<OwnedFd>, id: &str, labels: &[String]) -> Result<Option<Found>, String> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(connect(place).await?),
        };
        let filter = Some(ContainerFilter { id: id.to_owned() });
        let list: ListContainersResponse = call(connection, LIST_CONTAINERS, ListContainersRequest { filter }).await?;
        // a runtime looks for a prefix
        let Some(container) = list.containers.into_iter().find(|container| container.id == id) else { return Ok(None) };
        let request = ContainerStatusRequest { container_id: id.to_owned() };
        let container_status: ContainerStatusResponse = call(connection, CONTAINER_STATUS, request).await?;
        let request = PodSandboxStatusRequest { pod_sandbox_id: container.pod_sandbox_id };
        let sandbox_status: PodSandboxStatusResponse = call(connection, POD_SANDBOX_STATUS, request).await?;
        Ok(Some(found(container_status, sandbox_status, labels)))
    }
}

fn found(container: ContainerStatusResponse, sandbox: PodSandboxStatusResponse, allowed: &[String]) -> Found {
    let (container, sandbox) = (container.status.unwrap_or_default(), sandbox.status.unwrap_or_default());
    let metadata = sandbox.metadata.unwrap_or_default();
    let name = some(container.metadata.unwrap_or_default().name);
    let mut details = image::details(&container.image.unwrap_or_default().image);
    let reference = image::details(&container.image_ref);
    details.image_name = details.image_name.or(reference.image_name);
    details.image_id = details.image_id.or(reference.image_id);
    details.image_digests = reference.image_digests;
    details.started = u64::try_from(container.started_at).ok().filter(|&at| at != 0);
    details.name.clone_from(&name);
    let pod = Pod {
        uid: metadata.uid.as_str().into(),
        qos: None,
        workload: workload::of(&metadata.name, &sandbox.labels),
        namespace: some(metadata.namespace),
        name: some(metadata.name),
        container: name,
        labels: told(&sandbox.labels, allowed),
    };
    Found { details, pod: Some(pod), missing: vec![] }
}

fn told(labels: &HashMap<String, String>, allowed: &[String]) -> Vec<Text> {
    let label = |key: &String| labels.get(key).map(|value| format!("{key}={value}").as_str().into());
    allowed.iter().filter_map(label).collect()
}

fn some(text: String) -> Option<Text> {
    (!text.is_empty()).then(|| text.as_str().into())
}

async fn call<Q, A>(connection: &mut Grpc<Channel>, path: &'static str, request: Q) -> Result<A, String>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    connection.ready().await.map_err(|error| error.to_string())?;
    let codec = ProstCodec::<Q, A>::default();
    let said = connection.unary(Request::new(request), PathAndQuery::from_static(path), codec).await;
    said.map(tonic::Response::into_inner).map_err(|status| described(&status))
}

/// A runtime's own words may be of any length.
fn described(status: &Status) -> String {
    let message: String = status.message().chars().take(200).collect();
    match status.code() {
        Code::NotFound => "the container has ended".to_owned(),
        code => format!("{code:?}: {message}"),
    }
}

async fn connect(place: io::Result<OwnedFd>) -> Result<Grpc<Channel>, String> {
    let stream = open(place).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => "not permitted (systemd/kmodtrail.service.d/cri.conf)".to_owned(),
        _ => error.to_string(),
    })?;
    let connector = Once(Some(stream));
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.map(Grpc::new).map_err(|error| error.to_string())
}

/// What is at the path of a socket, to be looked at.
fn place(host: &Host, path: &Path) -> io::Result<OwnedFd> {
    Ok(host.open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?)
}

/// A socket that root, or this daemon's own user, listens at. Whoever can put another one in its place must not be believed.
async fn open(place: io::Result<OwnedFd>) -> io::Result<UnixStream> {
    let place = File::from(place?);
    if !place.metadata()?.file_type().is_socket() {
        return Err(io::Error::other("it is no socket"));
    }
    let stream = UnixStream::connect(format!("/proc/self/fd/{}", place.as_raw_fd())).await?;
    let owner = stream.peer_cred()?.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(io::Error::other(format!("user {owner} listens there, not root")));
    }
    Ok(stream)
}

/// Gives the one connection that there is: when it breaks, there is another channel.
struct Once(Option<UnixStream>);

impl tower_service::Service<Uri> for Once {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        Box::pin(async { stream.map(TokioIo::new) })
    }
}
