//! Bodies, from bytes to checked commands.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| todoctl::fuzzing::body(data));
