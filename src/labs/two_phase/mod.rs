//! The two-phase commit lab: what `kvstore2pcsystem` runs, by the mode of its configuration file.
//!
//! | mode | what it is |
//! |---|---|
//! | `coordinator` | takes commands, and has the participants agree on each by two-phase commit; see `processes.rs` |
//! | `participant` | holds the data |
//! | `server` | one of several that need no coordinator: see `server.rs` |

pub mod config;
pub mod demo;
mod processes;
mod server;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::runtime::{StartError, two_phase};
pub use config::{Address, Config, ConfigError};
pub use server::MODE;

/// What tells a process to stop; it may be called again, and after it has stopped.
pub type Stop = Box<dyn Fn() + Send>;

/// Why a process of the lab cannot be run.
#[derive(Debug, Error)]
pub enum TwoPhaseError {
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `--data` where nothing is kept.
    #[error("--data in mode coordinator: the coordinator keeps nothing but its configuration file")]
    NothingToKeep,
    /// The mode is not built.
    #[error("mode {0} is not built yet")]
    NotBuilt(&'static str),
    /// It does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A coordinator or a participant does not start.
    #[error(transparent)]
    Process(#[from] two_phase::StartError),
    /// There is no room for the data.
    #[error("cannot make a temporary folder in {}: {source}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// It cannot go on.
    #[error("{0}")]
    Failed(String),
}

impl TwoPhaseError {
    /// Whether other arguments or another configuration file would help.
    pub fn is_usage(&self) -> bool {
        use TwoPhaseError::{Config, NotBuilt, NothingToKeep, Start};
        matches!(self, Config(_) | NothingToKeep | NotBuilt(_) | Start(StartError::NotBuilt(_)))
    }
}

/// Runs what the file describes: says on `out` where it serves, then `ready`, and serves until it is told to
/// stop. `on_start` is given the way to tell it.
///
/// # Errors
/// Whatever prevents the start, or ends it early.
pub fn run(
    config: &Config,
    data: Option<&Path>,
    out: &mut impl Write,
    on_start: impl FnOnce(Stop),
) -> Result<(), TwoPhaseError> {
    match config {
        Config::Coordinator { .. } if data.is_some() => Err(TwoPhaseError::NothingToKeep),
        Config::Coordinator { listen, participants } => {
            processes::run_coordinator(listen, participants, out, on_start)
        }
        Config::Participant { listen, coordinator } => {
            processes::run_participant(listen, coordinator, data, out, on_start)
        }
        Config::Server { listen, peers } => server::run(listen, peers, data, out, on_start),
    }
}
