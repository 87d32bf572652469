//! Contract 3.6 to 3.10: reading one, changing, deleting.

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::daemon::{Daemon, fields};
use crate::api::request::Request;
use crate::support::Engine::{self, Postgres, Sqlite};

async fn put(daemon: &Daemon, id: &Value, body: Value) -> (u16, Value) {
    let (status, body) = daemon.put(&format!("/tasks/{id}")).json(&body).await;
    (status.as_u16(), body)
}

/// 3.6, 10.12: ids that do not exist, are foreign, or are no ids.
#[rstest]
#[tokio::test]
async fn ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("mine").await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        let body = json!({ "completed": true });
        let foreign = daemon
            .request(method.clone(), &format!("/tasks/{id}"))
            .user("bob")
            .json(&body);
        let (status, answer) = foreign.await;
        assert_eq!(status, 404, "{method}");
        assert!(answer["detail"].as_str().unwrap().contains(&id.to_string()));
        for odd in [
            "0",
            "-1",
            "999999",
            "2147483648",
            "9223372036854775808",
            "99999999999999999999999",
        ] {
            let (status, _) = daemon
                .request(method.clone(), &format!("/tasks/{odd}"))
                .json(&body)
                .await;
            assert_eq!(status, 404, "{method} {odd}");
        }
        for bad in ["abc", "1.5", "1x", "bulk-delete", "%00", "1e3", "%20"] {
            let (status, answer) = daemon
                .request(method.clone(), &format!("/tasks/{bad}"))
                .json(&body)
                .await;
            assert_eq!(status, 422, "{method} {bad}");
            assert_eq!(fields(&answer), ["path.task_id"]);
        }
    }
}

/// 1.1: path and body faults are reported together, path first.
#[rstest]
#[tokio::test]
async fn path_and_body(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let request = daemon
        .put("/tasks/x")
        .json(&json!({ "title": "", "priority": "x" }));
    let (status, answer) = request.await;
    assert_eq!(
        (status.as_u16(), fields(&answer)),
        (422, vec!["path.task_id", "title", "priority"])
    );
}

/// 3.7: only what is present changes; `updated_at` moves.
#[rstest]
#[tokio::test]
async fn partial_update(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon
        .create(json!({
            "title": "a", "description": "d", "priority": "Low", "due_date": "2031-01-01",
        }))
        .await;
    let (status, changed) = put(&daemon, &task["id"], json!({ "title": " b " })).await;
    assert_eq!(status, 200);
    assert_eq!(
        (
            &changed["title"],
            &changed["description"],
            &changed["due_date"]
        ),
        (&json!("b"), &json!("d"), &task["due_date"])
    );
    assert!(changed["updated_at"].as_str() > task["updated_at"].as_str());
    assert_eq!(changed["created_at"], task["created_at"]);
    let (_, cleared) = put(
        &daemon,
        &task["id"],
        json!({ "description": "", "due_date": null }),
    )
    .await;
    assert_eq!(
        (&cleared["description"], &cleared["due_date"]),
        (&Value::Null, &Value::Null)
    );
    let (_, set) = put(&daemon, &task["id"], json!({
        "completed": true, "priority": "Urgent", "description": "new", "due_date": "2032-01-01T00:00:00+01:00",
    })).await;
    assert_eq!(
        (
            &set["completed"],
            &set["priority"],
            &set["description"],
            &set["due_date"]
        ),
        (
            &json!(true),
            &json!("Urgent"),
            &json!("new"),
            &json!("2031-12-31T23:00:00Z")
        )
    );
    // 3.2: what clears a description; the due date, absent, stays.
    for nothing in [Value::Null, json!(" \u{3000}\n")] {
        put(&daemon, &task["id"], json!({ "description": "d" })).await;
        let (_, cleared) = put(&daemon, &task["id"], json!({ "description": nothing })).await;
        assert_eq!(
            (&cleared["description"], &cleared["due_date"]),
            (&Value::Null, &set["due_date"])
        );
    }
}

/// 3.7, 3.8: the same value again is a change of `updated_at`, and of nothing else.
#[rstest]
#[tokio::test]
async fn the_same_again(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon
        .create(json!({ "title": "a", "due_date": "2031-01-01" }))
        .await;
    let path = format!("/tasks/{}", task["id"]);
    let put = || {
        daemon
            .put(&path)
            .json(&json!({ "title": "a", "due_date": "2031-01-01" }))
    };
    let patch = || daemon.patch(&path).json(&json!({ "completed": false }));
    let mut before = task;
    for request in [put(), put(), patch(), patch()] {
        let (_, mut after) = request.await;
        assert!(
            after["updated_at"].as_str() > before["updated_at"].as_str(),
            "{after}"
        );
        let moved = std::mem::replace(&mut after["updated_at"], before["updated_at"].clone());
        assert_eq!(after, before);
        before["updated_at"] = moved;
    }
}

