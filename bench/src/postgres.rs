//! The PostgreSQL server beside which the daemon runs, and pgbench.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::load::MOST_THREADS;
use crate::process;
use crate::workload::Workload;

/// The private server that scripts/bench started.
pub struct Postgres {
    programs: PathBuf,
    password: String,
    pub port: u16,
    /// The server's first process, whose children serve the connections.
    process: u32,
}

/// A script for pgbench.
pub struct Script {
    pub file: PathBuf,
    pub tasks: u64,
    pub users: u64,
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run scripts/bench"))
}

impl Postgres {
    pub fn from_environment() -> Result<Self> {
        let data = PathBuf::from(variable("PG_DIR")?).join("data");
        let lock = fs::read_to_string(data.join("postmaster.pid"))?;
        let process = lock.lines().next().context("postmaster.pid is empty")?;
        Ok(Self {
            programs: variable("PG_BIN")?.into(),
            password: variable("PG_PASSWORD")?,
            port: variable("PG_PORT")?.parse()?,
            process: process.parse()?,
        })
    }

    /// The URL of a database, at this port or at that of a proxy.
    pub fn url(&self, database: &str, port: u16) -> String {
        format!(
            "postgresql://postgres:{}@127.0.0.1:{port}/{database}?sslmode=disable",
            self.password
        )
    }

    fn client(&self, program: &str, port: u16) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .env("PGPASSWORD", &self.password)
            .env("PGOPTIONS", "--client-min-messages=warning")
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p"])
            .arg(port.to_string());
        command
    }

    /// Runs statements, each in a transaction of its own, and returns the rows.
    pub fn sql(&self, database: &str, statements: &[&str]) -> Result<String> {
        let mut command = self.client("psql", self.port);
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database]);
        for statement in statements {
            command.args(["-c", statement]);
        }
        let output = command.output().context("starting psql")?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    pub fn create_database(&self, name: &str) -> Result<()> {
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        self.sql("postgres", &[&create]).map(drop)
    }

    /// The same rows before each measurement that depends on them.
    pub fn seed(&self, database: &str, tasks: u64, users: u64) -> Result<()> {
        let insert = insert_tasks(tasks, users);
        let statements = [
            "TRUNCATE tasks RESTART IDENTITY CASCADE",
            &insert,
            "VACUUM ANALYZE tasks",
            "CHECKPOINT",
        ];
        self.sql(database, &statements).map(drop)
    }

    /// Sessions of the users, so that the daemon finds their tokens.
    pub fn add_sessions(&self, database: &str, hashes: &[(u64, String)]) -> Result<()> {
        let rows: Vec<_> = hashes
            .iter()
            .map(|(user, hash)| format!("('{hash}', '{user}', now(), now() + interval '1 day')"))
            .collect();
        let insert = format!(
            "INSERT INTO todoctl_sessions (token_hash, user_id, created_at, expires_at) VALUES {}",
            rows.join(", ")
        );
        self.sql(database, &[&insert]).map(drop)
    }

    /// The statement that a connection of the database ran last.
    pub fn last_statement(&self, database: &str) -> Result<String> {
        let query = format!(
            "SELECT query FROM pg_stat_activity WHERE datname = '{database}'
                AND pid <> pg_backend_pid() AND query LIKE '%tasks%' AND query LIKE '%$1%'
             ORDER BY query_start DESC LIMIT 1"
        );
        self.sql("postgres", &[&query])
    }

    pub fn has_search_index(&self, database: &str) -> Result<bool> {
        let query = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('tasks_search_idx') AND indisvalid";
        Ok(self.sql(database, &[query])?.trim() == "1")
    }

    /// Writes what pgbench runs for a workload: the daemon's own statement with pgbench's
    /// variables as its parameters.
    pub fn script(
        folder: &Path,
        workload: Workload,
        statement: &str,
        tasks: u64,
        users: u64,
    ) -> Result<Script> {
        let (variables, values) = workload
            .pgbench()
            .context("pgbench does not run this workload")?;
        let statement = with_parameters(statement.trim(), values)?;
        let file = folder.join(format!("{workload:?}.sql"));
        fs::write(&file, format!("{}\n{statement};\n", variables.join("\n")))?;
        Ok(Script { file, tasks, users })
    }

    /// Transactions a second.
    pub fn pgbench(
        &self,
        database: &str,
        port: u16,
        script: &Script,
        clients: usize,
        duration: Duration,
    ) -> Result<f64> {
        let output = self
            .client("pgbench", port)
            .args(["-n", "-M", "prepared", "-c", &clients.to_string()])
            .args(["-j", &clients.min(MOST_THREADS).to_string()])
            .args(["-T", &duration.as_secs().to_string()])
            .arg("-f")
            .arg(&script.file)
            .args(["-D", &format!("tasks={}", script.tasks)])
            .args(["-D", &format!("users={}", script.users)])
            .args(["-D", &format!("clients={clients}"), "-D", "turn=-1"])
            .arg(database)
            .output()
            .context("starting pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rest| rest.split(' ').next());
        match rate {
            Some(rate) if output.status.success() => Ok(rate.parse()?),
            // Where the clients take longer to connect, there is no rate, and no error.
            _ => bail!(
                "pgbench has no rate of {clients} clients in {} s; a longer time (--seconds) may help: {}",
                duration.as_secs(),
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }

    /// CPU time of the server's processes, by their ids.
    pub fn cpu(&self) -> Result<BTreeMap<u32, Duration>> {
        process::cpu_of_children(self.process)
    }
}

pub fn insert_tasks(tasks: u64, users: u64) -> String {
    format!(
        "INSERT INTO tasks (user_id, title, description, completed, priority, due_date,
            reminder_sent, created_at, updated_at, search_title, search_description)
         SELECT (1000 + n % {users})::text, 'Task ' || n, 'What there is to say about task ' || n,
            n % 3 = 0, (ARRAY['Low', 'Medium', 'High', 'Urgent'])[1 + n % 4]::prioritylevel,
            now() + interval '2 days' + n * interval '1 minute', FALSE,
            now() - n * interval '1 second', now() - n * interval '1 second',
            'task ' || n, 'what there is to say about task ' || n
         FROM generate_series(0, {tasks} - 1) AS n ORDER BY n"
    )
}

/// Replaces `$1` and so on.
fn with_parameters(statement: &str, values: &[&str]) -> Result<String> {
    let mut parts = statement.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = part[..digits].parse().context("a parameter's number")?;
        let value = number.checked_sub(1).and_then(|index| values.get(index));
        let value = value.with_context(|| format!("no value for ${number} of: {statement}"))?;
        text.push_str(value);
        text.push_str(&part[digits..]);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_replaced_by_their_numbers() {
        let values = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let text = with_parameters("$1::text, $10, $2", &values).unwrap();
        assert_eq!(text, "a::text, j, b");
        assert!(with_parameters("$3", &["a"]).is_err());
    }
}
