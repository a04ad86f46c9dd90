//! The client itself: queue, send, receive; and the single commands made of them.

use std::ops::Range;

use super::{ClientError, Options, Protocol, connection::Connection};
use crate::base::limits::{HIGHEST_MAX_VALUE, MAX_KEY, MAX_LINE};
use crate::wire::{self, ReplyDecoder, ReplyError, command};

/// The most `STAT` or `INFO` text that is taken from a server, in bytes.
const MAX_STATS: usize = 1024 * 1024;

/// The most that a reply to a single command takes: the largest value and the lines around it.
const MAX_SINGLE: usize = HIGHEST_MAX_VALUE + 2 * MAX_LINE;

/// A blocking client: one connection, one protocol.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    options: Options,
    connection: Connection,
    decoder: ReplyDecoder,
    /// Set once a failure left the stream where replies could no longer be attributed.
    broken: bool,
}

/// What a command asks for; a reply can be understood only next to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The value of one key.
    Get,
    /// That a value be stored.
    Set,
    /// That a key be removed.
    Delete,
}

/// A command of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Read a key.
    Get(&'a [u8]),
    /// Store a value under a key.
    Set(&'a [u8], &'a [u8]),
    /// Remove a key.
    Delete(&'a [u8]),
}

/// A reply that borrows its value from the client's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The write was done.
    Done,
    /// The value.
    Value(&'a [u8]),
    /// There is no such key.
    Missing,
}

impl Request<'_> {
    /// What the command asks for.
    pub fn ask(&self) -> Ask {
        match self {
            Self::Get(_) => Ask::Get,
            Self::Set(..) => Ask::Set,
            Self::Delete(_) => Ask::Delete,
        }
    }
}

impl Client {
    /// Connects to `to` (HOST:PORT).
    pub fn connect(to: &str, protocol: Protocol, options: Options) -> Result<Self, ClientError> {
        let connection = Connection::open(to, &options)?;
        let decoder = ReplyDecoder::new(protocol, MAX_SINGLE);
        Ok(Self { protocol, options, connection, decoder, broken: false })
    }

    /// Drops the connection and opens a new one to the same address.
    pub fn reconnect(&mut self) -> Result<(), ClientError> {
        self.connection = Connection::open(self.connection.to(), &self.options)?;
        self.decoder = ReplyDecoder::new(self.protocol, MAX_SINGLE);
        self.broken = false;
        Ok(())
    }

    /// Whether the connection has failed and only [`Client::reconnect`] helps.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The address, as it was given.
    pub fn to(&self) -> &str {
        self.connection.to()
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Queues a command behind those already queued. The key is not checked.
    pub fn queue(&mut self, request: Request<'_>) {
        let out = &mut self.connection.output;
        match request {
            Request::Get(key) => command::get(out, self.protocol, key),
            Request::Set(key, value) => command::set(out, self.protocol, key, value),
            Request::Delete(key) => command::delete(out, self.protocol, key),
        }
    }

    /// Queues a command that `put` appends.
    pub(super) fn queue_with(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.connection.output);
    }

    /// Sends all queued commands in one write. Each has then to be [received](Client::receive).
    pub fn send(&mut self) -> Result<(), ClientError> {
        if self.broken {
            self.connection.output.clear();
            return Err(ClientError::Closed { to: self.to().to_owned() });
        }
        self.connection.send().inspect_err(|_| self.broken = true)
    }

