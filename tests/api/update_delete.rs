//! Contract 3.6 to 3.10: reading one, changing, deleting.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::api::Fixture;
use crate::api::daemon::{Daemon, fields, send};
use crate::support::on_both_engines;

async fn put(daemon: &Daemon, id: &Value, body: Value) -> (u16, Value) {
    let (status, body) = send(
        daemon
            .call(Method::PUT, &format!("/tasks/{id}"))
            .json(&body),
    )
    .await;
    (status.as_u16(), body)
}

on_both_engines! {
    /// 3.6, 10.12: ids that do not exist, are foreign, or are no ids.
    async fn ids(daemon) {
        let id = daemon.create_titled("mine").await;
        for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
            let body = json!({ "completed": true });
            let foreign = daemon.as_user("bob", method.clone(), &format!("/tasks/{id}")).json(&body);
            let (status, answer) = send(foreign).await;
            assert_eq!(status, 404, "{method}");
            assert!(answer["detail"].as_str().unwrap().contains(&id.to_string()));
            for odd in ["0", "-1", "999999", "2147483648", "9223372036854775808", "99999999999999999999999"] {
                let (status, _) = send(daemon.call(method.clone(), &format!("/tasks/{odd}")).json(&body)).await;
                assert_eq!(status, 404, "{method} {odd}");
            }
            for bad in ["abc", "1.5", "1x", "bulk-delete", "%00", "1e3", "%20"] {
                let (status, answer) = send(daemon.call(method.clone(), &format!("/tasks/{bad}")).json(&body)).await;
                assert_eq!(status, 422, "{method} {bad}");
                assert_eq!(fields(&answer), ["path.task_id"]);
            }
        }
    }

    /// 1.1: path and body faults are reported together, path first.
    async fn path_and_body(daemon) {
        let request = daemon.call(Method::PUT, "/tasks/x").json(&json!({ "title": "", "priority": "x" }));
        let (status, answer) = send(request).await;
        assert_eq!((status.as_u16(), fields(&answer)), (422, vec!["path.task_id", "title", "priority"]));
    }

    /// 3.7: only what is present changes; `updated_at` moves.
    async fn partial_update(daemon) {
        let task = daemon.create(json!({
            "title": "a", "description": "d", "priority": "Low", "due_date": "2031-01-01",
        })).await;
        let (status, changed) = put(&daemon, &task["id"], json!({ "title": " b " })).await;
        assert_eq!(status, 200);
        assert_eq!((&changed["title"], &changed["description"], &changed["due_date"]), (&json!("b"), &json!("d"), &task["due_date"]));
        assert!(changed["updated_at"].as_str() > task["updated_at"].as_str());
        assert_eq!(changed["created_at"], task["created_at"]);
        let (_, cleared) = put(&daemon, &task["id"], json!({ "description": "", "due_date": null })).await;
        assert_eq!((&cleared["description"], &cleared["due_date"]), (&Value::Null, &Value::Null));
        let (_, set) = put(&daemon, &task["id"], json!({
            "completed": true, "priority": "Urgent", "description": "new", "due_date": "2032-01-01T00:00:00+01:00",
        })).await;
        assert_eq!((&set["completed"], &set["priority"], &set["description"], &set["due_date"]),
            (&json!(true), &json!("Urgent"), &json!("new"), &json!("2031-12-31T23:00:00Z")));
        // 3.2: what clears a description; the due date, absent, stays.
        for nothing in [Value::Null, json!(" \u{3000}\n")] {
            put(&daemon, &task["id"], json!({ "description": "d" })).await;
            let (_, cleared) = put(&daemon, &task["id"], json!({ "description": nothing })).await;
            assert_eq!((&cleared["description"], &cleared["due_date"]), (&Value::Null, &set["due_date"]));
        }
    }

    /// 3.7, 3.8: the same value again is a change of `updated_at`, and of nothing else.
    async fn the_same_again(daemon) {
        let task = daemon.create(json!({ "title": "a", "due_date": "2031-01-01" })).await;
        let path = format!("/tasks/{}", task["id"]);
        let put = || daemon.call(Method::PUT, &path).json(&json!({ "title": "a", "due_date": "2031-01-01" }));
        let patch = || daemon.call(Method::PATCH, &path).json(&json!({ "completed": false }));
        let mut before = task;
        for request in [put(), put(), patch(), patch()] {
            let (_, mut after) = send(request).await;
            assert!(after["updated_at"].as_str() > before["updated_at"].as_str(), "{after}");
            let moved = std::mem::replace(&mut after["updated_at"], before["updated_at"].clone());
            assert_eq!(after, before);
            before["updated_at"] = moved;
        }
    }

    /// 3.7: nothing to change leaves the task as it is, `updated_at` included.
    async fn empty_update(daemon) {
        let task = daemon.create(json!({ "title": "a" })).await;
        for body in [json!({}), json!({ "title": null, "priority": null, "completed": null }), json!({ "x": 1 })] {
            assert_eq!(put(&daemon, &task["id"], body).await, (200, task.clone()));
        }
        assert_eq!(put(&daemon, &json!(999_999), json!({})).await.0, 404);
        let (status, answer) = send(daemon.call(Method::PUT, &format!("/tasks/{}", task["id"]))).await;
        assert_eq!((status.as_u16(), fields(&answer)), (422, vec![""]));
    }

    /// 3.7: bad values change nothing.
    async fn bad_update(daemon) {
        let task = daemon.create(json!({ "title": "a" })).await;
        for (body, field) in [
            (json!({ "title": " " }), "title"), (json!({ "completed": "yes please" }), "completed"),
            (json!({ "priority": "urgent" }), "priority"), (json!({ "due_date": 5 }), "due_date"),
            (json!({ "description": "\0" }), "description"),
        ] {
            let (status, answer) = put(&daemon, &task["id"], body).await;
            assert_eq!((status, fields(&answer)), (422, vec![field]));
        }
        assert_eq!(put(&daemon, &task["id"], json!({})).await.1, task);
    }

    /// 10.41: a moved due date arms the reminder again.
    async fn due_date_rearms(daemon) {
        if !daemon.is_postgres() {
            return;
        }
        let task = daemon.create(json!({ "title": "a", "due_date": "2031-01-01" })).await;
        let mut connection = sqlx::PgConnection::connect(daemon.postgres_url()).await.unwrap();
        sqlx::query("UPDATE tasks SET reminder_sent = TRUE").execute(&mut connection).await.unwrap();
        let mut sent = async || -> bool {
            sqlx::query_scalar("SELECT reminder_sent FROM tasks").fetch_one(&mut connection).await.unwrap()
        };
        put(&daemon, &task["id"], json!({ "title": "b", "due_date": "2031-01-01" })).await;
        assert!(sent().await, "the same due date is no change");
        put(&daemon, &task["id"], json!({ "due_date": "2031-01-02" })).await;
        assert!(!sent().await);
    }

    /// 3.8: completion.
    async fn completion(daemon) {
        let task = daemon.create(json!({ "title": "a" })).await;
        let path = format!("/tasks/{}", task["id"]);
        let (status, done) = send(daemon.call(Method::PATCH, &path).json(&json!({ "completed": true, "title": "x" }))).await;
        assert_eq!(status, 200);
        assert_eq!((&done["completed"], &done["title"]), (&json!(true), &json!("a")));
        assert!(done["updated_at"].as_str() > task["updated_at"].as_str());
        for body in [json!({}), json!({ "completed": null }), json!({ "completed": 2 })] {
            let (status, answer) = send(daemon.call(Method::PATCH, &path).json(&body)).await;
            assert_eq!((status.as_u16(), fields(&answer)), (422, vec!["completed"]));
        }
        let (status, answer) = send(daemon.call(Method::PATCH, &path)).await;
        assert_eq!((status.as_u16(), fields(&answer)), (422, vec![""]));
        // 1: what is not known is ignored.
        let request = daemon.call(Method::PATCH, &format!("{path}?x=1&completed=no")).json(&json!({ "completed": true }));
        assert_eq!(send(request).await.1["completed"], true);
    }

    /// 3.9: gone for good; a JSON content type without a body is no fault.
    async fn deletion(daemon) {
        let id = daemon.create_titled("a").await;
        let path = format!("/tasks/{id}");
        let response = daemon.call(Method::DELETE, &path).header("Content-Type", "application/json").send().await.unwrap();
        assert_eq!(response.status(), 204);
        assert!(response.headers().get("content-type").is_none());
        assert!(response.bytes().await.unwrap().is_empty());
        for method in [Method::DELETE, Method::GET] {
            assert_eq!(send(daemon.call(method, &path)).await.0, 404);
        }
    }

    /// 3.10, 10.12, 10.27: many at once.
    async fn bulk_delete(daemon) {
        let mine = daemon.create_titled("a").await;
        let other = daemon.create_titled("b").await;
        let (_, foreign) = send(daemon.as_user("bob", Method::POST, "/tasks/").json(&json!({ "title": "c" }))).await;
        let body = format!(
            r#"{{"x": 1, "task_ids": [{other}, 999999, {mine}, {other}, 0, -5, {}, 9223372036854775808, 123456789012345678901234567890]}}"#,
            foreign["id"]
        );
        let request = daemon.call(Method::POST, "/tasks/bulk-delete").header("Content-Type", "application/json").body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let text = response.text().await.unwrap();
        assert_eq!(text, format!(
            r#"{{"deleted":[{other},{mine}],"not_found":[999999,0,-5,{},9223372036854775808,123456789012345678901234567890]}}"#,
            foreign["id"]
        ));
        assert_eq!(send(daemon.call(Method::GET, "/tasks/")).await.1["total"], 0);
        assert_eq!(send(daemon.as_user("bob", Method::GET, "/tasks/")).await.1["total"], 1);
    }

    /// 3.10: bad lists, with the place of each bad element; nothing is deleted.
    async fn bad_bulk_delete(daemon) {
        let id = daemon.create_titled("a").await;
        for (body, expected) in [
            (json!({}), vec!["task_ids"]), (json!({ "task_ids": null }), vec!["task_ids"]),
            (json!({ "task_ids": [] }), vec!["task_ids"]), (json!({ "task_ids": 5 }), vec!["task_ids"]),
            (json!({ "task_ids": [id, 1.5, "x", null, true] }),
             vec!["task_ids.1", "task_ids.2", "task_ids.3", "task_ids.4"]),
        ] {
            let (status, answer) = send(daemon.call(Method::POST, "/tasks/bulk-delete").json(&body)).await;
            assert_eq!((status.as_u16(), fields(&answer)), (422, expected));
        }
        assert_eq!(send(daemon.call(Method::GET, "/tasks/")).await.1["total"], 1);
    }

    /// 3.10, 10.45: one statement in one transaction, so that a row that cannot go keeps them all.
    async fn bulk_delete_is_one_statement(daemon) {
        if !daemon.is_postgres() {
            return;
        }
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(daemon.create_titled("t").await);
        }
        daemon.execute(&format!(
            "CREATE TABLE statements (n integer);
             CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO statements VALUES (1); RETURN NULL; END $$;
             CREATE TRIGGER noted AFTER DELETE ON tasks FOR EACH STATEMENT EXECUTE FUNCTION noted();
             CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF OLD.id = {} THEN RAISE EXCEPTION 'kept'; END IF; RETURN OLD; END $$;
             CREATE TRIGGER kept BEFORE DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION kept()",
            ids[3],
        )).await;
        let request = || daemon.call(Method::POST, "/tasks/bulk-delete").json(&json!({ "task_ids": ids }));
        assert!(send(request()).await.0.is_server_error());
        assert_eq!(send(daemon.call(Method::GET, "/tasks/")).await.1["total"], 5);
        daemon.execute("DROP TRIGGER kept ON tasks").await;
        assert_eq!(send(request()).await.1, json!({ "deleted": ids, "not_found": [] }));
        let mut connection = sqlx::PgConnection::connect(daemon.postgres_url()).await.unwrap();
        let statements: i64 = sqlx::query_scalar("SELECT count(*) FROM statements").fetch_one(&mut connection).await.unwrap();
        assert_eq!(statements, 1);
    }

    /// 10.21: a commit that fails is not answered with success, and leaves nothing.
    async fn a_commit_that_fails(daemon) {
        if !daemon.is_postgres() {
            return;
        }
        daemon.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
        ).await;
        let plain = || daemon.call(Method::POST, "/tasks/").json(&json!({ "title": "t" }));
        let keyed = || plain().header("Idempotency-Key", "k");
        for request in [plain(), keyed(), keyed()] {
            let (status, body) = send(request).await;
            assert!(status.is_server_error(), "{status} {body}");
        }
        daemon.execute("DROP TRIGGER refuse ON tasks").await;
        assert_eq!(send(daemon.call(Method::GET, "/tasks/")).await.1["total"], 0);
        // The key was not used up either.
        assert_eq!(send(keyed()).await.0, 201);
        assert_eq!(send(daemon.call(Method::GET, "/tasks/")).await.1["total"], 1);
    }

    /// 10.12, 10.45: very many ids in one request.
    async fn large_bulk_delete(daemon) {
        let id = daemon.create_titled("a").await;
        let mut ids: Vec<i64> = (1_000_000..1_050_000).collect();
        ids.push(id);
        let (status, answer) = send(daemon.call(Method::POST, "/tasks/bulk-delete").json(&json!({ "task_ids": ids }))).await;
        assert_eq!(status, 200);
        assert_eq!(answer["deleted"], json!([id]));
        assert_eq!(answer["not_found"].as_array().unwrap().len(), 50_000);
    }

    /// 10.21: an answer comes after its commit, so another connection sees it at once.
    async fn answers_after_commit(daemon) {
        for number in 0..50 {
            let id = daemon.create_titled(&format!("t{number}")).await;
            let path = format!("/tasks/{id}");
            // A connection of its own for each request.
            let once = |request: reqwest::RequestBuilder| request.header("Connection", "close");
            assert_eq!(send(once(daemon.call(Method::GET, &path))).await.0, 200);
            send(daemon.call(Method::PUT, &path).json(&json!({ "title": "new" }))).await;
            assert_eq!(send(once(daemon.call(Method::GET, &path))).await.1["title"], "new");
            send(daemon.call(Method::DELETE, &path)).await;
            assert_eq!(send(once(daemon.call(Method::GET, &path))).await.0, 404);
        }
    }
}
