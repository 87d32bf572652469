//! Answers that wait in memory because their clients do not read.
//!
//! A client that takes nothing is disconnected after a while, but many of them could fill the
//! memory before. So the large answers of all connections have a budget. Where it is exceeded,
//! the connections are closed whose clients have taken nothing for the longest time.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::Notify;

/// The most bytes that wait in all.
const BUDGET: usize = 64 * 1024 * 1024;

/// A smaller answer is not counted; a larger one is sent in pieces of this size.
const PIECE: usize = 64 * 1024;

/// The large answers of all connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Unsent(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    bytes: IntGauge,
    /// Answers that were given up.
    given_up: IntCounter,
}

#[derive(Default)]
struct Waiting {
    total: usize,
    next: u64,
    /// Those whose clients have taken nothing for the longest time come first.
    answers: BTreeMap<u64, Answer>,
}

struct Answer {
    bytes: usize,
    connection: Arc<Notify>,
}

impl Unsent {
    pub fn new(bytes: IntGauge, given_up: IntCounter) -> Self {
        Self(Arc::new(Shared {
            waiting: Mutex::default(),
            bytes,
            given_up,
        }))
    }

    /// Counts `body` while it waits. `connection` is notified when it has to be closed.
    pub fn count<B>(&self, body: B, connection: &Arc<Notify>) -> CountedBody<B> {
        CountedBody {
            body,
            rest: Bytes::new(),
            ticket: None,
            unsent: self.clone(),
            connection: connection.clone(),
        }
    }

