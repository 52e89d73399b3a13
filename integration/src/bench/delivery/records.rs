//! The records that all subjects send: lines of 800 bytes, as different from each other as those of a daemon are.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::cache;

/// The length of a record in bytes.
const LENGTH: usize = 800;
/// How many differ; then they begin again. No compressor looks back so far.
const NUMBER: u64 = 10_000;

/// See the module. Their file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Records {
    folder: TempDir,
    lines: Vec<String>,
}

impl Records {
    /// Always the same ones.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn new() -> Result<Self> {
        let records = Self { folder: tempfile::tempdir()?, lines: (0..NUMBER).map(line).collect() };
        cache::write_atomically(&records.file(), &records.lines.join("\n"))?;
        Ok(records)
    }

    /// A file of their lines.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("records")
    }

    /// So many of them.
    pub(super) fn take(&self, number: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str).cycle().take(number)
    }
}

fn line(number: u64) -> String {
    let mut line = String::from("{\"event_name\":\"linux.kernel_module.load\",\"severity\":\"WARN\"");
    let mut field = 0;
    while line.len() < LENGTH {
        let value = mixed(number << 8 | field);
        _ = match field % 4 {
            0 => write!(line, ",\"process.ancestor.{field}.pid\":{}", value % 4_194_304),
            1 => write!(
                line,
                ",\"process.ancestor.{field}.executable.path\":\"/usr/lib/systemd/systemd-{}\"",
                value % 17
            ),
            2 => write!(
                line,
                ",\"process.ancestor.{field}.start_time\":{}",
                1_795_000_000_000_000_000 + value % 1_000_000_007
            ),
            _ => write!(line, ",\"linux.process.exec_id.{field}\":\"{value:016x}\""),
        };
        field += 1;
    }
    line.truncate(LENGTH - 2);
    line.push_str("\"}");
    line
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): numbers without a pattern.
const fn mixed(number: u64) -> u64 {
    let mut value = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_one_length_and_differ() {
        let records = Records::new().expect("written");
        assert!(records.lines.iter().all(|line| line.len() == LENGTH && !line.contains('\n')));
        assert_ne!(records.lines[0], records.lines[1]);
        assert_eq!(records.take(20_001).count(), 20_001);
    }
}
