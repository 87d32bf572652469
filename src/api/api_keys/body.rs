//! The body of `POST /api/user-api-keys`.
//!
//! No fault of it repeats any part of the input: a key may stand in any field
//! (contract 10.7).

use serde_json::Value;

use crate::domain::ProviderKey;

use super::super::error::ApiError;
use super::super::validation::Faults;

/// The longest name of a provider that the table holds.
const MAX_PROVIDER_CHARS: usize = 50;

/// The text of `api_key`, whose form is not checked yet.
pub(super) fn save_key(body: Option<&Value>, mut faults: Faults) -> Result<&str, ApiError> {
    let mut fault = |field, code, message: &str| faults.add(field, code, message, &Value::Null);
    let key = match body {
        Some(Value::Object(fields)) => {
            let key = match fields.get("api_key") {
                Some(value) => api_key(value).map_err(|(code, message)| {
                    fault("api_key", code, &message);
                }),
                None => {
                    fault("api_key", "missing", "Field required");
                    Err(())
                }
            };
            if let Some(value) = fields.get("provider")
                && let Err((code, message)) = provider(value)
            {
                fault("provider", code, &message);
            }
            key.ok()
        }
        None => {
            fault("", "missing", "Field required");
            None
        }
        Some(_) => {
            fault("", "model_attributes_type", "Input should be a JSON object");
            None
        }
    };
    faults.finish(key)
}

type Fault = (&'static str, String);

fn api_key(value: &Value) -> Result<&str, Fault> {
    let text = string(value)?;
    let least = ProviderKey::MIN_CHARS;
    if text.chars().count() < least {
        let message = format!("String should have at least {least} characters");
        return Err(("string_too_short", message));
    }
    let most = ProviderKey::MAX_BYTES;
    if text.trim().len() > most {
        let message = format!("String should have at most {most} characters");
        return Err(("string_too_long", message));
    }
    Ok(text)
}

fn provider(value: &Value) -> Result<(), Fault> {
    let text = string(value)?;
    if text.chars().count() > MAX_PROVIDER_CHARS {
        let message = format!("String should have at most {MAX_PROVIDER_CHARS} characters");
        return Err(("string_too_long", message));
    }
    if text != ProviderKey::PROVIDER {
        let message = format!("Input should be '{}'", ProviderKey::PROVIDER);
        return Err(("enum", message));
    }
    Ok(())
}

fn string(value: &Value) -> Result<&str, Fault> {
    value
        .as_str()
        .ok_or_else(|| ("string_type", "Input should be a string".to_owned()))
}
