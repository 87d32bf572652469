//! A network between a daemon and its database, which breaks as networks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::wire::{Contents, Parser};

/// How long the server's side of a connection stays open after the client's has ended, so that
/// what arrived late is carried out.
const LINGER: Duration = Duration::from_millis(300);

/// What springs the trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Statement,
    Commit,
}

/// What happens to the connection then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The message is lost, and the connection with it.
    CutBefore,
    /// The message arrives; its answer is lost, and the connection with it.
    CutAfter,
    /// The message arrives; the client's side ends, and the server does not notice.
    HalfOpen,
    /// The message arrives when the network has healed, even if the client is gone by then.
    Late,
}

#[derive(Debug, Clone, Copy)]
struct Trap {
    trigger: Trigger,
    fate: Fate,
    left: usize,
}

#[derive(Debug, Default)]
struct State {
    connections: AtomicUsize,
    /// Connections with a lower number carry nothing, in either direction.
    held: AtomicUsize,
    /// Connections with a lower number are reset.
    reset: AtomicUsize,
    /// New connections are closed at once.
    closed: AtomicBool,
    delay_micros: AtomicU64,
    trap: Mutex<Option<Trap>>,
    /// How often the network has healed: what is late waits for the next time.
    healed: AtomicUsize,
    /// Told of each change of the above.
    changes: watch::Sender<()>,
}

/// Carries everything until it is told otherwise.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("no port for a proxy")?;
        let port = listener.local_addr()?.port();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.closed.load(SeqCst) {
                    continue;
                }
                tokio::spawn(connection(client, server, Arc::clone(&shared)));
            }
        });
        Ok(Self { port, state })
    }

    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.state.delay_micros.store(micros, SeqCst);
    }

    /// Holds up what present connections carry; new ones work.
    pub fn hold_present(&self) {
        self.state
            .held
            .store(self.state.connections.load(SeqCst), SeqCst);
        self.state.changes.send_replace(());
    }

    /// Holds up what any connection carries.
    pub fn hold_all(&self) {
        self.state.held.store(usize::MAX, SeqCst);
        self.state.changes.send_replace(());
    }

    /// Resets present connections.
    pub fn reset(&self) {
        self.state
            .reset
            .store(self.state.connections.load(SeqCst), SeqCst);
        self.state.changes.send_replace(());
    }

    /// Resets present connections, and refuses new ones.
    pub fn close(&self) {
        self.state.closed.store(true, SeqCst);
        self.reset();
    }

    /// Decides the fate of the next `count` connections that send this.
    pub fn trap(&self, trigger: Trigger, fate: Fate, count: usize) {
        *self.lock_trap() = Some(Trap {
            trigger,
            fate,
            left: count,
        });
    }

    /// Carries everything again, also what was held up.
    pub fn heal(&self) {
        *self.lock_trap() = None;
        self.state.closed.store(false, SeqCst);
        self.state.delay_micros.store(0, SeqCst);
        self.state.held.store(0, SeqCst);
        self.state.healed.fetch_add(1, SeqCst);
        self.state.changes.send_replace(());
    }

    fn lock_trap(&self) -> std::sync::MutexGuard<'_, Option<Trap>> {
        self.state
            .trap
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The fate of a connection that sends this.
    fn spring(&self, contents: Contents) -> Option<Fate> {
        let mut slot = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let trap = slot.as_mut()?;
        let sprung = match trap.trigger {
            Trigger::Statement => contents.statement,
            Trigger::Commit => contents.commit,
        };
        if !sprung {
            return None;
        }
        let fate = trap.fate;
        trap.left -= 1;
        if trap.left == 0 {
            *slot = None;
        }
        Some(fate)
    }

    async fn until_carried(&self, number: usize) {
        let delay = self.delay_micros.load(SeqCst);
        if delay > 0 {
            sleep(Duration::from_micros(delay)).await;
        }
        self.until(|state| number >= state.held.load(SeqCst)).await;
    }

    async fn until_healed(&self) {
        let before = self.healed.load(SeqCst);
        self.until(|state| state.healed.load(SeqCst) != before)
            .await;
    }

    async fn until_reset(&self, number: usize) {
        self.until(|state| number < state.reset.load(SeqCst)).await;
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        while !condition(self) {
            // The sender lives as long as the state.
            let _ = changes.changed().await;
        }
    }
}

/// How a connection ended.
enum End {
    Closed,
    HalfOpen,
}

async fn connection(client: TcpStream, server: SocketAddr, state: Arc<State>) {
    let number = state.connections.fetch_add(1, SeqCst);
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let mut up = Up {
        from: from_client,
        to: to_server,
        parser: Parser::default(),
    };
    let end = tokio::select! {
        end = up.carry(number, &state) => end,
        () = carry_answers(&mut from_server, &mut to_client, number, &state) => End::Closed,
        () = state.until_reset(number) => End::Closed,
    };
    if matches!(end, End::HalfOpen) {
        drop((up.from, to_client));
        state.until_healed().await;
    }
}

struct Up {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    parser: Parser,
}

impl Up {
    async fn carry(&mut self, number: usize, state: &State) -> End {
        let mut bytes = vec![0; 65_536];
        loop {
            let count = self.from.read(&mut bytes).await.unwrap_or(0);
            if count == 0 {
                // The end of the stream is carried like the rest.
                state.until_carried(number).await;
                let _ = self.to.shutdown().await;
                sleep(LINGER).await;
                return End::Closed;
            }
            let piece = &bytes[..count];
            let fate = state.spring(self.parser.feed(piece));
            match fate {
                Some(Fate::CutBefore) => return End::Closed,
                Some(Fate::Late) => state.until_healed().await,
                _ => state.until_carried(number).await,
            }
            if self.to.write_all(piece).await.is_err() {
                return End::Closed;
            }
            match fate {
                Some(Fate::CutAfter) => return End::Closed,
                Some(Fate::HalfOpen) => return End::HalfOpen,
                _ => {}
            }
        }
    }
}

async fn carry_answers(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    number: usize,
    state: &State,
) {
    let mut bytes = vec![0; 65_536];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or(0);
        state.until_carried(number).await;
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