/// 3.7: nothing to change leaves the task as it is, `updated_at` included.
#[rstest]
#[tokio::test]
async fn empty_update(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon.create(json!({ "title": "a" })).await;
    for body in [
        json!({}),
        json!({ "title": null, "priority": null, "completed": null }),
        json!({ "x": 1 }),
    ] {
        assert_eq!(put(&daemon, &task["id"], body).await, (200, task.clone()));
    }
    assert_eq!(put(&daemon, &json!(999_999), json!({})).await.0, 404);
    let (status, answer) = daemon.put(&format!("/tasks/{}", task["id"])).await;
    assert_eq!((status.as_u16(), fields(&answer)), (422, vec![""]));
}

/// 3.7: bad values change nothing.
#[rstest]
#[tokio::test]
async fn bad_update(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon.create(json!({ "title": "a" })).await;
    for (body, field) in [
        (json!({ "title": " " }), "title"),
        (json!({ "completed": "yes please" }), "completed"),
        (json!({ "priority": "urgent" }), "priority"),
        (json!({ "due_date": 5 }), "due_date"),
        (json!({ "description": "\0" }), "description"),
    ] {
        let (status, answer) = put(&daemon, &task["id"], body).await;
        assert_eq!((status, fields(&answer)), (422, vec![field]));
    }
    assert_eq!(put(&daemon, &task["id"], json!({})).await.1, task);
}

/// 10.41: changing the due date resets the reminder.
#[rstest]
#[tokio::test]
async fn due_date_rearms(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon
        .create(json!({ "title": "a", "due_date": "2031-01-01" }))
        .await;
    let database = &daemon.database;
    database
        .execute("UPDATE tasks SET reminder_sent = TRUE")
        .await;
    let sent = async || {
        database
            .column::<bool>("SELECT reminder_sent FROM tasks")
            .await[0]
    };
    put(
        &daemon,
        &task["id"],
        json!({ "title": "b", "due_date": "2031-01-01" }),
    )
    .await;
    assert!(sent().await, "the same due date is no change");
    put(&daemon, &task["id"], json!({ "due_date": "2031-01-02" })).await;
    assert!(!sent().await);
}

/// 3.8: completion.
#[rstest]
#[tokio::test]
async fn completion(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let task = daemon.create(json!({ "title": "a" })).await;
    let path = format!("/tasks/{}", task["id"]);
    let (status, done) = daemon
        .patch(&path)
        .json(&json!({ "completed": true, "title": "x" }))
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        (&done["completed"], &done["title"]),
        (&json!(true), &json!("a"))
    );
    assert!(done["updated_at"].as_str() > task["updated_at"].as_str());
    for body in [
        json!({}),
        json!({ "completed": null }),
        json!({ "completed": 2 }),
    ] {
        let (status, answer) = daemon.patch(&path).json(&body).await;
        assert_eq!((status.as_u16(), fields(&answer)), (422, vec!["completed"]));
    }
    let (status, answer) = daemon.patch(&path).await;
    assert_eq!((status.as_u16(), fields(&answer)), (422, vec![""]));
    // 1: unknown keys are ignored.
    let request = daemon
        .patch(&format!("{path}?x=1&completed=no"))
        .json(&json!({ "completed": true }));
    assert_eq!(request.await.1["completed"], true);
}

/// 3.9: deleting; a JSON content type without a body is accepted.
#[rstest]
#[tokio::test]
async fn deletion(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("a").await;
    let path = format!("/tasks/{id}");
    let response = daemon
        .delete(&path)
        .header("Content-Type", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 204);
    assert!(response.headers().get("content-type").is_none());
    assert!(response.bytes().await.unwrap().is_empty());
    for method in [Method::DELETE, Method::GET] {
        assert_eq!(daemon.request(method, &path).await.0, 404);
    }
}

/// 3.10, 10.12, 10.27: many at once.
#[rstest]
#[tokio::test]
async fn bulk_delete(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let mine = daemon.create_titled("a").await;
    let other = daemon.create_titled("b").await;
    let (_, foreign) = daemon
        .post("/tasks/")
        .user("bob")
        .json(&json!({ "title": "c" }))
        .await;
    let body = format!(
        r#"{{"x": 1, "task_ids": [{other}, 999999, {mine}, {other}, 0, -5, {}, 9223372036854775808, 123456789012345678901234567890]}}"#,
        foreign["id"]
    );
    let request = daemon.post("/tasks/bulk-delete").raw_json(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"deleted":[{other},{mine}],"not_found":[999999,0,-5,{},9223372036854775808,123456789012345678901234567890]}}"#,
            foreign["id"]
        )
    );
    assert_eq!(daemon.get("/tasks/").await.1["total"], 0);
    assert_eq!(daemon.get("/tasks/").user("bob").await.1["total"], 1);
}

