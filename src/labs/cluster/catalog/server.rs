//! The catalog's threads: one that listens to registrations, and the port for queries with its sessions.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::warn;

use super::http::Pages;
use super::table::{MAX_DATAGRAM, Table};
use crate::runtime::line_server::{BoundPort, Bounds, LineServer};

/// How often the listener looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What is dropped is told of once in so long a time.
const COMPLAIN: Duration = Duration::from_secs(1);

/// How often another port is tried, where the system chooses one for TCP that UDP cannot have.
const TRIES: usize = 100;

/// The port's bounds: short lines, and nobody holds a connection without a word.
const BOUNDS: Bounds = Bounds {
    connections: 2_000,
    line: 8 * 1024,
    memory: 1 << 20,
    idle: Some(Duration::from_secs(10)),
};

/// A catalog that serves.
pub struct CatalogServer {
    http: LineServer<Pages>,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl CatalogServer {
    /// Takes the port for TCP and UDP alike (0 lets the system choose) and begins to serve.
    ///
    /// # Errors
    /// The host has no address, the port is taken, or there is no thread left.
    pub fn start(host: &str, port: u16, lifetime: Duration) -> io::Result<Self> {
        let (port, socket) = bind(host, port)?;
        socket.set_read_timeout(Some(LOOK))?;
        let table = Arc::new(Mutex::new(Table::new(lifetime.as_secs())));
        let stop = Arc::new(AtomicBool::new(false));
        let pages = Pages { table: Arc::clone(&table), now: unix_seconds };
        let http = LineServer::start("catalog", port, Arc::new(pages), BOUNDS)?;
        let its_stop = Arc::clone(&stop);
        let listener = thread::Builder::new()
            .name("catalog-udp".to_owned())
            .spawn(move || listen(&socket, &table, &its_stop))?;
        Ok(Self { http, stop, listener: Some(listener) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Stops.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.http.stop();
        if let Some(listener) = self.listener.take() {
            // A thread that panicked has said so on stderr.
            let _ = listener.join();
        }
    }
}

impl Drop for CatalogServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bind(host: &str, port: u16) -> io::Result<(BoundPort, UdpSocket)> {
    let mut tries = 0;
    loop {
        let bound = BoundPort::bind(host, port)?;
        match UdpSocket::bind(bound.address()) {
            Ok(socket) => return Ok((bound, socket)),
            Err(error) if port == 0 && error.kind() == ErrorKind::AddrInUse && tries < TRIES => {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn listen(socket: &UdpSocket, table: &Mutex<Table>, stop: &AtomicBool) {
    let mut buffer = vec![0; MAX_DATAGRAM + 1];
    let mut complaints = Complaints { dropped: 0, last: None };
    while !stop.load(Ordering::Acquire) {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let address = from.ip().to_canonical();
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(why) = table.register(&buffer[..length], address, unix_seconds()) {
                    drop(table);
                    complaints.note(&format!("from {from}: {why}"));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                complaints.note(&error.to_string());
                thread::sleep(LOOK);
            }
        }
    }
}

/// What has been dropped, said now and then.
struct Complaints {
    dropped: u64,
    last: Option<Instant>,
}

impl Complaints {
    fn note(&mut self, why: &str) {
        self.dropped += 1;
        if self.last.is_none_or(|last| last.elapsed() >= COMPLAIN) {
            self.last = Some(Instant::now());
            warn!("catalog: {} datagrams dropped so far; the last {why}", self.dropped);
        }
    }
}

fn unix_seconds() -> u64 {
    // A clock before 1970 is taken for 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
