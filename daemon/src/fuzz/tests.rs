//! Each input of the corpus, and others that differ from one: the smoke test of the fuzz targets.

use std::{fs, path::Path};

use super::*;

/// Inputs that are made of those in the corpus, for each target.
const MADE: u32 = 2_500;
/// No input is made longer.
const LONGEST: usize = 8 << 10;

/// The corpus of a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    // what is made of them is the same each time
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// Numbers that are the same each time (PCG without its last step).
struct Numbers(u64);

impl Numbers {
    /// Below `end`; 0 where there is nothing.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    /// One that differs from `inputs[0]`, somehow.
    fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            let (at, other) = (self.below(bytes.len()), &inputs[self.below(inputs.len())]);
            let to = at + self.below((bytes.len() - at).min(64));
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..to)),
                2 => drop(bytes.splice(at..to, other[self.below(other.len())..].iter().copied().take(64))),
                3 => bytes[at..to].fill([0, 0x7f, 0x80, 0xff][self.below(4)]),
                _ if bytes.is_empty() => {}
                4 => bytes[at] ^= 1 << self.below(8),
                _ => bytes[at] = self.below(256) as u8,
            }
        }
        bytes.truncate(LONGEST);
        bytes
    }
}

fn try_all(name: &str, target: fn(&[u8]) -> bool) {
    let inputs = corpus(name);
    assert!(inputs.iter().filter(|input| target(input)).count() > 1, "nothing is to be read in the corpus of {name}");
    let mut numbers = Numbers(1);
    for _ in 0..MADE {
        target(&numbers.change(&inputs));
    }
}

#[test]
fn module_files() {
    try_all("module_file", module_file);
}

#[test]
fn compressed_files() {
    try_all("compressed", compressed);
}

#[test]
fn signatures() {
    try_all("signature", signature);
}

#[test]
fn records_of_the_kernel() {
    try_all("kernel_records", kernel_records);
}
