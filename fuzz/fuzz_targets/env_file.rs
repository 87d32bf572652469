//! A `.env` file, read and changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| todoctl::cli::fuzzing::env_file(text));