/// 3.10: bad lists, with the place of each bad element; nothing is deleted.
#[rstest]
#[tokio::test]
async fn bad_bulk_delete(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("a").await;
    for (body, expected) in [
        (json!({}), vec!["task_ids"]),
        (json!({ "task_ids": null }), vec!["task_ids"]),
        (json!({ "task_ids": [] }), vec!["task_ids"]),
        (json!({ "task_ids": 5 }), vec!["task_ids"]),
        (
            json!({ "task_ids": [id, 1.5, "x", null, true] }),
            vec!["task_ids.1", "task_ids.2", "task_ids.3", "task_ids.4"],
        ),
    ] {
        let (status, answer) = daemon.post("/tasks/bulk-delete").json(&body).await;
        assert_eq!((status.as_u16(), fields(&answer)), (422, expected));
    }
    assert_eq!(daemon.get("/tasks/").await.1["total"], 1);
}

/// 3.10, 10.45: one statement in one transaction, so if one row cannot be deleted, none is.
#[tokio::test]
async fn bulk_delete_is_one_statement() {
    let daemon = Daemon::start(Postgres).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(daemon.create_titled("t").await);
    }
    daemon
        .database
        .execute(&format!(
            "CREATE TABLE statements (n integer);
         CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO statements VALUES (1); RETURN NULL; END $$;
         CREATE TRIGGER noted AFTER DELETE ON tasks FOR EACH STATEMENT EXECUTE FUNCTION noted();
         CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF OLD.id = {} THEN RAISE EXCEPTION 'kept'; END IF; RETURN OLD; END $$;
         CREATE TRIGGER kept BEFORE DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION kept()",
            ids[3],
        ))
        .await;
    let request = || {
        daemon
            .post("/tasks/bulk-delete")
            .json(&json!({ "task_ids": ids }))
    };
    assert!(request().await.0.is_server_error());
    assert_eq!(daemon.get("/tasks/").await.1["total"], 5);
    daemon.database.execute("DROP TRIGGER kept ON tasks").await;
    assert_eq!(
        request().await.1,
        json!({ "deleted": ids, "not_found": [] })
    );
    let statements = daemon
        .database
        .column::<i64>("SELECT count(*) FROM statements")
        .await;
    assert_eq!(statements, [1]);
}

/// 10.21: a failed commit is not answered with success and stores nothing.
#[tokio::test]
async fn a_commit_that_fails() {
    let daemon = Daemon::start(Postgres).await;
    daemon.database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION refuse()",
    ).await;
    let plain = || daemon.post("/tasks/").json(&json!({ "title": "t" }));
    let keyed = || plain().header("Idempotency-Key", "k");
    for request in [plain(), keyed(), keyed()] {
        let (status, body) = request.await;
        assert!(status.is_server_error(), "{status} {body}");
    }
    daemon
        .database
        .execute("DROP TRIGGER refuse ON tasks")
        .await;
    assert_eq!(daemon.get("/tasks/").await.1["total"], 0);
    // The key was not used up either.
    assert_eq!(keyed().await.0, 201);
    assert_eq!(daemon.get("/tasks/").await.1["total"], 1);
}

/// 10.12, 10.45: very many ids in one request.
#[rstest]
#[tokio::test]
async fn large_bulk_delete(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("a").await;
    let mut ids: Vec<i64> = (1_000_000..1_050_000).collect();
    ids.push(id);
    let (status, answer) = daemon
        .post("/tasks/bulk-delete")
        .json(&json!({ "task_ids": ids }))
        .await;
    assert_eq!(status, 200);
    assert_eq!(answer["deleted"], json!([id]));
    assert_eq!(answer["not_found"].as_array().unwrap().len(), 50_000);
}

/// 10.21: an answer comes after its commit, so another connection sees it at once.
#[rstest]
#[tokio::test]
async fn answers_after_commit(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for number in 0..50 {
        let id = daemon.create_titled(&format!("t{number}")).await;
        let path = format!("/tasks/{id}");
        // A connection of its own for each request.
        let once = |request: Request| request.header("Connection", "close");
        assert_eq!(once(daemon.get(&path)).await.0, 200);
        daemon.put(&path).json(&json!({ "title": "new" })).await;
        assert_eq!(once(daemon.get(&path)).await.1["title"], "new");
        daemon.delete(&path).await;
        assert_eq!(once(daemon.get(&path)).await.0, 404);
    }
}
