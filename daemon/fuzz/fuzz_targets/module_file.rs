//! A module's file: ELF, modinfo, build id.
#![no_main]

use kmodtrail::fuzz::module_file;
use kmodtrail_fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| within(1 << 20, module_file, bytes));
