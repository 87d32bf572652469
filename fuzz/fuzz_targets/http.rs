//! Heads and bodies, sent to a listening daemon.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| todoctl::fuzzing::http(data));
