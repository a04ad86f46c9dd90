//! Two-phase commit: one coordinator, some participants, every participant the same data.

pub mod coordinator;
pub mod participant;
mod rules;
mod table;

use std::time::Duration;

use thiserror::Error;

pub use crate::wire::two_phase::{
    Blob, Change, Frame, Greeting, Key, MAX_PARTICIPANTS, Members, No, Report, TxnId, View, ViewId,
};
pub use coordinator::{Coordinator, Event, Limits, Status};
pub use participant::{Batch, Participant, Record, Recovered};
pub use rules::{PresumedAbort, Rules};

/// The times that both sides go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often the coordinator asks every participant whether it lives.
    pub heartbeat: Duration,
    /// How long an answer counts: a participant whose last one is older is excluded.
    pub lease: Duration,
    /// How long a participant hears nothing until it looks whether the coordinator still exists.
    pub silence: Duration,
    /// How long commands wait for the participants after a start; then they are answered with an error.
    pub patience: Duration,
}

/// The highest incarnation that is believed: one can always raise one's own above it.
pub const HIGHEST_INCARNATION: u64 = u64::MAX / 2;

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            lease: Duration::from_millis(600),
            silence: Duration::from_millis(200),
            patience: Duration::from_secs(1),
        }
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stores a value.
    Set {
        /// Under this key.
        key: Key,
        /// The value.
        value: Blob,
    },
    /// Asks for the value of a key.
    Get {
        /// The key.
        key: Key,
    },
    /// Removes keys.
    Delete {
        /// The keys.
        keys: Vec<Key>,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is stored.
    Ok,
    /// The value, if there is one.
    Value(Option<Blob>),
    /// So many keys were removed.
    Removed(u64),
    /// It has not happened and will not.
    Error(Refusal),
    /// Whether it has happened or will is not known.
    Unknown,
}

/// Why a command is answered with an error. It has definitely not happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nobody who holds the newest data is there.
    #[error("no participant that holds the newest data is there")]
    NoData,
    /// Too many commands, or too many bytes of them, are under way.
    #[error("too many commands are under way")]
    Busy,
    /// The command is larger than a frame may be.
    #[error("the command is too large")]
    TooLarge,
    /// A participant voted NO.
    #[error("a participant voted NO ({0:?})")]
    No(No),
}

/// What the other side did that no correct one does; it is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A frame that does not belong there.
    #[error("sent a {0} where none belongs")]
    Unexpected(&'static str),
    /// A frame of a coordinator that is not the newest.
    #[error("is incarnation {found} of the coordinator; {newest} has been here")]
    Old {
        /// The incarnation.
        found: u64,
        /// The newest.
        newest: u64,
    },
    /// The participant holds data under another place in the configuration.
    #[error("has been participant {was} and is now configured as {now}")]
    Place {
        /// Where its view has it.
        was: u16,
        /// Where the configuration has it.
        now: u16,
    },
    /// A newer connection of the coordinator has taken its place.
    #[error("has connected anew elsewhere")]
    Replaced,
    /// Nothing has come from it for as long as an answer counts.
    #[error("has been silent for too long")]
    Silent,
    /// More of something than one side keeps for the other.
    #[error("sent more than {0} {1}")]
    TooMany(usize, &'static str),
}
