//! Why replicas cannot be started.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::base::ReplicaId;
use crate::storage::StorageError;

/// Why replicas cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The mode is not built.
    #[error("consistency mode {0} is not built yet")]
    NotBuilt(&'static str),
    /// A port cannot be had.
    #[error(
        "replica {id}: cannot listen on {what} {host}:{port} (is another server running there?)"
    )]
    Port {
        /// The replica.
        id: ReplicaId,
        /// Which of its ports.
        what: &'static str,
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be used.
    #[error("replica {id}")]
    Store {
        /// The replica.
        id: ReplicaId,
        /// Why.
        source: StorageError,
    },
    /// The store is one of another mode.
    #[error(
        "replica {id}: {} was not written in mode {mode}, and the notes of one mode are not those of another: \
         start with another --data folder, or move the file away to start with an empty store",
        file.display()
    )]
    OtherMode {
        /// The replica.
        id: ReplicaId,
        /// The mode that was asked for.
        mode: &'static str,
        /// The store.
        file: PathBuf,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
