//! The servers as the master sees them: started and killed by their watchdogs, linked and cut by their own commands,
//! over one connection to each.
//!
//! Whatever concerns several servers is asked of all of them before the first answer is waited for.

use std::time::{Duration, Instant};

use super::line::{Line, refusal};
use super::topology::Topology;
use super::watchdogs::Watchdogs;
use super::{MasterError, STABILIZE_AT_MOST};
use crate::base::VectorClock;
use crate::client::ClientError;
use crate::wire::Reply;

/// How many values are asked for at once.
const VALUES_AT_ONCE: usize = 64;

/// How long a server that is to be killed may take to send what it gathers for the others.
const FLUSH_AT_MOST: Duration = Duration::from_secs(1);

/// A server that runs.
#[derive(Debug)]
struct Server {
    clients: String,
    broadcast: String,
    line: Line,
}

/// All servers.
#[derive(Debug)]
pub struct Servers {
    watchdogs: Watchdogs,
    running: Vec<Option<Server>>,
    topology: Topology,
}

/// A server's store: keys and values, sorted.
pub type Contents = Vec<(Vec<u8>, Vec<u8>)>;

/// What one server is asked when a link is made or cut.
struct Order {
    server: u16,
    words: Vec<String>,
}

impl Servers {
    /// So many servers, none of which runs.
    pub fn new(servers: u16, watchdogs: Watchdogs) -> Self {
        let running = (0..servers).map(|_| None).collect();
        Self { watchdogs, running, topology: Topology::default() }
    }

    /// Where a server takes clients.
    ///
    /// # Errors
    /// It is not up.
    pub fn clients_of(&self, id: u16) -> Result<&str, MasterError> {
        self.get(id).map(|server| &*server.clients)
    }

    fn get(&self, id: u16) -> Result<&Server, MasterError> {
        let server = self.running.get(usize::from(id)).and_then(Option::as_ref);
        server.ok_or(MasterError::NotUp(id))
    }

    fn get_mut(&mut self, id: u16) -> Result<&mut Server, MasterError> {
        let server = self.running.get_mut(usize::from(id)).and_then(Option::as_mut);
        server.ok_or(MasterError::NotUp(id))
    }

    /// Starts a server and links it to all others.
    ///
    /// # Errors
    /// It runs already, does not start, or finds no link to another; then it is up, without that link.
    pub fn join(&mut self, id: u16) -> Result<(), MasterError> {
        // One that has died by itself is found out here, and started again.
        let clock = Order { server: id, words: vec!["lab.clock".to_owned()] };
        if self.get(id).is_ok() && self.ask_all(&[clock], refusal).1.is_none() {
            return Err(MasterError::Up(id));
        }
        let started = self.watchdogs.start(id)?;
        let line = match Line::open(&started.clients) {
            Ok(line) => line,
            Err(source) => return Err(self.lost(id, source)),
        };
        let (clients, broadcast) = (started.clients, started.broadcast);
        self.running[usize::from(id)] = Some(Server { clients, broadcast, line });
        self.topology.join(id);
        let others: Vec<u16> = self.topology.up().filter(|other| *other != id).collect();
        let mut orders = Vec::new();
        for other in others {
            orders.extend(self.link_orders(id, other)?);
        }
        self.order(&orders)
    }

    /// Kills a server; it is gone when this returns.
    ///
    /// # Errors
    /// It is not up, or its watchdog does not answer.
    pub fn kill(&mut self, id: u16) -> Result<(), MasterError> {
        self.get(id)?;
        // What it has answered for is on its way to the others first; killed, it sends nothing that still gathers. One
        // that does not answer is killed all the same.
        if let Ok(server) = self.get_mut(id) {
            server.line.flush_within(FLUSH_AT_MOST);
        }
        self.forget(id);
        let ended = self.watchdogs.kill(id)?;
        self.unlink(id)?;
        match ended {
            None => Ok(()),
            Some(how) => Err(MasterError::Died { id, how }),
        }
    }

    /// Has the others give up their links to one that is gone, so that none of them dials a port that another may have
    /// soon.
    fn unlink(&mut self, id: u16) -> Result<(), MasterError> {
        let others: Vec<u16> = self.topology.up().collect();
        let cut = |server| Order { server, words: vec!["lab.unlink".to_owned(), id.to_string()] };
        self.order(&others.into_iter().map(cut).collect::<Vec<_>>())
    }

    /// Kills all servers that are up.
    pub fn kill_all(&mut self) {
        for id in self.topology.up().collect::<Vec<_>>() {
            self.forget(id);
            // A watchdog that does not answer any more is lost, and its server with the connection.
            let _ = self.watchdogs.kill(id);
        }
    }

    fn forget(&mut self, id: u16) {
        self.running[usize::from(id)] = None;
        self.topology.leave(id);
    }

    /// A server that cannot be spoken to is as good as gone; its watchdog sees to it that it is.
    fn lost(&mut self, id: u16, source: ClientError) -> MasterError {
        self.forget(id);
        let ended = self.watchdogs.kill(id);
        // Another that is gone as well is found out when it is needed.
        drop(self.unlink(id));
        match ended {
            Ok(Some(how)) => MasterError::Died { id, how },
            _ => MasterError::Server { id, source },
        }
    }

    /// Cuts the link of two servers.
    ///
    /// # Errors
    /// One of them is not up.
    pub fn cut(&mut self, one: u16, other: u16) -> Result<(), MasterError> {
        self.get(one).and(self.get(other))?;
        self.topology.cut(one, other);
        let order = |server, peer: u16| Order {
            server,
            words: vec!["lab.unlink".to_owned(), peer.to_string()],
        };
        self.order(&[order(one, other), order(other, one)])
    }

