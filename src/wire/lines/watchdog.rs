//! What the gossip lab's master says to a watchdog.
//!
//! ```text
//! {"start":{"id":0,"replicas":5,"data":"data","host":"127.0.0.1"}}
//!                   {"started":{"clients":"127.0.0.1:40001","broadcast":"127.0.0.1:40002","ended":null}}
//! {"kill":{}}       {"killed":{"ended":null}}
//! ```
//! What cannot be done is answered with `{"refused":{"why":"..."}}`. Each is one line. `ended` says how the server
//! before has ended, where it has by itself and nobody has been told yet.

use serde::{Deserialize, Serialize};

/// The longest line of either side.
pub const MAX_LINE: usize = 64 * 1024;

/// Which server a watchdog is to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Which replica it is.
    pub id: u16,
    /// How many there are.
    pub replicas: u16,
    /// The folder that has a folder for each replica; `None` is a temporary one, which lasts as long as the connection.
    pub data: Option<String>,
    /// Where it listens.
    pub host: String,
}

/// What the master asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Start the server; answered when it can be reached.
    Start(Start),
    /// Kill the server; answered when it is gone.
    Kill {},
}

/// What a watchdog answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Reply {
    /// The server runs.
    Started {
        /// Its client port, `HOST:PORT`.
        clients: String,
        /// Its broadcast port.
        broadcast: String,
        /// How the one before has ended by itself.
        ended: Option<String>,
    },
    /// No server runs.
    Killed {
        /// How it has ended by itself before that.
        ended: Option<String>,
    },
    /// It cannot be done.
    Refused {
        /// Why.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lines::{parse, write};

    #[test]
    fn lines_come_back_as_they_were_written() {
        let start = Start { id: 3, replicas: 5, data: None, host: "127.0.0.1".to_owned() };
        for request in [Request::Start(start), Request::Kill {}] {
            let mut line = Vec::new();
            write(&mut line, &request);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(parse::<Request>(&line).expect("a request"), request);
        }
        assert!(parse::<Request>(b"{\"kill\":{\"all\":true}}").is_err());
        assert!(
            parse::<Reply>(b"{\"killed\":{}}").is_ok_and(|r| r == Reply::Killed { ended: None })
        );
    }
}
