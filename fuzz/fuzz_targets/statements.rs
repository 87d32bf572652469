//! The statements of a file of migrations.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| todoctl::cli::fuzzing::statements(text));
