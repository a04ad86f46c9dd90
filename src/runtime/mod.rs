//! The threaded runtime: runs [`crate::node`] with real threads, sockets and files.
//!
//! Each replica has a client-port thread and a broadcast-port thread. Their children are the sessions (one
//! a client), the links (one a peer, reading), and for what must wait: a writer thread a link (for a
//! peer that takes no data), a disk thread (syncs), one for compaction, and a timer. `replica.rs` tells how
//! they share the node.

mod asks;
mod broadcast_port;
mod budget;
mod client_port;
mod clock;
mod disk;
mod error;
mod gate;
mod gather;
mod inbox;
mod lab;
pub mod line_server;
mod link;
mod ports;
mod recorder;
mod recording;
mod replica;
mod session;
mod sessions;
mod settings;
mod slot;
mod stats;
mod sync;
mod timer;
pub mod two_phase;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::base::{KeptLog, Op, Outcome, ReplicaId, StoreRule, Value};
use crate::node::Node;
use crate::protocol::{Mode, Reads, Recovered, Setup, Tail};
use crate::wire::Failure;
use crate::wire::peer::Message;
use broadcast_port::Door;
use clock::Clock;
use crossbeam_channel::{Receiver, Sender, unbounded};
use ports::Owner;
use replica::Replica;
use settings::fresh_number;
use slot::Slot;

pub use error::StartError;
pub use recorder::{RecordError, Recorder, Track};
pub use recording::{BeginError, Deliveries};
pub use settings::{InitialValue, Place, Settings, SyncPolicy};

/// Something that the one who started a host wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A replica can no longer write its disk and has stopped.
    Failed(ReplicaId, String),
    /// The process is asked to stop.
    Stop,
}

/// How long a replica that begins without data waits for a peer who may know what it had.
const PATIENCE: Duration = Duration::from_millis(300);

/// A replica that runs.
struct Running {
    replica: Arc<Replica>,
    clients: SocketAddr,
    broadcast: SocketAddr,
    storage: PathBuf,
    threads: Vec<JoinHandle<()>>,
}

/// The replicas that run in this process.
pub struct Host {
    running: Vec<Running>,
    notices: Receiver<Notice>,
    notify: Sender<Notice>,
}

/// Where a running replica can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Which replica.
    pub id: ReplicaId,
    /// Its client port.
    pub clients: SocketAddr,
    /// Its broadcast port.
    pub broadcast: SocketAddr,
    /// Its store.
    pub storage: PathBuf,
}

impl Host {
    /// Opens the stores, takes all ports and starts the threads of these replicas. Nothing is served
    /// unless all of it succeeds.
    ///
    /// # Errors
    /// A port that is taken, a store that cannot be opened or is damaged, a mode that is not built.
    pub fn start(mut settings: Settings, places: &[Place]) -> Result<Self, StartError> {
        let build = settings.mode.build.ok_or(StartError::NotBuilt(settings.mode.name))?;
        let (notify, notices) = unbounded();
        let mut ports = Vec::new();
        for place in places {
            let clients = listen(place, "client port", place.client_port)?;
            let broadcast = if settings.shares_port(place) {
                None
            } else {
                Some(listen(place, "broadcast port", place.broadcast_port)?)
            };
            // Port 0 is a port of the system's choice: the others have to be told.
            let address = broadcast.as_ref().unwrap_or(&clients).local_addr();
            let address = address.map_err(StartError::Thread)?;
            settings.broadcast_addresses[place.id.index()] = address.to_string();
            ports.push((clients, broadcast));
        }
        settings.request_memory = settings.request_memory.max(4 * settings.limits.max_value);
        let clock = Clock::start();
        let mut opened = Vec::new();
        for place in places {
            let store = disk::open(&place.folder, &settings)
                .map_err(|source| StartError::Store { id: place.id, source })?;
            if !store.is_of(settings.mode) {
                let (id, mode) = (place.id, settings.mode.name);
                let file = place.folder.join("storage.txt");
                return Err(StartError::OtherMode { id, mode, file });
            }
            opened.push(store);
        }
        let mut running = Vec::new();
        for ((place, (clients, broadcast)), store) in places.iter().zip(ports).zip(opened) {
            let setup = Setup {
                me: place.id,
                replicas: settings.replicas,
                life: fresh_number(),
                write_delay: settings.write_delay,
                remember_own: settings.mode.reply_at == crate::protocol::ReplyAt::Submission,
                backlog: settings.backlog,
                tail: Tail::default(),
                patience: if settings.control { Duration::ZERO } else { PATIENCE },
                recovered: Recovered::default(),
            };
            let node =
                Node::new(settings.mode, build, setup, store.store, store.pending, store.kept);
            let replica =
                Replica::new(place.id, settings.clone(), clock, node, store.disk, notify.clone());
            running.push(Running::start(Arc::new(replica), clients, broadcast, &place.folder)?);
        }
        Ok(Self { running, notices, notify })
    }

