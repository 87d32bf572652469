//! Heads and bodies, sent to a listening daemon on SQLite.

use std::error::Error;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::api::{ApiContext, Server};
use crate::clock::Clock;
use crate::config::{Config, Source};
use crate::store::{Store, migrate};

/// Inputs may name it, as `Authorization: Bearer` and this.
pub(super) const TOKEN: &str = "fuzz-service-token-0123456789-abcdefgh";

/// So long the daemon may take for an answer before the client says that nothing more comes.
const ANSWER: Duration = Duration::from_millis(50);

/// Then the connection ends within this time.
const END: Duration = Duration::from_secs(8);

struct Daemon {
    address: SocketAddr,
    _runtime: Runtime,
    _directory: TempDir,
}

impl Daemon {
    fn start() -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let url = format!("sqlite://{}", directory.path().join("todo.db").display());
        let source = Source::from_values([
            ("DATABASE_URL", url.as_str()),
            ("SERVICE_AUTH_TOKEN", TOKEN),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("RATE_LIMIT_PER_MINUTE", "0"),
            ("AUTH_FAILURES_PER_MINUTE", "0"),
        ]);
        let config = Config::load(&source)?.value;
        let runtime = Runtime::new()?;
        let address = runtime.block_on(async {
            let clock = Clock::system();
            migrate::up(&config.database.target, &clock).await?;
            let store = Store::connect(&config.database, clock.clone()).await?;
            let context = ApiContext::new(&config, store, clock)?;
            let server = Server::bind(&config, context)?;
            let address = server.address()?;
            tokio::spawn(server.run(std::future::pending()));
            Ok::<_, Box<dyn Error>>(address)
        })?;
        Ok(Self {
            address,
            _runtime: runtime,
            _directory: directory,
        })
    }
}

static DAEMON: LazyLock<Daemon> = LazyLock::new(|| match Daemon::start() {
    Ok(daemon) => daemon,
    Err(error) => panic!("the daemon does not start: {error}"),
});

/// What the daemon sends back, until it closes the connection. The first request asks it to.
fn exchange(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(DAEMON.address)?;
    let end = data.windows(4).position(|part| part == b"\r\n\r\n");
    let (head, rest) = data.split_at(end.unwrap_or(data.len()));
    let close = end.map_or(&b""[..], |_| b"\r\nConnection: close");
    // The daemon may refuse before it has read everything.
    let _ = stream.write_all(&[head, close, rest].concat());
    let mut answer = Vec::new();
    if end.is_some() {
        stream.set_read_timeout(Some(ANSWER))?;
        if stream.read_to_end(&mut answer).is_ok() {
            return Ok(answer);
        }
    }
    // Part of a request is missing, or the daemon was slow.
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(END))?;
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
        _ => Ok(answer),
    }
}

/// Sends `data` on a connection. The answers begin as one does, and none is 500; the connection
/// does not outlive its client.
pub fn http(data: &[u8]) {
    let answer = exchange(data).unwrap_or_else(|error| panic!("no end: {error}"));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."));
    let status = b" 500 Internal Server Error\r\n";
    assert!(!answer.windows(status.len()).any(|part| part == status));
}
