//! One node: its port, its table, what it prints.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::settings::Settings;
use crate::runtime::line_server::{BoundPort, Bounds, Flow, LineServer, Refusal, Replies, Service};
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
    port: LineServer<Node>,
}

impl std::fmt::Debug for ShardServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardServer").field("address", &self.port.address()).finish()
    }
}

impl ShardServer {
    /// Begins to serve on a port as a node of the settings, or (`None`) as a database on its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        _settings: &Settings,
        node: Option<usize>,
        port: BoundPort,
    ) -> Result<Self, ServerError> {
        let name = node.map_or("local".to_owned(), |node| format!("node{node}"));
        let node = Arc::new(Node { table: Mutex::default() });
        Ok(Self { port: LineServer::start(&name, port, node, Bounds::default())? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Stops; what it held is gone.
    pub fn stop(mut self) {
        self.port.stop();
    }
}

struct Node {
    table: Mutex<HashMap<String, String>>,
}

impl Service for Node {
    type Session = ();

    fn open(&self, _peer: SocketAddr) {}

    fn line(&self, (): &mut (), line: &[u8], out: &mut Replies<'_>) -> io::Result<Flow> {
        let (kind, body) = match Message::parse(line) {
            Ok(message) => self.answer(&message),
            Err(error) => (Kind::Error, format!("ERROR: can not parse the message: {error}")),
        };
        Message { kind, body: body.into(), home: None }.write(&mut out.bytes);
        Ok(Flow::GoOn)
    }

    fn refusal(&self, refusal: Refusal) -> Vec<u8> {
        let mut out = Vec::new();
        let body = format!("ERROR: {refusal}").into();
        Message { kind: Kind::Error, body, home: None }.write(&mut out);
        out
    }
}

impl Node {
    fn answer(&self, message: &Message<'_>) -> (Kind, String) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let body = &*message.body;
        if body.len() > MAX_BODY {
            return (Kind::Error, format!("ERROR: the message is longer than {MAX_BODY} bytes"));
        }
        match message.kind {
            Kind::Update => match body.split_once(':') {
                Some((key, value)) => {
                    table.insert(key.to_owned(), value.to_owned());
                    (Kind::UpdateAck, "Success".to_owned())
                }
                None => (Kind::Error, NO_PAIR.to_owned()),
            },
            Kind::Read => match table.get(body) {
                Some(value) => (Kind::ReadReply, value.clone()),
                None => (Kind::Error, format!("ERROR: can not find a key {body} in the table.")),
            },
            _ => (Kind::Error, "ERROR: expected a message of type UPDATE or READ".to_owned()),
        }
    }
}
