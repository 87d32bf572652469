//! A PgBouncer in front of the database that does not do what todoctl needs.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use url::Url;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};
use crate::support::{PgBouncer, eventually};

pub(super) const NO_ANSWER: Symptom = Symptom::Risk("every request answers 503");

pub(super) const PERSON: After =
    After::Person("only its administrator can change the pooler's configuration");

faults! {
    PAUSED = Fault {
        title: "The pooler's database is paused (PAUSE)",
        symptom: NO_ANSWER,
        check: "database.query",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DISABLED = Fault {
        title: "The pooler's database is disabled (DISABLE)",
        symptom: NO_ANSWER,
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_SERVER = Fault {
        title: "Nothing answers where the pooler looks for PostgreSQL",
        symptom: NO_ANSWER,
        check: "database.login",
        outcome: "fail",
        after: PERSON,
    };
    OTHER_ROLE = Fault {
        title: "The pooler logs in with another role than DATABASE_URL's",
        symptom: Symptom::Risk("requests answer 500"),
        check: "database.role",
        outcome: "fail",
        after: PERSON,
    };
    UNLISTED = Fault {
        title: "The pooler's list lacks the database",
        symptom: Symptom::Start("no such database"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REFUSED_BEHIND = Fault {
        title: "PostgreSQL refuses the role with which the pooler logs in",
        symptom: NO_ANSWER,
        check: "database.login",
        outcome: "fail",
        after: PERSON,
    };
    REFUSED = Fault {
        title: "The pooler does not know the password of DATABASE_URL",
        symptom: Symptom::Start("password authentication failed"),
        check: "database.login",
        outcome: "fail",
        after: After::Person("nobody else knows the password"),
    };
    ALL_IN_USE = Fault {
        title: "All server connections of the pooler are in use",
        symptom: NO_ANSWER,
        check: "database.query",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SHORT_QUERIES = Fault {
        title: "The pooler has a very short query_timeout",
        symptom: Symptom::Risk("requests that take longer answer 503"),
        check: "database.pooler",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    TOO_MANY_CLIENTS = Fault {
        title: "The pooler has reached max_client_conn",
        symptom: NO_ANSWER,
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

/// A service whose `DATABASE_URL` leads to a pooler.
pub(super) struct Behind {
    pub(super) scene: Scene,
    pub(super) direct: String,
}

impl Behind {
    pub(super) async fn new() -> Self {
        let scene = Scene::postgres().await;
        let direct = scene.get("DATABASE_URL").unwrap();
        scene.set("DATABASE_URL_UNPOOLED", &direct);
        scene.set("DB_POOLER", "transaction");
        Self { scene, direct }
    }

    pub(super) fn name(&self) -> String {
        let url = Url::parse(&self.direct).unwrap();
        url.path().trim_start_matches('/').to_owned()
    }

    /// Whose console the role may use. A query waits a second for a server connection.
    pub(super) fn pooler(&self, parameters: &str, more: &str) -> PgBouncer {
        let user = Url::parse(&self.direct).unwrap().username().to_owned();
        let line = format!("{} {parameters}", self.name());
        let more = format!("admin_users = {user}\nquery_wait_timeout = 1\n{more}");
        let pooler = PgBouncer::configured(&self.direct, &line, &more);
        self.scene.set("DATABASE_URL", &pooler.url);
        pooler
    }

    /// Proves that the fault is gone where the pooler's configuration is right.
    pub(super) fn gone(&mut self, fault: &Fault) {
        let right = self.pooler("", "");
        self.scene.proves_gone(fault);
        drop(right);
    }

    pub(super) fn command(&self, command: &str) {
        let psql = ["db", "psql", "--pooler", "-c", command];
        let output = self.scene.todoctl(&psql);
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test]
async fn a_paused_database() {
    let mut behind = Behind::new().await;
    let pooler = behind.pooler("", "");
    let name = behind.name();
    // A pooler lets clients log in whose parameters it knows from an earlier one.
    behind
        .scene
        .doctor("database.query")
        .says("database.query", "pass", "");
    behind.command(&format!("PAUSE \"{name}\""));
    behind.scene.proves(&PAUSED).await;
    behind.command(&format!("DISABLE \"{name}\""));
    behind.scene.proves(&DISABLED).await;
    drop(pooler);
}

#[tokio::test]
async fn a_server_that_the_pooler_does_not_find() {
    let mut behind = Behind::new().await;
    let pooler = behind.pooler("port=1", "");
    behind.scene.proves(&NO_SERVER).await;
    let report = behind.scene.doctor("database.login");
    let detail = report.detail("database.login");
    assert!(
        detail.contains("PostgreSQL behind it does not answer at 127.0.0.1:1"),
        "{detail}"
    );
    behind.gone(&NO_SERVER);
    drop(pooler);
}

#[tokio::test]
async fn roles_of_the_pooler() {
    let mut behind = Behind::new().await;
    let role = format!("{}_other", behind.name());
    let create = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'canary'");
    behind.scene.sql(&create).await;
    let pooler = behind.pooler(&format!("user={role} password=canary"), "");
    behind.scene.proves(&OTHER_ROLE).await;
    behind
        .scene
        .doctor("database.role")
        .says("database.role", "fail", "restart PgBouncer");
    // Its role may not see which database it is.
    let report = behind.scene.doctor("database.migrations");
    let detail = report.detail("database.migrations");
    assert!(!detail.contains("another database"), "{detail}");
    // The tables are not to be given to the pooler's role.
    behind
        .scene
        .doctor("database.owners")
        .says("database.owners", "pass", "");
    behind.gone(&OTHER_ROLE);
    drop(pooler);
    behind.scene.sql(&format!("DROP ROLE \"{role}\"")).await;
    let pooler = behind.pooler(&format!("user={role} password=canary"), "");
    behind.scene.proves(&REFUSED_BEHIND).await;
    behind.gone(&REFUSED_BEHIND);
    drop(pooler);
}

#[tokio::test]
async fn names_and_passwords_of_the_pooler() {
    let mut behind = Behind::new().await;
    let pooler = PgBouncer::configured(&behind.direct, "other", "");
    behind.scene.set("DATABASE_URL", &pooler.url);
    behind.scene.proves(&UNLISTED).await;
    behind.gone(&UNLISTED);
    drop(pooler);

    let pooler = behind.pooler("", "auth_type = plain");
    let mut wrong = Url::parse(&pooler.url).unwrap();
    wrong.set_password(Some("canary-of-the-pooler")).unwrap();
    behind.scene.set("DATABASE_URL", wrong.as_str());
    behind.scene.proves(&REFUSED).await;
    behind.scene.set("DATABASE_URL", &pooler.url);
    behind.scene.proves_gone(&REFUSED);
}

pub(super) async fn client_of(pooler: &PgBouncer) -> PgConnection {
    let options = PgConnectOptions::from_str(&pooler.url).unwrap();
    // PgBouncer refuses the parameter that the driver would send.
    let options = options.extra_float_digits(None);
    PgConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn limits_of_the_pooler() {
    let mut behind = Behind::new().await;
    let pooler = behind.pooler("pool_size=1", "");
    let mut other = client_of(&pooler).await;
    let holding = other.begin().await.unwrap();
    left_open(&behind).await;
    // The remedy ends it.
    behind.scene.proves(&ALL_IN_USE).await;
    drop(holding);
    drop(pooler);

    let pooler = behind.pooler("pool_size=1 pool_mode=session", "");
    let mut other = client_of(&pooler).await;
    other.ping().await.unwrap();
    behind
        .scene
        .doctor("database.query")
        .says("database.query", "fail", "pool_mode = transaction");
    let report = behind.scene.doctor("database.query");
    let remedy = report.check("database.query")["remedy"].as_str().unwrap();
    assert!(remedy.contains("SQLALCHEMY_POOL_SIZE=1"), "{remedy}");
    drop(pooler);

    let pooler = behind.pooler("", "query_timeout = 2");
    behind.scene.proves(&SHORT_QUERIES).await;
    drop(pooler);
    behind.gone(&SHORT_QUERIES);

    let pooler = behind.pooler("", "max_client_conn = 1");
    let other = client_of(&pooler).await;
    behind.scene.proves(&TOO_MANY_CLIENTS).await;
    drop(other);
    behind.gone(&TOO_MANY_CLIENTS);
}

/// A role that may not use the console is told who may.
#[tokio::test]
async fn a_console_for_others() {
    let behind = Behind::new().await;
    let line = format!("{} port=1", behind.name());
    let more = "stats_users = canary\nquery_wait_timeout = 1";
    let pooler = PgBouncer::configured(&behind.direct, &line, more);
    behind.scene.set("DATABASE_URL", &pooler.url);
    let report = behind.scene.doctor("database.login");
    report.says("database.login", "fail", "correct host= and port=");
    let detail = report.detail("database.login");
    assert!(detail.contains("PgBouncer runs at"), "{detail}");
    drop(pooler);

    // The server tells who holds its connections.
    let line = format!("{} pool_size=1", behind.name());
    let pooler = PgBouncer::configured(&behind.direct, &line, more);
    behind.scene.set("DATABASE_URL", &pooler.url);
    let mut other = client_of(&pooler).await;
    let holding = other.begin().await.unwrap();
    left_open(&behind).await;
    let report = behind.scene.doctor("database.query");
    report.says("database.query", "fail", "pg_terminate_backend");
    let detail = report.detail("database.query");
    assert!(detail.contains("idle in transaction for "), "{detail}");
    let remedy = report.check("database.query")["remedy"].as_str().unwrap();
    assert!(behind.scene.type_in(remedy).status.success(), "{remedy}");
    behind
        .scene
        .doctor("database.query")
        .says("database.query", "pass", "");
    drop(holding);
}

/// Waits until a transaction has been idle for longer than one of a client that works.
pub(super) async fn left_open(behind: &Behind) {
    let mut direct = PgConnection::connect(&behind.direct).await.unwrap();
    let question = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND state = 'idle in transaction' AND state_change < now() - interval '3 s')";
    eventually("a transaction is left open", async || {
        sqlx::query_scalar(question)
            .fetch_one(&mut direct)
            .await
            .unwrap()
    })
    .await;
    direct.close().await.unwrap();
}

/// The server refuses the pooler, which has let the client in and does not repeat why.
#[tokio::test]
async fn a_server_without_a_connection_for_the_pooler() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    let direct = scene.get("DATABASE_URL").unwrap();
    scene.set("DATABASE_URL_UNPOOLED", &direct);
    scene.set("DB_POOLER", "transaction");
    let more = "stats_users = canary\nquery_wait_timeout = 1";
    let pooler = PgBouncer::configured(&direct, "*", more);
    scene.set("DATABASE_URL", &pooler.url);
    scene
        .doctor("database.query")
        .says("database.query", "pass", "");
    scene
        .sql(&format!(
            "ALTER ROLE {role} CONNECTION LIMIT 0;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
        ))
        .await;
    let report = scene.doctor("database.query");
    // PgBouncer knows what to greet a client with from the one before.
    let failed = "database.query";
    let detail = report.detail(failed);
    assert!(detail.contains("too many connections for role"), "{detail}");
    let remedy = report.check(failed)["remedy"].as_str().unwrap();
    assert!(!remedy.contains("auth_file"), "{remedy}");
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    // It tries again a second after it was refused.
    eventually("the pooler logs in", async || {
        let report = scene.doctor(failed);
        report.check(failed)["outcome"] == "pass"
    })
    .await;
    drop(pooler);
    drop_role_of(&mut scene, &role).await;
}

/// A pooler that opens server connections for its first clients is one nevertheless.
#[tokio::test]
async fn a_cold_pooler_in_session_mode() {
    let behind = Behind::new().await;
    behind.scene.unset("DB_POOLER");
    let pooler = behind.pooler("", "pool_mode = session\ndefault_pool_size = 40");
    let report = behind.scene.doctor("database.pooler");
    let detail = report.detail("database.pooler");
    assert!(detail.starts_with("PgBouncer in session mode"), "{detail}");
    drop(pooler);
    // Without its console its file tells the size.
    let more = "stats_users = canary\npool_mode = session";
    let pooler = PgBouncer::configured(&behind.direct, "*", more);
    behind.scene.set("DATABASE_URL", &pooler.url);
    let report = behind.scene.doctor("database.pooler");
    report.says("database.pooler", "warn", "SQLALCHEMY_POOL_SIZE=19");
    let detail = report.detail("database.pooler");
    let told = "PgBouncer in session mode, with 20 server connections";
    assert!(detail.starts_with(told), "{detail}");
}
