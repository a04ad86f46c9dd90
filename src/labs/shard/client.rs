//! A client of the database: messages to one node, or spread over the nodes by the placement function.
//!
//! The client places keys; the nodes do not forward. With copies it tries the nodes that hold the key in turn
//! when one is down. Every wait is bounded ([`Options`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};

use super::settings::{Settings, join, split_place};
use crate::client::routing::Placement;
use crate::client::{Certainty, ClientError, Connection, Options};
use crate::wire::lines::shard::{Kind, MAX_BODY, Message};

/// The longest line that is taken as a reply: a body with every character escaped, and what stands around it.
const MAX_REPLY: usize = 6 * MAX_BODY + 1024;

/// A node's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its type.
    pub kind: Kind,
    /// The address of the node that gave it.
    pub address: String,
    /// Its text.
    pub body: String,
}

impl Answer {
    /// Whether the node did what it was asked.
    pub fn is_success(&self) -> bool {
        self.kind != Kind::Error
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The node cannot be asked.
    #[error("{}", describe(name, error))]
    Node {
        /// What it is called.
        name: String,
        /// What went wrong. The message says all of it; it is no source of its own.
        error: ClientError,
    },
    /// None of the nodes that hold the key can be asked.
    #[error("none of the nodes that hold the key answered: {}", why.join("; "))]
    NoCopy {
        /// What each of them failed with.
        why: Vec<String>,
        /// Whether it definitely did not happen.
        certainty: Certainty,
    },
    /// The address makes no sense.
    #[error("expected a node of the settings, HOST or HOST:PORT, found {0:?}")]
    Host(String),
    /// The message is too long to be sent.
    #[error("the message has {0} bytes; a node takes at most {MAX_BODY}")]
    TooLong(usize),
}

impl SendError {
    /// Whether the update definitely did not happen, or may have.
    pub fn certainty(&self) -> Certainty {
        match self {
            Self::Node { error, .. } => error.certainty(),
            Self::NoCopy { certainty, .. } => *certainty,
            Self::Host(_) | Self::TooLong(_) => Certainty::Fail,
        }
    }
}

fn describe(name: &str, error: &ClientError) -> String {
    match error {
        ClientError::NothingListens { to } => format!(
            "the node {name} is down: nothing listens on {to}; start it with start_distributed_db \
             (or start_local_db)"
        ),
        ClientError::Address { to, why } => format!(
            "unknown host {name} ({to}): {why}; expected a node of settings.cfg or a host that the \
             system knows"
        ),
        error => format!("the node {name}: {error}"),
    }
}

/// Where messages go.
#[derive(Debug)]
pub struct ShardClient<'a> {
    settings: &'a Settings,
    placement: Placement,
    options: Options,
    open: HashMap<String, Connection>,
}

impl<'a> ShardClient<'a> {
    /// A client that has no connection yet.
    pub fn new(settings: &'a Settings, options: Options) -> Self {
        Self { settings, placement: settings.placement(), options, open: HashMap::new() }
    }

    /// The address of what `-a` names: a node of the settings by its name, or any HOST or HOST:PORT.
    ///
    /// # Errors
    /// [`SendError::Host`]
    pub fn address_of(&self, host: &str) -> Result<String, SendError> {
        if let Some(node) = self.settings.node(host) {
            return Ok(self.settings.nodes[node].address());
        }
        let (host, port) = split_place(host).ok_or_else(|| SendError::Host(host.to_owned()))?;
        Ok(join(&host, port.unwrap_or(self.settings.port)))
    }

    /// The numeric address of `HOST:PORT`, IPv4 where there is a choice; the text itself where the system does
    /// not know the host (to connect fails then, and says why).
    pub fn numeric(address: &str) -> String {
        let Ok(found) = address.to_socket_addrs() else { return address.to_owned() };
        let found: Vec<SocketAddr> = found.collect();
        let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
        best.map_or_else(|| address.to_owned(), ToString::to_string)
    }

    /// The number of the node that a message's key belongs to.
    pub fn home_of(&self, kind: Kind, body: &str) -> usize {
        self.placement.primary(key_of(kind, body))
    }

    /// The nodes that hold a home's pairs, in the order in which they are tried.
    pub fn holders(&self, home: usize) -> impl Iterator<Item = usize> + use<> {
        self.settings.holders(home)
    }

