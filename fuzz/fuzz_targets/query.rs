//! A list's query and a path's id.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| todoctl::fuzzing::query(text));
