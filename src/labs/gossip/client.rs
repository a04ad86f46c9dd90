//! A client of the lab: a session that it carries from server to server, and a connection to one.
//!
//! The session is a vector clock: a put merges the version that the write got, a get the version that it read. A
//! server that lacks some of it is behind for this client and says so, instead of showing it something older than it
//! has seen. That is all it takes for read-your-writes and monotonic reads.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::line::{Line, refusal};
use crate::base::{ReplicaId, Timestamp, VectorClock};
use crate::client::ClientError;
use crate::wire::{Reply, lab};

/// What `get` prints for a key that nobody wrote.
const NO_KEY: &[u8] = b"ERR_KEY";

/// What `get` prints where the server is behind.
const BEHIND: &[u8] = b"ERR_DEP";

/// A client.
#[derive(Debug, Default)]
pub struct Client {
    seen: VectorClock,
    /// The text of `seen`, made anew for each command.
    text: String,
    /// The server that it is at, whether that is up or not.
    at: Option<u16>,
    line: Option<Line>,
}

impl Client {
    /// The server that it is at.
    pub fn server(&self) -> Option<u16> {
        self.at
    }

    /// It goes to a server, or to none; its session goes with it.
    pub fn go_to(&mut self, server: Option<u16>) {
        self.at = server;
        self.line = None;
    }

    /// It loses its connection; where it was it knows.
    pub fn hang_up(&mut self) {
        self.line = None;
    }

    /// Sees to it that it is connected to the client port at this address.
    ///
    /// # Errors
    /// There is nobody.
    pub fn connect(&mut self, to: &str) -> Result<(), ClientError> {
        if self.line.is_none() {
            self.line = Some(Line::open(to)?);
        }
        Ok(())
    }

    /// Writes a value, behind all that the client has seen.
    ///
    /// # Errors
    /// It is not known to be written; where the connection is lost, it may be.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), ClientError> {
        self.write_seen();
        let Some(line) = &mut self.line else { return Err(closed()) };
        line.ask(&[b"lab.set", key, value, self.text.as_bytes()]);
        line.send()?;
        let version = line.answer(|reply| {
            refusal(&reply)?;
            Ok(match reply {
                Reply::Status(text) => version(text),
                _ => None,
            })
        })??;
        let Some(version) = version else {
            return Err(line.not_expected("the version of a write"));
        };
        self.seen.observe(version);
        Ok(())
    }

    /// Reads a key and prints `key:value`; for what cannot be shown, why.
    ///
    /// # Errors
    /// The server cannot be asked, or `out` not be written.
    pub fn get(&mut self, key: &[u8], out: &mut impl Write) -> Result<io::Result<()>, ClientError> {
        self.write_seen();
        let Some(line) = &mut self.line else { return Err(closed()) };
        line.ask(&[b"lab.get", key, self.text.as_bytes()]);
        line.send()?;
        let answered = line.answer(|reply| {
            let (value, version): (&[u8], _) = match &reply {
                Reply::Error(line) if line.starts_with(lab::BEHIND) => (BEHIND, None),
                Reply::Error(_) => return refusal(&reply).map(|()| None),
                Reply::Bulk(None) => (NO_KEY, None),
                Reply::Array(Some(parts)) => match parts.as_slice() {
                    [Reply::Bulk(Some(text)), Reply::Bulk(value)] => {
                        let Some(version) = version(text) else { return Ok(None) };
                        (value.unwrap_or(NO_KEY), Some(version))
                    }
                    _ => return Ok(None),
                },
                _ => return Ok(None),
            };
            Ok(Some((version, print(out, key, value))))
        })??;
        let Some((version, printed)) = answered else {
            return Err(line.not_expected("a version and a value"));
        };
        if let Some(version) = version {
            self.seen.observe(version);
        }
        Ok(printed)
    }

    fn write_seen(&mut self) {
        self.text.clear();
        // Writing into memory does not fail.
        let _ = write!(self.text, "{}", self.seen);
    }
}

/// Prints `key:value`.
pub fn print(out: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    out.write_all(key)?;
    out.write_all(b":")?;
    out.write_all(value)?;
    out.write_all(b"\n")
}

fn closed() -> ClientError {
    ClientError::Closed { to: "its server".to_owned() }
}

/// Reads `13.0`.
fn version(text: &[u8]) -> Option<Timestamp> {
    let (time, replica) = std::str::from_utf8(text).ok()?.split_once('.')?;
    Some(Timestamp::new(time.parse().ok()?, ReplicaId(replica.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        let ts = Timestamp::new(13, ReplicaId(2));
        assert_eq!(version(ts.to_string().as_bytes()), Some(ts));
        for nonsense in [&b""[..], b"13", b"13.", b".1", b"13.x", b"\xff.1"] {
            assert_eq!(version(nonsense), None, "{nonsense:?}");
        }
    }
}
