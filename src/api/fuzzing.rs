//! The entry points of the fuzz targets in `fuzz/`. Each panics if a property that holds for every
//! input is violated.

#![allow(clippy::missing_panics_doc, reason = "a panic reports a finding")]

use http::HeaderMap;

use crate::config::database_url::{self, DatabaseTarget};
use crate::domain::{Timestamp, UserId};

use super::input::{
    self, BulkDelete, CompleteTask, CreateTask, ItemId, ListTasks, Paging, SaveKey, Sources,
    TaskPath, UpdateTask, parse_json,
};
use super::{auth, cursor};

fn user() -> UserId {
    // A constant that is a good id.
    UserId::new("usr_1").unwrap_or_else(|error| unreachable!("{error}"))
}

/// An `Authorization` header, and the claims of a token.
pub fn bearer(data: &[u8]) {
    auth::fuzzing::header_and_claims(data);
}

/// A date-time: an accepted one is formatted and parsed again.
pub fn date_time(text: &str) {
    if let Ok(moment) = text.parse::<Timestamp>() {
        assert!((Timestamp::MIN..=Timestamp::MAX).contains(&moment));
        assert_eq!(moment.to_string().parse(), Ok(moment));
    }
}

/// A list's query, a cursor and a path's id.
pub fn query(text: &str) {
    let path = [("task_id", text)];
    let sources = Sources {
        path: &path,
        query: text,
        body: None,
    };
    if let Ok(((), query, ())) = input::read::<(), ListTasks, ()>(&sources) {
        assert!((1..=1000).contains(&query.limit()));
        if let Ok(Paging::Page(page)) = query.paging(&user()) {
            assert!(page >= 1 && query.offset(page) >= 0);
        }
        assert!(query.filter().search.is_none_or(|text| !text.is_empty()));
    }
    if let Some(position) = cursor::SignedPosition::decode(text).and_then(|one| one.verify(&user()))
    {
        assert_eq!(cursor::encode(position, &user()), text);
    }
    if let Ok((path, (), ())) = input::read::<TaskPath, (), ()>(&sources) {
        assert!(path.task_id.number().is_none_or(|id| id > 0));
    }
}

/// A body, as each route reads it.
pub fn body(data: &[u8]) {
    let Ok(body) = parse_json(&HeaderMap::new(), data) else {
        return;
    };
    let sources = Sources {
        body: body.as_ref(),
        ..Sources::default()
    };
    if let Ok(((), (), task)) = input::read::<(), (), CreateTask>(&sources) {
        let title = task.title.as_str();
        assert!((1..=200).contains(&title.chars().count()) && !title.contains('\0'));
        assert_eq!(title.trim(), title);
        if let Some(text) = &task.description {
            let text = text.as_str();
            assert!((1..=1000).contains(&text.chars().count()) && !text.contains('\0'));
        }
    }
    let _ = input::read::<(), (), UpdateTask>(&sources);
    let _ = input::read::<(), (), CompleteTask>(&sources);
    if let Err(errors) = input::read::<(), (), SaveKey>(&sources) {
        assert!(errors.fields().iter().all(|error| error.value.is_null()));
    }
    if let Ok(((), (), bulk)) = input::read::<(), (), BulkDelete>(&sources) {
        assert!(!bulk.task_ids.is_empty());
        for id in bulk.task_ids {
            if let ItemId::Impossible(value) = id {
                assert!(value.as_i64().is_none());
            }
        }
    }
}

/// `DATABASE_URL`: the form that is shown is the same without the password, so it has no part of it.
pub fn database_url(text: &str) {
    if let Ok(read) = database_url::parse(text) {
        let mut target = read.value;
        let shown = target.redacted();
        assert!(!shown.is_empty());
        if let DatabaseTarget::Postgres(server) = &mut target {
            server.password = None;
        }
        assert_eq!(target.redacted(), shown);
    }
}

#[cfg(test)]
mod tests {
    /// The seeds of the fuzzer, so that an ordinary test run covers the targets.
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
