//! Where a process runs, from the path of its control group alone: nothing is asked, so it is known also of what has ended.
//!
//! | who made it | path |
//! |---|---|
//! | kubelet, systemd driver | `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope` |
//! | kubelet, cgroupfs driver | `/kubepods/burstable/pod<uid>/<id>` |
//! | containerd, ctr, nerdctl | `/k8s.io/<id>`, `/default/<id>`, `/system.slice/ctr-<id>.scope`, `/system.slice/nerdctl-<id>.scope` |
//! | docker | `/system.slice/docker-<id>.scope`, `/docker/<id>` |
//! | podman | `/machine.slice/libpod-<id>.scope/container`, `/libpod_parent/libpod-<id>` |
//! | runc | `/system.slice/runc-<id>.scope` |
//! | systemd-nspawn | `/machine.slice/machine-<name>.scope/payload`, `/machine.slice/systemd-nspawn@<name>.service/payload` |
//! | systemd | `/system.slice/a.service`, `/user.slice/user-1000.slice/user@1000.service/app.slice/b.service` |
//!
//! The unified, hybrid and first hierarchies have the same forms: what differs is where they are mounted.

mod container;
mod systemd;
#[cfg(test)]
mod tests;

use crate::event::Place;

/// The place of a process whose control group has this path, as the host sees it. A path whose beginning is missing (it does not start with
/// a slash) says nothing: what is left of it could be anything that a container has made.
pub(super) fn of(path: &str) -> Place {
    let Some(path) = path.strip_prefix('/') else { return Place::default() };
    let mut place = systemd::units(path);
    if let Some((container, pod)) = container::of(path) {
        (place.container, place.pod) = (Some(container), pod);
    }
    place
}
