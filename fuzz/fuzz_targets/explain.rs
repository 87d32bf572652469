//! Messages from logs.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| todoctl::cli::fuzzing::explain(text));
