//! The fields of a provider's key; contract 5.2.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::field_type::{FieldType, string};
use crate::api::input::errors::{Code, FieldErrors, Refused};
use crate::domain::ProviderKey;

/// A text that may be a provider's key: its form is checked later (contract 5.2, step 3).
#[derive(Clone)]
pub(crate) struct KeyText(SecretString);

impl KeyText {
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText([REDACTED])")
    }
}

impl FieldType for KeyText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(ProviderKey::MIN_CHARS))
            .max_length(Some(ProviderKey::MAX_BYTES))
            .examples(["AIzaSyExample-0123456789"])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let text = string(input, errors)?;
        let least = ProviderKey::MIN_CHARS;
        if text.chars().count() < least {
            let message = format!("String should have at least {least} characters");
            return Err(errors.refuse(Code::StringTooShort, message, input));
        }
        let most = ProviderKey::MAX_BYTES;
        if text.trim().len() > most {
            let message = format!("String should have at most {most} characters");
            return Err(errors.refuse(Code::StringTooLong, message, input));
        }
        Ok(Some(Self(SecretString::from(text.to_owned()))))
    }
}

/// The only provider whose keys are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Provider;

impl Provider {
    /// The longest name that the table holds (contract 9.1).
    const MAX_CHARS: usize = 50;
}

impl Serialize for Provider {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(ProviderKey::PROVIDER)
    }
}

impl FieldType for Provider {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some([ProviderKey::PROVIDER]))
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let text = string(input, errors)?;
        let most = Self::MAX_CHARS;
        if text.chars().count() > most {
            let message = format!("String should have at most {most} characters");
            return Err(errors.refuse(Code::StringTooLong, message, input));
        }
        if text != ProviderKey::PROVIDER {
            let message = format!("Input should be '{}'", ProviderKey::PROVIDER);
            return Err(errors.refuse(Code::Enum, message, input));
        }
        Ok(Some(Self))
    }
}
