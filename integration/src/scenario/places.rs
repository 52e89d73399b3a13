//! Where it was done: pods, containers, machines and units, by the runtimes that Debian has.

mod gone;
mod hierarchies;
mod hostile;
mod inside;
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
    Scenario {
        name: "units_of_first_hierarchies",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1"]),
        full: false,
        run: hierarchies::units,
    },
    Scenario {
        name: "units_of_all_first_hierarchies",
        guest: GuestKind::Systemd,
        kernels: Kernels::Except(&["6.1"]),
        full: true,
        run: hierarchies::units,
    },
    Scenario {
        name: "containers_of_first_hierarchies",
        guest: GuestKind::SystemdWith(Root::Containers),
        kernels: Kernels::All,
        full: true,
        run: hierarchies::containers,
    },
    Scenario {
        name: "containers_are_gone",
        guest: GuestKind::SystemdWith(Root::Containers),
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: gone::fifty,
    },
    Scenario {
        name: "a_thousand_containers_are_gone",
        guest: GuestKind::SystemdWith(Root::Containers),
        kernels: Kernels::Only(&["6.1", "7"]),
        full: true,
        run: gone::a_thousand,
    },
    Scenario {
        name: "hostile_runtimes",
        guest: GuestKind::Systemd,
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: hostile::runtimes,
    },
    Scenario {
        name: "daemon_in_a_container",
        guest: GuestKind::SystemdWith(Root::Containers),
        kernels: Kernels::Only(&["6.1"]),
        full: false,
        run: inside::daemon,
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
