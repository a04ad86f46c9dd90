//! The cluster's client: it makes a cluster of servers that know nothing of each other.
//!
//! Of N servers a key belongs to number H(key) mod N, its *primary* (H is md5), and copies go to the next K-1,
//! wrapping. Every client computes the same.
//!
//! - A **read** asks the copies in turn, the primary first, until one answers. That a copy knows no such key is
//!   an answer. Where none answers it waits ([`Retry`]) and starts over.
//! - A **write** writes each copy in turn. One that cannot be written is tried again after the wait until it
//!   can, then comes the next.
//! - A **scan** asks all servers, each until it answers, and merges: a key that several hold comes once, with
//!   the value of the copy that a read would ask first.
//!
//! It never gives up by itself. A server that has come back on another port is found through the catalog.
//!
//! **Caveats.** Nothing orders the writes of two clients: at K ≥ 2 they can leave copies that differ, for good. A
//! read may come from a copy that a write under way has not reached, or reach the primary first and an older
//! copy later. `lab cluster diverge` shows it.
//!
//! A server that hangs costs a timeout; it is then asked last for a while, so that not every read waits for it.
//!
//! Source: the assignments A4 and A5 of CSE 40771, Distributed Systems, Notre Dame.

mod servers;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::value::RawValue;

use super::catalog::Catalog;
use super::routing::{NodeStatus, Patience, Placement, Retry, copies, function};
use super::table::Pairs;
use super::{Certainty, ClientError, Options, TableClient};
use servers::Server;

/// The most servers of a cluster.
pub const MAX_SERVERS: usize = 1000;

/// The kind under which servers are registered in a catalog.
pub const KIND: &str = "hashtable";

/// How the servers are found.
#[derive(Clone, Debug)]
pub enum Locate {
    /// By their names, `NAME-0` and so on, in the catalog.
    Catalog(Catalog),
    /// At these addresses (HOST:PORT), server 0 first.
    At(Vec<String>),
}

/// Which servers, and how to deal with them.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The name that the servers' names begin with.
    pub name: String,
    /// N: how many servers there are.
    pub servers: usize,
    /// K: how many copies each key has; 1 ≤ K ≤ N.
    pub copies: usize,
    /// How the servers are found.
    pub locate: Locate,
    /// What to do where one does not answer.
    pub retry: Retry,
    /// How long a single try may take.
    pub options: Options,
}

/// What somebody who watches the client is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A server does not answer; said once until it is back. `wait` is the time until it is tried again, where the
    /// client has to wait for it.
    Away {
        /// Its name.
        server: String,
        /// What went wrong.
        why: String,
        /// How long until the next try.
        wait: Option<Duration>,
    },
    /// It answers again.
    Back {
        /// Its name.
        server: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away { server, why, wait: None } => write!(f, "{server} does not answer: {why}"),
            Self::Away { server, why, wait: Some(wait) } => {
                let wait = humantime::format_duration(*wait);
                write!(f, "{server} does not answer: {why}; trying again every {wait}")
            }
            Self::Back { server } => write!(f, "{server} answers again"),
        }
    }
}

/// Why an operation of the cluster did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// N servers and K copies make no sense.
    #[error("expected 1 ≤ K ≤ N ≤ {MAX_SERVERS}, found N={servers} K={copies}")]
    Shape {
        /// N.
        servers: usize,
        /// K.
        copies: usize,
    },
    /// There are more or fewer addresses than servers.
    #[error("expected {servers} addresses, one a server, found {found}")]
    Addresses {
        /// N.
        servers: usize,
        /// How many there are.
        found: usize,
    },
    /// The request itself is wrong; trying again would not help.
    #[error("{server}: {source}")]
    Refused {
        /// Which server says so.
        server: String,
        /// What it says.
        source: ClientError,
    },
    /// The patience is at its end.
    #[error("gave up after {}: {server} does not answer: {why}{}", humantime::format_duration(*after), match certainty {
        Certainty::Fail => "",
        Certainty::Unknown => "; outcome unknown",
    })]
    GaveUp {
        /// The server that was waited for.
        server: String,
        /// What went wrong there.
        why: String,
        /// How long it was tried.
        after: Duration,
        /// What is known of the operation.
        certainty: Certainty,
    },
}

impl ClusterError {
    /// Whether the operation definitely did not happen, or may have, if only on some copies.
    pub fn certainty(&self) -> Certainty {
        match self {
            Self::GaveUp { certainty, .. } => *certainty,
            _ => Certainty::Fail,
        }
    }
}

