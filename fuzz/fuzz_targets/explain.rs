//! Messages from logs.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| todoctl::fuzzing::explain(text));
