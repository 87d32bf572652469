//! A Redis of a test's own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server without any file, stopped with its value.
pub struct RedisServer {
    address: SocketAddr,
    password: String,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that requires a password.
    ///
    /// # Panics
    /// Without `redis-server`; the message says how to have it.
    pub fn start() -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let mut server = Self {
            address: free.local_addr().expect("bound"),
            password: "canary-redis-password".to_owned(),
            child: None,
        };
        drop(free);
        server.run();
        server
    }

    /// Its address, password included.
    pub fn url(&self) -> String {
        format!("redis://:{}@{}/0", self.password, self.address)
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

    /// Starts it again after [`RedisServer::kill`], empty.
    pub fn run(&mut self) {
        let port = self.address.port().to_string();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--requirepass", &self.password])
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
