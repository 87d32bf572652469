//! Contract 3.1 to 3.3 and 3.5: creating a task, and how it looks.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::daemon::{Daemon, fields};
use crate::api::request::read;
use crate::support::Engine::{self, Postgres, Sqlite};

async fn refused(daemon: &Daemon, body: Value) -> Value {
    let (status, answer) = daemon.post("/tasks/").json(&body).await;
    assert_eq!(status, 422, "{body} gave {answer}");
    answer
}

/// 3.1, 3.5: the nine keys, and nothing else.
#[rstest]
#[tokio::test]
async fn nine_keys(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon.create(json!({ "title": " Pay rent " })).await;
    let mut keys: Vec<&String> = task.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "completed",
            "created_at",
            "description",
            "due_date",
            "id",
            "priority",
            "title",
            "updated_at",
            "user_id",
        ]
    );
    assert_eq!(task["title"], "Pay rent");
    assert_eq!(task["user_id"], "alice");
    assert_eq!(task["completed"], false);
    assert_eq!(task["priority"], "Medium");
    assert_eq!(task["description"], Value::Null);
    assert_eq!(task["due_date"], Value::Null);
    assert_eq!(task["created_at"], task["updated_at"]);
    assert!(task["id"].as_i64().unwrap() > 0);
    assert!(task["created_at"].as_str().unwrap().ends_with('Z'));
}

/// 3.2: every field kept; `completed` ignored; unknown keys ignored; text byte for byte.
#[rstest]
#[tokio::test]
async fn all_fields(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon.create(json!({
        "title": "<b>&amp; ü\u{1F600}", "description": " two\nlines ", "priority": "Urgent",
        "due_date": "2031-12-22T00:00:00", "completed": true, "id": 7, "user_id": "bob", "x": {},
    })).await;
    assert_eq!(task["title"], "<b>&amp; ü\u{1F600}");
    assert_eq!(task["description"], "two\nlines");
    assert_eq!(task["priority"], "Urgent");
    assert_eq!(task["due_date"], "2031-12-22T00:00:00Z");
    assert_eq!(task["completed"], false);
    assert_eq!(task["user_id"], "alice");
    let again = daemon.get(&format!("/tasks/{}", task["id"])).await;
    assert_eq!(again.1, task);
    for completed in [json!("x"), Value::Null, json!(2)] {
        let task = daemon
            .create(json!({ "title": "t", "completed": completed }))
            .await;
        assert_eq!(task["completed"], false, "{completed}");
    }
}

/// 3.2: an empty or blank description is none.
#[rstest]
#[tokio::test]
async fn blank_descriptions(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for description in [
        json!(""),
        json!("  \n"),
        json!("\u{a0}\u{3000}"),
        Value::Null,
    ] {
        let task = daemon
            .create(json!({ "title": "t", "description": description }))
            .await;
        assert_eq!(task["description"], Value::Null);
    }
}

/// 1: lengths count code points before trimming.
#[rstest]
#[tokio::test]
async fn lengths(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let emoji = "\u{1F600}".repeat(200);
    assert_eq!(
        daemon.create(json!({ "title": emoji })).await["title"],
        json!(emoji)
    );
    daemon
        .create(json!({ "title": "t", "description": "x".repeat(1000) }))
        .await;
    assert_eq!(
        fields(&refused(&daemon, json!({ "title": "x".repeat(201) })).await),
        ["title"]
    );
    let padded = format!("{} ", "x".repeat(200));
    assert_eq!(
        fields(&refused(&daemon, json!({ "title": padded })).await),
        ["title"]
    );
    let long = json!({ "title": "t", "description": "x".repeat(1001) });
    assert_eq!(fields(&refused(&daemon, long).await), ["description"]);
}

/// 1.1: all faults together, in declared order.
#[rstest]
#[tokio::test]
async fn all_faults_together(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let answer = refused(
        &daemon,
        json!({
            "title": "  ", "description": 5, "priority": "high", "due_date": "tomorrow",
        }),
    )
    .await;
    assert_eq!(
        fields(&answer),
        ["title", "description", "priority", "due_date"]
    );
    let codes: Vec<&Value> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["code"])
        .collect();
    assert_eq!(
        codes,
        ["value_error", "string_type", "enum", "datetime_parsing"]
    );
    let answer = refused(&daemon, json!({})).await;
    assert_eq!(
        (fields(&answer), &answer["errors"][0]["code"]),
        (vec!["title"], &json!("missing"))
    );
    for body in [
        json!({ "title": null }),
        json!({ "title": 1 }),
        json!({ "title": "" }),
    ] {
        assert_eq!(fields(&refused(&daemon, body).await), ["title"]);
    }
    assert_eq!(
        fields(&refused(&daemon, json!({ "title": "t", "priority": null })).await),
        ["priority"]
    );
}

/// 1.1: the body as a whole.
#[rstest]
#[tokio::test]
async fn odd_bodies(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for body in ["[]", "1", "null", "\"x\""] {
        let request = daemon.post("/tasks/").raw_json(body);
        let (status, answer) = request.await;
        assert_eq!(status, 422, "{body}");
        assert_eq!(fields(&answer), [""]);
    }
    let (status, answer) = daemon.post("/tasks/").await;
    assert_eq!((status.as_u16(), fields(&answer)), (422, vec![""]));
    let broken = daemon.post("/tasks/").raw_json("{\"ü\": 1,}");
    let (status, answer) = broken.await;
    assert_eq!(status, 422);
    assert_eq!(answer["errors"][0]["code"], "json_invalid");
    assert_eq!(fields(&answer), ["8"]);
    // 1.1: at the end of the body, the position behind its last character.
    let cut = daemon.post("/tasks/").raw_json("{\"title\":");
    assert_eq!(fields(&cut.await.1), ["9"]);
}

