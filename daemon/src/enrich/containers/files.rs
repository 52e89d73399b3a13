//! The files in which the runtimes keep what they know. None of them is promised to stay as it is: what can't be read is missing.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
    time::UNIX_EPOCH,
};

use nix::fcntl::OFlag;
use serde::Deserialize;

use super::{Found, image};
use crate::{
    event::{Container, Details, Pod, Runtime, Text},
    host::Host,
};

/// Where they are.
#[derive(Debug)]
pub(super) struct Files {
    host: Host,
}

/// More than the largest that makes sense: podman has all of its containers in one.
const LARGEST: u64 = 8 << 20;

/// State of containerd: the distributions', k3s's, docker's own.
const CONTAINERD: &[&str] = &["run/containerd", "run/k3s/containerd", "run/docker/containerd"];

const GONE: &str = "its runtime no longer has it, or is none that is known";
const FORBIDDEN: &str = "its runtime's files may not be read (CAP_DAC_READ_SEARCH)";
const UNREADABLE: &str = "its runtime's files can't be read";
const NAMELESS: &str = "its runtime has no name for it";

impl Files {
    pub(super) fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    /// What they say of the container, or why they say nothing.
    pub(super) fn look_up(&self, container: &Container) -> Result<Found, &'static str> {
        let id = container.id.as_str();
        match container.runtime {
            None | Some(Runtime::Containerd) => self.containerd(id),
            Some(Runtime::Docker) => self.docker(id),
            Some(Runtime::Podman) => self.podman(id),
            Some(Runtime::Nspawn) => Ok(self.nspawn(id)),
            Some(Runtime::CriO | Runtime::Runc) => Err(NAMELESS),
        }
    }

    /// The OCI bundle: pkg/cri/annotations of containerd has the names.
    fn containerd(&self, id: &str) -> Result<Found, &'static str> {
        let mut why = GONE;
        for state in CONTAINERD {
            let folder = Path::new(state).join("io.containerd.runtime.v2.task/k8s.io").join(id);
            match self.read(&folder.join("config.json")) {
                Ok(bytes) => {
                    let bundle: Bundle = serde_json::from_slice(&bytes).map_err(|_| UNREADABLE)?;
                    let mut found = bundle.found().ok_or(NAMELESS)?;
                    let pid = self
                        .read(&folder.join("init.pid"))
                        .ok()
                        .and_then(|pid| str::from_utf8(&pid).ok()?.trim().parse().ok());
                    found.details.pid = pid;
                    return Ok(found);
                }
                Err(error) if error != GONE => why = error,
                Err(_) => {}
            }
        }
        Err(why)
    }

    fn docker(&self, id: &str) -> Result<Found, &'static str> {
        let bytes = self.read(&Path::new("var/lib/docker/containers").join(id).join("config.v2.json"))?;
        let docker: Docker = serde_json::from_slice(&bytes).map_err(|_| UNREADABLE)?;
        let mut details = image::details(&docker.config.image);
        details.name = some(docker.name.trim_start_matches('/'));
        details.image_id = some(&docker.image);
        details.pid = Some(docker.state.pid).filter(|&pid| pid != 0);
        let started = humantime::parse_rfc3339(&docker.state.started_at).ok();
        details.started = started.and_then(|at| at.duration_since(UNIX_EPOCH).ok()?.as_nanos().try_into().ok());
        Ok(Found { details, ..Found::default() })
    }

    fn podman(&self, id: &str) -> Result<Found, &'static str> {
        let storage = Path::new("var/lib/containers/storage");
        // containers that are thrown away at the next boot (--transient-store) are in the second one
        let lists = ["overlay-containers/containers.json", "overlay-containers/volatile-containers.json"];
        let mut why = GONE;
        for list in lists {
            match self.read(&storage.join(list)) {
                Ok(bytes) => {
                    let all: Vec<Stored> = serde_json::from_slice(&bytes).map_err(|_| UNREADABLE)?;
                    if let Some(stored) = all.into_iter().find(|stored| stored.id == id) {
                        return stored.found();
                    }
                }
                Err(error) if error != GONE => why = error,
                Err(_) => {}
            }
        }
        Err(why)
    }

    /// What machined keeps of a machine: src/machine/machine.c, `machine_save`. A machine's id is its name, also where there is no more of it.
    fn nspawn(&self, name: &str) -> Found {
        let bytes = match self.read(&Path::new("run/systemd/machines").join(name)) {
            Ok(bytes) => bytes,
            Err(why) => {
                let details = Details { name: some(name), ..Details::default() };
                return Found { details, pod: None, missing: vec![format!("linux.container.pid: {why}")] };
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let values: HashMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let number = |key: &str| values.get(key).and_then(|value| value.parse::<u64>().ok());
        let details = Details {
            name: some(name),
            pid: number("LEADER").and_then(|pid| pid.try_into().ok()),
            started: number("REALTIME").and_then(|microseconds| microseconds.checked_mul(1000)),
            ..Details::default()
        };
        Found { details, ..Found::default() }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, &'static str> {
        let read = || {
            let mut bytes = Vec::new();
            // whatever is there in the place of a file: it does not hold us up
            let file = File::from(self.host.open(path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)?);
            if !file.metadata()?.is_file() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            file.take(LARGEST).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => GONE,
            io::ErrorKind::PermissionDenied => FORBIDDEN,
            _ => UNREADABLE,
        })
    }
}

fn some(text: &str) -> Option<Text> {
    (!text.is_empty()).then(|| text.into())
}

/// config.json of an OCI bundle.
#[derive(Debug, Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.container-name")]
    container: String,
    #[serde(rename = "io.kubernetes.cri.image-name")]
    image: String,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    pod: String,
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    namespace: String,
    #[serde(rename = "io.kubernetes.cri.sandbox-uid")]
    uid: String,
}

impl Bundle {
    fn found(self) -> Option<Found> {
        let Annotations { container, image, pod, namespace, uid } = self.annotations;
        let mut details = image::details(&image);
        details.name = some(&container);
        let of_pod = Pod {
            uid: uid.as_str().into(),
            namespace: some(&namespace),
            name: some(&pod),
            container: some(&container),
            ..Pod::default()
        };
        (!pod.is_empty()).then(|| Found { details, pod: Some(of_pod), ..Found::default() })
    }
}

/// config.v2.json of docker.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    name: String,
    #[serde(default)]
    image: String,
    config: DockerConfig,
    #[serde(default)]
    state: DockerState,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    #[serde(default)]
    image: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DockerState {
    pid: u32,
    started_at: String,
}

/// One of containers.json of containers/storage.
#[derive(Debug, Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    image: String,
    /// JSON in a string.
    #[serde(default)]
    metadata: String,
}

/// What podman puts there: libpod's `storageService`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct StoredMetadata {
    image_name: String,
    name: String,
}

impl Stored {
    fn found(self) -> Result<Found, &'static str> {
        let metadata: StoredMetadata = serde_json::from_str(&self.metadata).map_err(|_| UNREADABLE)?;
        let mut details = image::details(&metadata.image_name);
        details.name = some(&metadata.name);
        details.image_id = details.image_id.or_else(|| some(&self.image));
        Ok(Found { details, ..Found::default() })
    }
}
