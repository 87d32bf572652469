//! PostgreSQL's frontend protocol, as far as a proxy needs it: where messages begin, and which of
//! them run a statement or a COMMIT.

/// What a piece of a client's stream contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Execute: a statement with arguments. What the daemon sends as a simple query sets up a
    /// connection or begins a transaction.
    pub statement: bool,
    /// A simple query that begins with COMMIT.
    pub commit: bool,
}

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    started: bool,
    pending: Vec<u8>,
    /// Bytes of the present message that are still to come and do not matter.
    skip: usize,
}

const COMMIT: &[u8] = b"COMMIT";

impl Parser {
    /// Takes the next piece of the stream; tells which messages end in it.
    pub fn feed(&mut self, bytes: &[u8]) -> Contents {
        let mut contents = Contents::default();
        self.pending.extend_from_slice(bytes);
        loop {
            let skipped = self.skip.min(self.pending.len());
            self.pending.drain(..skipped);
            self.skip -= skipped;
            if self.skip > 0 || !self.step(&mut contents) {
                return contents;
            }
        }
    }

    /// Reads one message's beginning; `false` if there is not enough of it yet.
    fn step(&mut self, contents: &mut Contents) -> bool {
        let kind_length = usize::from(self.started);
        let Some(length) = self
            .pending
            .get(kind_length..kind_length + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_be_bytes)
            .and_then(|length| usize::try_from(length).ok())
        else {
            return false;
        };
        let whole = kind_length + length.max(4);
        if !self.started {
            // The messages before the start have a code instead of a type: requests for
            // encryption are answered, and another one follows.
            let Some(code) = self.pending.get(4..8) else {
                return false;
            };
            self.started = code == [0, 3, 0, 0];
            self.skip = whole;
            return true;
        }
        match self.pending.first() {
            Some(b'E') => contents.statement = true,
            Some(b'Q') => {
                let known = COMMIT.len().min(length - 4);
                let Some(text) = self.pending.get(5..5 + known) else {
                    return false;
                };
                contents.commit |= text == COMMIT;
            }
            _ => {}
        }
        self.skip = whole;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap_or_default();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn start() -> Vec<u8> {
        let encryption = [0, 0, 0, 8, 4, 210, 22, 47];
        let startup = [&[0, 0, 0, 17, 0, 3, 0, 0][..], b"user\0me\0\0"].concat();
        [&encryption[..], &startup].concat()
    }

    #[test]
    fn statements_and_commits_are_told_apart() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&start()), Contents::default());
        let bind = message(b'B', &[7; 300]);
        assert_eq!(parser.feed(&bind), Contents::default());
        let execute = [message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
        let statement = Contents {
            statement: true,
            commit: false,
        };
        assert_eq!(parser.feed(&execute), statement);
        let commit = Contents {
            statement: false,
            commit: true,
        };
        assert_eq!(parser.feed(&message(b'Q', b"COMMIT\0")), commit);
        for other in [&b"BEGIN\0"[..], b"X\0"] {
            assert_eq!(parser.feed(&message(b'Q', other)), Contents::default());
        }
    }

    #[test]
    fn pieces_of_any_size_are_the_same_stream() {
        let stream = [
            start(),
            message(b'B', &[b'E'; 40]),
            message(b'Q', b"COMMIT\0"),
        ]
        .concat();
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let found: Vec<_> = stream
                .chunks(size)
                .map(|piece| parser.feed(piece))
                .collect();
            assert_eq!(
                found.iter().filter(|contents| contents.commit).count(),
                1,
                "{size}"
            );
            assert!(!found.iter().any(|contents| contents.statement), "{size}");
        }
    }
}
