//! What waiting cannot heal ends the start at once, with its cause and what to do about it; what
//! may heal is waited for.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use url::Url;

use crate::faults::peers::refusing;
use crate::support::process::{Process, serve, with_secrets};
use crate::support::{self, PgBouncer, TestDatabase, on_server};

use super::refused;

/// Far less than the time for which a database is waited for, on a loaded machine too. A quiet one
/// needs less than 2 s.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Starts a daemon at `url`, which has to end at once and say all of `words`.
#[track_caller]
fn ends_at_once(url: &str, more: &[(&str, &str)], words: &[&str]) {
    let directory = support::sqlite_dir();
    let mut command = serve(directory.path());
    with_secrets(&mut command)
        .env("DATABASE_URL", url)
        .envs(more.iter().copied());
    let started = Instant::now();
    let said = refused(&mut command);
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert!(!said.contains("retrying"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// A role of this test alone, and the database's address for it.
async fn role(database: &TestDatabase, options: &str) -> (String, String) {
    let name = database.name.replace("test", "role");
    database
        .execute(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'canary' {options}; GRANT ALL ON SCHEMA public TO {name}"
        ))
        .await;
    let mut url = Url::parse(&database.url).unwrap();
    url.set_username(&name).unwrap();
    url.set_password(Some("canary")).unwrap();
    (name, url.into())
}

async fn drop_role(database: &TestDatabase, name: &str) {
    database
        .execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_a_ca() {
    let database = TestDatabase::create().await;
    let url = database.url.clone();
    blocking(move || {
        let directory = support::sqlite_dir();
        let with = |path: &Path| {
            let mut url = Url::parse(&url).unwrap();
            url.query_pairs_mut()
                .append_pair("sslmode", "verify-full")
                .append_pair("sslrootcert", path.to_str().unwrap());
            String::from(url)
        };
        let missing = directory.path().join("missing.pem");
        let words = ["root certificate file", "missing.pem", "sslrootcert"];
        ends_at_once(&with(&missing), &[], &words);
        ends_at_once(&with(directory.path()), &[], &["root certificate file"]);
        for text in [
            "no certificate\n",
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let file = directory.path().join("ca.pem");
            std::fs::write(&file, text).unwrap();
            ends_at_once(&with(&file), &[], &["root certificate file", "ca.pem"]);
        }
    })
    .await;
    drop(database);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused() {
    let database = TestDatabase::create().await;
    let url = Url::parse(&database.url).unwrap();
    blocking(move || {
        let mut wrong = url.clone();
        wrong.set_password(Some("canary")).unwrap();
        ends_at_once(
            wrong.as_str(),
            &[],
            &["password", "config set DATABASE_URL.password"],
        );
        let mut nobody = url.clone();
        nobody.set_username("nobody_at_all").unwrap();
        nobody.set_password(Some("canary")).unwrap();
        ends_at_once(nobody.as_str(), &[], &["nobody_at_all"]);
        let mut nowhere = url.clone();
        nowhere.set_path("nowhere");
        ends_at_once(nowhere.as_str(), &[], &["createdb", "nowhere"]);
        let mut mode = url;
        mode.query_pairs_mut().append_pair("sslmode", "sometimes");
        ends_at_once(mode.as_str(), &[], &["sslmode"]);
    })
    .await;
    drop(database);
}

/// With and without migrations, which use connections of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_or_a_database_for_one_connection() {
    let database = TestDatabase::create().await;
    let (name, url) = role(&database, "CONNECTION LIMIT 1").await;
    let limit = "CONNECTION LIMIT is 1, and todoctl needs 2";
    let remedy = format!("ALTER ROLE \"{name}\" CONNECTION LIMIT -1");
    let (address, words) = (url.clone(), remedy.clone());
    blocking(move || {
        let words = ["the role's", limit, words.as_str()];
        ends_at_once(&address, &[], &words);
        ends_at_once(&address, &[("AUTO_MIGRATE", "false")], &words);
        let no_pooler = [("AUTO_MIGRATE", "false"), ("DB_POOLER", "none")];
        ends_at_once(&address, &no_pooler, &words);
    })
    .await;
    let lift = remedy.split("; ").next().unwrap();
    database.execute(lift).await;
    on_server(&format!(
        "ALTER DATABASE {} CONNECTION LIMIT 1",
        database.name
    ))
    .await;
    let remedy = format!("ALTER DATABASE \"{}\" CONNECTION LIMIT -1", database.name);
    blocking(move || ends_at_once(&url, &[], &["the database's", limit, &remedy])).await;
    on_server(&format!(
        "ALTER DATABASE {} CONNECTION LIMIT -1",
        database.name
    ))
    .await;
    drop_role(&database, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_cannot_serve() {
    let database = TestDatabase::migrated().await;
    let direct = database.url.clone();
    blocking(move || {
        let statement = PgBouncer::start_in_mode(&direct, "statement");
        let unpooled = ("DATABASE_URL_UNPOOLED", direct.as_str());
        for pooler in ["none", "transaction"] {
            ends_at_once(
                &statement.url,
                &[unpooled, ("DB_POOLER", pooler)],
                &["statement pooling mode", "pool_mode = transaction"],
            );
        }
        ends_at_once(&statement.url, &[unpooled], &["pool_mode = transaction"]);
        let one = PgBouncer::start_with(&direct, "session", 1);
        ends_at_once(
            &one.url,
            &[unpooled],
            &["has no other", "default_pool_size"],
        );
    })
    .await;
    drop(database);
}

/// The server names another version than its own, as far as this role can see.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old() {
    let database = TestDatabase::create().await;
    let (name, url) = role(&database, "").await;
    database
        .execute(&format!(
            "CREATE SCHEMA older;
             CREATE FUNCTION older.current_setting(text) RETURNS text LANGUAGE sql AS $$
                 SELECT CASE $1 WHEN 'server_version_num' THEN '90624' WHEN 'server_version' THEN '9.6.24'
                        ELSE pg_catalog.current_setting($1) END $$;
             GRANT USAGE ON SCHEMA older TO {name};
             ALTER ROLE {name} SET search_path = older, pg_catalog, public"
        ))
        .await;
    blocking(move || {
        ends_at_once(
            &url,
            &[],
            &["PostgreSQL 9.6.24 is too old", "upgrade the server"],
        );
    })
    .await;
    drop_role(&database, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_for_todoctl() {
    let database = TestDatabase::create().await;
    let ascii = format!("{}_ascii", database.name);
    on_server(&format!(
        "CREATE DATABASE {ascii} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    ))
    .await;
    let mut url = Url::parse(&database.url).unwrap();
    url.set_path(&ascii);
    blocking(move || ends_at_once(url.as_str(), &[], &["SQL_ASCII", "--encoding=UTF8"])).await;
    on_server(&format!("DROP DATABASE {ascii} WITH (FORCE)")).await;
    database
        .execute("CREATE TABLE tasks (name text, command text NOT NULL)")
        .await;
    let url = database.url.clone();
    blocking(move || ends_at_once(&url, &[], &["tasks.title is missing"])).await;
}

/// A standby that becomes the primary, and connections that are taken for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_heals_is_waited_for() {
    let database = TestDatabase::create().await;
    let (name, url) = role(&database, "CONNECTION LIMIT 2").await;
    database
        .execute(&format!(
            "ALTER ROLE {name} SET default_transaction_read_only = on"
        ))
        .await;
    let directory = support::sqlite_dir();
    let mut command = serve(directory.path());
    let mut daemon = Process::start(with_secrets(&mut command).env("DATABASE_URL", &url));
    let line = daemon.line("the database is not ready");
    assert!(line.contains("read-only transaction"), "{line}");
    database
        .execute(&format!(
            "ALTER ROLE {name} RESET default_transaction_read_only"
        ))
        .await;
    daemon.base();
    daemon.stop();

    let mut held = Vec::new();
    support::eventually("two connections", async || {
        held.extend(PgConnection::connect(&url).await);
        held.len() == 2
    })
    .await;
    let mut command = serve(directory.path());
    let mut daemon = Process::start(with_secrets(&mut command).env("DATABASE_URL", &url));
    for _ in 0..2 {
        let line = daemon.line("the database is not ready");
        assert!(line.contains("too many connections for role"), "{line}");
    }
    for connection in held {
        connection.close().await.unwrap();
    }
    daemon.base();
    daemon.stop();
    drop_role(&database, &name).await;
}

/// A server that is starting, and one that a proxy does not reach yet.
#[test]
fn what_is_starting_is_waited_for() {
    for at in [
        refusing("57P03", "the database system is starting up"),
        crate::faults::peers::peer(drop),
    ] {
        let url = format!("postgresql://todo:canary@{at}/todo?sslmode=disable");
        let directory = support::sqlite_dir();
        let mut command = serve(directory.path());
        let mut daemon = Process::start(with_secrets(&mut command).env("DATABASE_URL", url));
        for _ in 0..2 {
            daemon.line("the database is not ready; retrying");
        }
        daemon.signal("-TERM");
        let (status, said) = daemon.end();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}
