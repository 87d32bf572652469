//! Contract 13: lists by cursor.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::daemon::{Daemon, fields};
use crate::support::Engine::{self, Postgres, Sqlite};

async fn list(daemon: &Daemon, query: &str) -> Value {
    let (status, body) = daemon.get(&format!("/tasks/?{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    body
}

/// The ids of every page, one list a page.
async fn pages(daemon: &Daemon, query: &str) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = list(daemon, &format!("{query}&cursor={cursor}")).await;
        let tasks = page["tasks"].as_array().unwrap();
        pages.push(
            tasks
                .iter()
                .map(|task| task["id"].as_i64().unwrap())
                .collect(),
        );
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return pages,
        }
    }
}

async fn refused(daemon: &Daemon, query: &str) {
    let (status, body) = daemon.get(&format!("/tasks/?{query}")).await;
    assert_eq!(
        (status.as_u16(), fields(&body)),
        (422, vec!["query.cursor"]),
        "{query}"
    );
}

/// Every task once, in the order of the list; nothing is counted, and the last page says so.
#[rstest]
#[tokio::test]
async fn walk(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    assert_eq!(
        list(&daemon, "cursor=").await,
        json!({ "tasks": [], "limit": 1000, "next_cursor": null })
    );
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.insert(0, daemon.create_titled(&format!("t{number}")).await);
    }
    let first = list(&daemon, "cursor=&limit=3").await;
    let keys: Vec<_> = first
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys, ["limit", "next_cursor", "tasks"]);
    assert_eq!(first["limit"], 3);
    for limit in 1..=8 {
        let pages = pages(&daemon, &format!("limit={limit}")).await;
        assert_eq!(pages.concat(), ids, "{limit}");
        assert_eq!(pages.len(), 7_usize.div_ceil(limit), "{limit}");
    }
    // The tasks are those of the list by page.
    assert_eq!(
        list(&daemon, "cursor=").await["tasks"],
        list(&daemon, "").await["tasks"]
    );
    // Without a cursor the answer does not mention one.
    assert!(list(&daemon, "limit=3").await.get("next_cursor").is_none());
}

/// Tasks that are created or deleted between two pages do not move those after the position.
#[rstest]
#[tokio::test]
async fn stable_under_changes(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.insert(0, daemon.create_titled(&format!("t{number}")).await);
    }
    let first = list(&daemon, "cursor=&limit=3").await;
    let next = first["next_cursor"].as_str().unwrap();
    // New tasks at the front, and the task that the cursor names is deleted.
    daemon.create_titled("new").await;
    daemon.delete(&format!("/tasks/{}", ids[2])).await;
    let second = list(&daemon, &format!("cursor={next}&limit=3")).await;
    let seen: Vec<_> = second["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["id"].as_i64().unwrap())
        .collect();
    assert_eq!(seen, ids[3..]);
    assert_eq!(second["next_cursor"], Value::Null);
}

/// 10.26: equal times are ordered by id across pages.
#[rstest]
#[tokio::test]
async fn equal_times(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.insert(0, daemon.create_titled(&format!("t{number}")).await);
    }
    let same = if daemon.is_postgres() {
        "'2031-01-01'"
    } else {
        "1"
    };
    daemon
        .database
        .execute(&format!("UPDATE tasks SET created_at = {same}"))
        .await;
    assert_eq!(pages(&daemon, "limit=3").await.concat(), ids);
}

/// With every filter, alone and together.
#[rstest]
#[tokio::test]
async fn filters(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for number in 0..12 {
        let priority = if number % 2 == 0 { "High" } else { "Low" };
        let day = number + 1;
        let task = daemon.create(json!({ "title": format!("Größe {number}"), "priority": priority, "due_date": format!("2031-01-{day:02}") })).await;
        if number % 3 == 0 {
            daemon
                .patch(&format!("/tasks/{}", task["id"]))
                .json(&json!({ "completed": true }))
                .await;
        }
    }
    for (filter, found) in [
        ("priority=High", 6),
        ("completed=true", 4),
        ("search=GR%C3%96%C3%9FE", 12),
        ("due_before=2031-01-05", 5),
        ("due_after=2031-01-05", 8),
        (
            "search=gr%C3%B6&priority=High&completed=false&due_after=2031-01-02&due_before=2031-01-11",
            4,
        ),
    ] {
        let by_page = list(&daemon, filter).await;
        let expected: Vec<_> = by_page["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["id"].as_i64().unwrap())
            .collect();
        let pages = pages(&daemon, &format!("{filter}&limit=2")).await;
        assert_eq!(pages.concat(), expected, "{filter}");
        assert_eq!(expected.len(), found, "{filter}");
    }
}

/// A cursor that was altered, truncated, invented or is another user's; and `page` with a cursor.
#[rstest]
#[tokio::test]
async fn bad_cursors(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for number in 0..3 {
        daemon.create_titled(&format!("t{number}")).await;
        daemon
            .post("/tasks/")
            .user("bob")
            .json(&json!({ "title": "b" }))
            .await;
    }
    let page = list(&daemon, "cursor=&limit=1").await;
    let good = page["next_cursor"].as_str().unwrap();
    list(&daemon, &format!("cursor={good}")).await;
    let (_, foreign) = daemon.get("/tasks/?cursor=&limit=1").user("bob").await;
    let altered = format!(
        "{}{}",
        if good.starts_with('B') { 'C' } else { 'B' },
        &good[1..]
    );
    for bad in [
        &good[1..],
        &good[..good.len() - 1],
        &altered,
        foreign["next_cursor"].as_str().unwrap(),
        "x",
        "%00",
        "%20",
        "null",
        "AQ",
        &"A".repeat(5000),
    ] {
        refused(&daemon, &format!("cursor={bad}")).await;
    }
    for query in [format!("page=1&cursor={good}"), "cursor=&page=2".to_owned()] {
        refused(&daemon, &query).await;
    }
    // The last of a repeated parameter counts.
    list(&daemon, &format!("cursor=x&cursor={good}")).await;
    // Each error is reported.
    let (status, body) = daemon.get("/tasks/?cursor=x&limit=0").await;
    assert_eq!(
        (status.as_u16(), fields(&body)),
        (422, vec!["query.limit", "query.cursor"])
    );
}
