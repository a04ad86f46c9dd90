//! Copies on adjacent nodes: what belongs to node *i* (its *home*) is also on *i*+1 … *i*+n−1, wrapping.
//!
//! **An update.** Whoever is asked draws a version, the Lamport timestamp `(time, node)`, has the other holders keep
//! the pair (all at a time), and keeps it itself last. It succeeds when at least one of the others has it:
//! then any one node may be lost. If none has, it fails and is not to be read here. One that did not
//! answer in time may have it all the same: a failed update may turn up later, and then on all holders.
//!
//! **Versions** decide between updates of a key, the same way everywhere: the highest stays. A holder that has a
//! newer version says so, and the update is drawn again once: else one whose clock is behind would be told of
//! success and see nothing of it. Clocks begin at a number that the driver gives (from the wall clock),
//! so that a node that has lost its memory does not draw a version twice.
//!
//! **A holder that was missed** is remembered by home and key (a *hint*; at most [`Limits::hints`]), not by value:
//! what is sent later is what is there then.
//!
//! **Comparing.** Nodes compare each table that they share by its digests ([`table`]) and exchange what differs, both
//! ways: every [`Limits::sweep`], and when one that was silent answers. Whatever else goes wrong (who held a
//! hint is gone, more hints than fit, a failed update that is on one node), this makes the copies equal in the
//! end. Cost: 256 numbers a table and neighbour when all is equal.
//!
//! **Coming back.** A node holds nothing in the beginning. It says hello to its neighbours, compares with each of
//! them, and only then answers clients; it keeps copies meanwhile. A neighbour answers the hello when every
//! update is over that began before it: such an update may have missed the new node and may be kept by others
//! only after these have been compared. Whoever does not answer is passed over, and compared with later.
//! Nodes that start together do not wait for each other's memory: who is not up has none.
//!
//! **Caveats.** This is available rather than consistent: two sides of a partition with two holders each both go
//! on, and the versions pick a winner afterwards. A holder that was cut off or stopped (not restarted) does not
//! know it, and answers reads with what it has until its neighbours reach it. Pairs are per home: a key
//! that is written with two homes is two pairs, and a node that holds both answers with the newer one.
//!
//! Sources: G. DeCandia and others, *Dynamo*, SOSP 2007 (hinted handoff, anti-entropy); L. Lamport, *Time, Clocks,
//! and the Ordering of Events*, CACM 1978.
//!
//! This is a pure machine. A driver calls [`Node::update`], makes the calls that it returns, and hands each
//! outcome to [`Node::copied`]; it serves others with [`Node::serve`]; and for each neighbour it makes the calls
//! of [`Node::next_call`] one at a time.

mod neighbour;
mod serve;
pub mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::neighbour::Neighbour;
use self::table::Table;
use crate::base::{LamportClock, ReplicaId, Timestamp};
use crate::wire::lines::adjacent::{Reply, Request};

pub use self::serve::Served;

/// No clock reaches this by counting; a version beyond it is refused.
const LAST_TIME: u64 = 1 << 62;

/// How large things may be, and how long they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The memory for pairs in bytes, roughly; at the bound updates and copies are refused.
    pub bytes: usize,
    /// The most hints for one neighbour; beyond it comparing has to find what is missing.
    pub hints: usize,
    /// The text of a page of pairs in bytes, except that one pair always fits.
    pub page: usize,
    /// How often tables are compared.
    pub sweep: Duration,
    /// How long a neighbour that does not answer is left alone, at first and at most (it doubles).
    pub backoff: (Duration, Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            hints: 10_000,
            page: 256 * 1024,
            sweep: Duration::from_secs(5),
            backoff: (Duration::from_millis(100), Duration::from_secs(1)),
        }
    }
}

/// Which node it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its number, below `nodes`.
    pub me: u16,
    /// How many nodes there are.
    pub nodes: u16,
    /// On how many of them each pair is, from 1 to `nodes`. With 1 no node knows of another.
    pub copies: u16,
    /// Where the clock begins: higher than at any earlier start, such as the wall clock's reading.
    pub clock: u64,
    /// The bounds.
    pub limits: Limits,
}

/// Names an update that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpdateId(u64);

/// Calls to make: to which node, and what.
pub type Calls = Vec<(u16, Request)>;

/// Why an update did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// No other node has it.
    #[error("was not able to allocate a key:value pair in at least two nodes: replication failed")]
    Alone,
    /// The pair is not of this node.
    #[error(
        "node {me} holds no copies of what belongs to node {home}; the client and the nodes were \
         started with different settings"
    )]
    NotAHolder {
        /// Who was asked.
        me: u16,
        /// Whose pair it is.
        home: u16,
    },
    /// There is no more memory.
    #[error("the table is full ({0} bytes); the pair was not added")]
    Full(usize),
}

/// How an update goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// When the outcomes of all its calls are there.
    Wait,
    /// With these calls.
    Call(UpdateId, Calls),
    /// It is over.
    Done(Result<(), UpdateError>),
}

