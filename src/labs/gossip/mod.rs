//! The gossip lab: servers that are eventually consistent and linked in any way, clients that move between them and
//! carry a session along, and a master that has both do what a list of commands says.
//!
//! ```text
//! lab master ──┬── connection ── watchdog (process) ── starts, kills ── server (process): one replica
//!              ├── connection ──────────────────────── links, clocks ───┘ │
//!              └── client (session + connection) ───── puts, gets ────────┘
//! ```
//! A server is a replica as the replicas lab runs it (`servers --consistency=session --only I`), under control: it
//! begins without links, and the master says with whom it shall have one. The commands for that, and those of the
//! clients, are in [`crate::wire::lab`].
//!
//! `stabilize` never sleeps: the master asks all servers what they have, and then asks each to answer as soon as it
//! has all that the servers have which it can reach.
//!
//! Source: the course project Daadkvs (J. Chen, Z. Hu, W. Sun, University of Texas at Austin), whose commands these are.

mod client;
pub mod command;
pub mod config;
pub mod generate;
mod line;
mod master;
mod servers;
mod topology;
pub mod watchdog;
mod watchdogs;

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::client::ClientError;
pub use command::{CommandError, Ids};
pub use config::ConfigError;
pub use generate::{GenerateError, Plan, Workload};
pub use master::{Master, Options, Ran};
pub use watchdogs::Leash;

/// How long `stabilize` waits at the most.
const STABILIZE_AT_MOST: Duration = Duration::from_secs(30);

/// Why a command could not be carried out.
#[derive(Debug, Error)]
pub enum MasterError {
    /// It is no command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The line is longer than any command.
    #[error("expected a line of at most {most} bytes")]
    Line {
        /// The bound.
        most: usize,
    },
    /// A server is needed that does not run.
    #[error("server {0} is not up; start it with joinServer {0}")]
    NotUp(u16),
    /// A server is to be started that runs.
    #[error("server {0} is up already")]
    Up(u16),
    /// A server has ended, and nobody had asked for it.
    #[error("server {id} had ended by itself ({how}); joinServer {id} starts it again")]
    Died {
        /// Which.
        id: u16,
        /// How.
        how: String,
    },
    /// A watchdog does not do what it was asked.
    #[error("the watchdog of server {id}: {why}")]
    Watchdog {
        /// Of which server.
        id: u16,
        /// Why.
        why: String,
    },
    /// A server does not do what it was asked.
    #[error("server {id}: {source}")]
    Server {
        /// Which.
        id: u16,
        /// Why.
        source: ClientError,
    },
    /// A server answers something else than was asked.
    #[error("server {id}: expected {expected}, found another answer; is it of this version?")]
    Confused {
        /// Which.
        id: u16,
        /// What was asked.
        expected: &'static str,
    },
    /// Servers that can reach each other do not come to hold the same.
    #[error("server {id} is still behind after {} s: {source}", within.as_secs())]
    Unstable {
        /// Which.
        id: u16,
        /// The bound.
        within: Duration,
        /// What it lacks.
        source: ClientError,
    },
    /// A client is to do something that has never joined.
    #[error("client {0} has not joined; connect it with joinClient {0} SERVER")]
    NoClient(u16),
    /// A client is to do something that is at no server.
    #[error("client {0} has no connection; connect it with createConnection {0} SERVER")]
    NotConnected(u16),
    /// A client is to do something whose server does not run.
    #[error("client {client} is at server {server}, which is not up; nothing was sent")]
    ServerGone {
        /// The client.
        client: u16,
        /// The server.
        server: u16,
    },
    /// A connection is to be broken that is not there.
    #[error("client {client} is not connected to server {server}")]
    Elsewhere {
        /// The client.
        client: u16,
        /// The server.
        server: u16,
    },
    /// What a client was told.
    #[error("client {client} at server {server}: {source}")]
    Client {
        /// The client.
        client: u16,
        /// The server.
        server: u16,
        /// Why.
        source: ClientError,
    },
    /// The output cannot be written, or the commands not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}
