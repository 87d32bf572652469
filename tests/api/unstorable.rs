//! Contract 10.11: texts that a database cannot store. `PostgreSQL` has no U+0000 in texts, and
//! `SQLite` does; both refuse it.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::daemon::{Daemon, JWT_SECRET, claims, fields, jwt};
use crate::support::Engine::{self, Postgres, Sqlite};

/// Every text of a request that reaches the database, or is compared with what is there.
#[rstest]
#[tokio::test]
async fn every_input(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("kept").await;
    let task = format!("/tasks/{id}");
    let nul = "a\0b";
    let with = |method, path: &str, body: Value| daemon.request(method, path).json(&body);
    for (request, status, field) in [
        (
            with(Method::POST, "/tasks/", json!({ "title": nul })),
            422,
            Some("title"),
        ),
        (
            with(
                Method::POST,
                "/tasks/",
                json!({ "title": "t", "description": nul }),
            ),
            422,
            Some("description"),
        ),
        (
            with(Method::POST, "/tasks/", json!({ "title": nul })).header("Idempotency-Key", "k"),
            422,
            Some("title"),
        ),
        (
            with(Method::PUT, &task, json!({ "title": nul })),
            422,
            Some("title"),
        ),
        (
            with(Method::PUT, &task, json!({ "description": nul })).header("If-Match", "*"),
            422,
            Some("description"),
        ),
        (
            with(
                Method::POST,
                "/tasks/",
                json!({ "title": "t", "priority": "\0" }),
            ),
            422,
            Some("priority"),
        ),
        (
            with(
                Method::POST,
                "/tasks/",
                json!({ "title": "t", "due_date": "\0" }),
            ),
            422,
            Some("due_date"),
        ),
        (
            daemon.get("/tasks/?search=a%00b"),
            422,
            Some("query.search"),
        ),
        (daemon.get("/tasks/?cursor=%00"), 422, Some("query.cursor")),
        (daemon.get("/tasks/%00"), 422, Some("path.task_id")),
        (
            with(
                Method::POST,
                "/tasks/bulk-delete",
                json!({ "task_ids": ["\0"] }),
            ),
            422,
            Some("task_ids.0"),
        ),
        (
            with(
                Method::POST,
                "/api/user-api-keys",
                json!({ "api_key": format!("AIza{nul}0123456789abcdef") }),
            )
            .bearer(daemon.jwt("alice")),
            400,
            None,
        ),
        (
            daemon
                .get("/tasks/")
                .bearer(jwt(&claims(nul, daemon.clock.now()), JWT_SECRET)),
            401,
            None,
        ),
        (
            daemon
                .post("/api/auth/refresh")
                .anonymous()
                .header("Cookie", "refresh_token=%00"),
            401,
            None,
        ),
    ] {
        let (found, body) = request.await;
        assert_eq!(found.as_u16(), status, "{field:?}: {body}");
        if let Some(field) = field {
            assert_eq!(fields(&body), [field], "{body}");
        }
    }
    let (_, list) = daemon.get("/tasks/").await;
    assert_eq!(
        (&list["total"], &list["tasks"][0]["title"]),
        (&json!(1), &json!("kept"))
    );
}

/// What gets past these checks is not the server's fault either.
#[tokio::test]
async fn what_the_database_refuses() {
    let daemon = Daemon::start(Postgres).await;
    let id = daemon.create_titled("kept").await;
    for code in ["22021", "22P05"] {
        daemon
            .database
            .execute(&format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE 'no such character' USING ERRCODE = '{code}'; END $$;
                 CREATE OR REPLACE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON tasks
                     FOR EACH ROW EXECUTE FUNCTION refuse()"
            ))
            .await;
        let body = json!({ "title": "t" });
        let task = format!("/tasks/{id}");
        for request in [
            daemon.post("/tasks/").json(&body),
            daemon
                .post("/tasks/")
                .header("Idempotency-Key", code)
                .json(&body),
            daemon.put(&task).json(&body),
            daemon.put(&task).header("If-Match", "*").json(&body),
            daemon.delete(&task),
        ] {
            let (status, body) = request.await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert_eq!(body["type"], "validation_error");
            let detail = body["detail"].as_str().unwrap();
            assert!(
                detail.contains("cannot store") && detail.contains("remove it"),
                "{detail}"
            );
        }
    }
}