/// An update under way.
#[derive(Clone, Debug)]
struct Update {
    home: u16,
    key: Arc<str>,
    value: Arc<str>,
    version: Timestamp,
    /// Calls without an outcome: to which node, and how many signs of life it had given when it was called.
    open: Vec<(u16, u64)>,
    kept: Vec<u16>,
    missed: Vec<u16>,
    newer: bool,
    /// The version that it was first drawn with, where it was drawn again.
    earlier: Option<Timestamp>,
}

/// A node of the database.
#[derive(Clone, Debug)]
pub struct Node {
    config: Config,
    clock: LamportClock,
    /// By the distance from the home: 0 is what belongs to this node.
    tables: Vec<Table>,
    neighbours: BTreeMap<u16, Neighbour>,
    updates: BTreeMap<UpdateId, Update>,
    next_update: u64,
    live: bool,
    /// What has been added since it was last asked.
    news: Vec<(Arc<str>, Arc<str>)>,
    /// A neighbour has something to do that it had not when it was last asked.
    nudge: bool,
    /// A hello waits for the end of updates.
    awaited: bool,
}

impl Node {
    /// A node that has just started and holds nothing.
    ///
    /// # Panics
    /// `me`, `nodes` and `copies` do not fit each other.
    pub fn new(config: Config) -> Self {
        let Config { me, nodes, copies, .. } = config;
        assert!(me < nodes && (1..=nodes).contains(&copies), "{config:?}");
        let mut clock = LamportClock::new(ReplicaId(me));
        clock.observe(config.clock.min(LAST_TIME));
        let neighbours = (0..nodes)
            .filter(|node| *node != me)
            .map(|node| {
                (
                    node,
                    (0..nodes)
                        .filter(|home| holds(config, node, *home) && holds(config, me, *home))
                        .collect::<Vec<u16>>(),
                )
            })
            .filter(|(_, homes)| !homes.is_empty())
            .map(|(node, homes)| (node, Neighbour::new(homes)))
            .collect::<BTreeMap<_, _>>();
        Self {
            config,
            clock,
            tables: vec![Table::default(); usize::from(copies)],
            live: neighbours.is_empty(),
            neighbours,
            updates: BTreeMap::new(),
            next_update: 0,
            news: Vec::new(),
            nudge: false,
            awaited: false,
        }
    }

