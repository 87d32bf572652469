//! What each declaration accepts, and the code of each error; contract 1.1, 3.2 to 3.10 and 5.2.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Errors, NONE, assert_codes};
use crate::api::input::{
    BulkDelete, CompleteTask, CreateTask, Input, ListTasks, SaveKey, Sources, UpdateTask,
    ValidationErrors, read,
};

fn assert_bodies<B: Input>(cases: &[(Value, Errors)]) {
    for (body, expected) in cases {
        let sources = Sources {
            body: Some(body),
            ..Sources::default()
        };
        assert_codes::<(), (), B>(&sources, expected, &body.to_string());
    }
    assert_codes::<(), (), B>(&Sources::default(), &[("", "missing")], "no body");
    for body in [json!([]), json!("text"), json!(1), Value::Null] {
        let sources = Sources {
            body: Some(&body),
            ..Sources::default()
        };
        let expected = &[("", "model_attributes_type")];
        assert_codes::<(), (), B>(&sources, expected, &body.to_string());
    }
}

fn create_cases() -> Vec<(Value, Errors)> {
    let long = |length| "x".repeat(length);
    vec![
        (json!({ "title": "t" }), NONE),
        (json!({ "title": "t", "unknown": [] }), NONE),
        (json!({ "title": "\u{1F600}".repeat(200) }), NONE),
        (
            json!({ "title": "t", "description": null, "due_date": null }),
            NONE,
        ),
        (json!({ "title": "t", "description": " " }), NONE),
        (json!({ "title": "t", "description": long(1000) }), NONE),
        (json!({ "title": "t", "due_date": "2031-12-22" }), NONE),
        // Not a field of this body.
        (json!({ "title": "t", "completed": "x" }), NONE),
        (json!({}), &[("title", "missing")]),
        (json!({ "title": null }), &[("title", "string_type")]),
        (json!({ "title": "" }), &[("title", "string_too_short")]),
        (json!({ "title": " \u{3000}" }), &[("title", "value_error")]),
        (json!({ "title": "a\0b" }), &[("title", "value_error")]),
        (
            json!({ "title": long(201) }),
            &[("title", "string_too_long")],
        ),
        (
            json!({ "title": "t", "description": 1 }),
            &[("description", "string_type")],
        ),
        (
            json!({ "title": "t", "description": "\0" }),
            &[("description", "value_error")],
        ),
        (
            json!({ "title": "t", "description": " ".repeat(1001) }),
            &[("description", "string_too_long")],
        ),
        (
            json!({ "title": "t", "priority": null }),
            &[("priority", "enum")],
        ),
        (
            json!({ "title": "t", "priority": "high" }),
            &[("priority", "enum")],
        ),
        (
            json!({ "title": "t", "due_date": true }),
            &[("due_date", "datetime_type")],
        ),
        (
            json!({ "title": "t", "due_date": "tomorrow" }),
            &[("due_date", "datetime_parsing")],
        ),
        (
            json!({ "title": "t", "due_date": "0001-01-01T00:00:00+05:00" }),
            &[("due_date", "datetime_parsing")],
        ),
        (
            json!({ "due_date": 1, "priority": 1, "description": 1, "title": 1 }),
            &[
                ("title", "string_type"),
                ("description", "string_type"),
                ("priority", "enum"),
                ("due_date", "datetime_type"),
            ],
        ),
    ]
}

fn update_cases() -> Vec<(Value, Errors)> {
    vec![
        (json!({}), NONE),
        (
            json!({ "title": null, "description": null, "priority": null, "due_date": null, "completed": null }),
            NONE,
        ),
        (
            json!({ "title": "", "completed": "true" }),
            &[("title", "string_too_short"), ("completed", "bool_type")],
        ),
        (
            json!({ "description": false }),
            &[("description", "string_type")],
        ),
        (json!({ "priority": "" }), &[("priority", "enum")]),
        (
            json!({ "due_date": "" }),
            &[("due_date", "datetime_parsing")],
        ),
    ]
}

fn complete_cases() -> Vec<(Value, Errors)> {
    vec![
        (json!({ "completed": false, "title": 1 }), NONE),
        (json!({}), &[("completed", "missing")]),
        (json!({ "completed": null }), &[("completed", "bool_type")]),
        (json!({ "completed": 1 }), &[("completed", "bool_type")]),
    ]
}

