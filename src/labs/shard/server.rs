//! One node: its port, its threads, and the machine that they share.
//!
//! One port serves clients and neighbours, a thread a connection. The machine ([`crate::protocol::adjacent`]) is
//! behind the one lock, which nobody holds while he waits for a socket. A client's own thread makes the calls
//! of its update: no thread hands work to another. Each neighbour has one thread more, for what the node
//! does on its own: saying hello, hints, comparing.
//!
//! Clients that come before the node is brought up to date wait until it is.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::log::Log;
use super::peers::Peers;
use super::settings::{NodeAddress, Settings};
use crate::protocol::adjacent::{Config, Limits, Node, Served, Step};
use crate::runtime::line_server::{BoundPort, Bounds, Flow, LineServer, Refusal, Replies, Service};
use crate::wire::lines;
use crate::wire::lines::adjacent::{Reply, Request};
use crate::wire::lines::shard::{Kind, MAX_BODY, Message};

/// Why a node cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its port is taken.
    #[error(
        "ERROR: [Errno 98] Address already in use. Seems like a database is already running on this \
         node. Run stop_distributed_db to stop a database on all nodes."
    )]
    AddressInUse,
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no thread left.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// What a client is told of an update without a colon.
pub const NO_PAIR: &str = "ERROR: can not parse key-value in the received message. The pair WAS NOT \
                           added to the table. The correct format is <key>:<value>.";

/// How long a client waits for a node that is being brought up to date.
const LIVE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a neighbour's hello waits for the updates that are under way.
const HELLO_PATIENCE: Duration = Duration::from_secs(3);

/// Takes a node's port.
///
/// # Errors
/// The port is taken, or the host is not of this machine.
pub fn bind(host: &str, port: u16) -> Result<BoundPort, ServerError> {
    BoundPort::bind(host, port).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServerError::AddressInUse,
        _ => ServerError::Listen { address: super::settings::join(host, port), source },
    })
}

/// A node that serves.
pub struct ShardServer {
    shared: Arc<Shared>,
    port: LineServer<Shared>,
}

impl std::fmt::Debug for ShardServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardServer").field("address", &self.port.address()).finish()
    }
}

impl ShardServer {
    /// Begins to serve on a port as a node of the settings, or (`None`) as a database on its own. It answers clients
    /// once its neighbours have brought it up to date ([`ShardServer::wait_until_live`]).
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        settings: &Settings,
        node: Option<usize>,
        port: BoundPort,
        log: Log,
    ) -> Result<Self, ServerError> {
        let name = node.map_or("local".to_owned(), |node| format!("node{node}"));
        // A wall clock that goes back by less than the node was down does no harm: see `protocol::adjacent`.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let config = Config {
            me: number(node.unwrap_or(0)),
            nodes: if node.is_some() { number(settings.nodes.len()) } else { 1 },
            copies: if node.is_some() { number(settings.copies()) } else { 1 },
            clock: (since_1970.as_millis() as u64) << 16,
            limits: Limits::default(),
        };
        let machine = Node::new(config);
        let neighbours: Vec<u16> = machine.neighbours().collect();
        let shared = Arc::new(Shared {
            node: Mutex::new(machine),
            changed: Condvar::new(),
            peers: Peers::new(settings.nodes.iter().map(NodeAddress::address)),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            log,
        });
        // Copies are taken from here on; only then is a neighbour's hello to mean anything.
        let port = LineServer::start(&name, port, Arc::clone(&shared), Bounds::default())?;
        let server = Self { shared, port };
        for neighbour in neighbours {
            let shared = Arc::clone(&server.shared);
            thread::Builder::new()
                .name(format!("{name}-to-{neighbour}"))
                .spawn(move || shared.attend(neighbour))?;
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Waits until it answers clients: its neighbours have brought it up to date, or were passed over. Gives whether
    /// it does.
    pub fn wait_until_live(&self, patience: Duration) -> bool {
        self.shared.wait(patience, |node| node.is_live().then_some(())).is_some()
    }

    /// How many pairs it holds: its own, and copies.
    pub fn entries(&self) -> (usize, usize) {
        self.shared.lock().entries()
    }

    /// Stops; what it held is gone.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for ShardServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Under the lock, so that nobody misses it between looking and waiting. Who is in a call to a neighbour
        // ends when that is over.
        drop(self.shared.lock());
        self.shared.changed.notify_all();
        self.port.stop();
    }
}

struct Shared {
    node: Mutex<Node>,
    changed: Condvar,
    peers: Peers,
    started: Instant,
    stopping: AtomicBool,
    log: Log,
}

impl Service for Shared {
    type Session = ();

    fn open(&self, _peer: SocketAddr) {}

