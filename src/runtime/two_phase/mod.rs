//! The threads of the two-phase commit lab: [`serve_coordinator`] and [`serve_participant`] run the machines of
//! [`crate::protocol::two_phase`].
//!
//! ```text
//! 2pc-client-port   the coordinator's port: accepts clients, and the dials of participants that only look whether
//!                   anybody listens
//! 2pc-session       one a client: reads requests, hands them over with a ticket, waits for none of them
//! 2pc-p0-link       one a participant: dials, greets, reads frames
//! 2pc-p0-link-out   waits where sending to a participant would wait
//! 2pc-timer         heartbeats, leases
//!
//! 2pc-port          the participant's port: accepts coordinators, turns all others away
//! 2pc-coordinator   one a connection of a coordinator: reads frames
//! 2pc-timer         what the machine does by itself
//! 2pc-alive         speaks for a connection's thread that is busy for long
//! 2pc-probe         while nothing is heard: looks whether the coordinator's port still listens
//! 2pc-compaction    writes the log anew when most of it is garbage
//!
//! 2pc-writer        while a client, or a coordinator, does not take what is sent to it
//! ```
//!
//! Whoever has an input locks the machine, hands it over, moves what follows into the queues, unlocks, and sends
//! itself; in the coordinator, whoever finds it locked leaves the input there. Nobody holds the machine, or a queue,
//! across a write to a socket, a sync or a wait. The thread that reads the last DONE of a transaction sends the reply
//! to the client; no other has to wake up for it.
//!
//! **The end of an incarnation.** A participant takes a refused connection to the coordinator's port for the end of
//! that coordinator. So the port is closed after the machine has been stopped, never before.

mod client;
mod coordinator;
mod intake;
mod outbox;
mod participant;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, unbounded};
use thiserror::Error;
use tracing::error;

use super::ports::{self, Owner};
use super::sync::{lock, pause};
use super::timer::Timer;
use crate::protocol::two_phase::{Limits, MAX_PARTICIPANTS, Timing};
use crate::storage::StorageError;
use crate::wire::two_phase::MAX_FRAME;

/// The most bytes that wait for one side of a link: all that may be under way, and one largest frame.
const LINK_BOUND: usize = 3 * MAX_FRAME;

/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a new connection may take to say what it is.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the other side of a link may say nothing until the connection is given up. The coordinator's machine
/// judges silence much earlier, and a new connection replaces an old one: this only clears away what is left.
const SILENCE: Duration = Duration::from_secs(30);

/// What a coordinator runs with.
#[derive(Clone, Debug)]
pub struct CoordinatorSettings {
    /// Where to listen, `HOST:PORT`; port 0 lets the system choose.
    pub listen: String,
    /// Where the participants listen, `HOST:PORT` each.
    pub participants: Vec<String>,
    /// The times to go by.
    pub timing: Timing,
    /// How much may be under way.
    pub limits: Limits,
    /// The most clients at a time.
    pub connections: usize,
    /// Memory for large requests and replies of all clients together, in bytes.
    pub memory: usize,
}

