//! The entries of the table are complete, and agree with themselves.

use std::collections::BTreeSet;

use http::Method;

use super::{DOCUMENT, ENDPOINTS};
use crate::api::endpoint::{Content, Endpoint, OnTimeout};

fn statuses(endpoint: &Endpoint) -> BTreeSet<u16> {
    let answers = endpoint.answers.iter();
    answers.map(|answer| answer.status).collect()
}

fn headers(endpoint: &Endpoint) -> BTreeSet<&'static str> {
    let declared = endpoint.options.headers.iter().flat_map(|one| one.fields);
    declared.map(|field| field.name).collect()
}

#[test]
fn every_entry_is_described() {
    let document = serde_json::to_value(&*DOCUMENT).unwrap();
    let mut ids = BTreeSet::new();
    for endpoint in ENDPOINTS {
        let Endpoint { method, path, .. } = endpoint;
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(
            ids.insert(id),
            "{method} {path}: the operation id is not unique"
        );
        assert!(!endpoint.doc.is_empty(), "{method} {path}");
        let succeeds = statuses(endpoint).into_iter().any(|status| status < 400);
        assert!(
            succeeds,
            "{method} {path}: no answer of a success is declared"
        );
    }
}

/// Whether the contract has `text`, and not only as a part of a longer path or name.
fn is_in_contract(text: &str) -> bool {
    let contract = include_str!("../../../docs/contract.md");
    let is_part = |sign: char| sign.is_alphanumeric() || "/-_{".contains(sign);
    contract.match_indices(text).any(|(at, _)| {
        let after = &contract[at + text.len()..];
        !contract[..at].ends_with(is_part) && !after.starts_with(is_part)
    })
}

/// Clients rely on the contract, so an endpoint or a field that it does not have is not finished.
/// It writes `{id}` for a variable segment.
#[test]
fn the_contract_has_every_endpoint_and_field() {
    // Files of the documentation page.
    let listed = ENDPOINTS.iter().filter(|one| one.path != "/docs/{asset}");
    for Endpoint { path, handler, .. } in listed {
        let name = match (path.split_once('{'), path.split_once('}')) {
            (Some((before, _)), Some((_, after))) => format!("{before}{{id}}{after}"),
            _ => (*path).to_owned(),
        };
        assert!(
            is_in_contract(&name),
            "docs/contract.md does not have {name}"
        );
        let inputs = [handler.inputs.query, handler.inputs.body];
        for field in inputs.into_iter().flatten().flat_map(|one| one.fields) {
            let name = field.name;
            assert!(
                is_in_contract(name),
                "{path}: docs/contract.md does not have {name}"
            );
        }
    }
}

/// An answer has all of its fields always, so its schema says so, and its example has them too.
/// What utoipa takes for optional needs `#[schema(required)]`.
#[test]
fn answers_have_all_of_their_fields() {
    let answers = ENDPOINTS.iter().flat_map(|endpoint| endpoint.answers);
    let bodies = answers.filter_map(|answer| match answer.content {
        Content::Json(bodies) => Some(bodies),
        _ => None,
    });
    let mut schemas = Vec::new();
    for body in bodies.flatten() {
        schemas.push(((body.name)().into_owned(), (body.schema)()));
        (body.nested)(&mut schemas);
    }
    for (name, schema) in schemas {
        let schema = serde_json::to_value(schema).unwrap();
        let Some(fields) = schema["properties"].as_object() else {
            continue;
        };
        let required = schema["required"].as_array().into_iter().flatten();
        let required: BTreeSet<&str> = required.filter_map(|one| one.as_str()).collect();
        for field in fields.keys() {
            let is_required = required.contains(field.as_str());
            assert!(is_required, "{name}.{field} is not required");
            if let Some(example) = schema["example"].as_object() {
                assert!(example.contains_key(field), "{name}: no example of {field}");
            }
        }
    }
}

/// A handler reads the variable segment that its path has, and no other.
#[test]
fn inputs_fit_path_and_method() {
    for Endpoint {
        method,
        path,
        handler,
        ..
    } in ENDPOINTS
    {
        let inputs = &handler.inputs;
        let read: Vec<&str> = inputs
            .path
            .iter()
            .flat_map(|one| one.fields)
            .map(|field| field.name)
            .collect();
        let variable = path
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'));
        let variable: Vec<&str> = variable.iter().map(|(name, _)| *name).collect();
        assert_eq!(read, variable, "{method} {path}");
        let may_have_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        assert!(may_have_body || inputs.body.is_none(), "{method} {path}");
        assert!(
            method == Method::GET || inputs.query.is_none(),
            "{method} {path}"
        );
    }
}

/// Contract 13: an endpoint with conditions says what it answers when they do not hold.
#[test]
fn conditions_have_answers() {
    for endpoint in ENDPOINTS {
        let Endpoint { method, path, .. } = endpoint;
        let (headers, statuses) = (headers(endpoint), statuses(endpoint));
        let has_conditions = headers.contains("If-None-Match");
        assert_eq!(
            headers.contains("If-Match"),
            has_conditions,
            "{method} {path}"
        );
        assert_eq!(statuses.contains(&412), has_conditions, "{method} {path}");
        let may_be_unmodified = has_conditions && method == Method::GET;
        assert_eq!(
            statuses.contains(&304),
            may_be_unmodified,
            "{method} {path}"
        );
        if let OnTimeout::OutcomeUnknown { unless } = endpoint.options.on_timeout {
            assert!(
                headers.contains(unless),
                "{method} {path}: {unless} is not declared"
            );
        }
    }
}
