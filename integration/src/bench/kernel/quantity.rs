//! What is measured, and what of it is good enough: one table.

use super::Measurement;

/// One thing that is measured of every subject.
#[derive(Debug)]
pub(super) struct Quantity {
    /// Its name in JSON.
    pub(super) name: &'static str,
    /// What it is, for a reader.
    pub(super) title: &'static str,
    pub(super) unit: Unit,
    /// The most that ours may take; none for what is told but not promised.
    pub(super) target: Option<f64>,
    /// None where the subject has no such thing.
    pub(super) of: fn(&Measurement) -> Option<f64>,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Ratio,
    Instructions,
    Bytes,
    Requests,
}

impl Unit {
    /// Its name in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Instructions => "instructions",
            Self::Bytes => "bytes",
            Self::Requests => "requests",
        }
    }

    /// The value as a person reads it.
    pub(super) fn shown(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.4}"),
            Self::Instructions if value >= 10e6 => format!("{:.0} M", value / 1e6),
            Self::Instructions => format!("{:.1} k", value / 1e3),
            Self::Bytes => format!("{:.1} MB", value / 1e6),
            Self::Requests => format!("{value}"),
        }
    }
}

/// A row: name, title, unit, target, value.
macro_rules! quantity {
    ($name:literal, $title:literal, $unit:ident, $target:expr, $of:expr) => {
        Quantity { name: $name, title: $title, unit: Unit::$unit, target: $target, of: $of }
    };
}

/// The size of the program that ships.
pub(super) const PROGRAM_SIZE: Quantity =
    quantity!("program_size", "the program, as it ships", Bytes, Some(12e6), |_| None);

/// In the order they are printed.
#[rustfmt::skip]
pub(super) const QUANTITIES: &[Quantity] = &[
    quantity!("fork_exec_exit", "fork, exec and exit, with / without", Ratio, Some(1.005), |m| Some(m.exec.ratio())),
    quantity!("load_unload_caller", "load and unload, their caller's CPU, with / without", Ratio, Some(1.05), |m| Some(m.pair.ratio())),
    quantity!("programs_per_load_unload", "programs in the kernel, for a load and unload", Instructions, Some(30e3), |m| m.programs_per_pair.map(|n| n as f64)),
    quantity!("user_space_per_load_unload", "its own CPU, for a load and unload", Instructions, Some(150e3), |m| Some(m.user_space_per_pair as f64)),
    quantity!("reading_per_megabyte", "hashing and reading a megabyte of a file new to it", Instructions, None, |m| m.reading_per_megabyte),
    quantity!("user_space_per_request", "its own CPU, for a request in a flood of 20,000", Instructions, None, |m| Some(m.user_space_per_request as f64)),
    quantity!("requests_seen", "requests told about, of 20,000", Requests, None, |m| Some(m.requests_seen as f64)),
    quantity!("start", "its own CPU, from its start until it is ready", Instructions, Some(1e9), |m| Some(m.start as f64)),
    quantity!("idle_second", "its own CPU, in a second in which nothing happens", Instructions, Some(50e3), |m| Some(m.idle_second as f64)),
    quantity!("hidden_check", "a look for modules that hide, of a hundred", Instructions, Some(5e6), |m| m.hidden_check.map(|n| n as f64)),
    quantity!("resident", "resident memory, idle", Bytes, Some(12e6), |m| Some(m.resident as f64)),
    quantity!("resident_after_flood", "resident memory, after the flood", Bytes, Some(20e6), |m| Some(m.resident_after_flood as f64)),
    quantity!("maps", "memory of BPF maps", Bytes, Some(3e6), |m| m.maps.map(|n| n as f64)),
];
