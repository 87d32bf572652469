//! Sessions of PostgreSQL that stand in each other's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{Cluster, TestDatabase};

faults! {
    QUEUE = Fault {
        title: "Requests wait behind a session that is idle in a transaction",
        symptom: Symptom::Risk("changes wait and are answered with 503"),
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOCKED_TABLE = Fault {
        title: "A session has locked the tasks",
        symptom: Symptom::Risk("every request is answered with 503"),
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    MIGRATION_LOCK = Fault {
        title: "A session holds the lock for migrations",
        symptom: Symptom::Risk("`todoctl migrate up` and every start wait for five minutes"),
        check: "database.locks",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    OLD_SESSIONS = Fault {
        title: "A forgotten transaction, an endless query and a prepared transaction",
        symptom: Symptom::Risk("locks are held, and dead rows are not removed"),
        check: "database.sessions",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    HIDDEN_HEAD = Fault {
        title: "Requests wait behind a session of a role that this one may not look at",
        symptom: Symptom::Risk("changes wait and are answered with 503"),
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    TAKEN_CONNECTIONS = Fault {
        title: "Other applications hold the connections that the pool would need",
        symptom: Symptom::Risk("requests fail at peak load"),
        check: "database.connections",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    UNUSED_CONNECTIONS = Fault {
        title: "Another application keeps connections that it does not use",
        symptom: Symptom::Risk("requests fail at peak load"),
        check: "database.connections",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

/// A session with a name.
pub async fn session(url: &str, name: &str) -> PgConnection {
    let mut connection = PgConnection::connect(url).await.unwrap();
    execute(&mut connection, &format!("SET application_name = '{name}'")).await;
    connection
}

pub async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn url(scene: &Scene) -> String {
    scene.database.as_ref().unwrap().url.clone()
}

/// Begins a statement that has to wait; the session that it waits in.
fn waits(url: String, statement: &'static str) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut waiting = session(&url, "todoctl").await;
        execute(&mut waiting, statement).await;
    })
}

/// Somebody left a transaction open, and requests queue behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_transaction_at_the_head_of_the_queue() {
    let mut scene = Scene::postgres().await;
    scene
        .doctor("database.locks")
        .says("database.locks", "pass", "");
    let mut holder = session(&url(&scene), "forgotten").await;
    for statement in ["BEGIN", "LOCK TABLE tasks IN SHARE MODE"] {
        execute(&mut holder, statement).await;
    }
    let change = "UPDATE tasks SET title = title WHERE title = 'canary'";
    let first = waits(url(&scene), change);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let report = scene.doctor("database.locks");
    let detail = report.detail("database.locks");
    for said in [
        "(forgotten, role postgres, idle in transaction",
        "blocks 1 session",
        "table tasks",
        "last statement LOCK",
    ] {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
    assert!(!format!("{:#}", report.json).contains("canary"));
    scene.proves(&QUEUE).await;
    first.await.unwrap();
    assert!(holder.ping().await.is_err(), "the session is over");
}

/// Nobody waits at this moment, and every request would.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_without_a_queue() {
    let mut scene = Scene::postgres().await;
    let mut holder = session(&url(&scene), "maintenance").await;
    execute(
        &mut holder,
        "BEGIN; LOCK TABLE notifications IN SHARE ROW EXCLUSIVE MODE",
    )
    .await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let report = scene.doctor("database.locks");
    let detail = report.detail("database.locks");
    assert!(
        detail.contains("has locked notifications for 1"),
        "{detail}"
    );
    scene.proves(&LOCKED_TABLE).await;
}

/// `migrate up` waits for it, and so does every start.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_for_migrations() {
    let mut scene = Scene::postgres().await;
    let mut holder = session(&url(&scene), "psql").await;
    let key = migration_lock(scene.database.as_ref().unwrap());
    execute(&mut holder, &format!("SELECT pg_advisory_lock({key})")).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    scene.proves(&MIGRATION_LOCK).await;
    assert!(scene.todoctl(&["migrate", "up"]).status.success());
}

/// As sqlx-cli computes it.
fn migration_lock(database: &TestDatabase) -> i64 {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    0x3d32_ad9e * i64::from(crc.checksum(database.name.as_bytes()))
}

/// What only time shows: a minute of it, for three sessions at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_minute_later() {
    let cluster = Cluster::start();
    cluster
        .execute(&["ALTER SYSTEM SET max_prepared_transactions = 5"])
        .await;
    cluster.restart();
    let mut scene = Scene::on(cluster.database().await).await;
    let url = url(&scene);
    let mut idle = session(&url, "report").await;
    for statement in ["BEGIN", "UPDATE tasks SET title = 'canary'"] {
        execute(&mut idle, statement).await;
    }
    let mut long = session(&url, "analysis").await;
    let long = tokio::spawn(async move {
        let statement = AssertSqlSafe("SELECT pg_sleep(600), 'canary'".to_owned());
        sqlx::raw_sql(statement).execute(&mut long).await.is_err()
    });
    let mut two_phases = session(&url, "coordinator").await;
    execute(
        &mut two_phases,
        "BEGIN; DELETE FROM todoctl_sessions; PREPARE TRANSACTION 'second''phase'",
    )
    .await;
    scene
        .doctor("database.sessions")
        .says("database.sessions", "pass", "");
    tokio::time::sleep(Duration::from_secs(62)).await;
    let report = scene.doctor("database.sessions");
    let detail = report.detail("database.sessions");
    for said in [
        "(report, role postgres, idle in transaction for 1m",
        "last statement UPDATE",
        "(analysis, role postgres, active for 1m",
        "SELECT",
        "second'phase",
    ] {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
    assert!(!format!("{:#}", report.json).contains("canary"));
    scene.proves(&OLD_SESSIONS).await;
    assert!(long.await.unwrap(), "the statement was cancelled");
}

/// A role that sees only its own sessions is told what it misses, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_other_roles() {
    let mut scene = Scene::postgres().await;
    let role = scene
        .database
        .as_ref()
        .unwrap()
        .name
        .replace("test", "sees_little");
    scene
        .sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'canary';
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role};
             GRANT ALL ON SCHEMA public TO {role}"
        ))
        .await;
    let administrator = url(&scene);
    let mut own = url::Url::parse(&administrator).unwrap();
    own.set_username(&role).unwrap();
    own.set_password(Some("canary")).unwrap();
    scene.set("DATABASE_URL", own.as_str());
    let mut holder = session(&administrator, "superuser").await;
    execute(&mut holder, "BEGIN; LOCK TABLE tasks IN SHARE MODE").await;
    let report = scene.doctor("database.sessions");
    report.says("database.sessions", "pass", "");
    let grant = format!("GRANT pg_read_all_stats TO \"{role}\"");
    assert!(report.detail("database.sessions").contains(&grant));
    let change = "UPDATE tasks SET title = title WHERE title = 'canary'";
    let waiting = waits(own.into(), change);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let report = scene.doctor("database.locks");
    let detail = report.detail("database.locks");
    assert!(
        detail.contains("(superuser, role postgres) blocks 1 session"),
        "{detail}"
    );
    scene.proves(&HIDDEN_HEAD).await;
    waiting.await.unwrap();
    scene
        .sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_others() {
    let mut scene = Scene::postgres().await;
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 10"))
        .await;
    scene.set("SQLALCHEMY_POOL_SIZE", "4");
    scene.set("SQLALCHEMY_POOL_OVERFLOW", "0");
    scene
        .doctor("database.connections")
        .says("database.connections", "pass", "");
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(session(&url(&scene), "metabase").await);
    }
    let report = scene.doctor("database.connections");
    let detail = report.detail("database.connections");
    assert!(detail.contains("7 of metabase (postgres)"), "{detail}");
    scene.proves(&TAKEN_CONNECTIONS).await;
    scene
        .sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 10"))
        .await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    scene.proves(&UNUSED_CONNECTIONS).await;
    assert_eq!(scene.get("SQLALCHEMY_POOL_SIZE").as_deref(), Some("4"));
}

/// An ordinary load is no fault.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_load() {
    let mut scene = Scene::postgres().await;
    let base = scene.start_at_its_port();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (base, stop) = (base.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
                    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = scene.check(&["doctor", "--format", "json"]);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let of_the_database = [
        "locks",
        "sessions",
        "vacuum",
        "index_use",
        "connections",
        "replication",
        "durability",
        "timeouts",
        "size",
    ];
    for check in report.json["checks"].as_array().unwrap() {
        let id = check["id"].as_str().unwrap();
        // The tests may run in a container, where the address is not a good one.
        let is_looked_at = (id.starts_with("daemon.") && id != "daemon.listen")
            || of_the_database
                .iter()
                .any(|name| id == format!("database.{name}"));
        let is_fine = check["outcome"] == "pass" || check["outcome"] == "skip";
        assert!(is_fine || !is_looked_at, "{check:#}");
    }
}
