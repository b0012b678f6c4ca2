//! Header, tables and every cluster of whatever the fuzzer makes up.
//!
//! ```text
//! cargo +nightly fuzz run qcow2 -- -max_len=1048576
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;

/// Disks larger than this are refused, so that one input costs milliseconds.
const LARGEST_DISK: u64 = 16 << 20;

fuzz_target!(|bytes: &[u8]| {
    // Only crashes, hangs and unbounded memory count; errors are the expected answer.
    let _verdict = image::format::check_qcow2(&bytes, LARGEST_DISK);
});
