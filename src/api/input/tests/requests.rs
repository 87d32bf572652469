//! Paths, paging, and the order of a request's errors.

use serde_json::json;

use super::support::{Errors, NONE, assert_codes, codes};
use crate::api::cursor;
use crate::api::input::{ListTasks, NotificationPath, Paging, Sources, TaskPath, UpdateTask, read};
use crate::domain::UserId;
use crate::store::{StoredTime, TaskPosition};

/// Contract 13: a page number and a cursor exclude each other, and a cursor is its user's own.
#[test]
fn paging() {
    let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
    let position = TaskPosition {
        created_at: StoredTime::from_number(0),
        id: 1,
    };
    let cursor = cursor::encode(position, &alice);
    let of_alice = format!("limit=10&cursor={cursor}");
    let refused = vec![("query.cursor".to_owned(), "value_error".to_owned())];
    for (query, user, expected) in [
        ("", &alice, Ok(Paging::Page(1))),
        ("page=3", &alice, Ok(Paging::Page(3))),
        ("cursor=", &alice, Ok(Paging::After(None))),
        (&of_alice, &alice, Ok(Paging::After(Some(position)))),
        (&of_alice, &bob, Err(&refused)),
        ("cursor=&page=1", &alice, Err(&refused)),
    ] {
        let sources = Sources {
            query,
            ..Sources::default()
        };
        let ((), list, ()) = read::<(), ListTasks, ()>(&sources).unwrap();
        let paging = list.paging(user).map_err(|errors| codes(&errors));
        assert_eq!(
            paging.as_ref(),
            expected.as_ref().map_err(|errors| *errors),
            "{query}"
        );
    }
    let sources = Sources {
        query: "limit=2",
        ..Sources::default()
    };
    let ((), list, ()) = read::<(), ListTasks, ()>(&sources).unwrap();
    assert_eq!((list.offset(1), list.offset(3)), (0, 4));
    // Contract 10.13.
    assert_eq!(list.offset(i64::MAX), i64::MAX);
}

/// Contract 3.6 and 10.12: an id that no row can have is not invalid.
#[test]
fn ids_in_paths() {
    let refused: Errors = &[("path.task_id", "int_parsing")];
    for (id, number, expected) in [
        ("47", Some(47), NONE),
        ("+1", Some(1), NONE),
        ("01", Some(1), NONE),
        ("0", None, NONE),
        ("-1", None, NONE),
        ("99999999999999999999", None, NONE),
        ("", None, refused),
        ("x", None, refused),
        ("1.0", None, refused),
        ("bulk-delete", None, refused),
    ] {
        let path = [("task_id", id)];
        let sources = Sources {
            path: &path,
            ..Sources::default()
        };
        assert_codes::<TaskPath, (), ()>(&sources, expected, id);
        if let Ok((path, (), ())) = read::<TaskPath, (), ()>(&sources) {
            assert_eq!(path.task_id.number(), number, "{id}");
            assert_eq!(path.task_id.to_string(), id);
        }
    }
    let path = [("notification_id", "x")];
    let sources = Sources {
        path: &path,
        ..Sources::default()
    };
    let expected = &[("path.notification_id", "int_parsing")];
    assert_codes::<NotificationPath, (), ()>(&sources, expected, "x");
}

/// Contract 1.1: path, then query, then body.
#[test]
fn order_of_a_request() {
    let body = json!({ "completed": 1, "title": 1 });
    let sources = Sources {
        path: &[("task_id", "x")],
        query: "limit=0&page=0",
        body: Some(&body),
    };
    let expected = &[
        ("path.task_id", "int_parsing"),
        ("query.page", "greater_than_equal"),
        ("query.limit", "greater_than_equal"),
        ("title", "string_type"),
        ("completed", "bool_type"),
    ];
    assert_codes::<TaskPath, ListTasks, UpdateTask>(&sources, expected, "a request");
}