impl CoordinatorSettings {
    /// The defaults.
    pub fn new(listen: impl Into<String>, participants: Vec<String>) -> Self {
        Self {
            listen: listen.into(),
            participants,
            timing: Timing::default(),
            limits: Limits::default(),
            connections: 10_000,
            memory: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// What a participant runs with.
#[derive(Clone, Debug)]
pub struct ParticipantSettings {
    /// Where to listen, `HOST:PORT`; port 0 lets the system choose.
    pub listen: String,
    /// Where the coordinator listens, `HOST:PORT`.
    pub coordinator: String,
    /// The folder of its log; without one, all is kept in memory alone.
    pub data: Option<PathBuf>,
    /// How many bytes it holds at most, about; beyond it, it votes NO.
    pub max_bytes: usize,
    /// The times to go by.
    pub timing: Timing,
}

impl ParticipantSettings {
    /// The defaults.
    pub fn new(listen: impl Into<String>, coordinator: impl Into<String>) -> Self {
        Self {
            listen: listen.into(),
            coordinator: coordinator.into(),
            data: None,
            max_bytes: 64 * 1024 * 1024 * 1024,
            timing: Timing::default(),
        }
    }
}

/// Why a coordinator or a participant cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The port cannot be had.
    #[error("cannot listen on {address} (is another server running there?)")]
    Port {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The log cannot be used.
    #[error("cannot use the log")]
    Log(#[from] StorageError),
    /// A coordinator without participants, or with more than there may be.
    #[error("expected 1 to {MAX_PARTICIPANTS} participants, found {0}")]
    Participants(usize),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Something that the one who started a server wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The log can no longer be written; the participant has stopped.
    Failed(String),
    /// The process is asked to stop.
    Stop,
}

/// A coordinator or a participant that runs. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    life: Arc<Life>,
    /// Ends what only this kind of server has, when `life` has ended.
    end: Box<dyn Fn() + Send + Sync>,
    threads: Vec<JoinHandle<()>>,
    notices: Receiver<Notice>,
}

/// Starts a coordinator.
///
/// # Errors
/// Its port is taken, or there are no participants, or too many.
pub fn serve_coordinator(settings: CoordinatorSettings) -> Result<Server, StartError> {
    coordinator::start(settings)
}

/// Starts a participant.
///
/// # Errors
/// Its port is taken, or its log cannot be used or is damaged.
pub fn serve_participant(settings: ParticipantSettings) -> Result<Server, StartError> {
    participant::start(settings)
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can be sent to be received by [`Server::wait`]: a signal handler's way in.
    pub fn notifier(&self) -> Sender<Notice> {
        self.life.notify.clone()
    }

    /// Waits for the next notice.
    pub fn wait(&self) -> Notice {
        // `life` holds a sender, so the channel cannot be closed.
        self.notices.recv().unwrap_or(Notice::Stop)
    }

    /// Stops it: connections closed, the log synced. Within a second.
    pub fn stop(mut self) {
        self.shut();
    }

    fn shut(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        self.life.end();
        (self.end)();
        ports::wake(self.address);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr.
            let _ = thread.join();
        }
    }

    fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let thread = thread::Builder::new().name(name).spawn(body).map_err(StartError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut();
    }
}

/// What both kinds of server have: a name, a clock, a timer, an end.
#[derive(Debug)]
struct Life {
    name: &'static str,
    started: Instant,
    stop: AtomicBool,
    failed: AtomicBool,
    paused: Mutex<()>,
    stopped: Condvar,
    timer: Timer,
    notify: Sender<Notice>,
}

impl Owner for Life {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn pause(&self, time: Duration) {
        pause(&self.paused, &self.stopped, time, || self.stopping());
    }
}

impl Life {
    fn begin(name: &'static str) -> (Arc<Self>, Receiver<Notice>) {
        let (notify, notices) = unbounded();
        let life = Self {
            name,
            started: Instant::now(),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            paused: Mutex::default(),
            stopped: Condvar::new(),
            timer: Timer::default(),
            notify,
        };
        (Arc::new(life), notices)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        drop(lock(&self.paused));
        self.stopped.notify_all();
        self.timer.wake();
    }

    /// The body of the timer's thread: does `work` whenever a deadline has come.
    fn run_timer(&self, work: impl Fn()) {
        self.timer.run(|| self.now(), || self.stopping(), work);
    }

    /// Ends because the log cannot be written: nothing is said from here on.
    fn fail(&self, why: &str) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            error!("{}: {why}; it stops serving", self.name);
            self.end();
            // If nobody listens, nobody wants to know.
            let _ = self.notify.send(Notice::Failed(why.to_owned()));
        }
    }
}

/// The wall clock in nanoseconds: greater at every start.
fn incarnation() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// Listens, so that the address can be used again right after a restart.
fn bind(address: &str) -> Result<std::net::TcpListener, StartError> {
    ports::bind_to(address)
        .map_err(|source| StartError::Port { address: address.to_owned(), source })
}
