//! Small changes to OpenAPI schemas.

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// A schema that also allows null.
pub(super) fn nullable(mut schema: RefOr<Schema>) -> RefOr<Schema> {
    if let RefOr::T(Schema::Object(object)) = &mut schema
        && let SchemaType::Type(known) = &object.schema_type
    {
        object.schema_type = SchemaType::Array(vec![known.clone(), Type::Null]);
        return schema;
    }
    let null = ObjectBuilder::new().schema_type(Type::Null);
    RefOr::T(OneOfBuilder::new().item(null).item(schema).build().into())
}

/// A schema with a default value.
pub(super) fn with_default(schema: RefOr<Schema>, default: &impl Serialize) -> RefOr<Schema> {
    // Defaults are texts and numbers, which always become JSON.
    let default: Value = serde_json::to_value(default).unwrap_or_default();
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            object.default = Some(default);
            RefOr::T(Schema::Object(object))
        }
        // A reference has no default of its own.
        other => RefOr::T(
            AllOfBuilder::new()
                .item(other)
                .default(Some(default))
                .build()
                .into(),
        ),
    }
}

/// A schema with a description.
pub(super) fn described(mut schema: RefOr<Schema>, description: String) -> RefOr<Schema> {
    match &mut schema {
        RefOr::Ref(reference) => reference.description = description,
        RefOr::T(Schema::Object(object)) => object.description = Some(description),
        RefOr::T(Schema::Array(array)) => array.description = Some(description),
        RefOr::T(Schema::OneOf(one)) => one.description = Some(description),
        RefOr::T(Schema::AllOf(all)) => all.description = Some(description),
        RefOr::T(_) => {}
    }
    schema
}
