//! The running kernel's verifier takes every program. The kernels of the matrix are asked in guests: `cargo xtask test`.

use kmodtrail::sensor::Sensor;

/// The verifier gives up at a million; a program that comes near it loads slowly, and the next kernel's verifier may count more.
const COMFORTABLE: u32 = 100_000;

#[test]
fn every_program_passes_this_kernels_verifier() {
    let programs = Sensor::verify().unwrap_or_else(|error| panic!("{error} (this test needs root)"));
    assert!(programs.len() > 20, "{programs:?}");
    let large: Vec<_> = programs.iter().filter(|(_, instructions)| *instructions >= COMFORTABLE).collect();
    assert!(large.is_empty(), "{large:?}");
}
