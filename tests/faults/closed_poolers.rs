//! A PgBouncer of this machine whose console the role of `DATABASE_URL` may not use: its files and the
//! server behind it tell what is wrong.

use std::time::{Duration, Instant};

use sqlx::Connection as _;
use url::Url;

use super::pgbouncer::{Behind, NO_ANSWER, client_of, left_open};
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};
use crate::support::PgBouncer;
use crate::support::process::free_port;

const LOGIN: &str = "database.login";
const QUERY: &str = "database.query";

faults! {
    PAUSED = Fault::failing(
        "The pooler is paused, and the role may not use its console",
        NO_ANSWER,
        QUERY,
    );
    DISABLED = Fault::failing(
        "The pooler's database is disabled, and the role may not use its console",
        NO_ANSWER,
        LOGIN,
    );
    SERVER_DOWN = Fault {
        after: After::Person("it is started where it runs"),
        ..Fault::failing(
            "PostgreSQL behind the pooler does not run, and DATABASE_URL_UNPOOLED is not set",
            NO_ANSWER,
            LOGIN,
        )
    };
    OLD_PASSWORD = Fault::failing(
        "The auth_file of the pooler has the password from before it was changed",
        Symptom::Start("SASL authentication failed"),
        LOGIN,
    );
    NOT_IN_FILE = Fault::failing(
        "The auth_file of the pooler has no line for the role",
        Symptom::Start("SASL authentication failed"),
        LOGIN,
    );
    OLD_SECRET = Fault::failing(
        "The auth_file of the pooler has a SCRAM secret from before the password was set again",
        NO_ANSWER,
        LOGIN,
    );
    OF_DATABASE = Fault::failing(
        "All server connections are open that max_db_connections allows, and the role may not use the console",
        NO_ANSWER,
        QUERY,
    );
    HBA = Fault::failing(
        "The auth_hba_file of the pooler has no line for the role",
        Symptom::Start("login rejected"),
        LOGIN,
    );
    EXCHANGED = Fault::failing(
        "DATABASE_URL leads to the server, and DATABASE_URL_UNPOOLED to the pooler",
        Symptom::Start("migrations cannot run through the pooler"),
        "database.pooler",
    );
    OTHER_PORT = Fault::failing(
        "The pooler listens at another address than DATABASE_URL has",
        Symptom::Start("connection refused"),
        "database.connection",
    );
    SHORT_LIMIT = Fault::warned_of(
        "The pooler's file sets a very short query_timeout",
        Symptom::Risk("requests that take longer answer 503"),
        "database.pooler",
    );
}

/// Others' console, with clients as a service has them.
fn closed(behind: &Behind, line: &str, more: &str) -> PgBouncer {
    let more = format!("stats_users = canary\nquery_wait_timeout = 20\n{more}");
    let pooler = PgBouncer::configured(&behind.direct, line, &more);
    behind.scene.set("DATABASE_URL", &pooler.url);
    pooler
}

fn detail_has(behind: &Behind, check: &str, wanted: &[&str], unwanted: &[&str]) {
    let report = behind.scene.doctor(check);
    let detail = report.detail(check);
    let remedy = report.check(check)["remedy"].as_str().unwrap();
    let text = format!("{detail}\n{remedy}");
    for one in wanted {
        assert!(text.contains(one), "{one}: {text}");
    }
    for one in unwanted {
        assert!(!text.contains(one), "{one}: {text}");
    }
}

