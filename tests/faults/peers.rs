//! Things that listen on a port and are no healthy PostgreSQL.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::process::free_port;

/// Listens, and does with each connection what `serve` says, for as long as the test runs.
pub fn peer(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let at = listener.local_addr().unwrap();
    let serve = std::sync::Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    at
}

/// Accepts, and never says a word.
pub fn silent() -> SocketAddr {
    peer(|_stream| {
        std::thread::sleep(Duration::from_secs(60));
    })
}

/// Answers everything with HTTP.
pub fn http() -> SocketAddr {
    peer(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    })
}

/// Speaks PostgreSQL's protocol as far as refusing everybody with `message`.
pub fn refusing(code: &'static str, message: &'static str) -> SocketAddr {
    peer(move |mut stream| {
        let _ = refuse(&mut stream, code, message);
    })
}

/// PostgreSQL, "Message Formats": `SSLRequest`, `StartupMessage`, `ErrorResponse`.
fn refuse(stream: &mut TcpStream, code: &str, message: &str) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        let mut rest = vec![0; length.saturating_sub(4).min(10_000)];
        stream.read_exact(&mut rest)?;
        if rest.starts_with(&80_877_103_u32.to_be_bytes()) {
            stream.write_all(b"N")?;
            continue;
        }
        let mut fields = Vec::new();
        for (kind, text) in [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', code),
            (b'M', message),
        ] {
            fields.push(kind);
            fields.extend_from_slice(text.as_bytes());
            fields.push(0);
        }
        fields.push(0);
        let length = u32::try_from(fields.len() + 4).unwrap();
        stream.write_all(b"E")?;
        stream.write_all(&length.to_be_bytes())?;
        return stream.write_all(&fields);
    }
}

/// An address that drops packets: its connection queue is full and nothing accepts.
pub struct BlackHole {
    pub at: SocketAddr,
    _listener: tokio::net::TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let at = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(300)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue does not fill");
        }
        Self {
            at,
            _listener: listener,
            _queued: queued,
        }
    }
}