type Observer = Box<dyn FnMut(&Event) + Send>;

/// A client of all servers; one connection to each, opened when it is first needed.
pub struct ClusterClient {
    config: ClusterConfig,
    placement: Placement,
    servers: Vec<Server>,
    observer: Observer,
}

impl fmt::Debug for ClusterClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterClient").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ClusterClient {
    /// A client that is not connected yet.
    ///
    /// # Errors
    /// [`ClusterError::Shape`], [`ClusterError::Addresses`]
    pub fn new(config: ClusterConfig) -> Result<Self, ClusterError> {
        let ClusterConfig { servers, copies, .. } = config;
        if !(1..=servers.min(MAX_SERVERS)).contains(&copies) || servers > MAX_SERVERS {
            return Err(ClusterError::Shape { servers, copies });
        }
        let fixed: Vec<Option<String>> = match &config.locate {
            Locate::Catalog(_) => vec![None; servers],
            Locate::At(addresses) if addresses.len() == servers => {
                addresses.iter().cloned().map(Some).collect()
            }
            Locate::At(addresses) => {
                return Err(ClusterError::Addresses { servers, found: addresses.len() });
            }
        };
        let named = |(index, address)| Server::new(format!("{}-{index}", config.name), address);
        let all = fixed.into_iter().enumerate().map(named).collect();
        let md5 = function("md5").expect("md5 is in the list of functions, as its tests say");
        let placement = Placement::new(md5, servers);
        Ok(Self { config, placement, servers: all, observer: Box::new(|_| {}) })
    }

    /// From here on `observer` is told when a server goes away and when it is back.
    pub fn observe(&mut self, observer: impl FnMut(&Event) + Send + 'static) {
        self.observer = Box::new(observer);
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.config.servers
    }

    /// Which servers hold a key, its primary first.
    pub fn copies_of(&self, key: &str) -> Vec<usize> {
        let ClusterConfig { servers, copies: count, .. } = self.config;
        copies(self.placement.primary(key), count, servers).collect()
    }

    /// Gives a key a value, on all its copies.
    ///
    /// # Errors
    /// [`ClusterError::GaveUp`] where the patience is bounded.
    pub fn insert(&mut self, key: &str, value: &RawValue) -> Result<(), ClusterError> {
        self.write(key, |server| server.insert(key, value))?;
        Ok(())
    }

    /// The value of a key, as the first copy that answers has it; `None` where it knows no such key.
    ///
    /// # Errors
    /// [`ClusterError::GaveUp`] where the patience is bounded.
    pub fn lookup(&mut self, key: &str) -> Result<Option<Box<RawValue>>, ClusterError> {
        let patience = self.config.retry.begin();
        loop {
            let mut last = None;
            for index in self.in_turn(key) {
                match self.ask(index, &mut |server| server.lookup(key)) {
                    Ok(found) => return Ok(found),
                    Err(error) => last = Some((index, self.check(index, error, None)?)),
                }
            }
            if let Some((index, error)) = last {
                self.wait(index, &error, &patience, false)?;
            }
        }
    }

    /// Removes a key from all its copies and gives the value that the first copy to know it had.
    ///
    /// # Errors
    /// [`ClusterError::GaveUp`] where the patience is bounded.
    pub fn remove(&mut self, key: &str) -> Result<Option<Box<RawValue>>, ClusterError> {
        let found = self.write(key, |server| server.remove(key))?;
        Ok(found.into_iter().flatten().next())
    }

    /// All keys in which the regular expression is found, sorted, with their values.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] where the expression is none; [`ClusterError::GaveUp`] where the patience is
    /// bounded.
    pub fn scan(&mut self, regex: &str) -> Result<Pairs, ClusterError> {
        let mut merged: BTreeMap<String, (usize, Box<RawValue>)> = BTreeMap::new();
        let patience = self.config.retry.begin();
        for index in 0..self.servers.len() {
            for (key, value) in self.persist(index, &patience, None, &mut |s| s.scan(regex))? {
                // How late a read would ask this server; one that should not have the key at all comes last.
                let rank = (index + self.servers.len() - self.placement.primary(&key))
                    % self.servers.len();
                if merged.get(&key).is_none_or(|(there, _)| rank < *there) {
                    merged.insert(key, (rank, value));
                }
            }
        }
        Ok(merged.into_iter().map(|(key, (_, value))| (key, value)).collect())
    }

    /// A single server, connected: for a lab that looks at one copy.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn server(&mut self, index: usize) -> Result<&mut TableClient, ClientError> {
        let ClusterConfig { locate, options, .. } = &self.config;
        self.servers[index % self.config.servers].connected(locate, options)
    }

    /// What is known of each server from the last time it was asked.
    pub fn status(&self) -> impl Iterator<Item = (&str, &NodeStatus)> {
        self.servers.iter().map(|server| (server.name(), server.status()))
    }

    /// Carries out a write on each copy in turn.
    fn write<T>(
        &mut self,
        key: &str,
        mut call: impl FnMut(&mut TableClient) -> Result<T, ClientError>,
    ) -> Result<Vec<T>, ClusterError> {
        let patience = self.config.retry.begin();
        let mut results = Vec::new();
        for index in self.copies_of(key) {
            let begun = Some(!results.is_empty());
            results.push(self.persist(index, &patience, begun, &mut call)?);
        }
        Ok(results)
    }

    /// Asks one server until it answers. `begun`: for a write, whether a part of it has happened.
    fn persist<T>(
        &mut self,
        index: usize,
        patience: &Patience,
        begun: Option<bool>,
        call: &mut dyn FnMut(&mut TableClient) -> Result<T, ClientError>,
    ) -> Result<T, ClusterError> {
        let mut unknown = begun == Some(true);
        loop {
            match self.ask(index, call) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let error = self.check(index, error, Some(self.config.retry.wait))?;
                    unknown |= begun.is_some() && error.certainty() == Certainty::Unknown;
                    self.wait(index, &error, patience, unknown)?;
                }
            }
        }
    }

    /// One try. A connection may have been closed since it was used last, which says nothing of the server:
    /// then another is opened at once. Every operation may be carried out twice.
    fn ask<T>(
        &mut self,
        index: usize,
        call: &mut dyn FnMut(&mut TableClient) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let ClusterConfig { locate, options, .. } = &self.config;
        let server = &mut self.servers[index];
        let reused = server.is_connected();
        let mut answer = call(server.connected(locate, options)?);
        if reused && matches!(answer, Err(ClientError::Lost { .. } | ClientError::Closed { .. })) {
            server.disconnect();
            answer = call(server.connected(locate, options)?);
        }
        if let Err(error) = &answer
            && error.ends_connection()
        {
            server.disconnect();
        }
        if answer.is_ok() && server.is_back() {
            let event = Event::Back { server: server.name().to_owned() };
            (self.observer)(&event);
        }
        answer
    }

    /// Passes on what trying again can mend. `wait`: how long until then, where nobody else can be asked.
    fn check(
        &mut self,
        index: usize,
        error: ClientError,
        wait: Option<Duration>,
    ) -> Result<ClientError, ClusterError> {
        let server = &mut self.servers[index];
        if let ClientError::Refused { .. } = error {
            let server = server.name().to_owned();
            return Err(ClusterError::Refused { server, source: error });
        }
        if server.went_away(&error, self.config.retry.wait, wait.is_some()) {
            let server = server.name().to_owned();
            (self.observer)(&Event::Away { server, why: why(&error), wait });
        }
        Ok(error)
    }

    /// Waits before the next round, or gives up.
    fn wait(
        &mut self,
        index: usize,
        error: &ClientError,
        patience: &Patience,
        unknown: bool,
    ) -> Result<(), ClusterError> {
        let Some(wait) = patience.next_wait() else {
            let certainty = if unknown { Certainty::Unknown } else { Certainty::Fail };
            let (server, why) = (self.servers[index].name().to_owned(), why(error));
            // Nobody reads further than that.
            let after = Duration::from_millis(patience.spent().as_millis() as u64);
            return Err(ClusterError::GaveUp { server, why, after, certainty });
        };
        std::thread::sleep(wait);
        Ok(())
    }

    /// The copies of a key, those that were silent lately behind the others.
    fn in_turn(&self, key: &str) -> Vec<usize> {
        let mut all = self.copies_of(key);
        all.sort_by_key(|index| self.servers[*index].is_silent());
        all
    }
}

/// What went wrong, without advice for another lab and without what is known of an operation of which this was
/// one try of many.
fn why(error: &ClientError) -> String {
    match error {
        ClientError::NothingListens { to } => format!("nothing listens on {to}"),
        ClientError::NoReply { to, after } => {
            format!("no reply from {to} within {}", humantime::format_duration(*after))
        }
        ClientError::Lost { to, source } => format!("the connection to {to} was lost: {source}"),
        error => error.to_string(),
    }
}
