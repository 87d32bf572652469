//! Who may connect, and whose lock, limit or setting stands in the way of this role.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use crate::faults::activity::{execute, session};
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};
use crate::support::{Cluster, PgBouncer};

faults! {
    FOREIGN_LOCK = Fault {
        title: "A session whose times this role may not see has locked the tasks, and nobody waits",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOCKED_SEQUENCE = Fault {
        title: "A session has locked a sequence",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOCK_TIMEOUT = Fault {
        title: "The trial waits for a lock that was taken a moment ago",
        symptom: Symptom::Risk("changes are answered with 503"),
        check: "database.trial",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SHORT_STATEMENTS = Fault {
        title: "A statement_timeout that the daemon's statements do not keep within",
        symptom: Symptom::Risk("requests are answered with 503"),
        check: "database.trial",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CLOSED_DATABASE = Fault {
        title: "The database accepts no connections",
        symptom: Symptom::Start("is not currently accepting connections"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FULL_DATABASE = Fault {
        title: "The database has reached its CONNECTION LIMIT",
        symptom: Symptom::Risk("no daemon can start"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FULL_SERVER = Fault {
        title: "Another application holds every connection of the server",
        symptom: Symptom::Risk("no daemon can start"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_LOGIN = Fault {
        title: "The role may not log in",
        symptom: Symptom::Start("is not permitted to log in"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    EXPIRED_PASSWORD = Fault {
        title: "The password of the role has expired",
        symptom: Symptom::Start("password authentication failed"),
        check: "database.login",
        outcome: "fail",
        after: After::Person("only a person knows whether it is to be valid for longer"),
    };
    REJECTED_HOST = Fault {
        title: "The server's pg_hba.conf rejects the role",
        symptom: Symptom::Start("pg_hba.conf rejects"),
        check: "database.login",
        outcome: "fail",
        after: After::Person("only an administrator of its machine can change the file"),
    };
    DIRECT_AS_POOLER = Fault {
        title: "The URL says that there is a pooler, and it leads to the server itself",
        symptom: Symptom::Risk("`todoctl migrate up` refuses to run"),
        check: "database.pooler",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    NEEDLESS_MODE = Fault {
        title: "DB_POOLER=transaction without a pooler",
        symptom: Symptom::Risk("`todoctl migrate up` refuses to run"),
        check: "database.pooler",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    SMALL_SESSION_POOL = Fault {
        title: "A pooler in session mode has fewer server connections than the pool",
        symptom: Symptom::Risk("requests wait until other connections end"),
        check: "database.pooler",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

/// A role that is no administrator, and what it needs.
async fn ordinary_role(scene: &mut Scene, options: &str) -> String {
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    with_role(scene, options, &grants).await
}

async fn holder(scene: &Scene, statement: &str) -> PgConnection {
    let url = &scene.database.as_ref().unwrap().url;
    let mut holder = session(url, "forgotten").await;
    execute(&mut holder, "BEGIN").await;
    execute(&mut holder, statement).await;
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_a_session_that_hides_its_times() {
    let mut scene = Scene::postgres().await;
    let name = ordinary_role(&mut scene, "").await;
    scene.start();
    let _holder = holder(&scene, "LOCK TABLE tasks IN SHARE MODE").await;
    let report = scene.check(&["db", "check", "--format", "json"]);
    for id in ["database.locks", "database.trial"] {
        let detail = report.detail(id);
        assert!(
            detail.contains("(forgotten, role postgres)"),
            "{id}: {detail}"
        );
    }
    let remedy = report.check("database.locks")["remedy"].as_str().unwrap();
    assert!(
        remedy.contains(&format!("{name} may not do that")),
        "{remedy}"
    );
    scene.proves(&FOREIGN_LOCK).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_a_sequence() {
    let mut scene = Scene::postgres().await;
    scene.start();
    let _holder = holder(&scene, "ALTER SEQUENCE tasks_id_seq CACHE 2").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.proves(&LOCKED_SEQUENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_taken_a_moment_ago() {
    let mut scene = Scene::postgres().await;
    let _holder = holder(&scene, "LOCK TABLE notifications IN SHARE MODE").await;
    scene.proves(&LOCK_TIMEOUT).await;
}

#[tokio::test]
async fn statements_that_take_too_long() {
    let mut scene = Scene::postgres().await;
    let name = ordinary_role(&mut scene, "").await;
    // A notification takes longer than the limit, and the checks do not.
    scene
        .sql(&format!(
            "ALTER TABLE notifications ADD COLUMN waited text DEFAULT pg_sleep(0.8)::text;
             ALTER ROLE {name} SET statement_timeout = '700ms'"
        ))
        .await;
    scene.proves(&SHORT_STATEMENTS).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_database_that_accepts_no_connections() {
    let mut scene = Scene::postgres().await;
    let database = scene.database.as_ref().unwrap();
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name);
    database.administer(&close).await;
    scene.proves(&CLOSED_DATABASE).await;
}

#[tokio::test]
async fn a_database_without_a_free_connection() {
    let mut scene = Scene::postgres().await;
    let name = ordinary_role(&mut scene, "").await;
    let database = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!("ALTER DATABASE {database} CONNECTION LIMIT 1"))
        .await;
    let _other = session(&scene.get("DATABASE_URL").unwrap(), "metabase").await;
    scene.proves(&FULL_DATABASE).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_server_without_a_free_connection() {
    let cluster = Cluster::start();
    cluster
        .execute(&["ALTER SYSTEM SET max_connections = 12"])
        .await;
    cluster.restart();
    let mut scene = Scene::on(cluster.database().await).await;
    let name = ordinary_role(&mut scene, "").await;
    let mut others = Vec::new();
    let url = scene.get("DATABASE_URL").unwrap();
    while let Ok(mut other) = PgConnection::connect(&url).await {
        execute(&mut other, "SET application_name = 'metabase'").await;
        others.push(other);
    }
    assert!(others.len() > 5);
    scene.proves(&FULL_SERVER).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_role_that_may_not_log_in() {
    let mut scene = Scene::postgres().await;
    let name = ordinary_role(&mut scene, "").await;
    scene.sql(&format!("ALTER ROLE {name} NOLOGIN")).await;
    scene.proves(&NO_LOGIN).await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_password_that_has_expired() {
    let mut scene = Scene::postgres().await;
    let name = ordinary_role(&mut scene, "VALID UNTIL '2001-01-01'").await;
    scene.proves(&EXPIRED_PASSWORD).await;
    let report = scene.doctor("database.login");
    let remedy = report.check("database.login")["remedy"].as_str().unwrap();
    let shown = scene.type_in(remedy);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("2001-01-01"));
    let extends = remedy
        .lines()
        .find_map(|line| line.strip_prefix("# or: "))
        .unwrap();
    assert!(scene.type_in(extends).status.success());
    scene.proves_gone(&EXPIRED_PASSWORD);
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_role_that_the_server_rejects() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    let name = ordinary_role(&mut scene, "").await;
    let file = hba_file(&cluster).await;
    let right = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("host all {name} all reject\n{right}")).unwrap();
    cluster.reload().await;
    scene.proves(&REJECTED_HOST).await;
    std::fs::write(&file, right).unwrap();
    cluster.reload().await;
    scene.proves_gone(&REJECTED_HOST);
    drop_role_of(&mut scene, &name).await;
}

async fn hba_file(cluster: &Cluster) -> String {
    let mut connection = cluster.connect().await;
    sqlx::query_scalar("SHOW hba_file")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_pooler_that_is_not_there() {
    let mut scene = Scene::postgres().await;
    let direct = scene.get("DATABASE_URL").unwrap();
    for parameter in ["statement_cache_size=0", "pgbouncer=true"] {
        let sign = if direct.contains('?') { '&' } else { '?' };
        scene.set("DATABASE_URL", &format!("{direct}{sign}{parameter}"));
        scene.proves(&DIRECT_AS_POOLER).await;
        assert_eq!(scene.get("DATABASE_URL").unwrap(), direct);
    }
    scene.set("DB_POOLER", "transaction");
    scene.proves(&NEEDLESS_MODE).await;
}

#[tokio::test]
async fn a_small_pooler_in_session_mode() {
    let mut scene = Scene::postgres().await;
    let direct = scene.get("DATABASE_URL").unwrap();
    let pooler = PgBouncer::start_with(&direct, "session", 8);
    scene.set("DATABASE_URL_UNPOOLED", &direct);
    scene.set("DATABASE_URL", &pooler.url);
    scene.proves(&SMALL_SESSION_POOL).await;
    scene.stop();
    drop(pooler);
}