    /// Where the replicas can be reached.
    pub fn addresses(&self) -> Vec<Address> {
        let address = |r: &Running| Address {
            id: r.replica.id,
            clients: r.clients,
            broadcast: r.broadcast,
            storage: r.storage.clone(),
        };
        self.running.iter().map(address).collect()
    }

    /// What can be sent to be received by [`Host::wait`]: a signal handler's way in.
    pub fn notifier(&self) -> Sender<Notice> {
        self.notify.clone()
    }

    /// Waits for the next notice; a replica that failed is stopped already.
    pub fn wait(&mut self) -> Notice {
        // The host holds a sender itself, so the channel cannot be closed.
        let notice = self.notices.recv().unwrap_or(Notice::Stop);
        if let Notice::Failed(id, _) = &notice
            && let Some(at) = self.running.iter().position(|r| r.replica.id == *id)
        {
            stop_all(vec![self.running.remove(at)]);
        }
        notice
    }

    /// How many replicas still run.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none runs any more.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits until all hosted replicas take writes.
    ///
    /// `false` when the time has passed, or when one of them cannot any more.
    pub fn wait_live(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let next = deadline.min(Instant::now() + Duration::from_millis(50));
            if self.running.iter().all(|r| r.replica.wait_live(next)) {
                return true;
            }
            if self.running.iter().any(|r| r.replica.stopping()) || Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Why a replica has failed, if one has and [`Host::wait`] has not told it.
    pub fn failure(&self) -> Option<String> {
        self.notices.try_iter().find_map(|notice| match notice {
            Notice::Failed(_, why) => Some(why),
            Notice::Stop => None,
        })
    }

    /// Writes initial values as soon as the first hosted replica takes writes, in the background: the
    /// replicas of other processes may come much later.
    pub fn init_when_live(&self, values: Vec<InitialValue>) {
        let Some(first) = self.running.first() else { return };
        if values.is_empty() {
            return;
        }
        let replica = Arc::clone(&first.replica);
        let spawned =
            thread::Builder::new().name(format!("r{}-init", replica.id)).spawn(move || {
                while !replica.stopping() {
                    if replica.wait_live(Instant::now() + Duration::from_secs(1)) {
                        for failure in
                            submit_initial(&replica, &values).into_iter().filter_map(Result::err)
                        {
                            tracing::warn!("replica {}: initial value: {failure}", replica.id);
                        }
                        return;
                    }
                }
            });
        if let Err(error) = spawned {
            tracing::warn!("cannot start a thread for the initial values: {error}");
        }
    }

    /// Writes initial values where there is no such key, through the first hosted replica, in the order
    /// that all replicas share and without the write delay. Waits until all hosted replicas have them.
    ///
    /// # Errors
    /// What a client would have been told.
    pub fn init(&self, values: &[InitialValue]) -> Result<(), String> {
        let Some(first) = self.running.first() else { return Ok(()) };
        for result in submit_initial(&first.replica, values) {
            result.map_err(|failure| failure.to_string())?;
        }
        let deadline = Instant::now() + first.replica.settings.write_timeout;
        let all_have = |r: &Running| {
            values.iter().all(|InitialValue { key, .. }| {
                r.replica.look(|node, now| node.store().table().get(key, now.unix_ms).is_some())
            })
        };
        while !self.running.iter().all(all_have) {
            if Instant::now() > deadline {
                return Err("the initial values have not reached all replicas in time".to_owned());
            }
            first.replica.pause(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Stops all replicas: no new connection, sessions ended, stores written and synced.
    pub fn stop(self) {
        stop_all(self.running);
    }
}

/// Has initial values written where there is no such key, without the write delay.
fn submit_initial(replica: &Replica, values: &[InitialValue]) -> Vec<Result<Outcome, Failure>> {
    let store = |InitialValue { key, data }: &InitialValue| Op::Store {
        key: key.clone(),
        value: Value { data: data.clone(), ..Value::default() },
        rule: StoreRule::IfAbsent,
    };
    replica.execute(&Arc::new(Slot::default()), &mut values.iter().map(store).collect(), true)
}

fn listen(place: &Place, what: &'static str, port: u16) -> Result<TcpListener, StartError> {
    ports::bind(&place.host, port).map_err(|source| StartError::Port {
        id: place.id,
        what,
        host: place.host.clone(),
        port,
        source,
    })
}

impl Running {
    fn start(
        replica: Arc<Replica>,
        clients: TcpListener,
        broadcast: Option<TcpListener>,
        folder: &Path,
    ) -> Result<Self, StartError> {
        let peers_at = broadcast.as_ref().unwrap_or(&clients);
        let mut running = Self {
            clients: clients.local_addr().map_err(StartError::Thread)?,
            broadcast: peers_at.local_addr().map_err(StartError::Thread)?,
            storage: folder.join("storage.txt"),
            threads: Vec::new(),
            replica: Arc::clone(&replica),
        };
        match broadcast {
            Some(port) => {
                running.spawn("broadcast-port", move |r| broadcast_port::listen(r, &port))?;
                running.spawn("client-port", move |r| client_port::listen(r, &clients, None))?;
            }
            None => running.spawn("port", move |r| {
                client_port::listen(r, &clients, Some(&Arc::new(Door::new(r))));
            })?,
        }
        running.spawn("disk", |r| r.run_disk())?;
        running.spawn("compaction", |r| r.run_compaction())?;
        running.spawn("timer", |r| r.run_timer())?;
        for peer in replica.peers() {
            running.spawn("link-out", move |r| r.link(peer).write_blocked(|| ()))?;
            if peer < replica.id {
                running.spawn("link-in", move |r| broadcast_port::keep_dialing(r, peer))?;
            }
        }
        Ok(running)
    }

    fn spawn(
        &mut self,
        name: &str,
        body: impl FnOnce(&Arc<Replica>) + Send + 'static,
    ) -> Result<(), StartError> {
        let replica = Arc::clone(&self.replica);
        let thread = thread::Builder::new()
            .name(format!("r{}-{name}", replica.id))
            .spawn(move || body(&replica))
            .map_err(StartError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

/// Stops replicas together, so that none waits for another that is gone.
fn stop_all(running: Vec<Running>) {
    for r in &running {
        r.replica.stop.store(true, Ordering::Release);
        r.replica.wake_all();
        for port in [r.clients, r.broadcast] {
            ports::wake(port);
        }
    }
    let deadline = Instant::now() + Duration::from_millis(500);
    for r in running {
        r.replica.sessions.end_all(deadline);
        for thread in r.threads {
            // A thread that panicked has said so on stderr.
            let _ = thread.join();
        }
        r.replica.disk.close();
    }
}

/// A store that has been opened, and what goes with it.
struct Opened {
    store: crate::storage::Store,
    pending: Vec<Message>,
    kept: KeptLog,
    disk: disk::Disk,
}

impl Opened {
    /// Whether a replica of this mode can go on with it: those that vote say so in their files, and so do those
    /// that have no one order.
    fn is_of(&self, mode: &Mode) -> bool {
        let votes = self.kept.ballot.is_some();
        let is_used =
            self.store.position() > 0 || self.store.incarnation() > 0 || !self.pending.is_empty();
        if !is_used {
            return true;
        }
        let merged = self.store.is_merged();
        (votes, merged) == (mode.reads == Reads::Current, mode.has_versions())
    }
}
