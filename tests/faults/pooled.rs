//! Sessions behind a pooler that are not as the role has them, and a pooler that leads elsewhere,
//! cannot log in, or does not run.

use sqlx::{Connection as _, Executor as _};
use url::Url;

use super::pgbouncer::{Behind, NO_ANSWER, PERSON, client_of};
use crate::faults::harness::{After, Fault, Symptom, faults};
use crate::support::remedies::remedy_faults;

const SESSION: &str = "database.session";
const LOGIN: &str = "database.login";
const ROLE: &str = "database.role";

faults! {
    LEAKED_SETTING = Fault::failing(
        "A client of the pooler has made its session read-only with SET",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        SESSION,
    );
    LEAKED_LIMIT = Fault::warned_of(
        "A client of the pooler has given its session a short statement_timeout with SET",
        Symptom::Risk("requests fail now and then"),
        SESSION,
    );
    CONNECT_QUERY = Fault {
        after: PERSON,
        ..Fault::failing(
            "connect_query of the pooler changes the search path",
            Symptom::Start("have another search path than those at"),
            SESSION,
        )
    };
    OTHER_NAME = Fault {
        after: PERSON,
        ..Fault::failing("The pooler looks for a database that is not there", NO_ANSWER, LOGIN)
    };
    HASH = Fault {
        after: PERSON,
        ..Fault::failing(
            "The pooler has an md5 hash, and PostgreSQL asks for SCRAM",
            Symptom::Start("wrong password type"),
            LOGIN,
        )
    };
    NO_AUTH_USER = Fault {
        after: PERSON,
        ..Fault::failing("The auth_user of the pooler has no password", NO_ANSWER, LOGIN)
    };
    NO_SIMPLE_QUERIES = Fault {
        after: PERSON,
        ..Fault::failing(
            "The pooler refuses simple queries (disable_pqexec)",
            Symptom::Start("PQexec disallowed"),
            "database.query",
        )
    };
    ALL_OF_THE_USER = Fault::failing(
        "All server connections are open that max_user_connections allows the role",
        NO_ANSWER,
        "database.query",
    );
    NOT_RUNNING = Fault {
        after: After::Person("it is started where it runs"),
        ..Fault::failing("The pooler does not run, and the server does", NO_ANSWER, "database.connection")
    };
}

/// What the remedy of a check says, and does not.
fn says_only(behind: &Behind, check: &str, wanted: &str, unneeded: &str) {
    let report = behind.scene.doctor(check);
    let remedy = report.check(check)["remedy"].as_str().unwrap();
    assert!(remedy.contains(wanted), "{remedy}");
    assert!(!remedy.contains(unneeded), "{remedy}");
}

#[tokio::test]
async fn what_a_client_has_set() {
    let mut behind = Behind::new().await;
    let pooler = behind.pooler("pool_size=1", "");
    let mut other = client_of(&pooler).await;
    // What the pooler itself sets, or harms nobody.
    other.execute("SET work_mem = '8MB'").await.unwrap();
    other
        .execute("SET search_path = public, pg_catalog")
        .await
        .unwrap();
    behind.scene.doctor(SESSION).says(SESSION, "pass", "");
    other
        .execute("SET default_transaction_read_only = on")
        .await
        .unwrap();
    says_only(&behind, SESSION, "RECONNECT", "ALTER");
    behind.scene.proves(&LEAKED_SETTING).await;
    other.execute("SET statement_timeout = 1").await.unwrap();
    behind.scene.proves(&LEAKED_LIMIT).await;
    other.execute("SET search_path = ''").await.unwrap();
    let report = behind.scene.doctor("database.tables");
    report.says(SESSION, "fail", "RECONNECT");
    report.says("database.tables", "skip", "");
    drop(pooler);
    // Where each connection is a session of its own, nothing is left in it.
    behind.scene.set("DATABASE_URL", &behind.direct);
    behind.scene.doctor(SESSION).says(SESSION, "pass", "");
}

