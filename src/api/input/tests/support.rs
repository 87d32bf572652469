//! Expected errors.

use serde_json::Value;

use crate::api::input::{Input, Sources, ValidationErrors, read};

/// The fields and codes of the errors.
pub type Errors = &'static [(&'static str, &'static str)];

pub const NONE: Errors = &[];

pub fn codes(errors: &ValidationErrors) -> Vec<(String, String)> {
    let code = |error: &Value| error["code"].as_str().unwrap().to_owned();
    serde_json::to_value(errors)
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["field"].as_str().unwrap().to_owned(), code(error)))
        .collect()
}

pub fn assert_codes<P: Input, Q: Input, B: Input>(
    sources: &Sources<'_>,
    expected: Errors,
    input: &str,
) {
    let found = match read::<P, Q, B>(sources) {
        Ok(_) => Vec::new(),
        Err(errors) => codes(&errors),
    };
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(field, code)| (field.as_str(), code.as_str()))
        .collect();
    assert_eq!(found, expected, "{input}");
}
