//! The configuration of a bench, built once from the arguments, and what can go wrong.

use std::{io, time::Duration};

use super::Protocol;
use crate::client::{ClientError, DEFAULT_TO, Options, Protocol as Dialect};
use crate::runtime::RecordError;

/// What to run. [`Config::default`] is what `lab bench` does without arguments.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers; clients are spread over them in turn.
    pub to: Vec<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// How many clients, each a thread with a connection of its own.
    pub clients: usize,
    /// How many commands a client sends before it reads their replies.
    pub pipeline: usize,
    /// How many operations, over all clients; no bound if `None`.
    pub ops: Option<u64>,
    /// How long to measure at most.
    pub duration: Option<Duration>,
    /// The share of reads, from 0 to 1.
    pub reads: f64,
    /// How many different keys.
    pub keys: u64,
    /// The exponent of the keys' Zipf distribution; uniform if `None`.
    pub zipf: Option<f64>,
    /// The size of a value in bytes.
    pub value_size: usize,
    /// Open loop: operations a second, over all clients.
    pub rate: Option<f64>,
    /// Operations of each client before the measuring begins.
    pub warmup: u64,
    /// Whether every key is written before the start.
    pub preload: bool,
    /// Whether the floors are measured as well.
    pub floor: bool,
    /// How many rounds the measuring is cut into when floors are measured between.
    pub rounds: u32,
    /// The seed of all draws.
    pub seed: u64,
    /// How long a client waits for a reply.
    pub timeout: Duration,
}

/// The most clients: each is a thread and a connection.
pub const MAX_CLIENTS: usize = 10_000;

/// The most commands of one batch.
pub const MAX_PIPELINE: usize = 10_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            to: vec![DEFAULT_TO.to_owned()],
            protocol: Protocol::Replica(Dialect::Memcached),
            clients: 1,
            pipeline: 1,
            ops: None,
            duration: None,
            reads: 0.5,
            keys: 1000,
            zipf: None,
            value_size: 32,
            rate: None,
            warmup: 100,
            preload: true,
            floor: false,
            rounds: 5,
            seed: 1,
            timeout: Options::default().timeout,
        }
    }
}

impl Config {
    /// The configuration as it goes into `summary.json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "to": self.to,
            "protocol": self.protocol.to_string(),
            "clients": self.clients,
            "pipeline": self.pipeline,
            "ops": self.ops,
            "duration_seconds": self.duration.map(|d| d.as_secs_f64()),
            "reads": self.reads,
            "keys": self.keys,
            "zipf": self.zipf,
            "value_size": self.value_size,
            "rate": self.rate,
            "warmup": self.warmup,
            "preload": self.preload,
            "floor": self.floor,
            "rounds": if self.floor { self.rounds } else { 1 },
            "seed": self.seed,
            "timeout_seconds": self.timeout.as_secs_f64(),
        })
    }

    /// The dialect of the replicas that is spoken.
    ///
    /// # Errors
    /// Another protocol is, in which `what` cannot be done.
    pub fn dialect(&self, what: &str) -> Result<Dialect, BenchError> {
        match self.protocol {
            Protocol::Replica(dialect) => Ok(dialect),
            other => Err(BenchError::Config(format!(
                "{what}: expected --protocol memcached or resp, found {other}"
            ))),
        }
    }

    /// How long clients wait.
    pub fn options(&self) -> Options {
        Options { timeout: self.timeout, ..Options::default() }
    }
}

/// Why a bench could not run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// A server could not be reached, or failed before the measuring began.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The servers are in no state to begin a history with.
    #[error("cannot record a history: {0}")]
    NoHistory(&'static str),
    /// The history cannot be written.
    #[error(transparent)]
    History(#[from] RecordError),
    /// The operating system refused a thread.
    #[error("cannot start a thread for each client: {0}; use fewer --clients")]
    Thread(io::Error),
    /// The floor server could not be started.
    #[error("cannot start the floor server: {0}")]
    Floor(io::Error),
}
