//! Throw-away databases on the tests' PostgreSQL server.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::thread;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use todoctl::clock::Clock;
use todoctl::config::{DatabaseTarget, database_url};
use todoctl::store::migrate;
use url::Url;

const VARIABLE: &str = "TODOCTL_TEST_POSTGRES_URL";

/// The server's address, with the rights of a superuser.
///
/// # Panics
/// Without a server; the message says how to have one.
pub fn postgres_url() -> String {
    match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => url,
        _ => panic!(
            "{VARIABLE} is not set: run `cargo nextest run` or `scripts/with-postgres cargo test`; \
             PostgreSQL: `sudo apt-get install postgresql`"
        ),
    }
}

/// A database of a test's own, dropped with its value.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its address.
    pub url: String,
    pub name: String,
    /// The address that it is dropped by.
    server: String,
}

impl TestDatabase {
    /// An empty one.
    ///
    /// # Panics
    /// Without a server, or when it refuses.
    pub async fn create() -> Self {
        let database = Self::named(unique_name());
        execute(&postgres_url(), create_empty(&database.name))
            .await
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", database.name));
        database
    }

    /// One with todoctl's schema: a copy of a database that is migrated once on each server.
    ///
    /// # Panics
    /// Without a server, or when it refuses.
    pub async fn migrated() -> Self {
        let server = postgres_url();
        let template = template_name();
        let database = Self::named(unique_name());
        let copy = format!("CREATE DATABASE {} TEMPLATE {template}", database.name);
        if let Err(error) = execute(&server, copy.clone()).await {
            let is_missing = error
                .as_database_error()
                .is_some_and(|error| error.code().as_deref() == Some("3D000"));
            assert!(is_missing, "{copy}: {error}");
            make_template(&template).await;
            execute(&server, copy.clone())
                .await
                .unwrap_or_else(|error| panic!("{copy}: {error}"));
        }
        database
    }

    /// Drops it, whoever uses it, and creates an empty one of the same name.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create_again(&self) {
        self.administer(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .await;
        self.administer(&create_empty(&self.name)).await;
    }

    /// Runs a statement in another database of the server.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn administer(&self, statement: &str) {
        execute(&self.server, statement.to_owned())
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    fn named(name: String) -> Self {
        Self::on(postgres_url(), name)
    }

    /// A database of another server than the tests' own, which has it already.
    pub fn on(server: String, name: String) -> Self {
        Self {
            url: url_on(&server, &name),
            name,
            server,
        }
    }

    pub fn target(&self) -> DatabaseTarget {
        postgres_target(&self.url)
    }

    /// Runs statements in it.
    ///
    /// # Panics
    /// When the server refuses them.
    pub async fn execute(&self, sql: &str) {
        execute(&self.url, sql.to_owned())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl Drop for TestDatabase {
    /// A failure is ignored: the server that the test run started ends with it.
    fn drop(&mut self) {
        let (name, server) = (self.name.clone(), self.server.clone());
        // A thread and runtime of its own: the test's runtime may be running on this one.
        let dropping = thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let _ = runtime.block_on(execute(&server, statement));
        });
        let _ = dropping.join();
    }
}

/// Runs statements on the server, outside of the tests' databases.
pub async fn on_server(sql: &str) {
    execute(&postgres_url(), sql.to_owned())
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Another server than the run's own may keep a template from before: its name tells which
/// migrations it has.
fn template_name() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the migrations are there")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        std::fs::read(&file)
            .expect("it can be read")
            .hash(&mut hasher);
    }
    format!("todoctl_template_{:016x}", hasher.finish())
}

/// Tests are processes of their own: an advisory lock lets one of them make the template. It gets
/// its name when it is complete.
async fn make_template(name: &str) {
    let mut lock = PgConnection::connect(&postgres_url())
        .await
        .expect("connects");
    sqlx::query("SELECT pg_advisory_lock(7468)")
        .execute(&mut lock)
        .await
        .expect("the lock is free in time");
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut lock)
            .await
            .expect("the catalogue can be read");
    if !exists {
        let unfinished = unique_name();
        let mut run = async |statement: String| {
            sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&mut lock)
                .await
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
        };
        run(create_empty(&unfinished)).await;
        migrate::up(&postgres_target(&url_of(&unfinished)), &Clock::system())
            .await
            .expect("the migrations run");
        run(format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await;
    }
    lock.close().await.expect("closes");
}

fn create_empty(name: &str) -> String {
    format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
}

fn url_of(name: &str) -> String {
    url_on(&postgres_url(), name)
}

fn url_on(server: &str, name: &str) -> String {
    let mut url =
        Url::parse(server).unwrap_or_else(|error| panic!("{VARIABLE} is not an address: {error}"));
    url.set_path(name);
    url.into()
}

/// What a `DATABASE_URL` leads to.
pub fn postgres_target(url: &str) -> DatabaseTarget {
    database_url::parse(url)
        .expect("the test server's URL is valid")
        .value
}

/// A name that no other test has, in this process or another.
fn unique_name() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).unwrap_or_else(|error| panic!("no random bytes: {error}"));
    format!("todoctl_test_{}", hex::encode(bytes))
}

/// Runs statements on a connection of their own.
async fn execute(url: &str, statement: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let outcome = sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await;
    connection.close().await?;
    outcome.map(drop)
}
