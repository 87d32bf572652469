//! What `fuzz/` may call: one function a target. Each panics when something that
//! has to hold for any input does not.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a finding is told"
)]

use http::HeaderMap;

use crate::config::database_url;
use crate::domain::{Timestamp, UserId};

use super::body::{self, BulkId};
use super::query::{ListQuery, path_id};
use super::validation::Faults;
use super::{auth, cursor};

fn user() -> UserId {
    // A constant that is a good id.
    UserId::new("usr_1").unwrap_or_else(|error| unreachable!("{error}"))
}

/// An `Authorization` header, and the claims of a token.
pub fn bearer(data: &[u8]) {
    auth::fuzzing::header_and_claims(data);
}

/// A date-time: what is accepted is read back from what is written.
pub fn date_time(text: &str) {
    if let Ok(moment) = text.parse::<Timestamp>() {
        assert!((Timestamp::MIN..=Timestamp::MAX).contains(&moment));
        assert_eq!(moment.to_string().parse(), Ok(moment));
    }
}

/// A list's query, a cursor and a path's id.
pub fn query(text: &str) {
    let mut faults = Faults::default();
    let read = ListQuery::read(text, &user(), &mut faults);
    if let Ok(query) = faults.finish(Some(read)) {
        assert!((1..=1000).contains(&query.limit) && query.page >= 1 && query.offset() >= 0);
        assert!(query.filter.search.is_none_or(|text| !text.is_empty()));
    }
    if let Some(position) = cursor::read(text, &user()) {
        assert_eq!(cursor::write(position, &user()), text);
    }
    let mut faults = Faults::default();
    if let Some(id) = path_id("task_id", text, &mut faults) {
        assert!(id > 0);
    }
}

/// A body, as each route reads it.
pub fn body(data: &[u8]) {
    let Ok(body) = body::parse(&HeaderMap::new(), data) else {
        return;
    };
    let body = body.as_ref();
    if let Ok(task) = body::new_task(user(), body, Faults::default()) {
        let title = task.title.as_str();
        assert!((1..=200).contains(&title.chars().count()) && !title.contains('\0'));
        assert_eq!(title.trim(), title);
        if let Some(text) = &task.description {
            let text = text.as_str();
            assert!((1..=1000).contains(&text.chars().count()) && !text.contains('\0'));
        }
    }
    let _ = body::task_changes(body, Faults::default());
    if let Ok(changes) = body::completion(body, Faults::default()) {
        assert!(changes.completed.is_some());
    }
    if let Ok(ids) = body::bulk_ids(body, Faults::default()) {
        assert!(!ids.is_empty());
        for id in ids {
            if let BulkId::Impossible(value) = id {
                assert!(value.as_i64().is_none());
            }
        }
    }
}

/// `DATABASE_URL`: what is accepted can be shown without its password.
pub fn database_url(text: &str) {
    if let Ok(read) = database_url::parse(text) {
        assert!(!read.value.redacted().is_empty());
    }
}

#[cfg(test)]
mod tests {
    /// What the fuzzer starts from, so that a plain test run keeps the targets alive.
    #[test]
    fn every_target_runs() {
        super::bearer(b"Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln");
        super::bearer(br#"{"sub":"usr_1","exp":4102444800,"iat":1,"type":"access"}"#);
        super::date_time("2031-01-02T03:04:05.123456789+05:30");
        super::query("search=%25&completed=on&due_before=2031-01-02&limit=20&cursor=");
        super::body(br#"{"title":"t","completed":true,"task_ids":[1,99999999999999999999]}"#);
        super::database_url("postgresql://user:password@localhost/db?sslmode=require");
    }
}
