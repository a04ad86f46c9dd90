//! The shard lab's messages.
//!
//! ```text
//! {"type":"UPDATE","body":"12345:Hello World"}    {"type":"UPDATE_ACK","body":"Success"}
//! {"type":"READ","body":"12345"}                  {"type":"READ_REPLY","body":"Hello World"}
//! {"type":"READ","body":"77776"}                  {"type":"ERROR","body":"ERROR: can not find a key 77776 in the table."}
//! ```
//! `send_message -l` adds `"home"`: the number of the node that the key belongs to, which need not be the
//! one that is asked.

use std::borrow::Cow;

use serde::Deserialize;

use super::write_string;

/// The longest body in bytes; a longer one is refused.
pub const MAX_BODY: usize = 1024 * 1024;

/// The type of a request or a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// Store a pair.
    Update,
    /// Give a value.
    Read,
    /// Stored.
    UpdateAck,
    /// The value.
    ReadReply,
    /// Not done.
    Error,
}

impl Kind {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Update => "UPDATE",
            Self::Read => "READ",
            Self::UpdateAck => "UPDATE_ACK",
            Self::ReadReply => "READ_REPLY",
            Self::Error => "ERROR",
        }
    }
}

/// A message between a client and a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message<'a> {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Text.
    #[serde(borrow)]
    pub body: Cow<'a, str>,
    /// The node that the key belongs to.
    #[serde(default)]
    pub home: Option<u16>,
}

impl<'a> Message<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// It is no JSON, or not of the expected shape.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Appends the message's line, with its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":");
        write_string(out, self.kind.word());
        out.extend_from_slice(b",\"body\":");
        write_string(out, &self.body);
        if let Some(home) = self.home {
            out.extend_from_slice(format!(",\"home\":{home}").as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }
}