    fn add(&self, bytes: usize, connection: Arc<Notify>) -> Arc<Ticket> {
        let mut waiting = self.waiting();
        while waiting.total + bytes > BUDGET
            && let Some((_, oldest)) = waiting.answers.pop_first()
        {
            waiting.total -= oldest.bytes;
            oldest.connection.notify_one();
            self.0.given_up.inc();
        }
        let number = waiting.add(Answer { bytes, connection });
        self.report(&waiting);
        Arc::new(Ticket {
            number: AtomicU64::new(number),
            unsent: self.clone(),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is locked.
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, waiting: &Waiting) {
        let bytes = i64::try_from(waiting.total).unwrap_or(i64::MAX);
        self.0.bytes.set(bytes);
    }
}

impl Waiting {
    fn add(&mut self, answer: Answer) -> u64 {
        self.total += answer.bytes;
        self.next += 1;
        self.answers.insert(self.next, answer);
        self.next
    }

    fn remove(&mut self, number: u64) -> Option<Answer> {
        let answer = self.answers.remove(&number)?;
        self.total -= answer.bytes;
        Some(answer)
    }
}

/// The place of a waiting answer, until it is dropped.
struct Ticket {
    number: AtomicU64,
    unsent: Unsent,
}

impl Ticket {
    /// The client has taken something.
    fn renew(&self) {
        let mut waiting = self.unsent.waiting();
        if let Some(answer) = waiting.remove(self.number.load(Ordering::Relaxed)) {
            let number = waiting.add(answer);
            self.number.store(number, Ordering::Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.unsent.waiting();
        waiting.remove(self.number.load(Ordering::Relaxed));
        self.unsent.report(&waiting);
    }
}

/// The bytes of an answer, which wait until the last piece of them is dropped.
struct Held {
    bytes: Bytes,
    _ticket: Arc<Ticket>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is counted while it waits.
pub(super) struct CountedBody<B> {
    body: B,
    /// What was not handed over for sending yet.
    rest: Bytes,
    ticket: Option<Arc<Ticket>>,
    unsent: Unsent,
    connection: Arc<Notify>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)) else {
                return Poll::Ready(None);
            };
            match frame?.into_data() {
                // Bytes of the program itself, or shared by all answers, take no memory.
                Ok(bytes) if bytes.len() > PIECE && bytes.is_unique() => {
                    let ticket = this.unsent.add(bytes.len(), this.connection.clone());
                    this.ticket = Some(ticket.clone());
                    this.rest = Bytes::from_owner(Held {
                        bytes,
                        _ticket: ticket,
                    });
                }
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        } else if let Some(ticket) = &this.ticket {
            ticket.renew();
        }
        let piece = this.rest.split_to(PIECE.min(this.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let left = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower() + rest);
        if let Some(upper) = left.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn unsent() -> Unsent {
        let bytes = IntGauge::new("bytes", "bytes").unwrap();
        Unsent::new(bytes, IntCounter::new("given_up", "given up").unwrap())
    }

    struct Client {
        body: CountedBody<Full<Bytes>>,
        closed: Arc<Notify>,
    }

    impl Client {
        fn new(unsent: &Unsent, body: impl Into<Bytes>) -> Self {
            let closed = Arc::new(Notify::new());
            let body = unsent.count(Full::new(body.into()), &closed);
            Self { body, closed }
        }

        fn read(&mut self) -> Option<Bytes> {
            let frame = self.body.frame().now_or_never().unwrap()?;
            Some(frame.unwrap().into_data().unwrap())
        }

        fn is_closed(&self) -> bool {
            self.closed.notified().now_or_never().is_some()
        }
    }

    #[test]
    fn every_byte_is_sent_in_pieces() {
        let unsent = unsent();
        let bytes: Vec<u8> = (0..200_000_u32)
            .map(|number| number.to_le_bytes()[0])
            .collect();
        let mut client = Client::new(&unsent, bytes.clone());
        assert_eq!(client.body.size_hint().exact(), Some(200_000));
        let mut pieces = Vec::new();
        while let Some(piece) = client.read() {
            pieces.push(piece);
            let left = 200_000 - pieces.iter().map(Bytes::len).sum::<usize>();
            assert_eq!(client.body.size_hint().exact(), Some(left as u64));
            assert_eq!(client.body.is_end_stream(), left == 0);
        }
        assert_eq!(pieces.concat(), bytes);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        // One piece keeps the memory of all.
        drop(client);
        let last = pieces.pop();
        drop(pieces);
        assert_eq!(unsent.0.bytes.get(), 200_000);
        drop(last);
        assert_eq!(unsent.0.bytes.get(), 0);
    }

    #[test]
    fn who_takes_nothing_is_closed_first() {
        let unsent = unsent();
        let mut clients: Vec<Client> = (0..8)
            .map(|_| Client::new(&unsent, vec![0; 8 * MIB]))
            .collect();
        let mut taken: Vec<_> = clients.iter_mut().map(Client::read).collect();
        assert_eq!(unsent.0.bytes.get(), 64 * 1024 * 1024);
        taken.extend([clients[0].read(), clients[2].read()]);
        let mut more = Client::new(&unsent, vec![0; 16 * MIB]);
        taken.push(more.read());
        let closed: Vec<bool> = clients.iter().map(Client::is_closed).collect();
        let expected = [false, true, false, true, false, false, false, false];
        assert_eq!(closed, expected);
        assert_eq!(unsent.0.given_up.get(), 2);
        assert_eq!(unsent.0.bytes.get(), 64 * 1024 * 1024);
        // Those that were closed are not subtracted again.
        drop((clients, more, taken));
        assert_eq!(unsent.0.bytes.get(), 0);
        assert!(unsent.waiting().answers.is_empty());
    }

    #[test]
    fn what_takes_no_memory_is_not_counted() {
        static ASSET: [u8; 2 * MIB] = [0; 2 * MIB];
        let unsent = unsent();
        let shared = Bytes::from(vec![0; 2 * MIB]);
        for body in [
            Bytes::from_static(&ASSET),
            shared.clone(),
            Bytes::from(vec![0; PIECE]),
        ] {
            let length = body.len();
            let mut client = Client::new(&unsent, body);
            assert_eq!(client.read().unwrap().len(), length);
            assert_eq!(client.read(), None);
            assert_eq!(unsent.0.bytes.get(), 0);
        }
        drop(shared);
    }
}
