//! Bytes of the ring buffers, up to the records that they become.
#![no_main]

use kmodtrail::fuzz::kernel_records;
use kmodtrail_fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| within(8 << 20, kernel_records, bytes));
