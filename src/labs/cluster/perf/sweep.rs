//! Three clusters side by side: one server alone, three with two copies of each key, five with three copies.
//!
//! Each is started for the purpose, as processes in a folder of its own that did not exist before, measured with
//! the same load, and killed. The folders are on the disk that the results go to: that one is measured, and
//! not a file system in memory that a temporary folder might be on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Clients, Load, Series, StepsError, TableError, run_steps};
use crate::bench::Meter;
use crate::client::Options;
use crate::client::cluster::{ClusterClient, ClusterConfig, Locate};
use crate::client::routing::Retry;
use crate::labs::cluster::fleet::{Fleet, FleetError};

/// The clusters: how many servers, how many copies.
pub const CONFIGURATIONS: [(usize, usize); 3] = [(1, 1), (3, 2), (5, 3)];

/// What the servers of a sweep are called.
pub const NAME: &str = "sweep";

/// Servers of our own that do not answer for so long will not answer any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a sweep ended early.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// There is no place for the servers' files.
    #[error("cannot make a folder for the servers in {}: {source}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A server did not start.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The load could not be run.
    #[error(transparent)]
    Steps(#[from] StepsError),
}

/// A new folder in `place` for the files of servers; it is removed with what is returned.
///
/// # Errors
/// The system refuses.
pub fn scratch(place: &Path) -> Result<tempfile::TempDir, SweepError> {
    let failed = |source| SweepError::Folder { path: place.to_owned(), source };
    std::fs::create_dir_all(place).map_err(failed)?;
    tempfile::Builder::new().prefix("servers-").tempdir_in(place).map_err(failed)
}

/// The configuration of a client of servers of our own.
pub fn own_cluster(name: &str, addresses: Vec<String>, copies: usize) -> ClusterConfig {
    ClusterConfig {
        name: name.to_owned(),
        servers: addresses.len(),
        copies,
        locate: Locate::At(addresses),
        retry: Retry { wait: Duration::from_millis(100), give_up_after: Some(PATIENCE) },
        options: Options::default(),
    }
}

/// Measures all [`CONFIGURATIONS`], as far as `stop` lets it; `program` is the program `servers`.
///
/// # Errors
/// A server or a client could not be had.
pub fn sweep(
    program: &Path,
    place: &Path,
    clients: &Clients,
    load: &Load,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Vec<Series>, SweepError> {
    let mut all = Vec::new();
    for (servers, copies) in CONFIGURATIONS {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let folder = scratch(place)?;
        let fleet = Fleet::start(program, NAME, servers, folder.path())?;
        let addresses = fleet.addresses();
        let table = || {
            let config = own_cluster(NAME, addresses.clone(), copies);
            ClusterClient::new(config).map_err(TableError::from)
        };
        let steps = run_steps(clients, load, &table, stop, meter)?;
        all.push(Series { servers, copies, steps });
    }
    Ok(all)
}
