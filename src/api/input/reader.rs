//! Reading declared inputs from a request.

use form_urlencoded::parse;
use serde_json::{Map, Value};

use super::declaration::{Declaration, Location};
use super::errors::{Code, FieldErrors, Refused, ValidationErrors};
use super::presence::Presence;

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
        location => match sources.body {
            Some(object @ Value::Object(_)) => T::from_object(object, errors),
            body => Err(refuse_body(body, location, errors)),
        },
    }
}

/// The error of a body that is absent or no object; contract 1.1.
fn refuse_body(body: Option<&Value>, location: Location, errors: &mut ValidationErrors) -> Refused {
    let mut errors = FieldErrors::new(errors, "", "", location.is_secret());
    match body {
        None => errors.refuse(Code::Missing, "Field required", &Value::Null),
        Some(other) => {
            let message = "Input should be a JSON object";
            errors.refuse(Code::ModelAttributesType, message, other)
        }
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

        impl $crate::api::input::reader::Input for $name {
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
                    let $field = $crate::api::input::reader::read_field::<$presence>(
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
