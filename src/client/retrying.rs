//! A client that outlives the failure of a replica: it sends again, through the next replica, and each write
//! is executed once all the same.
//!
//! Its writes belong to a session that the replicated state knows ([`crate::base::Op::Once`]): a write that is
//! sent again carries the same number, and a state that has executed it answers as it did then. So a
//! connection that breaks, a reply that does not come and a leader that changes no longer leave the outcome
//! unknown; only when no answer comes for as long as the client's patience lasts, or when the state has
//! forgotten the session, is it so after all.
//!
//! This holds in the modes that answer a write at its delivery (`sequential`, `linearizable`). A mode that
//! answers at once cannot know at that time whether a write is new, and refuses sessions.
//!
//! Source: D. Ongaro, *Consensus: bridging theory and practice* (2014), §6.3.

use std::time::{Duration, Instant};

use super::{Ask, Client, ClientError, Options, Protocol, Reply, check_key};
use crate::wire::{self, command};

/// The most that the reply to a write takes.
const MAX_REPLY: usize = 64 * 1024;

/// How long the client rests when it has tried every address in vain.
const REST: Duration = Duration::from_millis(50);

/// How long one try may take, so that a replica that hangs costs no more.
const LONGEST_TRY: Duration = Duration::from_secs(2);

/// What a server's refusal begins with where it does not know a session.
const NO_SESSION: &str = "NOSESSION";

/// A client of several replicas.
#[derive(Debug)]
pub struct RetryingClient {
    addresses: Vec<String>,
    /// Which of them it talks to.
    at: usize,
    options: Options,
    patience: Duration,
    client: Option<Client>,
    session: Option<i128>,
    /// The number of the session's last write.
    sequence: u64,
}

impl RetryingClient {
    /// A client of these replicas (HOST:PORT each, at least one); it gives up after `patience`.
    pub fn new(addresses: Vec<String>, options: Options, patience: Duration) -> Self {
        let options = Options {
            timeout: options.timeout.min(LONGEST_TRY),
            connect_timeout: options.connect_timeout.min(LONGEST_TRY),
        };
        Self { addresses, at: 0, options, patience, client: None, session: None, sequence: 0 }
    }

    /// The connection, opened if there is none.
    ///
    /// # Errors
    /// The replica whose turn it is cannot be reached.
    pub fn connection(&mut self) -> Result<&mut Client, ClientError> {
        if self.client.as_ref().is_none_or(Client::is_broken) {
            self.client = None;
            let to = &self.addresses[self.at % self.addresses.len()];
            self.client = Some(Client::connect(to, Protocol::Resp, self.options)?);
        }
        match &mut self.client {
            Some(client) => Ok(client),
            None => Err(ClientError::Closed { to: self.addresses[0].clone() }),
        }
    }

    /// The value of a key, `None` where there is none.
    ///
    /// # Errors
    /// No replica has answered, or one has refused.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        self.until_answered(|this, _| this.connection()?.get(key))
    }

    /// Stores a value.
    ///
    /// # Errors
    /// As [`ClientError::certainty`] tells.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ClientError> {
        check_key(Protocol::Resp, key)?;
        self.write(&[b"SET", key, value], Ask::Set).map(|_| ())
    }

    /// Removes a key; false where there was none.
    ///
    /// # Errors
    /// As [`ClientError::certainty`] tells.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, ClientError> {
        check_key(Protocol::Resp, key)?;
        self.write(&[b"DEL", key], Ask::Delete)
    }

    /// Has a write executed once; whether it found something to do.
    fn write(&mut self, words: &[&[u8]], ask: Ask) -> Result<bool, ClientError> {
        self.sequence += 1;
        self.until_answered(|this, unknown| {
            let session = this.open_session()?;
            let (session, sequence) = (session.to_string(), this.sequence.to_string());
            let mut all: Vec<&[u8]> = vec![b"LAB.ONCE", session.as_bytes(), sequence.as_bytes()];
            all.extend_from_slice(words);
            let mut bytes = Vec::new();
            command::resp(&mut bytes, &all);
            let client = this.connection()?;
            client.send_raw(&bytes)?;
            match client.receive(ask) {
                Ok(reply) => Ok(reply == Reply::Done),
                Err(ClientError::Refused { line }) if line.starts_with(NO_SESSION) => {
                    this.session = None;
                    if unknown {
                        // An earlier try may have been executed, and nobody remembers.
                        return Err(ClientError::OutcomeUnknown { line });
                    }
                    Err(ClientError::Unavailable { to: this.here(), why: line })
                }
                Err(error) => Err(error),
            }
        })
    }

    fn open_session(&mut self) -> Result<i128, ClientError> {
        if let Some(session) = self.session {
            return Ok(session);
        }
        let here = self.here();
        let mut bytes = Vec::new();
        command::resp(&mut bytes, &[b"LAB.SESSION"]);
        let (_, reply) = self.connection()?.exchange(&bytes, MAX_REPLY)?;
        let session = match reply {
            wire::Reply::Number(id) => id,
            // Whether a session was opened matters to nobody: only one that is known is used.
            wire::Reply::Error(line) if reply.is_unknown() => {
                let why = String::from_utf8_lossy(line).into_owned();
                return Err(ClientError::Unavailable { to: here, why });
            }
            wire::Reply::Error(line) => {
                let line = String::from_utf8_lossy(line).into_owned();
                return Err(ClientError::Refused { line });
            }
            _ => {
                let (found, expected) = (String::new(), "the number of a session");
                return Err(ClientError::Malformed { to: here, found, expected });
            }
        };
        (self.session, self.sequence) = (Some(session), 1);
        Ok(session)
    }

    fn here(&self) -> String {
        self.addresses[self.at % self.addresses.len()].clone()
    }

    /// Tries one replica after the other until one answers or the client's patience ends. A try is told
    /// whether an earlier one may have taken effect.
    fn until_answered<R>(
        &mut self,
        mut attempt: impl FnMut(&mut Self, bool) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        let deadline = Instant::now() + self.patience;
        let mut unknown = None;
        loop {
            let error = match attempt(self, unknown.is_some()) {
                // A refusal is an answer, unless an earlier try may have been the one.
                Err(error) if !is_answer(&error) => error,
                Err(error) => return Err(unknown.unwrap_or(error)),
                Ok(result) => return Ok(result),
            };
            self.at += 1;
            self.client = None;
            let late = Instant::now() >= deadline;
            let rests = self.at.is_multiple_of(self.addresses.len());
            match error.certainty() {
                super::Certainty::Unknown => unknown = Some(error),
                super::Certainty::Fail if late => return Err(unknown.unwrap_or(error)),
                super::Certainty::Fail => {}
            }
            if late && let Some(error) = unknown {
                return Err(error);
            }
            if rests {
                std::thread::sleep(REST);
            }
        }
    }
}

/// Whether the replica's word is final: another one would say the same.
fn is_answer(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { .. } | ClientError::Key { .. } | ClientError::Address { .. } => true,
        ClientError::OutcomeUnknown { line } => line.starts_with(NO_SESSION),
        _ => false,
    }
}