/// 3.3, 10.14: invalid date-times.
#[rstest]
#[tokio::test]
async fn bad_due_dates(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for due in [
        json!(""),
        json!("2031-02-30"),
        json!("2031-01-01T24:00:00Z"),
        json!(" 2031-01-01"),
        json!(true),
        json!(["2031-01-01"]),
        json!("0001-01-01T00:00:00+05:00"),
        json!("9999-12-31T23:59:59-01:00"),
    ] {
        assert_eq!(
            fields(&refused(&daemon, json!({ "title": "t", "due_date": due })).await),
            ["due_date"]
        );
    }
    for (due, shown) in [
        ("2031-01-02T03:04:05.120Z", "2031-01-02T03:04:05.120000Z"),
        ("2031-01-02T03:04:05+05:00", "2031-01-01T22:04:05Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z"),
    ] {
        let task = daemon
            .create(json!({ "title": "t", "due_date": due }))
            .await;
        assert_eq!(task["due_date"], shown);
    }
}

/// 10.11, 10.16: NUL, NaN, lone surrogates are client errors.
#[rstest]
#[tokio::test]
async fn poison(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for body in [
        r#"{"title": "a\u0000b"}"#,
        r#"{"title": "t", "description": "\u0000"}"#,
        r#"{"title": NaN}"#,
        r#"{"title": "t", "due_date": Infinity}"#,
        r#"{"title": "\ud800"}"#,
    ] {
        let request = daemon.post("/tasks/").raw_json(body);
        assert_eq!(request.await.0, 422, "{body}");
    }
    for (bytes, status) in [
        (b"{\"title\": \"\xff\"}".to_vec(), 400),
        ("[".repeat(100_000).into_bytes(), 400),
        (vec![0; 1000], 422),
    ] {
        let request = daemon.post("/tasks/").raw_json(bytes);
        let (found, answer) = request.await;
        assert_eq!(found.as_u16(), status);
        // 1.4: the plain shape.
        if status == 400 {
            assert!(
                answer["detail"].is_string() && answer.as_object().unwrap().len() == 1,
                "{answer}"
            );
        }
    }
    assert_eq!(daemon.get("/tasks/").await.1["total"], 0);
}

/// 1, 10.15: types of body.
#[rstest]
#[tokio::test]
async fn content_types(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for (media_type, status) in [
        (Some("application/json"), 201),
        (Some("application/json; charset=utf-8"), 201),
        (Some("application/vnd.api+json"), 201),
        (Some("APPLICATION/JSON"), 201),
        (None, 201),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/octet-stream"), 415),
        (Some("json"), 415),
    ] {
        let mut request = daemon.post("/tasks/").body(r#"{"title": "t"}"#);
        if let Some(media_type) = media_type {
            request = request.header("Content-Type", media_type);
        }
        assert_eq!(request.await.0.as_u16(), status, "{media_type:?}");
    }
}

/// 1: a body is not decompressed, whatever its headers say.
#[rstest]
#[tokio::test]
async fn compressed_bodies(#[values(Sqlite, Postgres)] engine: Engine) {
    // gzip of {"title": "t"}
    const GZIP: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 42, 201, 44, 201, 73, 85, 178, 82, 80, 42, 81,
        170, 5, 0, 136, 43, 34, 154, 14, 0, 0, 0,
    ];
    let daemon = Daemon::start(engine).await;
    for (body, status) in [(GZIP, 400), (br#"{"title": "t"}"#, 201)] {
        let request = daemon
            .post("/tasks/")
            .header("Content-Type", "application/json");
        let (found, answer) = request.header("Content-Encoding", "gzip").body(body).await;
        assert_eq!(found, status);
        assert_eq!(answer["detail"].is_string(), status == 400, "{answer}");
    }
}

/// 10.7, 10.9: large inputs are neither accepted nor echoed.
#[rstest]
#[tokio::test]
async fn large_bodies(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let large = json!({ "title": "t", "description": "x".repeat(900_000) });
    let response = daemon.post("/tasks/").json(&large).send().await.unwrap();
    assert_eq!(response.status(), 422);
    assert!(response.bytes().await.unwrap().len() < 2000);
    let huge = json!({ "title": "x".repeat(2_000_000) });
    let (status, body) = read(daemon.post("/tasks/").json(&huge).send().await.unwrap()).await;
    assert_eq!(status, 413);
    assert!(body["detail"].is_string());
    // Chunked, so that no length announces it.
    let chunks =
        futures_util::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 65_536])));
    let chunked = daemon
        .post("/tasks/")
        .header("Content-Type", "application/json")
        .body(reqwest::Body::wrap_stream(chunks));
    // The daemon may close the connection before all of it was sent.
    if let Ok(response) = chunked.send().await {
        assert_eq!(response.status(), 413);
    }
}

/// 1: chunked bodies work.
#[rstest]
#[tokio::test]
async fn chunked_bodies(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let chunks =
        futures_util::stream::iter(["{\"ti", "tle\":", " \"t\"}"].map(Ok::<_, std::io::Error>));
    let request = daemon
        .post("/tasks")
        .header("Content-Type", "application/json")
        .body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(request.await.0, 201);
}

/// 13: ids are 64-bit.
#[rstest]
#[tokio::test]
async fn ids_are_64_bit(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    daemon
        .database
        .execute(if daemon.is_postgres() {
            "SELECT setval('tasks_id_seq', 5000000000)"
        } else {
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('tasks', 5000000000)"
        })
        .await;
    let id = daemon.create_titled("far away").await;
    assert_eq!(id, 5_000_000_001);
    assert_eq!(daemon.get(&format!("/tasks/{id}")).await.0, 200);
}
