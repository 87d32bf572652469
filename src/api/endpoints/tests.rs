//! The entries of the table are complete, and agree with themselves.

use std::collections::BTreeSet;

use http::Method;

use super::{DOCUMENT, ENDPOINTS};
use crate::api::endpoint::{Endpoint, OnTimeout};

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
