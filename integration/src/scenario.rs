//! What is tested in guests and with real servers: the tables of all scenarios, and what one gets to work with.
//!
//! A scenario tells the story of one behaviour: it says what happens and what must come of it. Most happen in a guest, and are tried
//! with each kernel; a [`HostScenario`] needs none. To add one, write a function in a file of `scenario/` and put a line into that
//! file's table.

mod arrived;
mod booted;
mod clocks;
mod collector;
mod coverage;
mod delivers;
mod delivers_by_otlp;
mod delivers_to_kafka;
mod disks;
mod early;
mod everything;
mod floods;
mod guests;
mod hidden;
mod host;
mod hostile_names;
mod identities;
mod kafka;
mod killed;
mod loaders;
mod loads;
mod logins;
mod metrics;
mod missed_returns;
mod packages;
mod places;
mod process_is_gone;
mod refuses_clearly;
mod reloads;
mod requesters;
mod requests;
mod restarts;
mod sandbox;
mod scripted_server;
mod service;
mod settings;
mod signatures;
mod stops;
mod told;
mod unloads;
mod watched;

use anyhow::Result;

pub(crate) use self::host::{Host, HostScenario, Shared};
use crate::{
    evidence::Evidence,
    guest::{
        fast,
        systemd::{self, Root},
    },
    kernels::{Kernel, Line},
    testbed::Testbed,
};

/// One behaviour, tested on each kernel it applies to.
pub(crate) struct Scenario {
    /// What the user types after `--only`.
    pub(crate) name: &'static str,
    /// What it boots, so that only what is needed gets prepared.
    pub(crate) guest: GuestKind,
    /// Where it applies.
    pub(crate) kernels: Kernels,
    /// Whether it only runs with `--full`.
    pub(crate) full: bool,
    /// The story. An error or a panic is a failure, reported with everything that the guests said.
    pub(crate) run: fn(&Trial<'_>) -> Result<()>,
}

/// The kind of guest a scenario boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuestKind {
    /// See [`fast`].
    Fast,
    /// See [`systemd`].
    Systemd,
    /// One with systemd from another root.
    SystemdWith(Root),
}

impl GuestKind {
    /// What one with systemd boots from.
    pub(crate) const fn root(self) -> Option<Root> {
        match self {
            Self::Fast => None,
            Self::Systemd => Some(Root::Plain),
            Self::SystemdWith(root) => Some(root),
        }
    }
}

/// The kernels a scenario applies to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernels {
    /// All lines.
    All,
    /// The lines of these names.
    Only(&'static [&'static str]),
    /// All lines but those of these names.
    Except(&'static [&'static str]),
}

impl Kernels {
    /// Whether the line is one of them.
    pub(crate) fn include(self, line: &Line) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(&line.name),
            Self::Except(names) => !names.contains(&line.name),
        }
    }
}

/// All scenarios in guests, family by family.
pub(crate) fn in_guests() -> impl Iterator<Item = &'static Scenario> {
    const FAMILIES: &[&[Scenario]] = &[
        guests::SCENARIOS,
        loads::SCENARIOS,
        signatures::SCENARIOS,
        packages::SCENARIOS,
        hidden::SCENARIOS,
        settings::SCENARIOS,
        unloads::SCENARIOS,
        process_is_gone::SCENARIOS,
        identities::SCENARIOS,
        hostile_names::SCENARIOS,
        clocks::SCENARIOS,
        floods::SCENARIOS,
        requesters::SCENARIOS,
        loaders::SCENARIOS,
        logins::SCENARIOS,
        requests::SCENARIOS,
        coverage::SCENARIOS,
        missed_returns::SCENARIOS,
        refuses_clearly::SCENARIOS,
        service::SCENARIOS,
        restarts::SCENARIOS,
        stops::SCENARIOS,
        early::SCENARIOS,
        sandbox::SCENARIOS,
        places::SCENARIOS,
        everything::SCENARIOS,
    ];
    FAMILIES.iter().copied().flatten()
}

/// All scenarios without a guest, family by family.
pub(crate) fn on_the_host() -> impl Iterator<Item = &'static HostScenario> {
    const FAMILIES: &[&[HostScenario]] = &[
        kafka::SCENARIOS,
        collector::SCENARIOS,
        scripted_server::SCENARIOS,
        delivers::SCENARIOS,
        delivers_by_otlp::SCENARIOS,
        killed::SCENARIOS,
        disks::SCENARIOS,
        reloads::SCENARIOS,
        delivers_to_kafka::SCENARIOS,
        metrics::SCENARIOS,
    ];
    FAMILIES.iter().copied().flatten()
}

/// One scenario on one kernel.
pub(crate) struct Trial<'a> {
    testbed: &'a Testbed,
    kernel: &'a Kernel,
    host: Host<'a>,
    evidence: Evidence,
}

impl<'a> Trial<'a> {
    /// A trial whose guests and servers tell what they did in `evidence`.
    pub(crate) fn new(testbed: &'a Testbed, shared: &'a Shared, kernel: &'a Kernel, evidence: Evidence) -> Self {
        Self { testbed, kernel, host: Host::new(testbed, shared, evidence.clone()), evidence }
    }

    /// The kernel it is about.
    pub(crate) fn kernel(&self) -> &Kernel {
        self.kernel
    }

    /// What guests are made of.
    pub(crate) fn testbed(&self) -> &Testbed {
        self.testbed
    }

    /// The machine that the guests run on.
    pub(crate) fn host(&self) -> &Host<'a> {
        &self.host
    }

    /// A guest without systemd.
    pub(crate) fn fast(&self) -> fast::Guest<'a> {
        fast::Guest::new(self.testbed, self.kernel).evidence(&self.evidence)
    }

    /// A guest with systemd.
    pub(crate) fn systemd(&self) -> systemd::Guest<'a> {
        systemd::Guest::new(self.testbed, self.kernel).evidence(&self.evidence)
    }
}
