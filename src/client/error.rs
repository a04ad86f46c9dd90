//! What can go wrong between a client and a server, and what is then known of the operation.

use std::{io, time::Duration};

/// What is known of an operation that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It definitely did not take effect.
    Fail,
    /// It may have taken effect, or may take effect later.
    Unknown,
}

/// A failure of a client. [`ClientError::certainty`] tells what is known of the operation.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody accepts connections at that address.
    #[error("nothing listens on {to}; start servers with: scripts/server-normal.sh sequential")]
    NothingListens {
        /// The address.
        to: String,
    },
    /// The address is not of the form HOST:PORT, or the host has no address.
    #[error("cannot use the address {to}: {why}; expected HOST:PORT, such as 127.0.0.1:9889")]
    Address {
        /// What was given.
        to: String,
        /// What the system says about it.
        why: String,
    },
    /// Nobody knows where a server of this name is.
    #[error("cannot find {name}: {why}")]
    NotFound {
        /// Its name.
        name: String,
        /// Who was asked, and what the answer was.
        why: String,
    },
    /// The connection could not be opened.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// The address.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// A key that the protocol cannot carry; nothing was sent.
    #[error("the key {key:?} cannot be sent: {why}")]
    Key {
        /// The key, made printable.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The connection failed earlier and has not been opened again; nothing was sent.
    #[error("the connection to {to} was lost earlier; connect again")]
    Closed {
        /// The address.
        to: String,
    },
    /// The server answered with an error: it refused the operation.
    #[error("the server refused: {line}")]
    Refused {
        /// The error line.
        line: String,
    },
    /// The server cannot carry out requests now; the operation did not happen and may be tried again.
    #[error("{to} cannot do it now: {why}")]
    Unavailable {
        /// The address.
        to: String,
        /// What the server says.
        why: String,
    },
    /// The server gave up waiting; the operation may still take effect.
    #[error("the server answered: {line}")]
    OutcomeUnknown {
        /// The error line.
        line: String,
    },
    /// No reply came in time; the operation may have taken effect.
    #[error("no reply from {to} within {}, outcome unknown", humantime::format_duration(*after))]
    NoReply {
        /// The address.
        to: String,
        /// The timeout.
        after: Duration,
    },
    /// The connection ended after the request was sent; the operation may have taken effect.
    #[error("the connection to {to} was lost, outcome unknown: {source}")]
    Lost {
        /// The address.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// The reply makes no sense; the operation may have taken effect.
    #[error("{to} answered {found:?} where {expected} was expected, outcome unknown")]
    Malformed {
        /// The address.
        to: String,
        /// The beginning of what came, made printable.
        found: String,
        /// What the protocol says should come.
        expected: &'static str,
    },
}

impl ClientError {
    /// Whether the operation definitely did not happen, or may have.
    pub fn certainty(&self) -> Certainty {
        match self {
            Self::NothingListens { .. }
            | Self::Address { .. }
            | Self::NotFound { .. }
            | Self::Connect { .. }
            | Self::Key { .. }
            | Self::Closed { .. }
            | Self::Unavailable { .. }
            | Self::Refused { .. } => Certainty::Fail,
            Self::OutcomeUnknown { .. }
            | Self::NoReply { .. }
            | Self::Lost { .. }
            | Self::Malformed { .. } => Certainty::Unknown,
        }
    }

    /// Whether the connection is of no further use: what comes next on it could not be attributed.
    pub fn ends_connection(&self) -> bool {
        !matches!(
            self,
            Self::Key { .. }
                | Self::Refused { .. }
                | Self::Unavailable { .. }
                | Self::OutcomeUnknown { .. }
        )
    }
}
