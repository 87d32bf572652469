//! The socket of a client connection, which reports its end when hyper should know of it.
//!
//! A client may close its side after its request, and is answered all the same. hyper would not notice
//! then that a client is gone. So the end of the client's side is not reported before the answer, and the
//! request learns of it ([`ClientState`]).
//!
//! At a stop, every request that has reached the socket is answered, also one that nobody has read
//! yet: hyper's own graceful shutdown closes a connection that it believes idle without a look at
//! the socket. So the stream ends when the connection is between two requests and the kernel has
//! nothing to read. A connection that rests ends for hyper in the same way, and goes on without it
//! ([`super::connection`]).

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutWriter;

use crate::store::ClientState;

/// A client that takes nothing of its answer for so long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a connection begins with, as far as it is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// A header of the PROXY protocol, version 1 or 2.
    Proxy,
    /// A TLS record with a handshake.
    Tls,
    /// The preface of HTTP/2 (RFC 9113, section 3.4).
    Http2,
    Other,
}

impl Opening {
    /// Judges by the first bytes.
    fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
            Self::Proxy
        } else if bytes.starts_with(&[0x16, 0x03]) {
            Self::Tls
        } else if bytes.starts_with(b"PRI * HTTP/2.0\r\n") {
            Self::Http2
        } else {
            Self::Other
        }
    }
}

/// What happens on a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub client: ClientState,
    stopping: AtomicBool,
    making_room: AtomicBool,
    /// hyper has to give the connection back.
    resting: AtomicBool,
    /// What hyper has read first.
    opening: OnceLock<Opening>,
    asked: AtomicBool,
    /// The same, since [`Activity::rest_if_unused`] was called last.
    used: AtomicBool,
    /// A part of a head has arrived.
    reading: AtomicBool,
    /// Something may have arrived after the head of the latest request: its body, or a part of the
    /// next one.
    ahead: AtomicBool,
    /// What arrived last ends like a head.
    ends_head: AtomicBool,
    /// A request has arrived, and its answer was not handed over for sending yet.
    answering: AtomicBool,
    /// The client has not taken all of an answer yet.
    sending: AtomicBool,
    /// Woken when the client has its answer.
    reader: AtomicWaker,
}

impl Activity {
    pub fn make_room(&self) {
        self.making_room.store(true, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    pub fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    /// Ends hyper's work if no request has arrived since the last call, and no part of one.
    pub fn rest_if_unused(&self) {
        let was_used = self.used.swap(false, Ordering::Relaxed);
        if !was_used && self.was_asked() && !self.is_busy() && self.is_between_requests() {
            self.resting.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it rests, and hyper has read nothing since. If its work ends then, the connection
    /// can go on.
    pub fn is_given_back(&self) -> bool {
        self.resting.load(Ordering::Relaxed) && self.is_between_requests()
    }

    /// A request has arrived, which has a body or not.
    pub fn begin_answer(&self, has_body: bool) {
        self.asked.store(true, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
        self.answering.store(true, Ordering::Relaxed);
        self.resting.store(false, Ordering::Relaxed);
        self.reading.store(false, Ordering::Relaxed);
        let is_last = self.ends_head.load(Ordering::Relaxed) && !has_body;
        self.ahead.store(!is_last, Ordering::Relaxed);
    }

    /// All of its answer was handed over for sending.
    pub fn end_answer(&self) {
        self.answering.store(false, Ordering::Relaxed);
        self.reader.wake();
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        let was_sending = self.sending.swap(outcome.is_pending(), Ordering::Relaxed);
        if was_sending && outcome.is_ready() {
            self.reader.wake();
        }
    }

    /// What the first bytes were.
    pub fn opening(&self) -> Opening {
        self.opening.get().copied().unwrap_or(Opening::Other)
    }

    fn received(&self, bytes: &[u8]) {
        self.opening.get_or_init(|| Opening::of(bytes));
        let what = if self.is_answering() {
            &self.ahead
        } else {
            &self.reading
        };
        what.store(true, Ordering::Relaxed);
        let ends_head = bytes.ends_with(b"\r\n\r\n");
        self.ends_head.store(ends_head, Ordering::Relaxed);
    }

    /// Whether hyper certainly has read no byte after the latest request, which had no body.
    fn is_between_requests(&self) -> bool {
        !self.reading.load(Ordering::Relaxed) && !self.ahead.load(Ordering::Relaxed)
    }

    /// Whether a client may be waiting for an answer, or for a part of it.
    fn is_busy(&self) -> bool {
        self.is_answering() || self.is_sending()
    }

    /// Whether it ends when it is not busy and there is nothing to read: when it has to make room,
    /// when it rests, and at a stop, unless the client has not asked yet or has begun to ask again.
    fn ends_soon(&self) -> bool {
        self.making_room.load(Ordering::Relaxed)
            || self.is_given_back()
            || (self.is_stopping() && self.was_asked() && !self.reading.load(Ordering::Relaxed))
    }
}

/// A client's socket. It reports its end when the connection may end, and that of the client's side
/// when the client has its answer.
pub(super) struct Socket<'s> {
    stream: Pin<Box<TimeoutWriter<&'s mut TcpStream>>>,
    activity: Arc<Activity>,
}

impl<'s> Socket<'s> {
    pub fn new(stream: &'s mut TcpStream, activity: &Arc<Activity>) -> Self {
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(WRITE_TIMEOUT));
        Self {
            stream: Box::pin(stream),
            activity: activity.clone(),
        }
    }
}

impl AsyncRead for Socket<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let outcome = self.stream.as_mut().poll_read(context, buffer);
        match &outcome {
            Poll::Ready(Ok(())) if buffer.filled().len() > filled => {
                self.activity.received(&buffer.filled()[filled..]);
            }
            Poll::Ready(Ok(())) if self.activity.is_busy() => {
                self.activity.client.close();
                self.activity.reader.register(context.waker());
                return Poll::Pending;
            }
            Poll::Pending if self.activity.ends_soon() => {
                if self.activity.is_busy() {
                    self.activity.reader.register(context.waker());
                } else if is_empty(self.stream.get_ref()) {
                    return Poll::Ready(Ok(()));
                }
            }
            _ => {}
        }
        outcome
    }
}

impl AsyncWrite for Socket<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream.as_mut().poll_write(context, bytes);
        self.activity.wrote(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.is_given_back() {
            return Poll::Ready(Ok(()));
        }
        self.stream.as_mut().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream.as_mut().poll_write_vectored(context, parts);
        self.activity.wrote(&outcome);
        outcome
    }
}

/// Whether the kernel has nothing to read. The runtime may not know yet of what it has.
pub(super) fn is_empty(stream: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    recv(stream, &mut [0; 1][..], flags) == Err(rustix::io::Errno::WOULDBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings() {
        for (bytes, expected) in [
            (
                &b"PROXY TCP4 10.0.0.1 10.0.0.2 5 80\r\n"[..],
                Opening::Proxy,
            ),
            (b"\r\n\r\n\0\r\nQUIT\n!\x11", Opening::Proxy),
            (b"\x16\x03\x01\x02\0", Opening::Tls),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Opening::Http2),
            (b"PROXYFIND / HTTP/1.1\r\n", Opening::Other),
            (b"GET / HTTP/1.1\r\n", Opening::Other),
            (b"\r\nGET / HTTP/1.1\r\n", Opening::Other),
            (b"", Opening::Other),
        ] {
            assert_eq!(Opening::of(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