/// Its own user may use the console through its socket, and a role of `admin_users` with a password.
#[tokio::test]
async fn commands_for_a_console_that_is_closed() {
    let mut behind = Behind::new().await;
    let name = behind.name();
    let user = Url::parse(&behind.direct).unwrap().username().to_owned();
    for by_socket in [true, false] {
        let sockets = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(
            sockets.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .unwrap();
        let users = sockets.path().join("users.txt");
        std::fs::write(&users, format!("\"{user}\" \"\"\n\"operator\" \"\"\n")).unwrap();
        let directory = if by_socket {
            sockets.path().to_str().unwrap()
        } else {
            ""
        };
        let password = Url::parse(&behind.direct)
            .unwrap()
            .password()
            .unwrap()
            .to_owned();
        let more = format!(
            "admin_users = operator\nauth_file = {}\nunix_socket_dir = {directory}",
            users.display()
        );
        let line = format!("{name} user={user} password={password}");
        let mut pooler = closed(&behind, &line, &more);
        let operator = pooler.url.replace(&format!("//{user}:"), "//operator:");
        let operator = operator.replace(&format!("/{name}"), "/pgbouncer");
        for command in ["PAUSE", "PAUSE one"] {
            let command = command.replace("one", &format!("\"{name}\""));
            // A pooler lets clients log in whose parameters it knows from an earlier one.
            behind.scene.doctor(QUERY).says(QUERY, "pass", "");
            console(&operator, &command).await;
            behind.scene.proves(&PAUSED).await;
        }
        console(&operator, &format!("DISABLE \"{name}\"")).await;
        let how = if by_socket {
            "-U pgbouncer"
        } else {
            "-U operator"
        };
        detail_has(&behind, LOGIN, &[how, "ENABLE"], &[]);
        behind.scene.proves(&DISABLED).await;
        pooler.kill();
    }
}

async fn console(url: &str, command: &str) {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None);
    let mut console = sqlx::PgConnection::connect_with(&options).await.unwrap();
    let command = sqlx::AssertSqlSafe(command.to_owned());
    sqlx::raw_sql(command).execute(&mut console).await.unwrap();
}

/// A pooler that keeps its clients waiting does not keep this command waiting.
#[tokio::test]
async fn without_an_address_of_the_server() {
    let mut behind = Behind::new().await;
    let user = Url::parse(&behind.direct).unwrap().username().to_owned();
    let pooler = closed(&behind, "*", &format!("admin_users = {user}"));
    behind.scene.doctor(QUERY).says(QUERY, "pass", "");
    behind.command(&format!("PAUSE \"{}\"", behind.name()));
    behind.scene.unset("DATABASE_URL_UNPOOLED");
    behind.scene.set("AUTO_MIGRATE", "false");
    let started = Instant::now();
    behind.scene.check(&["doctor", "--format", "json"]);
    assert!(started.elapsed() < Duration::from_secs(17));
    drop(pooler);

    let nothing = free_port();
    let pooler = closed(&behind, &format!("{} port={nothing}", behind.name()), "");
    behind.scene.proves(&SERVER_DOWN).await;
    let place = format!("127.0.0.1:{nothing}");
    detail_has(
        &behind,
        LOGIN,
        &[
            "PgBouncer runs at",
            &format!("start PostgreSQL at {place}"),
            "pgbouncer.ini",
            "kill -HUP",
        ],
        &["UNPOOLED", "ROLE"],
    );
    behind.scene.set("DATABASE_URL_UNPOOLED", &behind.direct);
    detail_has(
        &behind,
        LOGIN,
        &[
            "where DATABASE_URL_UNPOOLED leads",
            "correct host= and port=",
        ],
        &["start PostgreSQL"],
    );
    drop(pooler);
    behind.gone(&SERVER_DOWN);

    // DB_POOLER alone says that a pooler is there.
    let mut pooler = closed(&behind, "*", "");
    behind.scene.unset("DATABASE_URL_UNPOOLED");
    pooler.kill();
    detail_has(
        &behind,
        "database.connection",
        &["it is the pooler that does not run"],
        &["start PostgreSQL"],
    );
}

#[tokio::test]
async fn passwords_in_its_file() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene.set("AUTO_MIGRATE", "false");
    let direct = scene.get("DATABASE_URL").unwrap();
    scene.set("DATABASE_URL_UNPOOLED", &direct);
    scene.set("DB_POOLER", "transaction");
    let mut behind = Behind { scene, direct };
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let users = directory.path().join("users.txt");
    let more = format!(
        "auth_type = scram-sha-256\nauth_file = {}\nserver_login_retry = 1",
        users.display()
    );
    for (line, fault) in [
        (
            format!("\"{role}\" \"canary-of-the-past\"\n"),
            &OLD_PASSWORD,
        ),
        ("\"somebody\" \"else\"\n".to_owned(), &NOT_IN_FILE),
    ] {
        std::fs::write(&users, line).unwrap();
        for has_direct in [true, false] {
            let before = std::fs::read_to_string(&users).unwrap();
            let pooler = closed(&behind, "*", &more);
            if has_direct {
                behind.scene.set("DATABASE_URL_UNPOOLED", &behind.direct);
            } else {
                behind.scene.unset("DATABASE_URL_UNPOOLED");
            }
            behind.scene.proves(fault).await;
            drop(pooler);
            std::fs::write(&users, before).unwrap();
        }
    }
    // The secret of the same password with another salt.
    let mut administrator =
        sqlx::PgConnection::connect(&behind.scene.administrators_url().unwrap())
            .await
            .unwrap();
    let secret: String = sqlx::query_scalar("SELECT rolpassword FROM pg_authid WHERE rolname = $1")
        .bind(&role)
        .fetch_one(&mut administrator)
        .await
        .unwrap();
    administrator.close().await.unwrap();
    let url = Url::parse(&behind.direct).unwrap();
    let again = format!("ALTER ROLE {role} PASSWORD '{}'", url.password().unwrap());
    behind.scene.sql(&again).await;
    std::fs::write(&users, format!("\"{role}\" \"{secret}\"\n")).unwrap();
    let pooler = closed(&behind, "*", &more);
    behind.scene.proves(&OLD_SECRET).await;
    drop(pooler);
    // Its own rules for logins.
    let rules = directory.path().join("hba.conf");
    std::fs::write(&rules, "host all nobody 127.0.0.1/32 scram-sha-256\n").unwrap();
    let pooler = closed(
        &behind,
        "*",
        &format!(
            "{more}\nauth_type = hba\nauth_hba_file = {}",
            rules.display()
        ),
    );
    behind.scene.proves(&HBA).await;
    drop(pooler);
    drop_role_of(&mut behind.scene, &role).await;
}

