//! The entry points of the fuzz targets in `fuzz/`. Each panics if a property that holds for every
//! input is violated.

#![allow(clippy::missing_panics_doc, reason = "a panic reports a finding")]

use std::net::IpAddr;

use ::http::header::{COOKIE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use ::http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::config::database_url::{self, DatabaseTarget};
use crate::domain::{Timestamp, UserId};
use crate::store::{StoredTime, TaskPosition};

use super::conditional::Preconditions;
use super::input::{
    self, BulkDelete, CompleteTask, CreateTask, ItemId, ListTasks, Paging, SaveKey, Sources,
    TaskPath, UpdateTask, parse_json,
};
use super::limits::client_address;
use super::{auth, cursor, tokens};

mod http;

pub use http::http;

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

/// The position that a cursor stands for: no other text stands for it.
fn accepted_cursor(text: &str) -> Option<TaskPosition> {
    let position = cursor::SignedPosition::decode(text)?.verify(&user())?;
    assert_eq!(cursor::encode(position, &user()), text);
    Some(position)
}

/// A cursor as it was sent, and one that was written for a position and then altered.
pub fn cursor(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        accepted_cursor(text);
    }
    let (Some((micros, rest)), Some(edits)) = (data.split_first_chunk(), data.get(16..)) else {
        return;
    };
    let Some(id) = rest.first_chunk() else { return };
    let position = TaskPosition {
        created_at: StoredTime::from_number(i64::from_be_bytes(*micros)),
        id: i64::from_be_bytes(*id),
    };
    let written = cursor::encode(position, &user());
    assert_eq!(accepted_cursor(&written), Some(position));
    let mut altered = written.into_bytes();
    for edit in edits.chunks_exact(2) {
        let at = usize::from(edit[0]) % altered.len();
        altered[at] ^= edit[1];
    }
    if let Ok(altered) = String::from_utf8(altered) {
        accepted_cursor(&altered);
    }
}

/// Each line of `data` that may be one is a header of this name.
fn headers(name: &HeaderName, data: &[u8]) -> HeaderMap {
    let lines = data.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

/// `If-Match` and `If-None-Match`: what matches strongly matches weakly, and nothing matches that
/// does not have the tag.
pub fn conditions(data: &[u8]) {
    let tag = HeaderValue::from_static("\"0123456789abcdef0123456789abcdef\"");
    let of = |name| Preconditions::of(&headers(name, data));
    let (Some(strong), Some(weak)) = (of(&IF_MATCH), of(&IF_NONE_MATCH)) else {
        return;
    };
    let (is_strong, is_weak) = (strong.allow(&tag), weak.knows(&tag));
    assert!(is_weak || !is_strong);
    let has_tag = data.windows(tag.len()).any(|part| part == tag.as_bytes());
    assert!(!is_weak || has_tag || data.contains(&b'*'));
}

/// The `Cookie` header: a token is found only where its name is sent.
pub fn cookies(data: &[u8]) {
    let headers = headers(&COOKIE, data);
    for name in tokens::COOKIE_NAMES {
        let is_sent = data.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(is_sent || tokens::cookie(&headers, name).is_none());
    }
}

/// `X-Forwarded-For`: a client does not change its address by what it sends itself.
pub fn forwarded_for(data: &[u8]) {
    const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    let trusted: [IpNet; 2] = [
        IpNet::new_assert([10, 0, 0, 0].into(), 8),
        IpNet::new_assert(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 0]), 8),
    ];
    let is_trusted = |address| trusted.iter().any(|network| network.contains(&address));
    let appended = headers(&NAME, data);
    for peer in [[10, 1, 2, 3].into(), [192, 0, 2, 1].into()] {
        let found = client_address(peer, &appended, &trusted);
        assert!(is_trusted(peer) || found == peer);
        for sent in ["198.51.100.7", "10.9.9.9", "x", ""] {
            let mut all = HeaderMap::new();
            all.append(NAME, HeaderValue::from_static(sent));
            for value in appended.get_all(&NAME) {
                all.append(NAME, value.clone());
            }
            let spoofed = client_address(peer, &all, &trusted);
            assert!(is_trusted(found) || spoofed == found);
        }
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
    accepted_cursor(text);
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
        super::cursor(b"0123456789abcdef\x01\x02");
        super::conditions(b"W/\"0123456789abcdef0123456789abcdef\", \"x\"\n*");
        super::cookies(b"a=b; refresh_token=\"c\"");
        let token = super::http::TOKEN;
        super::http(
            format!("GET /tasks/ HTTP/1.1\r\nHost: a\r\nX-User-ID: b\r\nAuthorization: Bearer {token}\r\n\r\n")
                .as_bytes(),
        );
        super::forwarded_for(b"198.51.100.1, 10.0.0.1\n[2001:db8::1]:443");
    }
}
