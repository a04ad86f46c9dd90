//! Calls to other nodes: pooled connections, and a bound on every wait.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::{ClientError, Connection, Options};
use crate::protocol::adjacent::Calls;
use crate::wire::lines;
use crate::wire::lines::adjacent::{Reply, Request};
use crate::wire::lines::shard::MAX_BODY;

/// How long a copy may take. A node that stands still costs the first update after it this much; then it is
/// passed over until it answers again.
const COPY_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a hello may take: a neighbour answers when its updates are over, each of which may wait for copies
/// twice.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// Less than this is not worth changing a timeout.
const LITTLE: Duration = Duration::from_millis(20);

/// The idle connections that are kept for each node.
const MOST_IDLE: usize = 32;

/// The longest reply: a page whose every character is escaped.
const MAX_REPLY: usize = 16 * MAX_BODY;

/// The other nodes.
#[derive(Debug)]
pub(super) struct Peers {
    nodes: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    address: String,
    idle: Mutex<Vec<Connection>>,
}

/// A connection on which a request has been sent.
struct Sent {
    connection: Connection,
    /// It was open before, so that its end may only mean that the node has been started anew.
    reused: bool,
}

impl Peers {
    pub(super) fn new(addresses: impl Iterator<Item = String>) -> Self {
        let peer = |address| Peer { address, idle: Mutex::default() };
        Self { nodes: addresses.map(peer).collect() }
    }

    /// Makes calls side by side; tells each outcome, in turn.
    pub(super) fn call_all(&self, calls: &Calls, mut outcome: impl FnMut(u16, Option<&Reply>)) {
        let sent: Vec<_> = calls
            .iter()
            .map(|(node, request)| {
                let peer = self.nodes.get(usize::from(*node));
                (*node, request, peer, peer.and_then(|peer| peer.send(request, true)))
            })
            .collect();
        let begun = Instant::now();
        for (node, request, peer, mut sent) in sent {
            // They wait side by side: what one has taken is gone for the next ones.
            let spent = begun.elapsed();
            if let Some(sent) = sent.as_mut().filter(|_| spent > LITTLE) {
                // If it cannot be set, the wait is a little longer.
                let _ = sent.connection.set_timeout(COPY_TIMEOUT.saturating_sub(spent));
            }
            let reply = peer.zip(sent).and_then(|(peer, sent)| peer.receive(sent, request));
            outcome(node, reply.as_ref());
        }
    }

    /// Makes one call.
    pub(super) fn call(&self, node: u16, request: &Request) -> Option<Reply> {
        let peer = self.nodes.get(usize::from(node))?;
        peer.receive(peer.send(request, true)?, request)
    }
}

impl Peer {
    /// Sends a request, over an idle connection where there is one.
    fn send(&self, request: &Request, reuse: bool) -> Option<Sent> {
        if reuse {
            while let Some(mut connection) = self.take() {
                lines::write(&mut connection.output, request);
                if connection.set_timeout(timeout(request)).is_ok() && connection.send().is_ok() {
                    return Some(Sent { connection, reused: true });
                }
            }
        }
        let options = Options { connect_timeout: COPY_TIMEOUT, timeout: timeout(request) };
        let mut connection = Connection::open(&self.address, &options).ok()?;
        lines::write(&mut connection.output, request);
        connection.send().ok()?;
        Some(Sent { connection, reused: false })
    }

    /// Waits for the reply.
    fn receive(&self, sent: Sent, request: &Request) -> Option<Reply> {
        let Sent { mut connection, reused } = sent;
        match connection.line(MAX_REPLY) {
            Ok(place) => {
                let reply = lines::parse(connection.bytes(place.start, place.end)).ok()?;
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < MOST_IDLE {
                    idle.push(connection);
                }
                Some(reply)
            }
            // What was asked may be asked twice.
            Err(ClientError::Lost { .. }) if reused => {
                self.receive(self.send(request, false)?, request)
            }
            Err(_) => None,
        }
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

fn timeout(request: &Request) -> Duration {
    if matches!(request, Request::Hello { .. }) { HELLO_TIMEOUT } else { COPY_TIMEOUT }
}
