//! Whether a field has to be there, and what its absence and null mean.

use std::marker::PhantomData;

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

use super::errors::{Code, FieldErrors, Refused};
use super::schema;
use super::types::FieldType;
use crate::domain::Patch;

/// How a field is read from the object that may hold it.
pub(crate) trait Presence {
    /// The type of the struct's field.
    type Value;

    const REQUIRED: bool;

    /// What the OpenAPI document says of null and absence, beyond the schema.
    const NOTE: &'static str = "";

    fn schema() -> RefOr<Schema>;

    fn read(
        name: &str,
        object: &Value,
        errors: &mut FieldErrors<'_>,
    ) -> Result<Self::Value, Refused>;
}

/// Absent: an error. Null is a value like any other.
pub(crate) struct Required<T>(PhantomData<T>);

/// Absent: the type's default. Null is a value like any other.
pub(crate) struct Defaulted<T>(PhantomData<T>);

/// Absent: none. Null is a value like any other.
pub(crate) struct Optional<T>(PhantomData<T>);

/// Absent or null: none.
pub(crate) struct Nullable<T>(PhantomData<T>);

/// Of a partial update. Absent or null: the stored value stays.
pub(crate) struct KeptIfNull<T>(PhantomData<T>);

/// Of a partial update. Absent: the stored value stays. Null clears it.
pub(crate) struct ClearedIfNull<T>(PhantomData<T>);

impl<T: FieldType> Presence for Required<T> {
    type Value = T;

    const REQUIRED: bool = true;

    fn schema() -> RefOr<Schema> {
        T::schema()
    }

    fn read(name: &str, object: &Value, errors: &mut FieldErrors<'_>) -> Result<T, Refused> {
        let read = match object.get(name) {
            Some(input) => T::read(input, errors)?,
            None => None,
        };
        read.ok_or_else(|| errors.refuse(Code::Missing, "Field required", object))
    }
}

impl<T: FieldType + Default + Serialize> Presence for Defaulted<T> {
    type Value = T;

    const REQUIRED: bool = false;

    fn schema() -> RefOr<Schema> {
        schema::with_default(T::schema(), &T::default())
    }

    fn read(name: &str, object: &Value, errors: &mut FieldErrors<'_>) -> Result<T, Refused> {
        Ok(Optional::<T>::read(name, object, errors)?.unwrap_or_default())
    }
}

impl<T: FieldType> Presence for Optional<T> {
    type Value = Option<T>;

    const REQUIRED: bool = false;

    fn schema() -> RefOr<Schema> {
        T::schema()
    }

    fn read(
        name: &str,
        object: &Value,
        errors: &mut FieldErrors<'_>,
    ) -> Result<Option<T>, Refused> {
        match object.get(name) {
            None => Ok(None),
            Some(input) => T::read(input, errors),
        }
    }
}

impl<T: FieldType> Presence for Nullable<T> {
    type Value = Option<T>;

    const REQUIRED: bool = false;

    fn schema() -> RefOr<Schema> {
        schema::nullable(T::schema())
    }

    fn read(
        name: &str,
        object: &Value,
        errors: &mut FieldErrors<'_>,
    ) -> Result<Option<T>, Refused> {
        match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(input) => T::read(input, errors),
        }
    }
}

impl<T: FieldType> Presence for KeptIfNull<T> {
    type Value = Option<T>;

    const REQUIRED: bool = false;

    const NOTE: &'static str = "Null leaves it unchanged.";

    fn schema() -> RefOr<Schema> {
        Nullable::<T>::schema()
    }

    fn read(
        name: &str,
        object: &Value,
        errors: &mut FieldErrors<'_>,
    ) -> Result<Option<T>, Refused> {
        Nullable::<T>::read(name, object, errors)
    }
}

impl<T: FieldType> Presence for ClearedIfNull<T> {
    type Value = Patch<T>;

    const REQUIRED: bool = false;

    const NOTE: &'static str = "Null clears it.";

    fn schema() -> RefOr<Schema> {
        Nullable::<T>::schema()
    }

    fn read(name: &str, object: &Value, errors: &mut FieldErrors<'_>) -> Result<Patch<T>, Refused> {
        match object.get(name) {
            None => Ok(Patch::Keep),
            Some(_) => Nullable::<T>::read(name, object, errors).map(Patch::Set),
        }
    }
}
