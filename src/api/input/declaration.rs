//! Declarations of inputs, and the readers and schemas that follow from them.

use form_urlencoded::parse;
use serde_json::{Map, Value};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, Schema};

use super::errors::{Code, FieldErrors, Refused, ValidationErrors, echo};
use super::presence::Presence;
use super::schema;

/// The part of a request that holds an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    Path,
    Query,
    Body,
    /// A body that may hold a secret in any field: no error repeats a part of it (contract 10.7).
    SecretBody,
}

impl Location {
    /// What precedes the name of a field in an error; contract 1.1.
    fn prefix(self) -> &'static str {
        match self {
            Self::Path => "path.",
            Self::Query => "query.",
            Self::Body | Self::SecretBody => "",
        }
    }

    fn is_secret(self) -> bool {
        self == Self::SecretBody
    }
}

/// An input: a body, a query, or the variable segments of a path.
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

    /// The parameters of a query or a path.
    pub fn parameters(&self) -> Vec<Parameter> {
        let parameter = |field: &Field| {
            let required = if field.is_required {
                Required::True
            } else {
                Required::False
            };
            ParameterBuilder::new()
                .name(field.name)
                .parameter_in(match self.location {
                    Location::Path => ParameterIn::Path,
                    Location::Query | Location::Body | Location::SecretBody => ParameterIn::Query,
                })
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
            schema: P::schema,
        }
    }

    pub fn description(&self) -> String {
        text(self.doc)
    }

    /// The schema of the value, null included where that is allowed.
    pub fn schema(&self) -> RefOr<Schema> {
        (self.schema)()
    }
}

/// A doc comment without the space before each line.
fn text(doc: &str) -> String {
    let lines: Vec<&str> = doc.lines().map(str::trim).collect();
    lines.join("\n").trim().to_owned()
}

/// What the daemon received.
#[derive(Default)]
pub(crate) struct Sources<'r> {
    /// Names and percent-decoded values of the path's variable segments.
    pub path: &'r [(&'r str, &'r str)],
    /// The query as it was sent, without the `?`.
    pub query: &'r str,
    /// The body; `None` if it was empty.
    pub body: Option<&'r Value>,
}

/// A value that is read from a request by its declaration. `()` reads nothing.
pub(crate) trait Input: Sized {
    /// What is read; `None` for `()`.
    const DECLARATION: Option<&'static Declaration>;

    /// Reads the fields of a JSON object in declared order, and adds an error for each invalid one.
    fn from_object(object: &Value, errors: &mut ValidationErrors) -> Result<Self, Refused>;
}

impl Input for () {
    const DECLARATION: Option<&'static Declaration> = None;

    fn from_object(_: &Value, _: &mut ValidationErrors) -> Result<Self, Refused> {
        Ok(())
    }
}

/// Reads path, query and body, and reports the errors of all of them in this order.
pub(crate) fn read<P: Input, Q: Input, B: Input>(
    sources: &Sources<'_>,
) -> Result<(P, Q, B), ValidationErrors> {
    let mut errors = ValidationErrors::default();
    let path = read_one(sources, &mut errors);
    let query = read_one(sources, &mut errors);
    let body = read_one(sources, &mut errors);
    errors.finish(match (path, query, body) {
        (Ok(path), Ok(query), Ok(body)) => Ok((path, query, body)),
        _ => Err(Refused),
    })
}

fn read_one<T: Input>(sources: &Sources<'_>, errors: &mut ValidationErrors) -> Result<T, Refused> {
    let Some(declaration) = T::DECLARATION else {
        return T::from_object(&Value::Null, errors);
    };
    match declaration.location {
        Location::Path => T::from_object(&text_fields(sources.path.iter().copied()), errors),
        // Of a repeated parameter the last one counts, because it replaces the ones before it.
        Location::Query => T::from_object(&text_fields(parse(sources.query.as_bytes())), errors),
        Location::Body | Location::SecretBody => match sources.body {
            Some(object @ Value::Object(_)) => T::from_object(object, errors),
            None => Err(errors.add(
                String::new(),
                Code::Missing,
                "Field required".to_owned(),
                Value::Null,
            )),
            Some(other) => {
                let value = if declaration.location.is_secret() {
                    Value::Null
                } else {
                    echo(other)
                };
                let message = "Input should be a JSON object".to_owned();
                Err(errors.add(String::new(), Code::ModelAttributesType, message, value))
            }
        },
    }
}

/// A JSON object whose values are the texts of a path or a query.
fn text_fields<N: Into<String>, V: Into<String>>(fields: impl Iterator<Item = (N, V)>) -> Value {
    let fields: Map<String, Value> = fields
        .map(|(name, value)| (name.into(), Value::String(value.into())))
        .collect();
    Value::Object(fields)
}

/// Reads the field of an object: what [`input!`] calls for each field.
pub(super) fn read_field<P: Presence>(
    location: Location,
    name: &'static str,
    object: &Value,
    errors: &mut ValidationErrors,
) -> Result<P::Value, Refused> {
    let mut errors = FieldErrors::new(errors, location.prefix(), name, location.is_secret());
    P::read(name, object, &mut errors)
}

/// Declares an input: a struct whose fields have a name, a [`Presence`] and a description. Its
/// [`Input`] reads all of its fields before it looks at the results, so that every error is found.
macro_rules! input {
    (
        $(#[doc = $doc:literal])+
        $(#[derive($($derive:path),+)])?
        $vis:vis struct $name:ident in $location:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident: $presence:ty,
            )+
        }
    ) => {
        $(#[doc = $doc])+
        $(#[derive($($derive),+)])?
        $vis struct $name {
            $(
                $(#[doc = $field_doc])+
                $vis $field: <$presence as $crate::api::input::presence::Presence>::Value,
            )+
        }

        impl $crate::api::input::declaration::Input for $name {
            const DECLARATION: Option<&'static $crate::api::input::declaration::Declaration> =
                Some(&$crate::api::input::declaration::Declaration::new(
                    stringify!($name),
                    $crate::api::input::declaration::Location::$location,
                    concat!($($doc, "\n"),+),
                    &[$(
                        $crate::api::input::declaration::Field::new::<$presence>(
                            stringify!($field),
                            concat!($($field_doc, "\n"),+),
                        ),
                    )+],
                ));

            fn from_object(
                object: &serde_json::Value,
                errors: &mut $crate::api::input::errors::ValidationErrors,
            ) -> Result<Self, $crate::api::input::errors::Refused> {
                let location = $crate::api::input::declaration::Location::$location;
                $(
                    let $field = $crate::api::input::declaration::read_field::<$presence>(
                        location, stringify!($field), object, errors,
                    );
                )+
                match ($($field,)+) {
                    ($(Ok($field),)+) => Ok(Self { $($field),+ }),
                    _ => Err($crate::api::input::errors::Refused),
                }
            }
        }
    };
}

pub(super) use input;
