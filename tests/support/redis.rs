//! A Redis of a test's own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ports::free_port;

/// A running server without any file, stopped with its value.
pub struct RedisServer {
    address: SocketAddr,
    /// Empty: none is required.
    password: String,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that requires a password.
    ///
    /// # Panics
    /// Without `redis-server`; the message says how to have it.
    pub fn start() -> Self {
        Self::start_with("canary-redis-password", &[])
    }

    /// Starts one with this password, or none if it is empty, and more options.
    ///
    /// # Panics
    /// Without `redis-server`; the message says how to have it.
    pub fn start_with(password: &str, options: &[&str]) -> Self {
        let mut server = Self {
            address: (Ipv4Addr::LOCALHOST, free_port()).into(),
            password: password.to_owned(),
            options: options.iter().map(|&one| one.to_owned()).collect(),
            child: None,
        };
        server.run();
        server
    }

    /// Its address, password included.
    pub fn url(&self) -> String {
        if self.password.is_empty() {
            return format!("redis://{}/0", self.address);
        }
        format!("redis://:{}@{}/0", self.password, self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sends a command, as an administrator does.
    ///
    /// # Panics
    /// Where Redis refuses it.
    pub fn command(&self, words: &[&str]) {
        let client = redis::Client::open(self.url()).expect("its address");
        let mut connection = client.get_connection().expect("a connection");
        let (name, arguments) = words.split_first().expect("a command");
        redis::cmd(name)
            .arg(arguments)
            .exec(&mut connection)
            .expect("Redis does it");
    }

    /// The names of its keys that match a pattern.
    ///
    /// # Panics
    /// Where Redis refuses it.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let client = redis::Client::open(self.url()).expect("its address");
        let mut connection = client.get_connection().expect("a connection");
        let keys = redis::cmd("KEYS").arg(pattern).query(&mut connection);
        keys.expect("Redis answers")
    }

    /// The value of a line of INFO.
    ///
    /// # Panics
    /// Where Redis refuses it.
    pub fn info(&self, name: &str) -> Option<String> {
        let client = redis::Client::open(self.url()).expect("its address");
        let mut connection = client.get_connection().expect("a connection");
        let text: String = redis::cmd("INFO")
            .query(&mut connection)
            .expect("an answer");
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(one, value)| (one == name).then(|| value.to_owned()))
    }

    /// Starts it again after [`RedisServer::kill`], empty.
    pub fn run(&mut self) {
        let port = self.address.port().to_string();
        let mut command = Command::new("redis-server");
        if !self.password.is_empty() {
            command.args(["--requirepass", &self.password]);
        }
        let child = command
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(["--save", "", "--appendonly", "no"])
            // A replica gets a file from its primary.
            .arg("--dir")
            .arg(std::env::temp_dir())
            .args(["--dbfilename", &format!("todoctl-{port}.rdb")])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("redis-server is not installed: `sudo apt-get install redis-server`")
            }
            Err(error) => panic!("redis-server does not start: {error}"),
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "Redis does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it without closing its connections, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let id = self.child.as_ref().expect("running").id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
