//! Declarations of inputs, and the OpenAPI schemas that follow from them.

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required, Schema};

use super::presence::Presence;
use super::schema;

/// The part of a request that holds an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    Path,
    Query,
    Header,
    Cookie,
    Body,
    /// A body that may hold a secret in any field: no error repeats a part of it (contract 10.7).
    SecretBody,
}

impl Location {
    /// What precedes the name of a field in an error; contract 1.1.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Path => "path.",
            Self::Query => "query.",
            Self::Header => "header.",
            Self::Cookie => "cookie.",
            Self::Body | Self::SecretBody => "",
        }
    }

    pub(super) fn is_secret(self) -> bool {
        self == Self::SecretBody
    }

    fn of_parameters(self) -> Option<ParameterIn> {
        match self {
            Self::Path => Some(ParameterIn::Path),
            Self::Query => Some(ParameterIn::Query),
            Self::Header => Some(ParameterIn::Header),
            Self::Cookie => Some(ParameterIn::Cookie),
            Self::Body | Self::SecretBody => None,
        }
    }
}

/// An input: a body, a query, headers, or the variable segments of a path.
pub(crate) struct Declaration {
    /// The name of a body's schema in the OpenAPI document.
    pub name: &'static str,
    pub location: Location,
    doc: &'static str,
    pub fields: &'static [Field],
}

/// A field of an input.
pub(crate) struct Field {
    pub name: &'static str,
    pub is_required: bool,
    doc: &'static str,
    note: &'static str,
    schema: fn() -> RefOr<Schema>,
}

impl Declaration {
    /// `doc` is a doc comment as the compiler gives it, with a space before each line.
    pub(super) const fn new(
        name: &'static str,
        location: Location,
        doc: &'static str,
        fields: &'static [Field],
    ) -> Self {
        Self {
            name,
            location,
            doc,
            fields,
        }
    }

    pub fn description(&self) -> String {
        text(self.doc)
    }

    /// The schema of a body.
    pub fn schema(&self) -> Schema {
        let mut object = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(self.description()));
        for field in self.fields {
            let schema = schema::described(field.schema(), field.description());
            object = object.property(field.name, schema);
            if field.is_required {
                object = object.required(field.name);
            }
        }
        object.build().into()
    }

    /// A JSON body with this schema.
    pub fn request_body(&self) -> RequestBody {
        let content = Content::new(Some(Ref::from_schema_name(self.name)));
        RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(Required::True))
            .build()
    }

    /// The parameters of a path, a query or headers.
    pub fn parameters(&self) -> Vec<Parameter> {
        let Some(location) = self.location.of_parameters() else {
            return Vec::new();
        };
        let parameter = |field: &Field| {
            let required = if field.is_required {
                Required::True
            } else {
                Required::False
            };
            ParameterBuilder::new()
                .name(field.name)
                .parameter_in(location.clone())
                .required(required)
                .description(Some(field.description()))
                .schema(Some(field.schema()))
                .build()
        };
        self.fields.iter().map(parameter).collect()
    }
}

impl Field {
    pub(super) const fn new<P: Presence>(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            is_required: P::REQUIRED,
            doc,
            note: P::NOTE,
            schema: P::schema,
        }
    }

    /// An optional header or cookie.
    pub(super) const fn optional(
        name: &'static str,
        doc: &'static str,
        schema: fn() -> RefOr<Schema>,
    ) -> Self {
        Self {
            name,
            is_required: false,
            doc,
            note: "",
            schema,
        }
    }

    pub fn description(&self) -> String {
        let description = format!("{} {}", text(self.doc), self.note);
        description.trim().to_owned()
    }

    /// The schema of the value, null included where that is allowed.
    pub fn schema(&self) -> RefOr<Schema> {
        (self.schema)()
    }
}

/// A doc comment as one line.
fn text(doc: &str) -> String {
    let lines: Vec<&str> = doc.lines().map(str::trim).collect();
    lines.join(" ")
}
