//! Throw-away databases on the tests' PostgreSQL server.

use std::thread;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
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

/// An empty database of a test's own, dropped with its value.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its address.
    pub url: String,
    name: String,
}

impl TestDatabase {
    /// Makes one.
    ///
    /// # Panics
    /// Without a server, or when it refuses.
    pub async fn create() -> Self {
        let server = postgres_url();
        let name = unique_name();
        execute(
            &server,
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"),
        )
        .await
        .unwrap_or_else(|error| panic!("cannot create the database {name}: {error}"));

        let mut url = Url::parse(&server)
            .unwrap_or_else(|error| panic!("{VARIABLE} is not an address: {error}"));
        url.set_path(&name);
        Self {
            url: url.into(),
            name,
        }
    }
}

impl TestDatabase {
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
    /// As well as it can be done: the server's end takes care of the rest.
    fn drop(&mut self) {
        let name = self.name.clone();
        // A runtime of its own: the test's may be the one that is running now.
        let dropping = thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let _ = runtime.block_on(execute(&postgres_url(), statement));
        });
        let _ = dropping.join();
    }
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
