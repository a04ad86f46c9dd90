//! A client of one hash table server: requests and replies in JSON, a line each.
//!
//! A call waits for its reply; [`Options`] bound the wait. Values stay the text that they are on the wire.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{ClientError, Connection, Options};
use crate::wire::lines::cluster::{Reply, Request, Trouble};

/// The longest reply that is taken, in bytes: a scan of many millions of keys.
const MAX_REPLY: usize = 1 << 30;

/// Keys with their values, as a scan finds them.
pub type Pairs = Vec<(String, Box<RawValue>)>;

/// One connection to one server.
#[derive(Debug)]
pub struct TableClient {
    connection: Connection,
    /// Set once what comes next could not be attributed any more.
    broken: bool,
}

impl TableClient {
    /// Connects to `to` (HOST:PORT).
    ///
    /// # Errors
    /// The address makes no sense, nothing listens there, or it does not answer in time.
    pub fn open(to: &str, options: &Options) -> Result<Self, ClientError> {
        Ok(Self { connection: Connection::open(to, options)?, broken: false })
    }

    /// The address, as it was given.
    pub fn to(&self) -> &str {
        self.connection.to()
    }

    /// Whether the connection has failed and only a new one helps.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] where the server cannot do it now; else what can happen to a connection.
    pub fn insert(&mut self, key: &str, value: &RawValue) -> Result<(), ClientError> {
        let done = self.call(&Request::Insert { key: Cow::Borrowed(key), value }, |_| Some(()))?;
        done.map_err(|line| ClientError::Refused { line })
    }

    /// The value of a key; `None` where there is no such key.
    ///
    /// # Errors
    /// As for [`TableClient::insert`].
    pub fn lookup(&mut self, key: &str) -> Result<Option<Box<RawValue>>, ClientError> {
        Ok(self.call(&Request::Lookup { key: Cow::Borrowed(key) }, value_of)?.ok())
    }

    /// Removes a key and gives the value that it had; `None` where there was no such key.
    ///
    /// # Errors
    /// As for [`TableClient::insert`].
    pub fn remove(&mut self, key: &str) -> Result<Option<Box<RawValue>>, ClientError> {
        Ok(self.call(&Request::Remove { key: Cow::Borrowed(key) }, value_of)?.ok())
    }

    /// All keys in which the regular expression is found, with their values, in no order.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the expression is none; else as for [`TableClient::insert`].
    pub fn scan(&mut self, regex: &str) -> Result<Pairs, ClientError> {
        let found =
            self.call(&Request::Scan { regex: Cow::Borrowed(regex) }, |reply| match reply {
                Reply::Success { matches, .. } => {
                    let own = |(key, value): (Cow<'_, str>, &RawValue)| {
                        (key.into_owned(), value.to_owned())
                    };
                    matches.map(|matches| matches.into_iter().map(own).collect())
                }
                Reply::Trouble { .. } => None,
            })?;
        found.map_err(|line| ClientError::Refused { line })
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// As for [`TableClient::insert`].
    pub fn status(&mut self) -> Result<serde_json::Value, ClientError> {
        let value = self.call(&Request::Status, value_of)?;
        let parsed = value.map(|value| serde_json::from_str(value.get()));
        match parsed {
            Ok(Ok(status)) => Ok(status),
            _ => Err(self.connection.malformed(b"", "a status")),
        }
    }

    /// Sends a line as it is (without its line end) and gives the reply's line: for what [`Request`] cannot say.
    ///
    /// # Errors
    /// What can happen to a connection.
    pub fn raw(&mut self, line: &[u8]) -> Result<String, ClientError> {
        self.connection.output.extend_from_slice(line);
        self.connection.output.push(b'\n');
        let place = self.exchange()?;
        let reply = self.connection.bytes(place.start, place.end);
        Ok(String::from_utf8_lossy(reply).into_owned())
    }

    /// Asks; what `take` finds in a success, or why the server could not do what was asked: there is no such key.
    fn call<T>(
        &mut self,
        request: &Request<'_>,
        take: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<Result<T, String>, ClientError> {
        request.write(&mut self.connection.output);
        let place = self.exchange()?;
        let line = self.connection.bytes(place.start, place.end);
        let reply = match Reply::parse(line) {
            Some(Reply::Trouble { trouble, error }) => {
                return match trouble {
                    Trouble::Failed => Ok(Err(error)),
                    Trouble::Invalid => Err(ClientError::Refused { line: error }),
                    Trouble::Unavailable => {
                        Err(ClientError::Unavailable { to: self.to().to_owned(), why: error })
                    }
                };
            }
            Some(reply) => take(reply),
            None => None,
        };
        match reply {
            Some(taken) => Ok(Ok(taken)),
            None => {
                self.broken = true;
                Err(self.connection.malformed(line, "a reply of a hash table"))
            }
        }
    }

    fn exchange(&mut self) -> Result<std::ops::Range<usize>, ClientError> {
        if self.broken {
            self.connection.output.clear();
            return Err(ClientError::Closed { to: self.to().to_owned() });
        }
        let sent = self.connection.send();
        let received = sent.and_then(|()| self.connection.line(MAX_REPLY));
        received.inspect_err(|_| self.broken = true)
    }
}

fn value_of(reply: Reply<'_>) -> Option<Box<RawValue>> {
    match reply {
        Reply::Success { value, .. } => value.map(ToOwned::to_owned),
        Reply::Trouble { .. } => None,
    }
}
