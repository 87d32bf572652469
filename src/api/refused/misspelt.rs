//! Fields and parameters that are ignored because their names are spelt differently, such as `dueDate`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use form_urlencoded::parse;
use http::StatusCode;
use serde_json::Value;

use crate::telemetry::RefusalKind;

use super::super::auth::CallerKind;
use super::super::context::ApiContext;
use super::super::endpoint::{Endpoint, RawInputs};
use super::super::head::Head;
use super::super::input::Declaration;
use super::super::limits::likely_address;
use super::super::render::method_label;

/// Counts a request with such names. It may be answered with success all the same.
pub(in super::super) fn count_misspelt(
    context: &ApiContext,
    head: &Head,
    endpoint: &Endpoint,
    inputs: &RawInputs,
    caller: CallerKind,
) {
    let declared = &endpoint.handler.inputs;
    let mut names: Vec<&'static str> = Vec::new();
    let fields = inputs.body.as_ref().and_then(Value::as_object);
    if let (Some(declared), Some(fields)) = (declared.body, fields) {
        names.extend(missing(
            declared,
            fields.keys().map(|name| Cow::Borrowed(name.as_str())),
        ));
    }
    if let Some(declared) = declared.query.filter(|_| !head.query().is_empty()) {
        names.extend(missing(
            declared,
            parse(head.query().as_bytes()).map(|(name, _)| name),
        ));
    }
    if names.is_empty() {
        return;
    }
    let kind = RefusalKind {
        status: StatusCode::OK.as_u16(),
        reason: "misspelt",
        method: method_label(head.method()),
        route: endpoint.path,
        caller: caller.method(),
    };
    let details = names.into_iter().map(Cow::Borrowed);
    let address = likely_address(head.client, head.headers());
    let now = context.clock.now();
    context.metrics.clients.refused(kind, details, address, now);
}

/// The declared names that are not among these, and that one of them means.
fn missing<'n>(
    declared: &'static Declaration,
    names: impl Iterator<Item = Cow<'n, str>>,
) -> Vec<&'static str> {
    let known = |name: &str| declared.fields.iter().any(|field| field.name == name);
    let (right, others): (Vec<_>, Vec<_>) = names.partition(|name| known(name));
    let right: BTreeSet<&str> = right.iter().map(AsRef::as_ref).collect();
    let is_meant = |name: &str| others.iter().any(|other| is_same(other, name));
    let fields = declared.fields.iter().map(|field| field.name);
    fields
        .filter(|name| !right.contains(name) && is_meant(name))
        .collect()
}

/// Whether two names differ only in capitals and in what joins their words.
fn is_same(one: &str, other: &str) -> bool {
    letters(one).eq(letters(other))
}

fn letters(text: &str) -> impl Iterator<Item = u8> {
    let letters = text.bytes().filter(u8::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (one, expected) in [
            ("dueDate", true),
            ("DueDate", true),
            ("due-date", true),
            ("DUE_DATE", true),
            ("due", false),
            ("due_at", false),
        ] {
            assert_eq!(is_same(one, "due_date"), expected, "{one}");
        }
    }
}
