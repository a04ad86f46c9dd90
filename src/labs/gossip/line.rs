//! A connection to a replica's client port, for the lab's commands: words out, RESP replies in. Asking is apart from
//! taking the answer, so that several replicas can be asked before the first has answered.

use std::time::Duration;

use crate::client::{ClientError, Connection, Options};
use crate::wire::{Dialect, Reply, ReplyDecoder, command};

/// The longest reply that is taken: a part of a store, as it is printed.
const MAX_REPLY: usize = 256 << 20;

/// More than any command may wait on a server's side.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection.
#[derive(Debug)]
pub struct Line {
    connection: Connection,
    decoder: ReplyDecoder,
}

impl Line {
    /// Opens a connection to `HOST:PORT`.
    ///
    /// # Errors
    /// There is nobody.
    pub fn open(to: &str) -> Result<Self, ClientError> {
        let options = Options { timeout: PATIENCE, ..Options::default() };
        let connection = Connection::open(to, &options)?;
        Ok(Self { connection, decoder: ReplyDecoder::new(Dialect::Resp, MAX_REPLY) })
    }

    /// Adds a command to what [`Line::send`] will send.
    pub fn ask(&mut self, words: &[&[u8]]) {
        command::resp(&mut self.connection.output, words);
    }

    /// Sends what was asked.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self) -> Result<(), ClientError> {
        self.connection.send()
    }

    /// Waits for the answer to the first command that has none, and has it read.
    ///
    /// # Errors
    /// The connection is lost, or it is no answer.
    pub fn answer<T>(&mut self, read: impl FnOnce(Reply<'_>) -> T) -> Result<T, ClientError> {
        let length = loop {
            match self.decoder.measure(self.connection.unread()) {
                Ok(Some(length)) => break length,
                Ok(None) => self.connection.fill()?,
                Err(_) => return Err(self.not_expected("a reply in RESP")),
            }
        };
        let at = self.connection.consume(length);
        let bytes = self.connection.bytes(at, at + length);
        match Reply::of_whole(Dialect::Resp, bytes) {
            Some(reply) => Ok(read(reply)),
            None => Err(self.connection.malformed(bytes, "a reply in RESP")),
        }
    }

    /// Has the server send what it still gathers for the others, and waits until it has, but not for longer than this.
    pub fn flush_within(&mut self, time: Duration) {
        self.ask(&[b"lab.clock"]);
        let asked = self.connection.set_timeout(time).and_then(|()| self.send());
        // Its connection ends with it; one that does not answer has nothing left to say.
        drop(asked.and_then(|()| self.answer(|_| ())));
    }

    /// The error that a reply is not what the command answers with.
    pub fn not_expected(&self, expected: &'static str) -> ClientError {
        self.connection.malformed(self.connection.unread(), expected)
    }
}

/// What a reply says that is no error.
///
/// # Errors
/// The server's error line.
pub fn refusal(reply: &Reply<'_>) -> Result<(), ClientError> {
    match reply {
        Reply::Error(line) => {
            Err(ClientError::Refused { line: String::from_utf8_lossy(line).into_owned() })
        }
        _ => Ok(()),
    }
}
