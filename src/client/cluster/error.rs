//! Why an operation of the cluster did not succeed, and what is then known of it.

use std::time::Duration;

use super::MAX_SERVERS;
use crate::client::{Certainty, ClientError};

/// Why an operation of the cluster did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// N servers and K copies make no sense.
    #[error("expected 1 ≤ K ≤ N ≤ {MAX_SERVERS}, found N={servers} K={copies}")]
    Shape {
        /// N.
        servers: usize,
        /// K.
        copies: usize,
    },
    /// There are more or fewer addresses than servers.
    #[error("expected {servers} addresses, one a server, found {found}")]
    Addresses {
        /// N.
        servers: usize,
        /// How many there are.
        found: usize,
    },
    /// The request itself is wrong; trying again would not help.
    #[error("{server}: {source}{}", known(*certainty, reached))]
    Refused {
        /// Which server says so.
        server: String,
        /// What it says.
        source: ClientError,
        /// What is known of the operation.
        certainty: Certainty,
        /// The servers on which it has happened.
        reached: Vec<String>,
    },
    /// The patience is at its end.
    #[error("gave up after {}: {why}{}", rounded(*after), known(*certainty, reached))]
    GaveUp {
        /// The servers that were waited for, and what went wrong there.
        why: String,
        /// How long it was tried.
        after: Duration,
        /// What is known of the operation.
        certainty: Certainty,
        /// The servers on which it has happened.
        reached: Vec<String>,
    },
}

impl ClusterError {
    /// Whether the operation definitely did not happen, or may have, if only on some copies.
    pub fn certainty(&self) -> Certainty {
        match self {
            Self::Refused { certainty, .. } | Self::GaveUp { certainty, .. } => *certainty,
            Self::Shape { .. } | Self::Addresses { .. } => Certainty::Fail,
        }
    }

    /// The error of an operation that changes nothing, whatever becomes of a request.
    pub(super) fn of_a_read(mut self) -> Self {
        if let Self::Refused { certainty, .. } | Self::GaveUp { certainty, .. } = &mut self {
            *certainty = Certainty::Fail;
        }
        self
    }
}

fn known(certainty: Certainty, reached: &[String]) -> String {
    match certainty {
        _ if !reached.is_empty() => {
            format!("; done on {}, but not on all copies", reached.join(", "))
        }
        Certainty::Fail => String::new(),
        Certainty::Unknown => "; outcome unknown".to_owned(),
    }
}

/// Nobody wants to read nanoseconds.
fn rounded(time: Duration) -> humantime::FormattedDuration {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(milliseconds))
}
