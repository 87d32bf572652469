//! The bearer value and the JWT in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| todoctl::fuzzing::bearer(data));
