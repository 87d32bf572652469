//! Cursors, as sent and altered.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| todoctl::fuzzing::cursor(data));
