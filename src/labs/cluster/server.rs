//! One hash table server: the table of a folder behind a port.
//!
//! Threads: the port's, one a client, and one for compaction. Nothing a client sends stops it; a disk that
//! can no longer be trusted does (see [`ClusterServer::failed`]).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::warn;

use super::catalog::Registrar;
use super::service::Tables;
use crate::client::catalog::Announcement;
use crate::client::cluster::KIND;
use crate::runtime::line_server::{BoundPort, Bounds, LineServer};
use crate::storage::StorageError;
use crate::storage::hash_table::{HashTable, Opened, Options, RealFolder, TableError};

/// The log's length that makes a compaction due, by default.
pub const COMPACT_AFTER: u64 = 100;

/// After a compaction none is begun for so many times as long as it took: compacting a large table under
/// steady changes takes a quarter of the time, not all of it.
const REST: u32 = 3;

/// How long after a compaction that failed another one is tried.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The memory that a machine is taken to have which does not tell, in KiB.
const UNKNOWN_MEMORY: usize = 4 << 20;

/// How long a stop waits for a compaction, which may be in the middle of a sync. It need not be waited for: a
/// compaction that is cut off loses nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Its name, in messages and in the catalog.
    pub name: String,
    /// Where to listen.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The folder of `table.txn` and `table.ckpt`; no two servers share one.
    pub dir: PathBuf,
    /// The catalog to register with, `HOST:PORT`.
    pub catalog: Option<String>,
    /// A compaction is due when the log holds more than so many records.
    pub compact_after: u64,
    /// The bounds of the port.
    pub bounds: Bounds,
}

/// Why a server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port cannot be had.
    #[error("cannot listen on {host}:{port}: {source}")]
    Port {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// A server that runs.
pub struct ClusterServer {
    tables: Arc<Tables>,
    port: LineServer<Tables>,
    /// Disconnected when the compaction thread has ended.
    compaction: Receiver<()>,
    /// Dropped to end the pause between compactions.
    stop: Option<Sender<()>>,
    failed: Receiver<String>,
    _registrar: Option<Registrar>,
}

impl ClusterServer {
    /// Opens the table and serves.
    ///
    /// # Errors
    /// The port is taken, the folder is in use, a file is damaged.
    pub fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let ServerOptions { name, host, port, dir, catalog, compact_after, bounds } = options;
        let bound = BoundPort::bind(&host, port).map_err(|source| ServerError::Port {
            host,
            port,
            source,
        })?;
        let folder = RealFolder::open(&dir).map_err(TableError::from)?;
        let options = Options {
            hash_seed: RandomState::new().hash_one(0),
            compact_after,
            max_bytes: memory(),
        };
        let Opened { table, report } = HashTable::open(folder, options)?;
        if let Some(torn) = &report.torn {
            warn!(
                "{}: cut off {} bytes from line {} on, as a crash leaves them unfinished (nothing behind says \
                 that they were synced): {}",
                torn.path, torn.bytes, torn.line, torn.damage
            );
        }
        let (failing, failed) = bounded(1);
        let tables = Arc::new(Tables {
            name: name.clone(),
            table,
            compactions: Mutex::default(),
            connections: Arc::default(),
            failed: failing,
        });
        let (stop, stopped) = bounded(0);
        let (compacting, compaction) = bounded(0);
        let its_tables = Arc::clone(&tables);
        thread::Builder::new()
            .name(format!("{name}-compaction"))
            .spawn(move || {
                compact(&its_tables, &stopped);
                // The folder is let go of before the end is told.
                drop(its_tables);
                drop::<Sender<()>>(compacting);
            })
            .map_err(ServerError::Thread)?;
        let served = Arc::clone(&tables);
        let port = LineServer::start(&name, bound, served, bounds).map_err(ServerError::Thread);
        let port = port.inspect_err(|_| tables.table.close())?;
        let registrar = catalog.map(|catalog| {
            let announcement = Announcement {
                kind: KIND.to_owned(),
                owner: owner(),
                port: port.address().port(),
                project: name,
            };
            Registrar::start(&catalog, announcement)
        });
        let stop = Some(stop);
        Ok(Self { tables, port, compaction, stop, failed, _registrar: registrar })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where it is told why the server cannot go on; it refuses all changes from then on.
    pub fn failed(&self) -> &Receiver<String> {
        &self.failed
    }

    /// Stops: no new connection, the open ones closed, a compaction ended at its next step.
    pub fn stop(&mut self) {
        self.tables.table.close();
        drop(self.stop.take());
        self.port.stop();
        // Nothing is ever sent: this waits for the end of the thread, or long enough.
        let _ = self.compaction.recv_timeout(PATIENCE);
    }
}

impl Drop for ClusterServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whose server this is, for the catalog.
fn owner() -> String {
    std::env::var("USER").unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string())
}

/// How much memory the entries may take: three quarters of what this machine has. Beyond it the system would
/// end the process sooner or later.
fn memory() -> usize {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(UNKNOWN_MEMORY).saturating_mul(1024) / 4 * 3
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The body of the compaction thread.
fn compact(tables: &Tables, stopped: &Receiver<()>) {
    let mut complained = None;
    while tables.table.wait_until_due() {
        let (begun, clock) = (unix_us(), Instant::now());
        let pause = match tables.table.compact() {
            Ok(()) => {
                complained = None;
                let mut compactions =
                    tables.compactions.lock().unwrap_or_else(PoisonError::into_inner);
                compactions.note(begun, unix_us());
                clock.elapsed() * REST
            }
            Err(TableError::Storage(StorageError::Interrupted)) => return,
            Err(TableError::Failed(_)) => {
                tables.report_failure();
                return;
            }
            Err(error) => {
                let said = error.to_string();
                if complained.as_ref() != Some(&said) {
                    warn!("{said}; the log goes on, and the compaction is tried again later");
                }
                complained = Some(said);
                AFTER_FAILURE
            }
        };
        if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}
