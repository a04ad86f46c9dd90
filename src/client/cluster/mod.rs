//! The cluster's client: it makes a cluster of servers that know nothing of each other.
//!
//! Of N servers a key belongs to number H(key) mod N, its *primary* (H is md5), and copies go to the next K-1,
//! wrapping. Every client computes the same.
//!
//! - A **read** asks the copies in turn, the primary first, until one answers. That a copy knows no such key is
//!   an answer. Where none answers it waits ([`Retry`]) and starts over.
//! - A **write** writes each copy in turn. One that cannot be written is tried again after the wait until it
//!   can, then comes the next.
//! - A **scan** asks all servers at once, each until it answers, and merges: a key that several hold comes once,
//!   with the value of the copy that a read would ask first, whatever the order of the replies. (N-K+1 servers
//!   would do to see every key; that copies differ shows only in all.)
//!
//! It never gives up by itself. A server that has come back on another port is found through the catalog.
//!
//! **Caveats.** Nothing orders the writes of two clients: at K ≥ 2 they can leave copies that differ, for good. A
//! read may come from a copy that a write under way has not reached, or reach the primary first and an older
//! copy later. `lab cluster diverge` shows it. A request whose reply is lost is sent again: a remove that was
//! carried out the first time answers then that there is no such key.
//!
//! A server that hangs costs a timeout; it is then asked last for a while, so that not every read waits for it.
//!
//! Source: the assignments A4 and A5 of CSE 40771, Distributed Systems, Notre Dame.

mod error;
mod merge;
mod servers;

use std::fmt;
use std::thread;
use std::time::Duration;

use serde_json::value::RawValue;

use super::catalog::Catalog;
use super::routing::{NodeStatus, Patience, Placement, Retry, copies, function};
use super::table::Pairs;
use super::{Certainty, ClientError, Options, TableClient};
pub use error::ClusterError;
use servers::{Failure, Server, Told, reason};

