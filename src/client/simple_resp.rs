//! A client that speaks the simplified RESP of the two-phase commit lab.
//!
//! Requests are RESP's arrays of bulk strings. What differs is the reply to GET: an array of the strings that SET was
//! given, and `*1 nil` where there is no such key, so a value `nil` cannot be told from none. A value with spaces is
//! sent as the words between them, and words that come back are joined by one space.
//!
//! `-ERROR` says nothing of what became of a write, so a write that it answers is unknown, not failed.

use super::session::printable;
use super::{Ask, Client, ClientError, Options, Protocol, Reply, Request};
use crate::wire::{self, command};

/// A blocking client: one connection.
#[derive(Debug)]
pub struct SimpleRespClient {
    client: Client,
    /// The value that was read last.
    value: Vec<u8>,
}

/// What a reply means.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Done,
    Value,
    Missing,
    Error(String),
}

impl SimpleRespClient {
    /// Connects to `to` (HOST:PORT).
    pub fn connect(to: &str, options: Options) -> Result<Self, ClientError> {
        Ok(Self { client: Client::connect(to, Protocol::Resp, options)?, value: Vec::new() })
    }

    /// Drops the connection and opens a new one to the same address.
    pub fn reconnect(&mut self) -> Result<(), ClientError> {
        self.client.reconnect()
    }

    /// Queues a command behind those already queued.
    pub fn queue(&mut self, request: Request<'_>) {
        match request {
            Request::Set(key, value) if value.contains(&b' ') => {
                let mut words = vec![&b"SET"[..], key];
                words.extend(value.split(|byte| *byte == b' '));
                self.client.queue_with(|out| command::resp(out, &words));
            }
            // In the same words as RESP's.
            plain => self.client.queue(plain),
        }
    }

    /// Sends all queued commands in one write. Each has then to be [received](Self::receive).
    pub fn send(&mut self) -> Result<(), ClientError> {
        self.client.send()
    }

    /// Receives the reply to the oldest command sent and not yet answered; `ask` is what it asked for.
    pub fn receive(&mut self, ask: Ask) -> Result<Reply<'_>, ClientError> {
        let value = &mut self.value;
        match (self.client.receive_as(|reply| hear(ask, reply, value))?, ask) {
            (Heard::Done, _) => Ok(Reply::Done),
            (Heard::Value, _) => Ok(Reply::Value(&self.value)),
            (Heard::Missing, _) => Ok(Reply::Missing),
            (Heard::Error(line), Ask::Get) => Err(ClientError::Refused { line }),
            (Heard::Error(line), Ask::Set | Ask::Delete) => {
                Err(ClientError::OutcomeUnknown { line })
            }
        }
    }
}

/// Understands a reply; a value is left in `value`.
fn hear(ask: Ask, reply: wire::Reply<'_>, value: &mut Vec<u8>) -> Result<Heard, &'static str> {
    use wire::Reply::{Array, Bulk, Error, Number, Status};
    match (ask, reply) {
        (_, Error(line)) => Ok(Heard::Error(printable(line))),
        (Ask::Set, Status(b"OK")) | (Ask::Delete, Number(1..)) => Ok(Heard::Done),
        (Ask::Delete, Number(0)) => Ok(Heard::Missing),
        (Ask::Get, Array(Some(words))) => {
            if words == [Bulk(Some(b"nil"))] {
                return Ok(Heard::Missing);
            }
            value.clear();
            for (index, word) in words.iter().enumerate() {
                let Bulk(Some(word)) = word else { return Err("an array of bulk strings") };
                if index > 0 {
                    value.push(b' ');
                }
                value.extend_from_slice(word);
            }
            if words.is_empty() { Err("at least one bulk string") } else { Ok(Heard::Value) }
        }
        (Ask::Get, _) => Err("the answer to a read"),
        (Ask::Set, _) => Err("the answer to a write"),
        (Ask::Delete, _) => Err("the answer to a removal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(ask: Ask, bytes: &[u8]) -> Result<(Heard, String), &'static str> {
        let mut value = Vec::new();
        let reply = wire::Reply::of_whole(Protocol::Resp, bytes).expect("a reply");
        let heard = hear(ask, reply, &mut value)?;
        Ok((heard, printable(&value)))
    }

    #[test]
    fn replies_mean_what_was_asked() {
        let value = |text: &str| Ok((Heard::Value, text.to_owned()));
        let plain = |heard| Ok((heard, String::new()));
        assert_eq!(
            heard(Ask::Get, b"*2\r\n$5\r\nCloud\r\n$9\r\nComputing\r\n"),
            value("Cloud Computing")
        );
        assert_eq!(heard(Ask::Get, b"*1\r\n$2\r\n42\r\n"), value("42"));
        assert_eq!(heard(Ask::Get, b"*1\r\n$3\r\nnil\r\n"), plain(Heard::Missing));
        assert_eq!(heard(Ask::Set, b"+OK\r\n"), plain(Heard::Done));
        assert_eq!(heard(Ask::Delete, b":2\r\n"), plain(Heard::Done));
        assert_eq!(heard(Ask::Delete, b":0\r\n"), plain(Heard::Missing));
        assert_eq!(heard(Ask::Set, b"-ERROR\r\n"), plain(Heard::Error("ERROR".to_owned())));
        for (ask, bytes) in [
            (Ask::Get, &b"$2\r\n42\r\n"[..]),
            (Ask::Get, b"+OK\r\n"),
            (Ask::Get, b"*0\r\n"),
            (Ask::Get, b"*-1\r\n"),
            (Ask::Get, b"*1\r\n:1\r\n"),
            (Ask::Set, b":1\r\n"),
            (Ask::Set, b"+QUEUED\r\n"),
            (Ask::Delete, b":-1\r\n"),
        ] {
            assert!(heard(ask, bytes).is_err(), "{}", printable(bytes));
        }
    }
}
