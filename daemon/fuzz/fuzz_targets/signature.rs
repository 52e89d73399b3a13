//! What is appended to a module: PKCS#7.
#![no_main]

use kmodtrail::fuzz::signature;
use kmodtrail_fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| within(1 << 20, signature, bytes));