    /// Whether it answers clients.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The nodes that it has pairs in common with.
    pub fn neighbours(&self) -> impl Iterator<Item = u16> + '_ {
        self.neighbours.keys().copied()
    }

    /// How many pairs it holds: as their home, and as copies.
    pub fn entries(&self) -> (usize, usize) {
        let (own, copies) = self
            .tables
            .split_first()
            .map_or((0, 0), |(own, copies)| (own.len(), copies.iter().map(Table::len).sum()));
        (own, copies)
    }

    /// The pairs of a home, if it holds them.
    pub fn table(&self, home: u16) -> Option<&Table> {
        self.tables.get(self.distance(home))
    }

    /// What has been added since this was last asked.
    pub fn take_news(&mut self) -> Vec<(Arc<str>, Arc<str>)> {
        std::mem::take(&mut self.news)
    }

    /// Whether, since this was last asked, there may be a new [`Node::next_call`] or [`Node::greeting`], or the node has
    /// become live.
    pub fn take_nudge(&mut self) -> bool {
        std::mem::take(&mut self.nudge)
    }

    /// The newest value of a key in all that it holds.
    pub fn read(&self, key: &str) -> Option<&Arc<str>> {
        let found = self.tables.iter().filter_map(|table| table.get(key));
        found.max_by_key(|(_, version)| *version).map(|(value, _)| value)
    }

    /// Begins an update; without a home the pair belongs to this node.
    pub fn update(&mut self, home: Option<u16>, key: &str, value: &str) -> Step {
        let me = self.config.me;
        let home = if self.config.copies == 1 { me } else { home.unwrap_or(me) };
        if home >= self.config.nodes || !holds(self.config, me, home) {
            return Step::Done(Err(UpdateError::NotAHolder { me, home }));
        }
        if !self.has_room(table::size(key, value)) {
            return Step::Done(Err(UpdateError::Full(self.config.limits.bytes)));
        }
        let (key, value) = (Arc::from(key), Arc::from(value));
        let version = self.clock.tick();
        if self.config.copies == 1 {
            self.keep(home, &key, &value, version);
            return Step::Done(Ok(()));
        }
        let others =
            (0..self.config.nodes).filter(|node| *node != me && holds(self.config, *node, home));
        let (silent, up): (Vec<u16>, Vec<u16>) =
            others.partition(|node| self.neighbours.get(node).is_none_or(Neighbour::is_silent));
        // Where none is known to be up, they are asked all the same: one may just have come back.
        let (ask, missed) = if up.is_empty() { (silent, up) } else { (up, silent) };
        let id = UpdateId(self.next_update);
        self.next_update += 1;
        let update = Update {
            home,
            key,
            value,
            version,
            open: self.signs(&ask),
            kept: Vec::new(),
            missed,
            newer: false,
            earlier: None,
        };
        let calls = self.calls(&update, &ask);
        self.updates.insert(id, update);
        Step::Call(id, calls)
    }

    fn calls(&self, update: &Update, to: &[u16]) -> Calls {
        let copy = table::copy(update.home, &update.key, &update.value, update.version);
        let request = Request::Keep { from: self.config.me, copies: vec![copy] };
        to.iter().map(|node| (*node, request.clone())).collect()
    }

    /// Takes the outcome of one of an update's calls: the reply, or none.
    pub fn copied(
        &mut self,
        id: UpdateId,
        node: u16,
        reply: Option<&Reply>,
        now: Duration,
    ) -> Step {
        let Some(update) = self.updates.get_mut(&id) else { return Step::Wait };
        let Some(at) = update.open.iter().position(|(open, _)| *open == node) else {
            return Step::Wait;
        };
        let (_, signs) = update.open.swap_remove(at);
        let kept = self.heard(node, signs, reply, now);
        let Some(update) = self.updates.get_mut(&id) else { return Step::Wait };
        match (kept, reply) {
            (true, Some(Reply::Kept { newer, .. })) => {
                update.kept.push(node);
                update.newer |= newer;
            }
            _ => update.missed.push(node),
        }
        if !update.open.is_empty() {
            return Step::Wait;
        }
        let Some(mut update) = self.updates.remove(&id) else { return Step::Wait };
        // A reply may have been lost, and comparing have brought the pair here from a node that keeps it.
        let returned = self.table(update.home).and_then(|table| table.get(&update.key));
        let is_elsewhere = returned.is_some_and(|(_, version)| {
            version == update.version || Some(version) == update.earlier
        });
        if update.kept.is_empty() && !is_elsewhere {
            self.update_over();
            return Step::Done(Err(UpdateError::Alone));
        }
        // Once is enough: what is newer than the second version was drawn after the update began.
        if update.newer && update.earlier.is_none() {
            let again = std::mem::take(&mut update.kept);
            update.earlier = Some(std::mem::replace(&mut update.version, self.clock.tick()));
            update.newer = false;
            update.open = self.signs(&again);
            let calls = self.calls(&update, &again);
            self.updates.insert(id, update);
            return Step::Call(id, calls);
        }
        self.keep(update.home, &update.key, &update.value, update.version);
        let most = self.config.limits.hints;
        for node in update.missed {
            if let Some(neighbour) = self.neighbours.get_mut(&node) {
                neighbour.hint(update.home, &update.key, most);
                self.nudge = true;
            }
        }
        self.update_over();
        Step::Done(Ok(()))
    }

    /// Wakes those whose hello waits for the end of updates.
    fn update_over(&mut self) {
        self.nudge |= self.awaited;
        self.awaited &= !self.updates.is_empty();
    }

    fn signs(&self, nodes: &[u16]) -> Vec<(u16, u64)> {
        let signs = |node| self.neighbours.get(node).map_or(0, Neighbour::signs);
        nodes.iter().map(|node| (*node, signs(node))).collect()
    }

    /// Notes what a reply, or its absence, says about a node that had given so many signs of life when it was called;
    /// gives whether the reply is one. A call that failed before the node said hello says nothing about the node now:
    /// if it counted, the updates after the hello would pass the node over.
    fn heard(&mut self, node: u16, signs: u64, reply: Option<&Reply>, now: Duration) -> bool {
        let time = match reply {
            Some(
                Reply::Kept { time, .. } | Reply::Differ { time, .. } | Reply::Page { time, .. },
            ) => *time,
            Some(Reply::Refused { .. }) => 0,
            None => {
                if let Some(neighbour) =
                    self.neighbours.get_mut(&node).filter(|neighbour| neighbour.signs() == signs)
                {
                    self.nudge |= neighbour.silent(now, self.config.limits.backoff);
                }
                return false;
            }
        };
        self.clock.observe(time.min(LAST_TIME));
        if let Some(neighbour) = self.neighbours.get_mut(&node) {
            self.nudge |= neighbour.alive(now);
        }
        true
    }

    /// Keeps a pair of which it is a holder.
    fn keep(&mut self, home: u16, key: &Arc<str>, value: &Arc<str>, version: Timestamp) -> bool {
        let distance = self.distance(home);
        let Some(table) = self.tables.get_mut(distance) else { return false };
        let kept = table.put(key, value, version);
        if kept {
            self.news.push((Arc::clone(key), Arc::clone(value)));
        }
        kept
    }

    fn has_room(&self, bytes: usize) -> bool {
        let taken: usize = self.tables.iter().map(Table::bytes).sum();
        taken + bytes <= self.config.limits.bytes
    }

    /// How far this node is behind a home.
    fn distance(&self, home: u16) -> usize {
        distance(self.config, self.config.me, home)
    }
}

fn distance(config: Config, node: u16, home: u16) -> usize {
    let nodes = usize::from(config.nodes);
    (usize::from(node) + nodes - usize::from(home) % nodes) % nodes
}

/// Whether a node holds what belongs to a home.
fn holds(config: Config, node: u16, home: u16) -> bool {
    distance(config, node, home) < usize::from(config.copies)
}
