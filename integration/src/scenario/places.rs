//! Where it was done: pods, containers, machines and units, by the runtimes that Debian has.

mod pod;
mod runtimes;

use anyhow::Result;

use super::{GuestKind, Kernels, Scenario, Trial};
use crate::{
    fixtures::image,
    guest::systemd::{Guest, Root},
    story,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "pod",
        guest: GuestKind::SystemdWith(Root::Containers),
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: pod::pod,
    },
    Scenario {
        name: "containers",
        guest: GuestKind::SystemdWith(Root::Containers),
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: runtimes::containers,
    },
    Scenario {
        name: "units",
        guest: GuestKind::SystemdWith(Root::Containers),
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: runtimes::units,
    },
];

/// Of the user's documents.
const IMAGE: &str = "docker.io/cilium/starwars";

/// A guest with runtimes, the installed daemon, and the image as /image.tar and /layer.tar.
fn guest<'a>(trial: &Trial<'a>) -> Result<Guest<'a>> {
    let guest = trial.systemd().root(Root::Containers).memory(trial.kernel().line().memory + 1024);
    let archive = image::archive(&format!("{IMAGE}:latest"))?;
    Ok(story::installed(guest)?.file("/image.tar", archive).file("/layer.tar", image::layer()?))
}
