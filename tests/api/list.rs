//! Contract 3.4: lists, filters, pages.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::daemon::{Daemon, fields};
use crate::support::Engine::{self, Postgres, Sqlite};

async fn list(daemon: &Daemon, query: &str) -> Value {
    let (status, body) = daemon.get(&format!("/tasks/?{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    body
}

async fn titles(daemon: &Daemon, query: &str) -> Vec<String> {
    list(daemon, query).await["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["title"].as_str().unwrap().to_owned())
        .collect()
}

/// 3.4: newest first, with totals and pages.
#[rstest]
#[tokio::test]
async fn pages(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    assert_eq!(
        list(&daemon, "").await,
        json!({ "tasks": [], "total": 0, "page": 1, "limit": 1000, "pages": 1 })
    );
    for number in 1..=5 {
        daemon.create_titled(&format!("t{number}")).await;
    }
    assert_eq!(titles(&daemon, "").await, ["t5", "t4", "t3", "t2", "t1"]);
    let page = list(&daemon, "page=2&limit=2").await;
    assert_eq!(titles(&daemon, "page=2&limit=2").await, ["t3", "t2"]);
    assert_eq!(
        (
            &page["total"],
            &page["page"],
            &page["limit"],
            &page["pages"]
        ),
        (&json!(5), &json!(2), &json!(2), &json!(3))
    );
    // A page past the end is empty and has the true total.
    let past = list(&daemon, "page=9&limit=2").await;
    assert_eq!(
        (&past["tasks"], &past["total"], &past["pages"]),
        (&json!([]), &json!(5), &json!(3))
    );
    // 10.13: also one that is very far past it.
    assert_eq!(
        list(&daemon, "page=9223372036854775807&limit=1000").await["total"],
        5
    );
}

/// 3.4: without a limit the first thousand are listed, and all are counted.
#[rstest]
#[tokio::test]
async fn the_default_limit(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    daemon.database.execute(if daemon.is_postgres() {
        "INSERT INTO tasks (user_id, title, completed, priority) SELECT 'alice', 't', FALSE, 'Medium' FROM generate_series(1, 1001)"
    } else {
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1001)
         INSERT INTO tasks (user_id, title, created_at, updated_at, title_folded) SELECT 'alice', 't', n, n, 't' FROM n"
    }).await;
    let body = list(&daemon, "").await;
    assert_eq!(body["tasks"].as_array().unwrap().len(), 1000);
    assert_eq!(
        (&body["total"], &body["limit"], &body["pages"]),
        (&json!(1001), &json!(1000), &json!(2))
    );
}

/// Users see only their own tasks.
#[rstest]
#[tokio::test]
async fn users_are_apart(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    daemon.create_titled("of alice").await;
    let (_, body) = daemon.get("/tasks/").user("bob").await;
    assert_eq!(body["total"], 0);
}

/// 10.26: equal times are ordered by id, so that no task is on two pages.
#[rstest]
#[tokio::test]
async fn order_is_total(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(daemon.create_titled(&format!("t{number}")).await);
    }
    let same = if daemon.is_postgres() {
        "'2031-01-01'"
    } else {
        "1924992000000000"
    };
    daemon
        .database
        .execute(&format!("UPDATE tasks SET created_at = {same}"))
        .await;
    let mut seen = Vec::new();
    for page in 1..=10 {
        let body = list(&daemon, &format!("page={page}&limit=3")).await;
        seen.extend(
            body["tasks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|task| task["id"].as_i64().unwrap()),
        );
    }
    ids.reverse();
    assert_eq!(seen, ids);
}

/// 3.4: filters, each alone and all together.
#[rstest]
#[tokio::test]
async fn filters(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    daemon.create(json!({ "title": "rent", "priority": "High", "due_date": "2031-01-31T23:59:59.999999Z" })).await;
    daemon
        .create(json!({ "title": "milk", "priority": "Low", "due_date": "2031-02-01" }))
        .await;
    let done = daemon.create_titled("never").await;
    daemon
        .patch(&format!("/tasks/{done}"))
        .json(&json!({ "completed": true }))
        .await;
    assert_eq!(titles(&daemon, "priority=High").await, ["rent"]);
    for yes in ["true", "1", "YES", "on", "Yes", "ON"] {
        assert_eq!(
            titles(&daemon, &format!("completed={yes}")).await,
            ["never"]
        );
    }
    for no in ["False", "0", "off", "OFF", "No"] {
        assert_eq!(
            titles(&daemon, &format!("completed={no}")).await,
            ["milk", "rent"]
        );
    }
    assert_eq!(titles(&daemon, "due_before=2031-01-31").await, ["rent"]);
    assert_eq!(titles(&daemon, "due_after=2031-02-01").await, ["milk"]);
    assert_eq!(
        titles(&daemon, "due_after=2031-02-01T00:00:00Z").await,
        ["milk"]
    );
    assert_eq!(
        titles(&daemon, "due_before=2031-02-01&due_after=2031-01-31").await,
        ["milk", "rent"]
    );
    let all = "search=REN&priority=High&completed=no&due_before=2031-12-31&due_after=2030-01-01&limit=5&page=1";
    assert_eq!(titles(&daemon, all).await, ["rent"]);
    // The last of a repeated parameter counts; unknown ones are ignored.
    assert_eq!(
        titles(&daemon, "priority=Low&priority=High&x=1").await,
        ["rent"]
    );
    assert_eq!(list(&daemon, "priority=High").await["total"], 1);
}

/// 3.4, 10.24: search folds case for all of Unicode, in title or description, and takes every sign literally.
#[rstest]
#[tokio::test]
async fn search(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    daemon
        .create(json!({ "title": "ÄPFEL kaufen", "description": "100% Ökologisch" }))
        .await;
    daemon
        .create(json!({ "title": "a_b\\c", "description": "ПРИВЕТ мир" }))
        .await;
    for (query, found) in [
        ("äpfel", "ÄPFEL kaufen"),
        ("%C3%96KOLO", "ÄPFEL kaufen"),
        ("100%25", "ÄPFEL kaufen"),
        ("привет", "a_b\\c"),
        ("A_B%5C", "a_b\\c"),
        ("KAUFEN", "ÄPFEL kaufen"),
    ] {
        assert_eq!(
            titles(&daemon, &format!("search={query}")).await,
            [found],
            "{query}"
        );
    }
    // The lower-case sigma at the end of a word is another letter.
    daemon.create(json!({ "title": "ΟΔΟΣ" })).await;
    for query in ["οδος", "οδοσ", "ΟΔΟΣ", "οδο"] {
        assert_eq!(
            titles(&daemon, &format!("search={query}")).await,
            ["ΟΔΟΣ"],
            "{query}"
        );
    }
    // 10.24: LIKE's wildcards are literal.
    for query in ["%25x", "a%25b", "_", "%5C%5C", "kaufen 100"] {
        let expected: usize = usize::from(query == "_");
        assert_eq!(
            titles(&daemon, &format!("search={query}")).await.len(),
            expected,
            "{query}"
        );
    }
    // Not trimmed; empty does not filter.
    assert_eq!(titles(&daemon, "search=%20kaufen").await.len(), 1);
    assert_eq!(titles(&daemon, "search=kaufen%20").await.len(), 0);
    assert_eq!(titles(&daemon, "search=").await.len(), 3);
}

/// 3.4: texts that mean the same are found by each other.
#[rstest]
#[tokio::test]
async fn search_folds_texts(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for title in [
        "Straße",
        "İstanbul",
        "Cafe\u{301}",
        "Ｆｕｌｌ",
        "ﬁnal",
        "việc",
        "like ❤\u{fe0f}",
    ] {
        daemon.create_titled(title).await;
    }
    for (query, found) in [
        ("STRASSE", "Straße"),
        ("stra%C3%9Fe", "Straße"),
        ("istanbul", "İstanbul"),
        ("%C4%B0STAN", "İstanbul"),
        ("caf%C3%A9", "Cafe\u{301}"),
        ("CAFE%CC%81", "Cafe\u{301}"),
        ("full", "Ｆｕｌｌ"),
        ("FINAL", "ﬁnal"),
        ("VIE%CC%A3%CC%82C", "việc"),
        ("vie%CC%82%CC%A3c", "việc"),
        ("%E2%9D%A4", "like ❤\u{fe0f}"),
    ] {
        let titles = titles(&daemon, &format!("search={query}&limit=1")).await;
        assert_eq!(titles, [found], "{query}");
    }
    // Nothing visible is in every text.
    assert_eq!(titles(&daemon, "search=%C2%AD").await.len(), 7);
}

/// A search finds a task by its changed text.
#[rstest]
#[tokio::test]
async fn search_follows_changes(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon
        .create(json!({ "title": "OLD", "description": "ÜBER" }))
        .await["id"]
        .clone();
    let path = format!("/tasks/{id}");
    daemon.put(&path).json(&json!({ "title": "NEÜ" })).await;
    assert_eq!(titles(&daemon, "search=neü").await, ["NEÜ"]);
    assert_eq!(titles(&daemon, "search=old").await.len(), 0);
    assert_eq!(titles(&daemon, "search=über").await, ["NEÜ"]);
    daemon
        .put(&path)
        .json(&json!({ "description": null }))
        .await;
    assert_eq!(titles(&daemon, "search=über").await.len(), 0);
}

/// 3.4, 10.13: every bad parameter at once, as `query.<name>`.
#[rstest]
#[tokio::test]
async fn bad_parameters(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let query = "search=%00&priority=high&completed=&due_before=x&due_after=2031-01-01T01:00:00Z&page=0&limit=1001";
    let (status, body) = daemon.get(&format!("/tasks/?{query}")).await;
    assert_eq!(status, 422);
    assert_eq!(
        fields(&body),
        [
            "query.search",
            "query.priority",
            "query.completed",
            "query.due_before",
            "query.due_after",
            "query.page",
            "query.limit",
        ]
    );
    for query in [
        "page=x",
        "limit=0",
        "page=-1",
        "page=99999999999999999999",
        "limit=",
        "priority=",
    ] {
        let (status, _) = daemon.get(&format!("/tasks/?{query}")).await;
        assert_eq!(status, 422, "{query}");
    }
}
