//! What is tested in guests: the table of all scenarios, and what one gets to work with.
//!
//! A scenario tells the story of one behaviour: it says what happens in a guest and what must come of it. To add one, write
//! a function in a file of `scenario/` and put a line into that file's table.

mod clocks;
mod coverage;
mod floods;
mod guests;
mod hostile_names;
mod loads;
mod missed_returns;
mod process_is_gone;
mod refuses_clearly;
mod requests;
mod service;
mod told;
mod unloads;
mod watched;

use std::{cell::RefCell, rc::Rc};

use anyhow::Result;

use crate::{
    guest::{Outcome, fast, systemd},
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

/// All scenarios, family by family.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    const FAMILIES: &[&[Scenario]] = &[
        guests::SCENARIOS,
        loads::SCENARIOS,
        unloads::SCENARIOS,
        process_is_gone::SCENARIOS,
        hostile_names::SCENARIOS,
        clocks::SCENARIOS,
        floods::SCENARIOS,
        requests::SCENARIOS,
        coverage::SCENARIOS,
        missed_returns::SCENARIOS,
        refuses_clearly::SCENARIOS,
        service::SCENARIOS,
    ];
    FAMILIES.iter().copied().flatten()
}

/// One scenario on one kernel.
pub(crate) struct Trial<'a> {
    testbed: &'a Testbed,
    kernel: &'a Kernel,
    evidence: Evidence,
}

impl<'a> Trial<'a> {
    /// A trial whose guests' outcomes are kept in `evidence`.
    pub(crate) fn new(testbed: &'a Testbed, kernel: &'a Kernel, evidence: Evidence) -> Self {
        Self { testbed, kernel, evidence }
    }

    /// The kernel it is about.
    pub(crate) fn kernel(&self) -> &Kernel {
        self.kernel
    }

    /// What guests are made of.
    pub(crate) fn testbed(&self) -> &Testbed {
        self.testbed
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

/// The outcomes of a trial's guests, for the report of a failure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence(Rc<RefCell<Vec<Rc<Outcome>>>>);

impl Evidence {
    /// Keeps one.
    pub(crate) fn keep(&self, outcome: &Rc<Outcome>) {
        self.0.borrow_mut().push(Rc::clone(outcome));
    }

    /// All of it, to be read.
    pub(crate) fn report(&self) -> String {
        self.0.borrow().iter().map(|outcome| outcome.evidence()).collect()
    }
}
