//! A server's thread that tells a catalog of it: at once, and once a minute from then on.
//!
//! It never fails. A catalog that is away is tried again, soon at first, and the server serves meanwhile.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{info, warn};

use crate::client::catalog::{Announcement, Catalog};

/// How often a catalog hears of a server.
const INTERVAL: Duration = Duration::from_secs(60);

/// How soon a catalog that does not listen is tried again; twice as long each time, up to the interval.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Registrar {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Registrar {
    /// Begins to tell the catalog at `HOST:PORT`.
    pub fn start(catalog: &str, announcement: Announcement) -> Self {
        let catalog = Catalog::new(catalog);
        let (stop, stopped) = bounded(0);
        let spawned = thread::Builder::new()
            .name("registrar".to_owned())
            .spawn(move || run(&catalog, &announcement, &stopped));
        if let Err(error) = &spawned {
            warn!("cannot start the thread that registers with the catalog: {error}");
        }
        Self { stop: Some(stop), thread: spawned.ok() }
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            // Else it may be waiting for a name server, and is left to end by itself.
            let _ = thread.join();
        }
    }
}

fn run(catalog: &Catalog, announcement: &Announcement, stopped: &Receiver<()>) {
    let mut retry = FIRST_RETRY;
    let mut warned = false;
    loop {
        let wait = match catalog.announce(announcement) {
            Ok(()) => {
                if std::mem::take(&mut warned) {
                    info!("registered with the catalog {}", catalog.address());
                }
                retry = FIRST_RETRY;
                INTERVAL
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    warn!("{}: {error}; trying again", announcement.project);
                }
                let wait = retry;
                retry = (retry * 2).min(INTERVAL);
                wait
            }
        };
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
    }
}
