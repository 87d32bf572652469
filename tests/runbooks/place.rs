//! Where a fault is: a directory, an environment, a user, and what runs beside.

use std::any::Any;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::runbooks::page::{one_line, says};
use crate::support::{self, TestDatabase};

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

/// Of the tests alone.
const SECRETS: [(&str, &str); 3] = [
    (
        "SERVICE_AUTH_TOKEN",
        "5f0c1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60",
    ),
    (
        "SESSION_HASH_SECRET",
        "6a1b1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f61",
    ),
    (
        "ENCRYPTION_KEY",
        "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM=",
    ),
];

pub struct Place {
    /// The fault's name.
    pub fault: String,
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    /// Another user than this test's, where it is root.
    user: Option<u32>,
    daemon: Option<Child>,
    /// What the fault is made of: it ends with its value.
    pub parts: Vec<Box<dyn Any + Send>>,
    /// The intended database, once the fault is corrected.
    pub database: Option<TestDatabase>,
    /// A role to drop at the end.
    pub role: Option<String>,
}

/// What a command of a page said.
pub struct Said {
    code: i32,
    text: String,
}

impl Place {
    /// An empty directory and a free port.
    pub fn new(fault: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut place = Self {
            fault: fault.to_owned(),
            directory: support::sqlite_dir(),
            environment: Vec::new(),
            user: None,
            daemon: None,
            parts: Vec::new(),
            database: None,
            role: None,
        };
        place.set("PORT", &port.to_string());
        place
    }

    /// With a database on PostgreSQL, and secrets.
    pub async fn on_postgres(fault: &str) -> Self {
        let mut place = Self::new(fault);
        let database = TestDatabase::create().await;
        place.set("DATABASE_URL", &database.url);
        for (name, value) in SECRETS {
            place.set(name, value);
        }
        place.database = Some(database);
        place
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn port(&self) -> u16 {
        self.get("PORT").parse().unwrap()
    }

    pub fn get(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        &found.expect("a variable").1
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Everything from here on is typed by somebody who owns nothing.
    ///
    /// Where the test is not root it stays the same user, who has no more rights than that.
    pub fn as_somebody_else(&mut self) {
        let uid = Command::new("id").arg("-u").output().unwrap();
        if uid.stdout.trim_ascii() == b"0" {
            self.user = Some(NOBODY);
        }
        chmod(self.path(), 0o755);
        // The folder of the build may be closed to others.
        let here = self.path().join("todoctl");
        if std::fs::hard_link(env!("CARGO_BIN_EXE_todoctl"), &here).is_err() {
            std::fs::copy(env!("CARGO_BIN_EXE_todoctl"), &here).unwrap();
        }
    }

    /// Gives a file or a directory to the user who runs the commands.
    pub fn give(&self, name: &str, mode: u32) {
        let path = self.path().join(name);
        if self.user.is_some() {
            std::os::unix::fs::chown(&path, self.user, self.user).unwrap();
        }
        chmod(&path, mode);
    }

    fn command(&self, program: &str) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_todoctl")).parent().unwrap();
        let path = format!(
            "{}:{}:{}",
            self.path().display(),
            built.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Types a block of a page.
    pub fn types(&self, text: &str) -> Said {
        let both = format!("exec 2>&1\n{text}");
        let output = self.command("sh").args(["-c", &both]).output().unwrap();
        Said {
            code: output.status.code().expect("it was not killed"),
            text: String::from_utf8(output.stdout).expect("UTF-8"),
        }
    }

    /// Types what has to succeed in order to prepare something.
    pub fn prepares(&self, text: &str) {
        let said = self.types(text);
        assert_eq!(said.code, 0, "{text}\n{}", said.text);
    }

    /// Starts the daemon, and waits until it is healthy.
    pub fn start_daemon(&mut self) {
        let mut command = self.command("todoctl");
        command
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.daemon = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.types("todoctl health").code != 0 {
            assert!(Instant::now() < deadline, "the daemon does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends what runs, and drops what was made.
    pub async fn leave(mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
        self.parts.clear();
        if let (Some(role), Some(database)) = (&self.role, &self.database) {
            database
                .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
                .await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // Files of others, and closed directories, are to be deleted as well.
        let data = self.path().join("data");
        if data.exists() {
            chmod(&data, 0o755);
        }
    }
}

impl Said {
    pub fn assert_says(&self, page: &str, command: &str, lines: &[String]) {
        let said = one_line(&self.text);
        for line in lines {
            let as_told = match line.strip_prefix("exit ") {
                Some(code) => code == self.code.to_string(),
                None => says(&said, line),
            };
            assert!(
                as_told,
                "{page}.md says {line:?} of\n{command}\nand it says (exit {})\n{}",
                self.code, self.text
            );
        }
        assert!(
            lines.iter().any(|line| line.starts_with("exit ")),
            "{page}.md does not tell the exit code of {command}"
        );
    }
}

pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