#[tokio::test]
async fn what_the_pooler_sets() {
    let mut behind = Behind::new().await;
    behind.scene.sql("CREATE SCHEMA audit").await;
    let pooler = behind.pooler("connect_query='SET search_path = audit'", "");
    behind.scene.proves(&CONNECT_QUERY).await;
    says_only(&behind, SESSION, "connect_query", "ALTER");
    drop(pooler);
    behind.gone(&CONNECT_QUERY);
}

/// A setting was reset, and the pooler keeps a session that began before.
#[tokio::test]
async fn what_the_pooler_keeps() {
    let behind = Behind::new().await;
    let alter = format!("ALTER DATABASE {}", behind.name());
    let setting = "default_transaction_read_only";
    behind
        .scene
        .sql(&format!("{alter} SET {setting} = on"))
        .await;
    let pooler = behind.pooler("pool_size=1", "");
    let mut other = client_of(&pooler).await;
    other.ping().await.unwrap();
    behind
        .scene
        .sql(&format!(
            "SET transaction_read_only = off; {alter} RESET {setting}"
        ))
        .await;
    says_only(&behind, ROLE, "RECONNECT", "ALTER");
}

/// An administrator's commands go to the server, whose address it tells itself where the
/// configuration does not.
#[tokio::test]
async fn commands_for_the_server() {
    const ROLE: &str = "database.role";
    let behind = Behind::new().await;
    let name = behind.name();
    let port = Url::parse(&behind.direct).unwrap().port().unwrap();
    for is_named in [true, false] {
        behind
            .scene
            .sql(&format!(
                "ALTER DATABASE \"{name}\" SET default_transaction_read_only = on"
            ))
            .await;
        let pooler = behind.pooler("", "");
        if !is_named {
            behind.scene.unset("DATABASE_URL_UNPOOLED");
        }
        let report = behind.scene.doctor(ROLE);
        report.says(ROLE, "fail", &format!("-p {port} -U"));
        let remedy = report.check(ROLE)["remedy"].as_str().unwrap();
        assert_eq!(remedy.contains("leads to a pooler"), !is_named, "{remedy}");
        assert!(behind.scene.type_in(remedy).status.success(), "{remedy}");
        behind.scene.doctor(ROLE).says(ROLE, "pass", "");
        drop(pooler);
    }
}

#[tokio::test]
async fn a_line_that_leads_elsewhere() {
    let mut behind = Behind::new().await;
    let name = behind.name();
    let pooler = behind.pooler(&format!("dbname={name}_gone"), "");
    behind.scene.proves(&OTHER_NAME).await;
    says_only(&behind, LOGIN, &format!("dbname={name}"), "createdb");
    // `serve` says it too.
    let printed = behind.scene.start_fails().unwrap();
    assert!(printed.contains("dbname="), "{printed}");
    assert!(!printed.contains("createdb"), "{printed}");
    drop(pooler);
    behind.gone(&OTHER_NAME);
}

#[tokio::test]
async fn passwords_that_the_pooler_cannot_use() {
    let mut behind = Behind::new().await;
    let user = Url::parse(&behind.direct).unwrap().username().to_owned();
    let users = behind.scene.path().join("users.txt");
    let hash = "md5".to_owned() + &"0".repeat(32);
    std::fs::write(&users, format!("\"{user}\" \"{hash}\"\n")).unwrap();
    // Longer than the pooler pauses after a login that has failed.
    let file = format!("auth_file = {}\nquery_wait_timeout = 20", users.display());
    let pooler = behind.pooler("", &file);
    behind.scene.proves(&HASH).await;
    // Also while the pooler does not try again.
    says_only(&behind, LOGIN, "rolpassword", "createdb");
    drop(pooler);
    behind.gone(&HASH);

    std::fs::write(&users, "").unwrap();
    let pooler = behind.pooler(
        "",
        &format!("{file}\nauth_type = md5\nauth_user = nobody_at_all"),
    );
    behind.scene.proves(&NO_AUTH_USER).await;
    says_only(&behind, LOGIN, "auth_user", "\\password");
    drop(pooler);
    behind.gone(&NO_AUTH_USER);
}