/// How many servers are asked at a time.
const AT_ONCE: usize = 16;

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
    /// A server does not answer. Said once until it is back where another copy answers for it, and once where
    /// the client has to wait for it: `wait` is the time until it is tried again then.
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
            Self::Away { server, why, wait: None } => {
                write!(f, "{server} does not answer: {why}; another copy does")
            }
            Self::Away { server, why, wait: Some(wait) } => {
                let wait = humantime::format_duration(*wait);
                write!(f, "{server} does not answer: {why}; trying again every {wait}")
            }
            Self::Back { server } => write!(f, "{server} answers again"),
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
            let mut failed = Vec::new();
            for index in self.in_turn(key) {
                match self.ask(index, &mut |server| server.lookup(key)) {
                    Ok(found) => {
                        failed.iter().for_each(|(index, failure)| self.tell(*index, failure, None));
                        return Ok(found);
                    }
                    Err(failure) => failed.push((index, self.mendable(index, failure, &[])?)),
                }
            }
            // A read changes nothing, whatever becomes of it.
            let failures = failed.iter().map(|(index, failure)| (*index, failure));
            self.wait(failures.collect(), &patience, Certainty::Fail, &[])?;
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
        let patience = self.config.retry.begin();
        let mut found = Vec::new();
        for (index, first) in self.scan_at_once(regex).into_iter().enumerate() {
            let first = self.noted(index, first);
            let pairs = self.persist(index, &patience, first, &[], &mut |s| s.scan(regex));
            found.push(pairs.map_err(ClusterError::of_a_read)?);
        }
        let servers = self.servers.len();
        // How late a read would ask this server; one that should not have the key at all comes last.
        let rank =
            |key: &str, index: usize| (index + servers - self.placement.primary(key)) % servers;
        Ok(merge::merge(found, rank))
    }

    /// One try of a scan at each server, [`AT_ONCE`] at a time.
    fn scan_at_once(&mut self, regex: &str) -> Vec<Result<Pairs, Failure>> {
        let ClusterConfig { locate, options, .. } = &self.config;
        let scan =
            |server: &mut Server| server.attempt(locate, options, &mut |client| client.scan(regex));
        let mut results = Vec::new();
        for group in self.servers.chunks_mut(AT_ONCE) {
            let mut found: Vec<Option<Result<Pairs, Failure>>> = Vec::new();
            found.resize_with(group.len(), || None);
            let (first, others) = found.split_at_mut(1);
            let (here, elsewhere) = group.split_at_mut(1);
            thread::scope(|scope| {
                for (server, found) in elsewhere.iter_mut().zip(others) {
                    let scan = &scan;
                    let ask = move || *found = Some(scan(server));
                    // Without a thread it is asked below.
                    let _ = thread::Builder::new().spawn_scoped(scope, ask);
                }
                first[0] = Some(scan(&mut here[0]));
            });
            let asked = group.iter_mut().zip(found);
            results.extend(asked.map(|(server, found)| found.unwrap_or_else(|| scan(server))));
        }
        results
    }

    /// A single server, connected: for a lab that looks at one copy. Each call is one try.
    ///
    /// # Errors
    /// It cannot be reached, or there are not so many.
    pub fn server(&mut self, index: usize) -> Result<&mut TableClient, ClientError> {
        let ClusterConfig { name, servers, locate, options, .. } = &self.config;
        let missing = || ClientError::NotFound {
            name: format!("{name}-{index}"),
            why: format!("the cluster has {servers} servers, counted from 0"),
        };
        self.servers.get_mut(index).ok_or_else(missing)?.connected(locate, options)
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
        let (mut results, mut reached) = (Vec::new(), Vec::new());
        for index in self.copies_of(key) {
            let first = self.ask(index, &mut call);
            results.push(self.persist(index, &patience, first, &reached, &mut call)?);
            reached.push(index);
        }
        Ok(results)
    }

    /// Asks one server until it answers; `first` is what came of the first try. The operation has happened on
    /// the servers in `reached`.
    fn persist<T>(
        &mut self,
        index: usize,
        patience: &Patience,
        first: Result<T, Failure>,
        reached: &[usize],
        call: &mut dyn FnMut(&mut TableClient) -> Result<T, ClientError>,
    ) -> Result<T, ClusterError> {
        let mut certainty = Certainty::Fail;
        let mut answer = first;
        loop {
            let mut failure = match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            // One try of which nothing is known stays so, whatever becomes of the next.
            if failure.certainty == Certainty::Unknown {
                certainty = Certainty::Unknown;
            }
            failure.certainty = certainty;
            let failure = self.mendable(index, failure, reached)?;
            self.wait(vec![(index, &failure)], patience, certainty, reached)?;
            answer = self.ask(index, call);
        }
    }

    /// One try.
    fn ask<T>(
        &mut self,
        index: usize,
        call: &mut dyn FnMut(&mut TableClient) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let ClusterConfig { locate, options, .. } = &self.config;
        let answer = self.servers[index].attempt(locate, options, call);
        self.noted(index, answer)
    }

    /// Notes what came of a try, and passes it on.
    fn noted<T>(&mut self, index: usize, answer: Result<T, Failure>) -> Result<T, Failure> {
        let server = &mut self.servers[index];
        match &answer {
            // A server that refuses serves.
            Ok(_) | Err(Failure { error: ClientError::Refused { .. }, .. }) => {
                if server.is_back() {
                    let event = Event::Back { server: server.name().to_owned() };
                    (self.observer)(&event);
                }
            }
            Err(failure) => server.went_away(&failure.error, &self.config.options),
        }
        answer
    }

    /// Passes on what trying again can mend.
    fn mendable(
        &self,
        index: usize,
        failure: Failure,
        reached: &[usize],
    ) -> Result<Failure, ClusterError> {
        let Failure { error: ClientError::Refused { .. }, certainty } = failure else {
            return Ok(failure);
        };
        Err(ClusterError::Refused {
            server: self.servers[index].name().to_owned(),
            source: failure.error,
            certainty: if reached.is_empty() { certainty } else { Certainty::Unknown },
            reached: self.names(reached),
        })
    }

    /// Waits for these servers before the next round, or gives up.
    fn wait(
        &mut self,
        failed: Vec<(usize, &Failure)>,
        patience: &Patience,
        certainty: Certainty,
        reached: &[usize],
    ) -> Result<(), ClusterError> {
        let Some(wait) = patience.next_wait() else {
            let why = |(index, failure): &(usize, &Failure)| {
                format!(
                    "{} does not answer: {}",
                    self.servers[*index].name(),
                    reason(&failure.error)
                )
            };
            return Err(ClusterError::GaveUp {
                why: failed.iter().map(why).collect::<Vec<_>>().join(", "),
                after: patience.spent(),
                certainty: if reached.is_empty() { certainty } else { Certainty::Unknown },
                reached: self.names(reached),
            });
        };
        let every = Some(self.config.retry.wait);
        failed.iter().for_each(|(index, failure)| self.tell(*index, failure, every));
        thread::sleep(wait);
        Ok(())
    }

    /// Tells that a server does not answer, where that is news.
    fn tell(&mut self, index: usize, failure: &Failure, wait: Option<Duration>) {
        let server = &mut self.servers[index];
        if server.tell(if wait.is_some() { Told::Waiting } else { Told::Away }) {
            let (server, why) = (server.name().to_owned(), reason(&failure.error));
            (self.observer)(&Event::Away { server, why, wait });
        }
    }

    fn names(&self, servers: &[usize]) -> Vec<String> {
        servers.iter().map(|index| self.servers[*index].name().to_owned()).collect()
    }

    /// The copies of a key, those that were silent lately behind the others.
    fn in_turn(&self, key: &str) -> Vec<usize> {
        let mut all = self.copies_of(key);
        all.sort_by_key(|index| self.servers[*index].is_silent());
        all
    }
}
