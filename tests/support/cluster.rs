//! A PostgreSQL server of a test's own, for settings that would disturb other tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is what ends a test"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use super::{TestDatabase, eventually};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A running server, gone with its value. Its settings are those of the tests' server.
pub struct Cluster {
    /// Its address, with the rights of a superuser.
    pub url: String,
    directory: String,
}

impl Cluster {
    /// # Panics
    /// Where PostgreSQL is not installed, or does not start.
    pub fn start() -> Self {
        Self::start_below(Path::new("/tmp"))
    }

    /// One whose files are in a directory below `base`.
    ///
    /// # Panics
    /// Where PostgreSQL is not installed, or does not start.
    pub fn start_below(base: &Path) -> Self {
        let script =
            "pg_start test && pg_guard \"$1\" && printf '%s\\n%s\\n' \"$PG_URL\" \"$PG_DIR\"";
        let own = std::process::id().to_string();
        let said = bash(script, &[&own], Some(base));
        let mut lines = said.lines().map(str::to_owned);
        Self {
            url: lines.next().expect("an address"),
            directory: lines.next().expect("a directory"),
        }
    }

    /// An empty database on it, named `todo`.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self) -> TestDatabase {
        self.execute(&["CREATE DATABASE todo"]).await;
        TestDatabase::on(self.url.clone(), "todo".to_owned())
    }

    /// Another server with a copy of its files, as after a move.
    ///
    /// # Panics
    /// When one of both does not start.
    #[must_use]
    pub fn copy(&self) -> Self {
        let script = "pg_ensure
            ctl() { pg_as \"$PG_BIN/pg_ctl\" -l \"$2/data/server.log\" -m fast -w -s -D \"$2/data\" \"$1\" \"${@:3}\" </dev/null >/dev/null 2>&1; }
            ctl stop \"$1\"
            pg_make_folder
            pg_as cp -a \"$1/data\" \"$PG_DIR/data\"
            PG_PORT=$(pg_free_port)
            ctl start \"$PG_DIR\" -o \"-p $PG_PORT -k $PG_DIR\"
            ctl restart \"$1\"
            pg_guard \"$2\"
            printf '%s\\n%s\\n' \"$PG_PORT\" \"$PG_DIR\"";
        let own = std::process::id().to_string();
        let said = bash(script, &[&self.directory, &own], None);
        let (port, directory) = said.trim().split_once('\n').expect("a port, a directory");
        let mut url = url::Url::parse(&self.url).expect("an address");
        url.set_port(port.parse().ok()).expect("a port");
        Self {
            url: url.into(),
            directory: directory.to_owned(),
        }
    }

    /// The directory of its socket, which has its files in `data`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        Path::new(&self.directory)
    }

    /// Runs statements, each by itself.
    ///
    /// # Panics
    /// When the server refuses one.
    pub async fn execute(&self, statements: &[&str]) {
        let mut connection = self.connect().await;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe((*statement).to_owned()))
                .execute(&mut connection)
                .await
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        connection.close().await.unwrap();
    }

    /// Has the server read its configuration again, and waits until new sessions are under it.
    ///
    /// # Panics
    /// When the server does not answer, or does not read it.
    pub async fn reload(&self) {
        let load_time = async || -> String {
            let mut connection = self.connect().await;
            sqlx::query_scalar("SELECT pg_conf_load_time()::text")
                .fetch_one(&mut connection)
                .await
                .unwrap()
        };
        let before = load_time().await;
        self.execute(&["SELECT pg_reload_conf()"]).await;
        eventually("the configuration is read", async || {
            load_time().await != before
        })
        .await;
    }

    /// # Panics
    /// When the server does not answer.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Restarts the server, as some settings need.
    ///
    /// # Panics
    /// When it does not start again.
    pub fn restart(&self) {
        let script = "pg_ensure && pg_as \"$PG_BIN/pg_ctl\" -D \"$1/data\" -l \"$1/data/server.log\" -m fast -w -s restart </dev/null >/dev/null 2>&1";
        bash(script, &[&self.directory], None);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        bash("pg_stop \"$1\"", &[&self.directory], None);
    }
}

/// Runs `script` with the functions of `scripts/lib/postgres.sh`.
fn bash(script: &str, arguments: &[&str], base: Option<&Path>) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new("bash");
    command
        .arg("-ec")
        .arg(format!(". {root}/scripts/lib/postgres.sh; {script}"))
        .arg("bash")
        .args(arguments)
        .stdin(Stdio::null());
    if let Some(base) = base {
        command.env("TMPDIR", base);
    }
    let output = command.output().expect("bash runs");
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
