//! A module's file in gzip, XZ or zstd: it becomes no more than it may.
#![no_main]

use kmodtrail::fuzz::compressed;
use kmodtrail_fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| within(8 << 20, compressed, bytes));
