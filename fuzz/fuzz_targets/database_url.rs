//! DATABASE_URL.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| todoctl::fuzzing::database_url(text));
