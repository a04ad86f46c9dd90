//! What adjacent nodes of the shard lab say to each other, on the port that clients use too.
//!
//! ```text
//! {"KEEP":{"from":3,"copies":[{"home":3,"key":"12345","value":"Hello","time":7,"node":3}]}}
//!                                                  {"KEPT":{"time":7,"newer":false}}
//! {"HELLO":{"from":4}}                             {"KEPT":{"time":7,"newer":false}}
//! {"COMPARE":{"from":4,"home":3,"digests":[...]}}  {"DIFFER":{"time":7,"buckets":[17,99]}}
//! {"PULL":{"from":4,"home":3,"buckets":[17,99],"after":null}}
//!                                                  {"PAGE":{"time":7,"copies":[...],"more":false}}
//! ```
//! What cannot be done is answered with `{"REFUSED":{"why":"..."}}`. Each is one line.

use serde::{Deserialize, Serialize};

/// A pair with the node that it belongs to and its version, the Lamport timestamp `(time, node)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// The node that the pair belongs to.
    pub home: u16,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The version's time.
    pub time: u64,
    /// The node that drew the version.
    pub node: u16,
}

/// A place in the order of a table: by bucket, then by key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place(pub u16, pub String);

/// What one node asks of another; `from` is who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE", deny_unknown_fields)]
pub enum Request {
    /// Hold these.
    Keep {
        /// Who asks.
        from: u16,
        /// The pairs.
        copies: Vec<Copy>,
    },
    /// I have begun to listen. Answered when every update is over that began before and may have missed me.
    Hello {
        /// Who asks.
        from: u16,
    },
    /// Are you there?
    Ping {
        /// Who asks.
        from: u16,
    },
    /// Which buckets of a home's table differ from these digests?
    Compare {
        /// Who asks.
        from: u16,
        /// Whose pairs.
        home: u16,
        /// One digest a bucket.
        digests: Vec<u64>,
    },
    /// What do these buckets hold?
    Pull {
        /// Who asks.
        from: u16,
        /// Whose pairs.
        home: u16,
        /// Which buckets, in ascending order.
        buckets: Vec<u16>,
        /// Only what comes behind this place.
        after: Option<Place>,
    },
}

impl Request {
    /// Who asks.
    pub fn from(&self) -> u16 {
        match self {
            Self::Keep { from, .. }
            | Self::Hello { from }
            | Self::Ping { from }
            | Self::Compare { from, .. }
            | Self::Pull { from, .. } => *from,
        }
    }
}

/// The reply to a [`Request`]; `time` is the clock of who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE", deny_unknown_fields)]
pub enum Reply {
    /// It is as asked.
    Kept {
        /// The clock.
        time: u64,
        /// Of one of the pairs a newer version was there already, and stays.
        newer: bool,
    },
    /// These buckets differ.
    Differ {
        /// The clock.
        time: u64,
        /// Their numbers, ascending.
        buckets: Vec<u16>,
    },
    /// A part of what the buckets hold, in the order of places.
    Page {
        /// The clock.
        time: u64,
        /// The pairs.
        copies: Vec<Copy>,
        /// Whether there are more behind the last one.
        more: bool,
    },
    /// No.
    Refused {
        /// Why.
        why: String,
    },
}