fn bulk_cases() -> Vec<(Value, Errors)> {
    vec![
        (json!({ "task_ids": [1, 0, -1] }), NONE),
        (
            serde_json::from_str(r#"{ "task_ids": [99999999999999999999] }"#).unwrap(),
            NONE,
        ),
        (json!({}), &[("task_ids", "missing")]),
        (json!({ "task_ids": null }), &[("task_ids", "list_type")]),
        (json!({ "task_ids": [] }), &[("task_ids", "too_short")]),
        (
            json!({ "task_ids": ["1", 2, 1.5, null] }),
            &[
                ("task_ids.0", "int_type"),
                ("task_ids.2", "int_from_float"),
                ("task_ids.3", "int_type"),
            ],
        ),
    ]
}

fn key_cases() -> Vec<(Value, Errors)> {
    let key = "AIza0123456789abcdef";
    vec![
        (json!({ "api_key": key }), NONE),
        (json!({ "api_key": key, "provider": "gemini" }), NONE),
        // The form of the key is checked later (contract 5.2, step 3).
        (json!({ "api_key": " ".repeat(20) }), NONE),
        (json!({}), &[("api_key", "missing")]),
        (json!({ "api_key": null }), &[("api_key", "string_type")]),
        (
            json!({ "api_key": "AIza" }),
            &[("api_key", "string_too_short")],
        ),
        (
            json!({ "api_key": "x".repeat(304) }),
            &[("api_key", "string_too_long")],
        ),
        (
            json!({ "api_key": key, "provider": null }),
            &[("provider", "string_type")],
        ),
        (
            json!({ "api_key": key, "provider": "other" }),
            &[("provider", "enum")],
        ),
        (
            json!({ "api_key": 1, "provider": "x".repeat(51) }),
            &[("api_key", "string_type"), ("provider", "string_too_long")],
        ),
    ]
}

const QUERIES: &[(&str, Errors)] = &[
    ("", NONE),
    ("unknown=1&search=&page=9223372036854775807", NONE),
    ("page=x&page=3&completed=YES&priority=Low", NONE),
    ("due_after=2031-01-01T00:00:00Z&due_before=2031-01-02", NONE),
    ("cursor=", NONE),
    ("search=%00", &[("query.search", "value_error")]),
    ("priority=", &[("query.priority", "enum")]),
    ("priority=high", &[("query.priority", "enum")]),
    ("completed=", &[("query.completed", "bool_parsing")]),
    ("completed=2", &[("query.completed", "bool_parsing")]),
    (
        "due_before=x",
        &[("query.due_before", "date_from_datetime_parsing")],
    ),
    (
        "due_after=2031-01-01T01:00:00Z",
        &[("query.due_after", "date_from_datetime_inexact")],
    ),
    ("page=0", &[("query.page", "greater_than_equal")]),
    ("page=x", &[("query.page", "int_parsing")]),
    (
        "page=99999999999999999999",
        &[("query.page", "int_parsing")],
    ),
    ("limit=0", &[("query.limit", "greater_than_equal")]),
    ("limit=1001", &[("query.limit", "less_than_equal")]),
    (
        "cursor=x&limit=0",
        &[
            ("query.limit", "greater_than_equal"),
            ("query.cursor", "value_error"),
        ],
    ),
];

#[test]
fn create_task() {
    assert_bodies::<CreateTask>(&create_cases());
}

#[test]
fn update_task() {
    assert_bodies::<UpdateTask>(&update_cases());
}

#[test]
fn complete_task() {
    assert_bodies::<CompleteTask>(&complete_cases());
}

#[test]
fn bulk_delete() {
    assert_bodies::<BulkDelete>(&bulk_cases());
}

#[test]
fn save_key() {
    assert_bodies::<SaveKey>(&key_cases());
}

#[test]
fn list_tasks() {
    for (query, expected) in QUERIES {
        let sources = Sources {
            query,
            ..Sources::default()
        };
        assert_codes::<(), ListTasks, ()>(&sources, expected, query);
    }
}

/// Contract 1.1 and 10.7: an error repeats the rejected input, except where it may be a secret.
#[test]
fn rejected_values() {
    let value = |error: ValidationErrors| error.fields()[0].value.clone();
    let body = json!({ "description": "d" });
    let sources = Sources {
        body: Some(&body),
        ..Sources::default()
    };
    let error = read::<(), (), CreateTask>(&sources).unwrap_err();
    assert_eq!(
        value(error),
        body,
        "the whole object when a field is missing"
    );
    let error = read::<(), (), BulkDelete>(&sources).unwrap_err();
    assert_eq!(value(error), body);
    for (body, _) in key_cases().into_iter().chain([
        (json!("AIza0123456789abcdef"), NONE),
        (json!({ "key": "AIza0123456789abcdef" }), NONE),
    ]) {
        let sources = Sources {
            body: Some(&body),
            ..Sources::default()
        };
        if let Err(errors) = read::<(), (), SaveKey>(&sources) {
            let values = errors.fields().iter().map(|error| &error.value);
            assert!(values.into_iter().all(Value::is_null), "{body}");
        }
    }
}

/// The tables above contain every code of contract 1.1 that a declaration can cause.
#[test]
fn every_code_is_tested() {
    let bodies = [
        create_cases(),
        update_cases(),
        complete_cases(),
        bulk_cases(),
        key_cases(),
    ];
    let of_bodies = bodies.iter().flatten().map(|(_, errors)| *errors);
    let of_queries = QUERIES.iter().map(|(_, errors)| *errors);
    let tested: BTreeSet<&str> = of_bodies
        .chain(of_queries)
        .flatten()
        .map(|(_, code)| *code)
        // `assert_bodies` tests it.
        .chain(["model_attributes_type"])
        .collect();
    let contract = BTreeSet::from([
        "bool_parsing",
        "bool_type",
        "date_from_datetime_inexact",
        "date_from_datetime_parsing",
        "datetime_parsing",
        "datetime_type",
        "enum",
        "greater_than_equal",
        "int_from_float",
        "int_parsing",
        "int_type",
        "less_than_equal",
        "list_type",
        "missing",
        "model_attributes_type",
        "string_too_long",
        "string_too_short",
        "string_type",
        "too_short",
        "value_error",
    ]);
    assert_eq!(tested, contract);
}