    /// Asks one node, which is then the home of the pair.
    ///
    /// # Errors
    /// The node gives no reply.
    pub fn send_to(&mut self, host: &str, kind: Kind, body: &str) -> Result<Answer, SendError> {
        let address = Self::numeric(&self.address_of(host)?);
        self.ask(host, &address, kind, body, None)
    }

    /// Asks one node of the settings about a pair of this home.
    ///
    /// # Errors
    /// As for [`ShardClient::send_to`].
    pub fn send_home(
        &mut self,
        node: usize,
        kind: Kind,
        body: &str,
        home: usize,
    ) -> Result<Answer, SendError> {
        let settings = self.settings;
        let node = &settings.nodes[node % settings.nodes.len()];
        // With the simple handler a node has no copies and no number of the home.
        let home = if self.settings.copies() > 1 { u16::try_from(home).ok() } else { None };
        self.ask(&node.name, &Self::numeric(&node.address()), kind, body, home)
    }

    /// Asks the nodes that hold the key in turn, until one replies; `before` is told of each try.
    ///
    /// # Errors
    /// None of them replies.
    pub fn send(
        &mut self,
        kind: Kind,
        body: &str,
        mut before: impl FnMut(&str),
    ) -> Result<Answer, SendError> {
        let home = self.home_of(kind, body);
        let mut failed = Vec::new();
        for node in self.settings.holders(home) {
            before(&Self::numeric(&self.settings.nodes[node].address()));
            match self.send_home(node, kind, body, home) {
                Err(error @ SendError::Node { .. }) => failed.push(error),
                other => return other,
            }
        }
        if failed.len() == 1 {
            failed.into_iter().next().map_or(Err(SendError::TooLong(body.len())), Err)
        } else {
            let unknown = failed.iter().any(|error| error.certainty() == Certainty::Unknown);
            let certainty = if unknown { Certainty::Unknown } else { Certainty::Fail };
            let why = failed.iter().map(ToString::to_string).collect();
            Err(SendError::NoCopy { why, certainty })
        }
    }

    /// Writes a pair where the placement function says.
    ///
    /// # Errors
    /// As for [`ShardClient::send`].
    pub fn update(&mut self, key: &str, value: &str) -> Result<Answer, SendError> {
        self.send(Kind::Update, &format!("{key}:{value}"), |_| {})
    }

    /// Reads a value from where the placement function says.
    ///
    /// # Errors
    /// As for [`ShardClient::send`].
    pub fn read(&mut self, key: &str) -> Result<Answer, SendError> {
        self.send(Kind::Read, key, |_| {})
    }

    fn ask(
        &mut self,
        name: &str,
        address: &str,
        kind: Kind,
        body: &str,
        home: Option<u16>,
    ) -> Result<Answer, SendError> {
        if body.len() > MAX_BODY {
            return Err(SendError::TooLong(body.len()));
        }
        let failed = |error| SendError::Node { name: name.to_owned(), error };
        let message = Message { kind, body: Cow::Borrowed(body), home };
        if let Some(open) = self.open.remove(address) {
            match self.exchange(open, &message) {
                // The node has closed it since: it was started anew, or it is down. The same pair may come twice.
                Err(ClientError::Lost { .. }) => {}
                other => return other.map_err(failed),
            }
        }
        let fresh = Connection::open(address, &self.options).map_err(failed)?;
        self.exchange(fresh, &message).map_err(failed)
    }

    fn exchange(
        &mut self,
        mut connection: Connection,
        message: &Message<'_>,
    ) -> Result<Answer, ClientError> {
        message.write(&mut connection.output);
        connection.send()?;
        let answer = read_reply(&mut connection)?;
        self.open.insert(connection.to().to_owned(), connection);
        Ok(answer)
    }
}

/// The key that a message is about; of an update without a colon, its whole body.
pub fn key_of(kind: Kind, body: &str) -> &str {
    match kind {
        Kind::Update => body.split_once(':').map_or(body, |(key, _)| key),
        _ => body,
    }
}

fn read_reply(connection: &mut Connection) -> Result<Answer, ClientError> {
    let place = connection.line(MAX_REPLY)?;
    let line = connection.bytes(place.start, place.end);
    let address = connection.to().to_owned();
    match Message::parse(line) {
        Ok(message) => Ok(Answer { kind: message.kind, address, body: message.body.into_owned() }),
        Err(_) => Err(connection.malformed(line, "a reply of the shard lab")),
    }
}
