//! Contract 2.1 to 2.4: who may call what, cell by cell, and whose rows are reached.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::daemon::{Daemon, SERVICE_TOKEN};
use crate::api::request::Request;
use crate::api::tokens::{FUTURE, TABLE, store};
use crate::support::Engine::{self, Postgres, Sqlite};

const UPDATE: &str = "TODOCTL_UPDATE_DOCS";
const BEGIN: &str =
    "<!-- Generated: TODOCTL_UPDATE_DOCS=1 cargo nextest run the_access_matrix -->\n";
const END: &str = "<!-- End of the generated part -->\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    Nobody,
    WrongToken,
    ServiceAlone,
    ServiceForUser,
    KeyReader,
    Jwt,
    Session,
    RefreshCookie,
}

use Caller::{
    Jwt, KeyReader, Nobody, RefreshCookie, ServiceAlone, ServiceForUser, Session, WrongToken,
};

const CALLERS: [(Caller, &str); 8] = [
    (Nobody, "nobody"),
    (WrongToken, "wrong token"),
    (ServiceAlone, "service token alone"),
    (ServiceForUser, "service token and `X-User-ID`"),
    (KeyReader, "`X-Service-Auth` and `X-User-ID`"),
    (Jwt, "JWT"),
    (Session, "session token"),
    (RefreshCookie, "refresh cookie"),
];

/// Who may call, by the OpenAPI document, which is made of the table of endpoints.
fn allowed(method: &Method, path: &str) -> BTreeSet<Caller> {
    if path == "/api/auth/refresh" {
        return BTreeSet::from([RefreshCookie]);
    }
    let document = serde_json::to_value(todoctl::api::document()).unwrap();
    let operation = &document["paths"][path][method.as_str().to_lowercase()];
    assert!(operation.is_object(), "{method} {path}");
    let Some(alternatives) = operation["security"].as_array() else {
        return CALLERS.iter().map(|(caller, _)| *caller).collect();
    };
    let mut callers = BTreeSet::new();
    for alternative in alternatives {
        let has = |scheme: &str| alternative.get(scheme).is_some();
        match (has("bearer"), has("service"), has("user")) {
            (true, false, false) => callers.extend([Jwt, Session]),
            (true, false, true) => callers.extend([ServiceForUser]),
            (false, true, true) => callers.extend([KeyReader]),
            other => panic!("{method} {path}: {other:?}"),
        }
    }
    callers
}

struct World {
    daemon: Daemon,
    session: String,
}

impl World {
    async fn new(engine: Engine) -> Self {
        let daemon = Daemon::start(engine).await;
        daemon.database.execute(TABLE).await;
        let token = hex::encode(Sha256::digest("good"));
        store(&daemon, &token, "alice", FUTURE).await;
        let session = daemon.session("alice", Duration::from_secs(600)).await;
        Self { daemon, session }
    }

    fn request(&self, method: &Method, path: &str, caller: Caller) -> Request {
        let path = match path.split_once('{') {
            Some((before, after)) => {
                format!("{before}1{}", after.split_once('}').unwrap().1)
            }
            None => path.to_owned(),
        };
        let request = self.daemon.request(method.clone(), &path).anonymous();
        let request = match caller {
            Nobody => request,
            WrongToken => request.bearer("wrong"),
            ServiceAlone => request.bearer(SERVICE_TOKEN),
            ServiceForUser => request.user("alice"),
            KeyReader => request
                .header("X-Service-Auth", SERVICE_TOKEN)
                .header("X-User-ID", "alice"),
            Jwt => request.bearer(self.daemon.jwt("alice")),
            Session => request.bearer(self.session.clone()),
            RefreshCookie => request.header("Cookie", "refresh_token=good"),
        };
        if matches!(*method, Method::GET | Method::DELETE) {
            request
        } else {
            request.json(&json!({}))
        }
    }
}

/// 2.1 to 2.4: every route by every caller, as SECURITY.md shows it.
#[rstest]
#[tokio::test]
async fn the_access_matrix(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::new(engine).await;
    let names = CALLERS.map(|(_, name)| name).join(" | ");
    let mut page = format!(
        "| route | {names} |\n|---|{}\n",
        "---|".repeat(CALLERS.len())
    );
    for (method, path) in todoctl::api::endpoints() {
        let expected = allowed(method, path);
        page += &format!("| `{method} {path}` |");
        for (caller, name) in CALLERS {
            let (status, body) = world.request(method, path, caller).await;
            let is_allowed = status != StatusCode::UNAUTHORIZED;
            assert_eq!(
                is_allowed,
                expected.contains(&caller),
                "{method} {path} by {name}: {status} {body}"
            );
            page += if is_allowed { " yes |" } else { " - |" };
        }
        page += "\n";
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (matrix, after) = rest.split_once(END).unwrap();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}\n{page}\n{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        matrix.trim(),
        page.trim(),
        "SECURITY.md is out of date: {UPDATE}=1 cargo nextest run the_access_matrix"
    );
}

/// 3.6, 3.10, 4, 5: another user's rows are not there, whichever credentials name the user.
#[rstest]
#[tokio::test]
async fn rows_of_another_user(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::new(engine).await;
    let daemon = &world.daemon;
    let id = daemon.create_titled("alice's").await;
    daemon
        .database
        .execute(&format!(
            "INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
             SELECT user_id, id, 'overdue', 'm', FALSE, FALSE, created_at FROM tasks WHERE id = {id}"
        ))
        .await;
    let ids = "SELECT id FROM notifications";
    let notification = daemon.database.column::<i64>(ids).await[0];
    let session = daemon.session("mallory", Duration::from_secs(600)).await;
    let as_mallory = |request: Request, credentials: usize| match credentials {
        0 => request.user("mallory"),
        1 => request.anonymous().bearer(daemon.jwt("mallory")),
        _ => request.anonymous().bearer(session.clone()),
    };
    let task = format!("/tasks/{id}");
    let change = json!({ "title": "mallory's", "completed": true });
    for credentials in 0..3 {
        let send = |request: Request| as_mallory(request, credentials);
        for request in [
            daemon.get(&task),
            daemon.put(&task).json(&change),
            daemon.put(&task).header("If-Match", "*").json(&change),
            daemon.patch(&task).json(&change),
            daemon.delete(&task),
            daemon.patch(&format!("/notifications/{notification}/read")),
        ] {
            let (status, body) = send(request).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
        }
        let bulk = daemon
            .post("/tasks/bulk-delete")
            .json(&json!({ "task_ids": [id] }));
        let (_, body) = send(bulk).await;
        assert_eq!(body, json!({ "deleted": [], "not_found": [id] }));
        let (_, body) = send(daemon.get("/tasks/?search=alice")).await;
        assert_eq!(body["total"], 0, "{body}");
        let (_, body) = send(daemon.get("/notifications/")).await;
        assert_eq!(body, json!({ "notifications": [], "unread_count": 0 }));
        let (status, _) = send(daemon.post("/notifications/read-all")).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let (_, body): (_, Value) = daemon.get("/notifications/").await;
    assert_eq!(body["unread_count"], 1, "{body}");
    assert_eq!(daemon.get(&task).await.1["title"], "alice's");
}
