//! One collector for every fault of a request: path, then query, then body.

use serde_json::Value;

use super::error::{ApiError, FieldError};

/// A rejected input longer than this is cut off before it is sent back.
const ECHO_LIMIT: usize = 200;

/// The faults found so far, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<FieldError>);

impl Faults {
    /// Notes a fault.
    pub fn add(
        &mut self,
        field: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
        value: &Value,
    ) {
        self.0.push(FieldError {
            field: field.into(),
            message: message.into(),
            code,
            value: echo(value),
        });
    }

    /// `value`, unless something was wrong.
    ///
    /// Call it when everything has been looked at, so that all faults are reported together.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ApiError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ApiError::validation(self.0)),
        }
    }
}

/// What of a rejected input is sent back: all of it when it is short (contract 10.7).
fn echo(value: &Value) -> Value {
    let text = match value {
        Value::Null | Value::Bool(_) => return value.clone(),
        Value::String(text) if text.len() <= ECHO_LIMIT => return value.clone(),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if text.len() <= ECHO_LIMIT {
                return value.clone();
            }
            text
        }
    };
    let end = text.floor_char_boundary(ECHO_LIMIT);
    Value::String(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 10.7: a rejected input is not echoed whole.
    #[test]
    fn long_inputs_are_cut_off() {
        let long = Value::String("ü".repeat(5_000_000));
        assert!(echo(&long).to_string().len() < 300);
        let many = Value::Array(vec![Value::from(1); 100_000]);
        assert!(echo(&many).to_string().len() < 300);
        assert_eq!(echo(&Value::from("short")), Value::from("short"));
    }
}
