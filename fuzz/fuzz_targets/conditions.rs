//! `If-Match` and `If-None-Match`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| todoctl::fuzzing::conditions(data));
