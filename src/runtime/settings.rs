//! What a replica runs with, and where.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Recorder;
use crate::base::{Limits, ReplicaId};
use crate::protocol::{Backlog, Mode};
use crate::wire::Tongue;

/// When a write counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After fdatasync: it survives the loss of power. One fdatasync serves all that wait.
    Always,
    /// When it is in the file: it survives the death of the process. Synced every 10 ms behind the reply.
    Batch,
    /// When it is in the file; the system syncs when it likes.
    Os,
}

impl FromStr for SyncPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(Self::Always),
            "batch" => Ok(Self::Batch),
            "os" => Ok(Self::Os),
            other => Err(format!("expected always, batch or os, found {other}")),
        }
    }
}

impl fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Batch => "batch",
            Self::Os => "os",
        })
    }
}

/// What a replica runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The consistency mode.
    pub mode: &'static Mode,
    /// How many replicas there are.
    pub replicas: u16,
    /// How long a write that could be delivered waits before it is.
    pub write_delay: Duration,
    /// How long a client waits for the outcome of its write, beyond the write delay.
    pub write_timeout: Duration,
    /// When a write counts as kept.
    pub sync: SyncPolicy,
    /// No smaller `storage.txt` is compacted, in bytes.
    pub compact_above: u64,
    /// The bounds on requests.
    pub limits: Limits,
    /// The most clients of one replica at a time.
    pub max_connections: usize,
    /// The bound on own undelivered writes.
    pub backlog: Backlog,
    /// Memory for large requests of all sessions of one replica together, in bytes.
    pub request_memory: usize,
    /// Seeds the hash tables; different in every process, so that no client can prepare collisions.
    pub hash_seed: u64,
    /// Where each replica's broadcast port is, by replica: `HOST:PORT`. Filled in by [`super::Host::start`] for the
    /// replicas that it hosts itself.
    pub broadcast_addresses: Vec<String>,
    /// What clients ask and are told is recorded here.
    pub history: Option<Recorder>,
    /// What the client ports speak. With [`Tongue::Simple`] a replica may have one port for clients and peers.
    pub tongue: Tongue,
    /// What replicas must have in common besides the mode; they tell each other when they meet. At most 40 bytes.
    pub cluster: String,
    /// The replica begins without links to others, and clients say with whom it shall have one.
    pub control: bool,
}

/// A random number, not 0.
pub(super) fn fresh_number() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0).max(1)
}

impl Settings {
    /// The defaults of a mode with three replicas.
    pub fn new(mode: &'static Mode) -> Self {
        Self {
            mode,
            replicas: 3,
            write_delay: Duration::ZERO,
            write_timeout: Duration::from_secs(5),
            sync: SyncPolicy::Batch,
            compact_above: crate::storage::COMPACT_ABOVE,
            limits: Limits::default(),
            max_connections: 10_000,
            backlog: Backlog::default(),
            request_memory: 256 * 1024 * 1024,
            hash_seed: fresh_number(),
            broadcast_addresses: Vec::new(),
            history: None,
            tongue: Tongue::default(),
            cluster: String::new(),
            control: false,
        }
    }

    /// What the replicas that belong together all say when they meet.
    pub(super) fn greeting(&self) -> String {
        match &*self.cluster {
            "" => self.mode.name.to_owned(),
            cluster => format!("{} {cluster}", self.mode.name),
        }
    }

    /// Whether clients and peers come to the same port of this place, told apart by their first bytes.
    pub(super) fn shares_port(&self, place: &Place) -> bool {
        // What begins like the preface may be a command of memcached.
        self.tongue == Tongue::Simple
            && place.client_port == place.broadcast_port
            && place.client_port != 0
    }
}

/// A value to be written where there is no such key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialValue {
    /// The key.
    pub key: Box<[u8]>,
    /// The value.
    pub data: Box<[u8]>,
}

/// One replica to be hosted by this process.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which.
    pub id: ReplicaId,
    /// The host to listen on.
    pub host: String,
    /// The client port; 0 lets the system choose.
    pub client_port: u16,
    /// The broadcast port; 0 lets the system choose. With [`Tongue::Simple`] it may be the client port.
    pub broadcast_port: u16,
    /// The folder of its `storage.txt`.
    pub folder: PathBuf,
}