    /// Receives the reply to the oldest command sent and not yet answered; `ask` is what it asked for.
    pub fn receive(&mut self, ask: Ask) -> Result<Reply<'_>, ClientError> {
        let place = self.place_of_reply()?;
        let bytes = self.connection.bytes(place.start, place.end);
        let Some(reply) = wire::Reply::of_whole(self.protocol, bytes) else {
            self.broken = true;
            return Err(malformed(&self.connection, bytes, a_reply(self.protocol)));
        };
        match understand(ask, reply) {
            Understood::Reply(reply) => Ok(reply),
            Understood::Refused(line) => Err(ClientError::Refused { line: printable(line) }),
            Understood::Unknown(line) => Err(ClientError::OutcomeUnknown { line: printable(line) }),
            Understood::Nothing(expected) => {
                self.broken = true;
                Err(malformed(&self.connection, bytes, expected))
            }
        }
    }

    /// Receives the same and hands its bytes to `hear`, for a dialect of its own whose replies are as long as this
    /// protocol's. Where `hear` cannot make anything of it, it says what it expected.
    pub(super) fn receive_as<R>(
        &mut self,
        hear: impl FnOnce(wire::Reply<'_>) -> Result<R, &'static str>,
    ) -> Result<R, ClientError> {
        let place = self.place_of_reply()?;
        let bytes = self.connection.bytes(place.start, place.end);
        let reply = wire::Reply::of_whole(self.protocol, bytes).ok_or(a_reply(self.protocol));
        reply.and_then(hear).map_err(|expected| {
            self.broken = true;
            malformed(&self.connection, bytes, expected)
        })
    }

    /// Waits for the next reply and says where it is.
    fn place_of_reply(&mut self) -> Result<Range<usize>, ClientError> {
        if self.broken {
            return Err(ClientError::Closed { to: self.to().to_owned() });
        }
        let length =
            whole(&mut self.decoder, &mut self.connection).inspect_err(|_| self.broken = true)?;
        let at = self.connection.consume(length);
        Ok(at..at + length)
    }

    /// The value of a key, `None` where there is none.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(match self.single(Request::Get(key))? {
            Reply::Value(value) => Some(value.to_vec()),
            _ => None,
        })
    }

    /// Stores a value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ClientError> {
        self.single(Request::Set(key, value)).map(|_| ())
    }

    /// Removes a key; false where there was none.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, ClientError> {
        self.single(Request::Delete(key)).map(|reply| reply == Reply::Done)
    }

    /// Sends all requests in one write, then hands each reply, in order, to `on_reply`. An error reply
    /// does not end the batch; a failed connection does: then every request without a reply is handed
    /// an error of its own.
    pub fn batch(
        &mut self,
        requests: &[Request<'_>],
        mut on_reply: impl FnMut(usize, Result<Reply<'_>, ClientError>),
    ) {
        for request in requests {
            self.queue(*request);
        }
        let sent = self.send();
        let to = self.to().to_owned();
        let lost = || ClientError::Lost {
            to: to.clone(),
            source: std::io::Error::other("an earlier request of the batch failed"),
        };
        if let Err(error) = sent {
            let certain = matches!(error, ClientError::Closed { .. });
            let mut first = Some(error);
            for index in 0..requests.len() {
                let closed = || ClientError::Closed { to: to.clone() };
                let error = first.take();
                let error = error.unwrap_or_else(|| if certain { closed() } else { lost() });
                on_reply(index, Err(error));
            }
            return;
        }
        for (index, request) in requests.iter().enumerate() {
            match self.receive(request.ask()) {
                // Everything was sent, so what stayed unanswered is unknown, not failed.
                Err(ClientError::Closed { .. }) => on_reply(index, Err(lost())),
                reply => on_reply(index, reply),
            }
        }
    }

    /// The server's statistics: the `STAT` lines of memcached, the `name:value` lines of RESP `INFO`.
    pub fn stats(&mut self) -> Result<Vec<(String, String)>, ClientError> {
        let mut out = Vec::new();
        command::stats(&mut out, self.protocol);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (_, reply) = self.exchange(&out, MAX_STATS)?;
        match reply {
            wire::Reply::Stats(stats) => {
                Ok(stats.map(|(name, value)| (text(name), text(value))).collect())
            }
            wire::Reply::Bulk(Some(info)) => Ok(text(info)
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()),
            wire::Reply::Error(line) => Err(ClientError::Refused { line: printable(line) }),
            _ => Ok(Vec::new()),
        }
    }

    /// Sends bytes as they are and returns one whole reply, of at most `bound` bytes: as it came, and what
    /// it says.
    pub fn exchange(
        &mut self,
        command: &[u8],
        bound: usize,
    ) -> Result<(&[u8], wire::Reply<'_>), ClientError> {
        self.connection.output.extend_from_slice(command);
        self.send()?;
        let length = whole(&mut ReplyDecoder::new(self.protocol, bound), &mut self.connection)
            .inspect_err(|_| self.broken = true)?;
        let at = self.connection.consume(length);
        let bytes = self.connection.bytes(at, at + length);
        match wire::Reply::of_whole(self.protocol, bytes) {
            Some(reply) => Ok((bytes, reply)),
            None => {
                self.broken = true;
                Err(malformed(&self.connection, bytes, a_reply(self.protocol)))
            }
        }
    }

    /// Sends bytes as they are; no reply is expected (`noreply`).
    pub fn send_raw(&mut self, command: &[u8]) -> Result<(), ClientError> {
        self.connection.output.extend_from_slice(command);
        self.send()
    }

    fn single(&mut self, request: Request<'_>) -> Result<Reply<'_>, ClientError> {
        let key = match request {
            Request::Get(key) | Request::Set(key, _) | Request::Delete(key) => key,
        };
        check_key(self.protocol, key)?;
        self.queue(request);
        self.send()?;
        self.receive(request.ask())
    }
}

/// Reads until the connection's input begins with a whole reply, and returns its length. After a failure
/// nothing further on the connection can be attributed.
fn whole(decoder: &mut ReplyDecoder, connection: &mut Connection) -> Result<usize, ClientError> {
    loop {
        match decoder.measure(connection.unread()) {
            Ok(Some(length)) => return Ok(length),
            Ok(None) => connection.fill()?,
            Err(error) => {
                let expected = match error {
                    ReplyError::Malformed { dialect, .. } => a_reply(dialect),
                    ReplyError::TooLarge { .. } => "a shorter reply",
                };
                return Err(malformed(connection, connection.unread(), expected));
            }
        }
    }
}

/// What a reply means to the command that it answers.
enum Understood<'a> {
    Reply(Reply<'a>),
    /// An error line: the operation was refused.
    Refused(&'a [u8]),
    /// An error line: whether the operation takes effect is not known.
    Unknown(&'a [u8]),
    /// It answers something else; this was expected.
    Nothing(&'static str),
}

fn understand(ask: Ask, reply: wire::Reply<'_>) -> Understood<'_> {
    use wire::Reply::{Bulk, Error, Number, Status, Values};
    let unknown = reply.is_unknown();
    Understood::Reply(match (ask, reply) {
        (Ask::Set, Status(b"STORED" | b"OK")) | (Ask::Delete, Status(b"DELETED")) => Reply::Done,
        (Ask::Get, Values(mut values)) => match (values.next(), values.next()) {
            (Some((_, found)), None) => Reply::Value(found.data),
            (None, _) => Reply::Missing,
            (Some(_), Some(_)) => return Understood::Nothing("one value"),
        },
        (Ask::Get, Bulk(Some(value))) => Reply::Value(value),
        (Ask::Get, Bulk(None)) | (Ask::Delete, Status(b"NOT_FOUND") | Number(0)) => Reply::Missing,
        (Ask::Delete, Number(1..)) => Reply::Done,
        (_, Error(line)) if unknown => return Understood::Unknown(line),
        (_, Error(line)) => return Understood::Refused(line),
        (Ask::Set, Status(line @ (b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND"))) => {
            return Understood::Refused(line);
        }
        (Ask::Set, Bulk(None)) => return Understood::Refused(b"null"),
        (Ask::Get, _) => return Understood::Nothing("the answer to a read"),
        (Ask::Set, _) => return Understood::Nothing("the answer to a write"),
        (Ask::Delete, _) => return Understood::Nothing("the answer to a removal"),
    })
}

fn a_reply(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Memcached => "a memcached reply",
        Protocol::Resp => "a RESP reply",
    }
}

fn malformed(connection: &Connection, found: &[u8], expected: &'static str) -> ClientError {
    let found = printable(&found[..found.len().min(60)]);
    ClientError::Malformed { to: connection.to().to_owned(), found, expected }
}

/// Whether the protocol can carry this key.
pub fn check_key(protocol: Protocol, key: &[u8]) -> Result<(), ClientError> {
    if command::is_sendable(protocol, key) {
        return Ok(());
    }
    let why = if key.is_empty() {
        "it is empty"
    } else if key.len() > MAX_KEY {
        "it is longer than 250 bytes"
    } else {
        "it holds a space or a control character"
    };
    Err(ClientError::Key { key: printable(key), why })
}

pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reply, given as bytes, means to a command, in words.
    fn heard(protocol: Protocol, ask: Ask, bytes: &[u8]) -> String {
        let reply = wire::Reply::of_whole(protocol, bytes).expect("a reply");
        match understand(ask, reply) {
            Understood::Reply(Reply::Done) => "done".to_owned(),
            Understood::Reply(Reply::Missing) => "missing".to_owned(),
            Understood::Reply(Reply::Value(value)) => format!("value {}", printable(value)),
            Understood::Refused(line) => format!("refused {}", printable(line)),
            Understood::Unknown(line) => format!("unknown {}", printable(line)),
            Understood::Nothing(expected) => format!("expected {expected}"),
        }
    }

    #[test]
    fn memcached_replies_mean_what_was_asked() {
        let m = |ask, bytes| heard(Protocol::Memcached, ask, bytes);
        assert_eq!(m(Ask::Set, b"STORED\r\n"), "done");
        assert_eq!(m(Ask::Set, b"NOT_STORED\r\n"), "refused NOT_STORED");
        assert_eq!(m(Ask::Get, b"END\r\n"), "missing");
        assert_eq!(m(Ask::Get, b"VALUE x 0 5\r\na\r\nbc\r\nEND\r\n"), "value a··bc");
        assert_eq!(m(Ask::Delete, b"DELETED\r\n"), "done");
        assert_eq!(m(Ask::Delete, b"NOT_FOUND\r\n"), "missing");
        assert_eq!(m(Ask::Set, b"SERVER_ERROR full\r\n"), "refused SERVER_ERROR full");
        let unknown = "SERVER_ERROR timeout, outcome unknown";
        let line = format!("{unknown}\r\n");
        assert_eq!(m(Ask::Set, line.as_bytes()), format!("unknown {unknown}"));
        assert_eq!(m(Ask::Set, b"END\r\n"), "expected the answer to a write");
        let two = b"VALUE x 0 1\r\n1\r\nVALUE y 0 1\r\n2\r\nEND\r\n";
        assert_eq!(m(Ask::Get, two), "expected one value");
    }

    #[test]
    fn resp_replies_mean_what_was_asked() {
        let r = |ask, bytes| heard(Protocol::Resp, ask, bytes);
        assert_eq!(r(Ask::Set, b"+OK\r\n"), "done");
        assert_eq!(r(Ask::Get, b"$-1\r\n"), "missing");
        assert_eq!(r(Ask::Get, b"$2\r\n42\r\n"), "value 42");
        assert_eq!(r(Ask::Delete, b":2\r\n"), "done");
        assert_eq!(r(Ask::Delete, b":0\r\n"), "missing");
        assert_eq!(r(Ask::Delete, b":-1\r\n"), "expected the answer to a removal");
        assert_eq!(r(Ask::Set, b"-TIMEOUT outcome unknown\r\n"), "unknown TIMEOUT outcome unknown");
        assert_eq!(r(Ask::Get, b"-ERR no\r\n"), "refused ERR no");
        assert_eq!(r(Ask::Get, b"+OK\r\n"), "expected the answer to a read");
    }
}
