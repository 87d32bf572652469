//! Debian's PgBouncer (1.18: no prepared statements) in front of the tests' PostgreSQL.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use url::Url;

use super::ports::free_port;

/// Server connections for each database and user.
pub const SERVER_CONNECTIONS: usize = 2;

/// A transaction-mode pooler, ended with its value.
#[derive(Debug)]
pub struct PgBouncer {
    /// The address of the database that it was started for, through it.
    pub url: String,
    child: Child,
    port: u16,
    settings: PathBuf,
    _directory: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts one in front of the database at `url`.
    ///
    /// # Panics
    /// Where it is not installed, or does not start.
    pub fn start(url: &str) -> Self {
        Self::start_in_mode(url, "transaction")
    }

    /// The same with another `pool_mode`.
    ///
    /// # Panics
    /// Where it is not installed, or does not start.
    pub fn start_in_mode(url: &str, mode: &str) -> Self {
        Self::start_with(url, mode, SERVER_CONNECTIONS)
    }

    /// The same with so many server connections.
    ///
    /// # Panics
    /// Where it is not installed, or does not start.
    pub fn start_with(url: &str, mode: &str, server_connections: usize) -> Self {
        let server = Url::parse(url).expect("the database's address");
        let more = format!(
            "admin_users = {}\npool_mode = {mode}\ndefault_pool_size = {server_connections}",
            server.username()
        );
        Self::configured(url, "*", &more)
    }

    /// With a line of its list of databases, which may end with parameters, and with settings
    /// beside the usual ones.
    ///
    /// # Panics
    /// Where it is not installed, or does not start.
    pub fn configured(url: &str, database: &str, more: &str) -> Self {
        let (name, parameters) = database.split_once(' ').unwrap_or((database, ""));
        let server = Url::parse(url).expect("the database's address");
        let host = server.host_str().expect("a host");
        let port = server.port().expect("a port");
        let user = server.username();
        let password = server.password().expect("a password");

        let directory = tempfile::Builder::new()
            .prefix("todoctl-pgbouncer-")
            .tempdir_in("/tmp")
            .expect("a folder");
        // Its user may be another one than this test's.
        let open = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.path(), open(0o755)).expect("permissions");
        let users = directory.path().join("users.txt");
        std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).expect("a file");
        let own_port = free_port();
        let settings = format!(
            "[databases]\n\
             {name} = host={host} port={port} {parameters}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {own_port}\n\
             unix_socket_dir =\n\
             auth_type = trust\n\
             auth_file = {}\n\
             stats_users = {user}\n\
             pool_mode = transaction\n\
             max_client_conn = 500\n\
             server_login_retry = 1\n\
             query_wait_timeout = 60\n\
             {more}\n",
            users.display()
        );
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("a file");
        let child = start(&file);
        let mut pooled = server.clone();
        pooled.set_port(Some(own_port)).expect("a port");
        let mut started = Self {
            url: pooled.into(),
            child,
            port: own_port,
            settings: file,
            _directory: directory,
        };
        started.wait();
        started
    }

    /// Changes a setting in its file, which it reads again at RELOAD.
    ///
    /// # Panics
    /// Where the file has no such setting.
    pub fn set(&mut self, name: &str, value: &str) {
        let text = std::fs::read_to_string(&self.settings).expect("its settings");
        let prefix = format!("{name} = ");
        assert!(text.contains(&prefix), "PgBouncer has no {name}");
        let lines = text.lines().map(|line| {
            if line.starts_with(&prefix) {
                format!("{prefix}{value}\n")
            } else {
                format!("{line}\n")
            }
        });
        std::fs::write(&self.settings, lines.collect::<String>()).expect("its settings");
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`PgBouncer::kill`].
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.child = start(&self.settings);
        self.wait();
    }

    /// Stops it without closing its connections, or lets it go on.
    ///
    /// # Panics
    /// Where it is not running.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Until it accepts connections.
    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("pgbouncer ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "pgbouncer does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// It refuses to run as root, so there it runs as `nobody`.
fn start(settings: &std::path::Path) -> Child {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let program = [
        "/usr/sbin/pgbouncer",
        "/usr/local/sbin/pgbouncer",
        "/usr/bin/pgbouncer",
    ]
    .into_iter()
    .find(|path| std::path::Path::new(path).exists())
    .unwrap_or("pgbouncer");
    let mut command = Command::new(program);
    command
        .arg("-q")
        .arg(settings)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if is_root {
        use std::os::unix::process::CommandExt as _;
        // 65534 is Debian's `nobody` and `nogroup`. The kernel does the change, so the child
        // that is waited for is PgBouncer itself.
        command.uid(65_534).gid(65_534);
    }
    match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("pgbouncer is not installed: `sudo apt-get install pgbouncer`")
        }
        Err(error) => panic!("pgbouncer does not start: {error}"),
    }
}
