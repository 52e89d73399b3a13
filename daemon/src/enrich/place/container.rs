//! Containers and pods.
//!
//! Whoever may make control groups below his own can give them any name: a privileged container, a service with `Delegate=`, a user in his
//! own manager. So only what stands right below slices, or where a runtime's own driver puts it, is believed: that takes the system's
//! manager or root outside of any container to make. It follows that of nested containers the outermost counts. Podman and a user's docker
//! work below services, too: what stands there has its id told, but nothing is looked up by an id that somebody may have made up.

use super::systemd;
use crate::event::{Container, Details, Pod, QosClass, Runtime, Text};

/// What a directory right below slices says before and after the id.
const SCOPES: &[(&str, &str, Runtime)] = &[
    ("cri-containerd-", ".scope", Runtime::Containerd),
    ("nerdctl-", ".scope", Runtime::Containerd),
    ("ctr-", ".scope", Runtime::Containerd),
    ("crio-", ".scope", Runtime::CriO),
    ("docker-", ".scope", Runtime::Docker),
    ("libpod-payload-", "", Runtime::Podman),
    ("libpod-", ".scope", Runtime::Podman),
    ("runc-", ".scope", Runtime::Runc),
    ("machine-", ".scope", Runtime::Nspawn),
    ("systemd-nspawn@", ".service", Runtime::Nspawn),
];

/// Where drivers that go without systemd put containers: the first directory, and what the second one has before the id.
const DIRECTORIES: &[(&str, &str, Runtime)] = &[
    ("docker", "", Runtime::Docker),
    ("k8s.io", "", Runtime::Containerd),
    ("default", "", Runtime::Containerd),
    ("libpod_parent", "libpod-", Runtime::Podman),
];

/// The container that this path is in or below, and its pod.
pub(super) fn of(path: &str) -> Option<(Container, Option<Pod>)> {
    let mut components = path.split('/');
    let first = components.next()?;
    if first == "kubepods" {
        return of_kubelet(components);
    }
    if let Some(&(_, prefix, runtime)) = DIRECTORIES.iter().find(|(directory, ..)| *directory == first) {
        let id = components.next()?.strip_prefix(prefix).filter(|id| is_id(id))?;
        return Some((container(id.into(), Some(runtime), false), None));
    }
    let mut pod = None;
    let mut delegated = false;
    for component in std::iter::once(first).chain(components) {
        if let Some((id, runtime)) = scope(component) {
            // users' managers and services have no other runtimes of their own
            let known = !delegated || matches!(runtime, Runtime::Docker | Runtime::Podman);
            return known.then(|| (container(id, Some(runtime), delegated), pod));
        }
        let name = systemd::name(component)?;
        if name.ends_with(".service") && !delegated {
            delegated = true;
        } else if name.ends_with(".slice") {
            pod = pod_of_slice(name).or(pod);
        } else {
            return None;
        }
    }
    None
}

/// `/kubepods/burstable/pod<uid>/<id>`
fn of_kubelet<'p>(components: impl Iterator<Item = &'p str>) -> Option<(Container, Option<Pod>)> {
    let mut qos = QosClass::Guaranteed;
    let mut pod = None;
    for component in components {
        match (component, &pod) {
            ("burstable", None) => qos = QosClass::Burstable,
            ("besteffort", None) => qos = QosClass::BestEffort,
            (_, None) => {
                let uid = component.strip_prefix("pod").filter(|uid| is_uid(uid))?;
                pod = Some(Pod { uid: uid.into(), qos: Some(qos), ..Pod::default() });
            }
            (_, Some(_)) => {
                let (id, runtime) = match component.strip_prefix("crio-") {
                    Some(id) => (id, Some(Runtime::CriO)),
                    None => (component, None),
                };
                return is_digest(id).then(|| (container(id.into(), runtime, false), pod));
            }
        }
    }
    None
}

/// `kubepods-burstable-pod<uid>.slice`: the uid's hyphens are underscores, as a hyphen is a level of slices. The kubelet may have slices
/// above its own (`--cgroup-root`).
fn pod_of_slice(slice: &str) -> Option<Pod> {
    let name = slice.strip_suffix(".slice")?;
    let at = name.starts_with("kubepods").then_some(0).or_else(|| name.find("-kubepods").map(|at| at + 1))?;
    let rest = &name[at + "kubepods".len()..];
    let (qos, rest) = if let Some(rest) = rest.strip_prefix("-burstable") {
        (QosClass::Burstable, rest)
    } else if let Some(rest) = rest.strip_prefix("-besteffort") {
        (QosClass::BestEffort, rest)
    } else {
        (QosClass::Guaranteed, rest)
    };
    let uid = rest.strip_prefix("-pod")?.replace('_', "-");
    is_uid(&uid).then(|| Pod { uid: uid.as_str().into(), qos: Some(qos), ..Pod::default() })
}

fn scope(directory: &str) -> Option<(Text, Runtime)> {
    let (id, runtime) = SCOPES.iter().find_map(|&(prefix, suffix, runtime)| {
        directory.strip_prefix(prefix)?.strip_suffix(suffix).map(|id| (id, runtime))
    })?;
    match runtime {
        // machined's names may have a hyphen, which is escaped; qemu's and libvirt's machines are no containers
        Runtime::Nspawn => {
            let name = systemd::unescape(id).filter(|name| is_id(name) && !name.starts_with("qemu-"))?;
            Some((name.as_str().into(), runtime))
        }
        // any name will do for these
        Runtime::Runc => is_id(id).then(|| (id.into(), runtime)),
        Runtime::Containerd if directory.starts_with("ctr-") => is_id(id).then(|| (id.into(), runtime)),
        // what watches a container (crio-conmon-<id>, libpod-conmon-<id>) is not in it
        _ => is_digest(id).then(|| (id.into(), runtime)),
    }
}

fn container(id: Text, runtime: Option<Runtime>, delegated: bool) -> Container {
    Container { id, runtime, delegated, details: Details::default() }
}

/// A name that can be no path: some of them become one.
fn is_id(id: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    !id.starts_with('.') && (1..=255).contains(&id.len()) && id.chars().all(fits)
}

/// The ids that runtimes draw.
fn is_digest(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A UUID, or of a static pod 32 digits.
fn is_uid(uid: &str) -> bool {
    (32..=36).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
