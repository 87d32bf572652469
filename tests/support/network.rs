//! A network between the daemon and its database that can be cut, held up and broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use todoctl::config::DatabaseTarget;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Default)]
struct State {
    /// The next answer of the server is lost, and its connection with it.
    cut: AtomicBool,
    /// No new connection is carried, and answers are lost.
    closed: AtomicBool,
    /// Connections with a lower number get nothing through to the server.
    held: AtomicUsize,
    /// Nothing gets through to the server any more from the next COMMIT on.
    hold_commit: AtomicBool,
    /// Connections that have something to carry to the server and are held up.
    waiting: AtomicUsize,
    /// Connections with a lower number are broken.
    broken: AtomicUsize,
    connections: AtomicUsize,
    /// How long an answer is on its way, in milliseconds.
    delay: AtomicU64,
}

/// The network; it carries everything until it is told otherwise.
#[derive(Debug, Clone)]
pub struct Network {
    pub port: u16,
    state: Arc<State>,
}

impl Network {
    /// One that leads to a server.
    pub async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let state = network.state.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if state.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                tokio::spawn(carry(client, server, state.clone()));
            }
        });
        network
    }

    /// One between a daemon and `target`, which leads through it from now on.
    pub async fn before(target: &mut DatabaseTarget) -> Self {
        let DatabaseTarget::Postgres(server) = target else {
            panic!("there is no network before a file");
        };
        let network = Self::to(server.host.clone(), server.port).await;
        "127.0.0.1".clone_into(&mut server.host);
        server.port = network.port;
        network
    }

    /// From now on every answer is on its way for so long.
    pub fn delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).expect("a short time");
        self.state.delay.store(delay, Ordering::SeqCst);
    }

    /// Keeps the server's next answer back, and then breaks its connection.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    /// Keeps the server's answers back, breaks their connections, and takes no new ones.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
    }

    /// Carries everything again, also what was held up.
    pub fn open(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
        self.state.closed.store(false, Ordering::SeqCst);
        self.state.hold_commit.store(false, Ordering::SeqCst);
        self.state.held.store(0, Ordering::SeqCst);
    }

    /// Waits until what was held up has arrived.
    pub async fn delivered(&self) {
        super::eventually("what was held up arrives", async || {
            self.state.waiting.load(Ordering::SeqCst) == 0
        })
        .await;
    }

    /// Holds up what present connections send to the server; new ones are carried.
    pub fn hold(&self) {
        let present = self.state.connections.load(Ordering::SeqCst);
        self.state.held.store(present, Ordering::SeqCst);
    }

    /// Holds up what any connection sends to the server.
    pub fn hold_all(&self) {
        self.state.held.store(usize::MAX, Ordering::SeqCst);
    }

    /// Carries everything up to the next COMMIT, and holds up that and what comes after it on
    /// any connection.
    pub fn hold_from_commit(&self) {
        self.state.hold_commit.store(true, Ordering::SeqCst);
    }

    /// Breaks the client's side of present connections. The server does not notice.
    pub fn break_present(&self) {
        let present = self.state.connections.load(Ordering::SeqCst);
        self.state.broken.store(present, Ordering::SeqCst);
    }
}

/// Counts until it is dropped: the server may end a connection that is held up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn at(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let number = state.connections.fetch_add(1, Ordering::SeqCst);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let count = from_client.read(&mut bytes).await.unwrap_or(0);
            // Not the READ COMMITTED of a BEGIN.
            let is_commit = bytes[..count]
                .windows(7)
                .any(|text| text.starts_with(b"COMMIT") && text[6] != b'T');
            if is_commit && state.hold_commit.swap(false, Ordering::SeqCst) {
                state.held.store(usize::MAX, Ordering::SeqCst);
            }
            let waiting = Waiting::at(&state.waiting);
            while number < state.held.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let sent = to_server.write_all(&bytes[..count]).await;
            drop(waiting);
            if count == 0 || sent.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let count = from_server.read(&mut bytes).await.unwrap_or(0);
            let delay = state.delay.load(Ordering::SeqCst);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            // Once: what is asked next is answered.
            let cut = state.cut.swap(false, Ordering::SeqCst);
            let closed = state.closed.load(Ordering::SeqCst);
            if cut || closed || count == 0 || to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    let broken = async {
        while number >= state.broken.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let is_broken = tokio::select! {
        () = up => false,
        () = down => false,
        () = broken => true,
    };
    if is_broken {
        drop((from_client, to_client));
        // The server's side stays open for longer than any test takes.
        tokio::time::sleep(Duration::from_mins(5)).await;
        drop((from_server, to_server));
    }
}
