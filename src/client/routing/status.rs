//! What is known of a node.

use std::fmt;

/// Whether a node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeStatus {
    /// It answers.
    Up,
    /// Nothing listens there.
    Down,
    /// Something listens and does not answer in time, or cannot be reached.
    Silent {
        /// What the system says.
        why: String,
    },
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Down => f.write_str("down"),
            Self::Silent { why } => write!(f, "silent ({why})"),
        }
    }
}