    fn line(&self, (): &mut (), line: &[u8], out: &mut Replies<'_>) -> io::Result<Flow> {
        match Message::parse(line) {
            Ok(message) => self.client(&message, &mut out.bytes),
            Err(wrong) => match lines::parse::<Request>(line) {
                Ok(request) => lines::write(&mut out.bytes, &self.neighbour(&request)),
                Err(_) => {
                    let shape = r#"{"type":"READ","body":"12345"}"#;
                    let body = format!("ERROR: expected a message such as {shape}: {wrong}");
                    reply(&mut out.bytes, Kind::Error, &body);
                }
            },
        }
        Ok(Flow::GoOn)
    }

    fn refusal(&self, refusal: Refusal) -> Vec<u8> {
        let mut out = Vec::new();
        reply(&mut out, Kind::Error, &format!("ERROR: {refusal}"));
        out
    }
}

fn reply(out: &mut Vec<u8>, kind: Kind, body: &str) {
    Message { kind, body: Cow::Borrowed(body), home: None }.write(out);
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the machine, and what follows from it.
    fn with<T>(&self, act: impl FnOnce(&mut Node, Duration) -> T) -> T {
        let mut node = self.lock();
        let result = act(&mut node, self.started.elapsed());
        let (news, nudge) = (node.take_news(), node.take_nudge());
        drop(node);
        if nudge {
            self.changed.notify_all();
        }
        for (key, value) in news {
            self.log.added(&key, &value);
        }
        result
    }

    /// Waits until the machine gives an answer; `None` when patience or the server ends.
    fn wait<T>(&self, patience: Duration, ask: impl Fn(&Node) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut node = self.lock();
        loop {
            let answer = ask(&node);
            let left = deadline.saturating_duration_since(Instant::now());
            if answer.is_some() || left.is_zero() || self.stopping.load(Ordering::Acquire) {
                return answer;
            }
            node = self.changed.wait_timeout(node, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn client(&self, message: &Message<'_>, out: &mut Vec<u8>) {
        let body = &*message.body;
        if body.len() > MAX_BODY {
            let length = body.len();
            let why = format!("ERROR: the message has {length} bytes, more than {MAX_BODY}");
            return reply(out, Kind::Error, &why);
        }
        if !self.lock().is_live()
            && self.wait(LIVE_PATIENCE, |node| node.is_live().then_some(())).is_none()
        {
            let why = "ERROR: the node is being brought up to date by its neighbours; try again";
            return reply(out, Kind::Error, why);
        }
        match message.kind {
            Kind::Update => match body.split_once(':') {
                Some((key, value)) => match self.update(message.home, key, value) {
                    Ok(()) => reply(out, Kind::UpdateAck, "Success"),
                    Err(why) => reply(out, Kind::Error, &format!("ERROR: {why}")),
                },
                None => reply(out, Kind::Error, NO_PAIR),
            },
            Kind::Read => {
                let found = self.lock().read(body).cloned();
                match found {
                    Some(value) => reply(out, Kind::ReadReply, &value),
                    None => {
                        let why = format!("ERROR: can not find a key {body} in the table.");
                        reply(out, Kind::Error, &why);
                    }
                }
            }
            other => {
                let why = format!(
                    "ERROR: expected a message of type UPDATE or READ, found {}",
                    other.word()
                );
                reply(out, Kind::Error, &why);
            }
        }
    }

    fn update(&self, home: Option<u16>, key: &str, value: &str) -> Result<(), String> {
        let mut step = self.with(|node, _| node.update(home, key, value));
        loop {
            step = match step {
                Step::Done(result) => return result.map_err(|error| error.to_string()),
                Step::Call(id, calls) => {
                    let mut next = Step::Wait;
                    self.peers.call_all(&calls, |to, reply| {
                        next = self.with(|node, now| node.copied(id, to, reply, now));
                    });
                    next
                }
                // The last outcome never says to wait; if the machine did, nobody would come.
                Step::Wait => return Err("the update is lost; its outcome is unknown".to_owned()),
            }
        }
    }

    fn neighbour(&self, request: &Request) -> Reply {
        match self.with(|node, now| node.serve(request, now)) {
            Served::Reply(reply) => reply,
            Served::WhenOver(barrier) => {
                let greeting = self.wait(HELLO_PATIENCE, |node| node.greeting(barrier));
                let why = || "updates that began before are still under way".to_owned();
                greeting.unwrap_or_else(|| Reply::Refused { why: why() })
            }
        }
    }

    /// Does what the node wants to do on its own towards a neighbour, until it stops.
    fn attend(&self, neighbour: u16) {
        while let Some(request) = self.next_call(neighbour) {
            let reply = self.peers.call(neighbour, &request);
            self.with(|node, now| node.answered(neighbour, reply.as_ref(), now));
        }
    }

    fn next_call(&self, neighbour: u16) -> Option<Request> {
        let mut node = self.lock();
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            let now = self.started.elapsed();
            if let Some(request) = node.next_call(neighbour, now) {
                return Some(request);
            }
            node = match node.wake_at(neighbour) {
                Some(then) => {
                    let pause = then.saturating_sub(now).max(Duration::from_millis(1));
                    let waited = self.changed.wait_timeout(node, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(node).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
