//! The client itself: queue, send, receive; and the single commands made of them.

use crate::base::limits::MAX_KEY;

use super::{
    Ask, ClientError, Options, Parsed, Protocol, RawReply, Shape, connection::Connection, raw_reply,
};

/// The most `STAT` or `INFO` text that is taken from a server, in bytes.
const MAX_STATS: usize = 1024 * 1024;

/// A blocking client: one connection, one protocol.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    options: Options,
    connection: Connection,
    /// Set once a failure left the stream where replies could no longer be attributed.
    broken: bool,
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
        Ok(Self { protocol, options, connection, broken: false })
    }

    /// Drops the connection and opens a new one to the same address.
    pub fn reconnect(&mut self) -> Result<(), ClientError> {
        self.connection = Connection::open(self.connection.to(), &self.options)?;
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
            Request::Get(key) => self.protocol.write_get(out, key),
            Request::Set(key, value) => self.protocol.write_set(out, key, value),
            Request::Delete(key) => self.protocol.write_delete(out, key),
        }
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
        if self.broken {
            return Err(ClientError::Closed { to: self.to().to_owned() });
        }
        let (length, shape) = loop {
            match self.protocol.parse(ask, self.connection.unread()) {
                Parsed::Reply(length, shape) => break (length, shape),
                Parsed::Incomplete => {
                    self.connection.fill().inspect_err(|_| self.broken = true)?;
                }
                Parsed::Malformed(expected) => return Err(self.malformed(expected)),
            }
        };
        let at = self.connection.consume(length);
        let line = |to| printable(self.connection.bytes(at, at + to));
        match shape {
            Shape::Done => Ok(Reply::Done),
            Shape::Missing => Ok(Reply::Missing),
            Shape::Value { from, to } => {
                Ok(Reply::Value(self.connection.bytes(at + from, at + to)))
            }
            Shape::Refused { to } => Err(ClientError::Refused { line: line(to) }),
            Shape::Unknown { to } => Err(ClientError::OutcomeUnknown { line: line(to) }),
        }
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
        let (command, separator): (&[u8], char) = match self.protocol {
            Protocol::Memcached => (b"stats\r\n", ' '),
            Protocol::Resp => (b"*1\r\n$4\r\nINFO\r\n", ':'),
        };
        let text = self.exchange(command, MAX_STATS)?;
        Ok(String::from_utf8_lossy(&text)
            .lines()
            .map(|line| line.trim_end().strip_prefix("STAT ").unwrap_or(line))
            .filter_map(|line| line.trim_end().split_once(separator))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    /// Sends bytes as they are and returns one whole reply as it came, of at most `bound` bytes.
    pub fn exchange(&mut self, command: &[u8], bound: usize) -> Result<Vec<u8>, ClientError> {
        self.connection.output.extend_from_slice(command);
        self.send()?;
        loop {
            match raw_reply(self.protocol, self.connection.unread()) {
                RawReply::Complete(length) => {
                    let at = self.connection.consume(length);
                    return Ok(self.connection.bytes(at, at + length).to_vec());
                }
                RawReply::Incomplete if self.connection.unread().len() > bound => {
                    return Err(self.malformed("a shorter reply"));
                }
                RawReply::Incomplete => {
                    self.connection.fill().inspect_err(|_| self.broken = true)?;
                }
                RawReply::Malformed(expected) => return Err(self.malformed(expected)),
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

    fn malformed(&mut self, expected: &'static str) -> ClientError {
        self.broken = true;
        let unread = self.connection.unread();
        let found = printable(&unread[..unread.len().min(60)]);
        ClientError::Malformed { to: self.to().to_owned(), found, expected }
    }
}

/// Whether the protocol can carry this key.
fn check_key(protocol: Protocol, key: &[u8]) -> Result<(), ClientError> {
    let why = if key.is_empty() {
        "it is empty"
    } else if key.len() > MAX_KEY {
        "it is longer than 250 bytes"
    } else if protocol == Protocol::Memcached && key.iter().any(|b| *b <= b' ' || *b == 127) {
        "it holds a space or a control character"
    } else {
        return Ok(());
    };
    Err(ClientError::Key { key: printable(key), why })
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}