#[tokio::test]
async fn a_pooler_that_does_not_run() {
    let mut behind = Behind::new().await;
    let mut pooler = behind.pooler("", "");
    pooler.kill();
    behind.scene.proves(&NOT_RUNNING).await;
    says_only(
        &behind,
        NOT_RUNNING.check,
        "start the pooler",
        "start PostgreSQL",
    );
    pooler.restart();
    behind.scene.proves_gone(&NOT_RUNNING);
}

#[tokio::test]
async fn what_the_pooler_refuses() {
    let mut behind = Behind::new().await;
    let pooler = behind.pooler("", "disable_pqexec = 1");
    behind.scene.proves(&NO_SIMPLE_QUERIES).await;
    drop(pooler);
    behind.gone(&NO_SIMPLE_QUERIES);

    let pooler = behind.pooler("", "max_user_connections = 1");
    let mut other = client_of(&pooler).await;
    let holding = other.begin().await.unwrap();
    says_only(
        &behind,
        ALL_OF_THE_USER.check,
        "max_user_connections",
        "default_pool_size",
    );
    // The remedy raises it.
    behind.scene.proves(&ALL_OF_THE_USER).await;
    holding.rollback().await.unwrap();
    drop(pooler);
    behind.gone(&ALL_OF_THE_USER);
}

/// Tables that another program has left in the pooler's sessions: what the daemon has stored there is
/// found again.
#[tokio::test]
async fn temporary_tables_of_another_program() {
    let mut behind = Behind::new().await;
    let pooler = behind.pooler("pool_size=3", "");
    let make = "CREATE TEMP TABLE tasks (LIKE public.tasks INCLUDING ALL);
        INSERT INTO pg_temp.tasks (user_id, title, created_at) VALUES ('me', 'theirs', '2020-01-01')";
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = client_of(&pooler).await;
        other.execute("BEGIN").await.unwrap();
        other.execute(make).await.unwrap();
        others.push(other);
    }
    for mut other in others {
        other.execute("COMMIT").await.unwrap();
        other.close().await.unwrap();
    }
    // Each in one session or the other.
    behind.scene.sql("SELECT setval('tasks_id_seq', 40)").await;
    for _ in 0..2 {
        assert_eq!(behind.scene.status("POST", "/tasks/"), 201);
    }
    let stored = "SELECT count(*) FROM public.tasks WHERE title = 'two'";
    assert_eq!(behind.scene.number(stored).await, 0);
    let report = behind.scene.doctor(SESSION);
    report.says(SESSION, "fail", "RECONNECT");
    let detail = report.detail(SESSION);
    assert!(
        detail.starts_with(
            "2 of 3 server connections that the pooler lends have a temporary table tasks"
        ),
        "{detail}"
    );
    let remedy = report.check(SESSION)["remedy"].as_str().unwrap();
    assert!(!remedy.contains("search_path"), "{remedy}");
    assert!(remedy_faults(remedy).is_empty(), "{remedy}");
    assert!(behind.scene.type_in(remedy).status.success(), "{remedy}");
    behind.scene.doctor(SESSION).says(SESSION, "pass", "");
    assert_eq!(behind.scene.number(stored).await, 2);
    let theirs = "SELECT count(*) FROM public.tasks WHERE title = 'theirs'";
    assert_eq!(behind.scene.number(theirs).await, 0);
    // The daemon and the other checks see the service's own.
    assert_eq!(behind.scene.status("GET", "/tasks/1"), 200);
    let report = behind.scene.doctor("database.sequences");
    report.says("database.sequences", "pass", "");
    drop(pooler);
}