    /// Makes a link of two servers.
    ///
    /// # Errors
    /// One of them is not up, or they do not find each other.
    pub fn link(&mut self, one: u16, other: u16) -> Result<(), MasterError> {
        let orders = self.link_orders(one, other)?;
        self.topology.mend(one, other);
        self.order(&orders)
    }

    fn link_orders(&self, one: u16, other: u16) -> Result<[Order; 2], MasterError> {
        let order = |server, peer: u16| -> Result<Order, MasterError> {
            let address = self.get(peer)?.broadcast.clone();
            Ok(Order { server, words: vec!["lab.link".to_owned(), peer.to_string(), address] })
        };
        Ok([order(one, other)?, order(other, one)?])
    }

    /// Has all orders carried out, side by side; gives the first trouble of them.
    fn order(&mut self, orders: &[Order]) -> Result<(), MasterError> {
        let (_, trouble) = self.ask_all(orders, refusal);
        trouble.map_or(Ok(()), Err)
    }

    /// Asks all before the first answer is waited for; gives what was read of the answers, and the first trouble.
    /// Whatever happens, no answer is left unread on a connection that lives on.
    fn ask_all<T>(
        &mut self,
        orders: &[Order],
        read: impl Fn(&Reply<'_>) -> Result<T, ClientError>,
    ) -> (Vec<(u16, T)>, Option<MasterError>) {
        for Order { server, words } in orders {
            if let Ok(server) = self.get_mut(*server) {
                let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
                server.line.ask(&words);
            }
        }
        let mut trouble = None;
        for order in orders {
            // Of several orders to one server all are sent with the first.
            let sent = self.get_mut(order.server).map(|server| server.line.send());
            if let Ok(Err(error)) = sent {
                let lost = self.lost(order.server, error);
                trouble.get_or_insert(lost);
            }
        }
        let mut answers = Vec::new();
        for Order { server: id, .. } in orders {
            let answered = self.answer(*id, |reply| read(&reply));
            let failed = |source| MasterError::Server { id: *id, source };
            match answered.and_then(|answer| answer.map_err(failed)) {
                Ok(answer) => answers.push((*id, answer)),
                Err(error) => drop(trouble.get_or_insert(error)),
            }
        }
        (answers, trouble)
    }

    fn answer<T>(&mut self, id: u16, read: impl FnOnce(Reply<'_>) -> T) -> Result<T, MasterError> {
        let answered = self.get_mut(id)?.line.answer(read);
        answered.map_err(|error| self.lost(id, error))
    }

    /// Waits until every server has all that any server has which it can reach.
    ///
    /// # Errors
    /// A server is still behind after [`STABILIZE_AT_MOST`], or is lost.
    pub fn stabilize(&mut self) -> Result<(), MasterError> {
        let deadline = Instant::now() + STABILIZE_AT_MOST;
        let clock = |server| Order { server, words: vec!["lab.clock".to_owned()] };
        let asked: Vec<Order> = self.topology.up().map(clock).collect();
        let (clocks, trouble) = self.ask_all(&asked, clock_of);
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().to_string();
        let mut orders = Vec::new();
        for component in self.topology.components() {
            let mut all = VectorClock::new();
            clocks.iter().filter(|(id, _)| component.contains(id)).for_each(|(_, c)| all.merge(c));
            let words = vec!["lab.await".to_owned(), all.to_string(), left.clone()];
            orders.extend(component.iter().map(|id| Order { server: *id, words: words.clone() }));
        }
        self.order(&orders).map_err(|trouble| match trouble {
            MasterError::Server { id, source: source @ ClientError::Refused { .. } } => {
                MasterError::Unstable { id, within: STABILIZE_AT_MOST, source }
            }
            other => other,
        })
    }

    /// What a server holds, sorted by key.
    ///
    /// # Errors
    /// It is not up, or lost.
    pub fn contents(&mut self, id: u16) -> Result<Contents, MasterError> {
        let mut keys = self.ask_for_texts(id, &[b"KEYS", b"*"])?;
        keys.sort_unstable();
        let mut contents = Vec::with_capacity(keys.len());
        for part in keys.chunks(VALUES_AT_ONCE) {
            let mut words: Vec<&[u8]> = vec![b"MGET"];
            words.extend(part.iter().flatten().map(Vec::as_slice));
            let values = self.ask_for_texts(id, &words)?;
            let pairs = part.iter().zip(values);
            contents.extend(pairs.filter_map(|(key, value)| key.clone().zip(value)));
        }
        Ok(contents)
    }

    fn ask_for_texts(
        &mut self,
        id: u16,
        words: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>, MasterError> {
        let line = &mut self.get_mut(id)?.line;
        line.ask(words);
        if let Err(error) = line.send() {
            return Err(self.lost(id, error));
        }
        let texts = self.answer(id, |reply| refusal(&reply).map(|()| texts(&reply)))?;
        let texts = texts.map_err(|source| MasterError::Server { id, source })?;
        texts.ok_or(MasterError::Confused { id, expected: "a list of keys or values" })
    }
}

/// What a server has.
fn clock_of(reply: &Reply<'_>) -> Result<VectorClock, ClientError> {
    refusal(reply)?;
    let text = match reply {
        Reply::Bulk(Some(text)) => String::from_utf8_lossy(text),
        _ => "".into(),
    };
    text.parse().map_err(|line| ClientError::Refused { line })
}

/// The texts of an array.
fn texts(reply: &Reply<'_>) -> Option<Vec<Option<Vec<u8>>>> {
    let Reply::Array(Some(parts)) = reply else { return None };
    let text = |part: &Reply<'_>| match part {
        Reply::Bulk(text) => Some(text.map(<[u8]>::to_vec)),
        _ => None,
    };
    parts.iter().map(text).collect()
}
