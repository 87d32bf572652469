//! A PostgreSQL server of the run's own, which can be stopped in every way.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use url::Url;

/// The root of the repository, whose scripts know how to run PostgreSQL.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A server starts within this time, on a busy machine too.
const START: Duration = Duration::from_mins(2);

/// How the server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ends sessions, and writes everything out.
    Fast,
    /// As a crash.
    Immediate,
}

#[derive(Debug)]
pub struct Server {
    pub url: Url,
    directory: String,
    /// Held while the server is down, by what stopped it.
    pub down: Mutex<()>,
}

impl Server {
    pub async fn start() -> anyhow::Result<Self> {
        let script =
            "pg_start test && pg_guard \"$1\" && printf '%s\\n%s\\n' \"$PG_URL\" \"$PG_DIR\"";
        let said = bash(script, &[&std::process::id().to_string()])?;
        let mut lines = said.lines();
        let server = Self {
            url: lines.next().context("no address")?.parse()?,
            directory: lines.next().context("no directory")?.to_owned(),
            down: Mutex::default(),
        };
        // A commit is in the log before it is acknowledged. The tests' settings do without; the
        // log need not be on the disk, because the machine goes on.
        server
            .execute("postgres", "ALTER SYSTEM SET synchronous_commit = on")
            .await?;
        server
            .execute("postgres", "SELECT pg_reload_conf()")
            .await?;
        Ok(server)
    }

    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let (host, port) = (
            self.url.host_str().context("no host")?,
            self.url.port().context("no port")?,
        );
        Ok(format!("{host}:{port}").parse()?)
    }

    /// The address of a database, through another port.
    pub fn url_at(&self, database: &str, port: u16) -> anyhow::Result<Url> {
        let mut url = self.url_of(database);
        ensure!(
            url.set_port(Some(port)).is_ok(),
            "no port in the server's address"
        );
        Ok(url)
    }

    pub fn url_of(&self, database: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(database);
        url.set_query(Some("sslmode=disable"));
        url
    }

    /// A connection that no fault of the network concerns.
    pub async fn connect(&self, database: &str) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(self.url_of(database).as_str()).await?)
    }

    pub async fn execute(&self, database: &str, statement: &str) -> anyhow::Result<()> {
        let mut connection = self.connect(database).await?;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .with_context(|| statement.to_owned())?;
        connection.close().await?;
        Ok(())
    }

    pub async fn stop(&self, how: Stop) -> anyhow::Result<()> {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.control(&format!("-m {mode} stop")).await
    }

    /// Starts it, unless it is running; waits if it recovers from a crash by itself.
    pub async fn ensure_running(&self) -> anyhow::Result<()> {
        let port = self.url.port().context("no port")?;
        let start = format!("-o '-p {port}' start");
        let deadline = Instant::now() + START;
        loop {
            let Err(error) = self.connect("postgres").await else {
                return Ok(());
            };
            if Instant::now() > deadline {
                return Err(error.context("PostgreSQL does not start"));
            }
            // Refused where it is recovering.
            let _ = self.control(&start).await;
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn control(&self, command: &str) -> anyhow::Result<()> {
        let script = format!(
            "pg_ensure && pg_as \"$PG_BIN/pg_ctl\" -D \"$1/data\" -l \"$1/data/server.log\" -w -s {command} </dev/null >/dev/null 2>&1"
        );
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || bash(&script, &[&directory])).await??;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = bash("pg_stop \"$1\"", &[&self.directory]);
    }
}

/// Runs `script` with the functions of `scripts/lib/postgres.sh`.
fn bash(script: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let functions = Path::new(ROOT).join("scripts/lib/postgres.sh");
    let output = Command::new("bash")
        .arg("-ec")
        .arg(format!(". '{}'; {script}", functions.display()))
        .arg("bash")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("bash does not run")?;
    ensure!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