#[tokio::test]
async fn limits_in_its_file() {
    let mut behind = Behind::new().await;
    let name = behind.name();
    let pooler = closed(&behind, &name, "query_timeout = 2");
    behind.scene.proves(&SHORT_LIMIT).await;
    drop(pooler);

    let pooler = closed(&behind, &format!("{name} max_db_connections=1"), "");
    let mut other = client_of(&pooler).await;
    let holding = other.begin().await.unwrap();
    left_open(&behind).await;
    behind.scene.proves(&OF_DATABASE).await;
    drop(holding);
    drop(pooler);
}

/// Rights are missing to the role of the pooler, not to that of `DATABASE_URL`.
#[tokio::test]
async fn rights_of_the_role_of_a_line() {
    let behind = Behind::new().await;
    let role = format!("{}_line", behind.name());
    behind
        .scene
        .sql(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'canary'"))
        .await;
    let line = format!("{} user={role} password=canary", behind.name());
    let pooler = closed(&behind, &line, "");
    for check in ["database.users", "database.unread", "database.continuity"] {
        detail_has(&behind, check, &["the pooler logs in as"], &["GRANT"]);
    }
    drop(pooler);
    behind.scene.sql(&format!("DROP ROLE \"{role}\"")).await;
}

/// The two URLs are exchanged, and a pooler that listens at another port.
#[tokio::test]
async fn urls_that_lead_to_each_other() {
    let mut behind = Behind::new().await;
    let name = behind.name();
    let pooler = closed(&behind, &name, "");
    behind.scene.set("DATABASE_URL", &behind.direct);
    behind.scene.set("DATABASE_URL_UNPOOLED", &pooler.url);
    behind.scene.proves(&EXCHANGED).await;
    assert_eq!(behind.scene.get("DATABASE_URL").as_ref(), Some(&pooler.url));

    let mut elsewhere = Url::parse(&pooler.url).unwrap();
    elsewhere.set_port(Some(free_port())).unwrap();
    behind.scene.set("DATABASE_URL", elsewhere.as_str());
    behind.scene.proves(&OTHER_PORT).await;
    behind.scene.set(
        "DATABASE_URL",
        &pooler.url.replace("@127.0.0.1:", "@[::1]:"),
    );
    behind.scene.proves(&OTHER_PORT).await;
    // It offers no TLS.
    behind.scene.set(
        "DATABASE_URL",
        &format!("{}?sslmode=verify-full", pooler.url),
    );
    detail_has(
        &behind,
        "database.tls",
        &["the pooler is on this machine", "sslmode=disable"],
        &["postgresql.conf"],
    );
    drop(pooler);

    behind
        .scene
        .sql(&format!("CREATE DATABASE \"{name}_old\""))
        .await;
    let pooler = closed(&behind, &format!("{name} dbname={name}_old"), "");
    let leads = format!("leads to {name}_old at");
    let command = format!("dbname={name}/");
    detail_has(&behind, "database.migrations", &[&leads, &command], &[]);
    drop(pooler);
    behind
        .scene
        .sql(&format!("DROP DATABASE \"{name}_old\""))
        .await;
}
