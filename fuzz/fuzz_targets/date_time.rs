//! Date-times as a client may write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| todoctl::fuzzing::date_time(text));
