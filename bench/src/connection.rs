//! A keep-alive connection to the daemon.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};

/// Longer than every time limit of the daemon.
pub const TIMEOUT: Duration = Duration::from_secs(40);

/// A keep-alive connection, with one request at a time.
pub struct Connection {
    stream: TcpStream,
    /// The answer that is being received, up to `filled`.
    received: Vec<u8>,
    filled: usize,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting to the daemon")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream,
            received: vec![0; 64 * 1024],
            filled: 0,
        })
    }

    /// Sends a request, which the kernel takes at once: it is short, and the answer to the one
    /// before has been received.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.filled = 0;
        self.stream.write_all(request)
    }

    /// Reads what has arrived, or waits for some; the status of the answer once all of it has.
    pub fn receive(&mut self) -> io::Result<Option<u16>> {
        if self.filled == self.received.len() {
            self.received.resize(2 * self.filled, 0);
        }
        match self.stream.read(&mut self.received[self.filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => self.filled += count,
        }
        let head = head(&self.received[..self.filled])?;
        Ok(head.and_then(|(status, length)| (self.filled >= length).then_some(status)))
    }

    /// Sends a request, reads the whole answer, and returns its status.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.send(request)?;
        loop {
            if let Some(status) = self.receive()? {
                return Ok(status);
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The status and the length of the whole answer, if its head has arrived. Every answer of the
/// daemon to these requests has its length in the head.
fn head(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let httparse::Status::Complete(size) = response.parse(bytes).map_err(invalid)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    let status = response.code.unwrap_or_default();
    Ok(Some((status, size + length.unwrap_or(0))))
}
