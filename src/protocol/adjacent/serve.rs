//! What a node does for its neighbours.

use std::sync::Arc;
use std::time::Duration;

use super::table::{self, BUCKETS};
use super::{LAST_TIME, Node, UpdateId};
use crate::wire::lines::adjacent::{Copy, Reply, Request};

/// The answer to a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// This.
    Reply(Reply),
    /// [`Node::greeting`], as soon as it has something to say.
    WhenOver(UpdateId),
}

impl Node {
    /// Takes a neighbour's request.
    pub fn serve(&mut self, request: &Request, now: Duration) -> Served {
        let from = request.from();
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return refused(format!(
                "node {from} has no pairs in common with node {}: they were started with different \
                 settings",
                self.config.me
            ));
        };
        self.nudge |= neighbour.alive(now);
        match request {
            Request::Keep { copies, .. } => self.keep_all(copies),
            Request::Ping { .. } => self.kept(false),
            Request::Hello { .. } => {
                let barrier = UpdateId(self.next_update);
                self.awaited = !self.updates.is_empty();
                self.greeting(barrier).map_or(Served::WhenOver(barrier), Served::Reply)
            }
            Request::Compare { home, digests, .. } => self.compare(*home, digests),
            Request::Pull { home, buckets, after, .. } => {
                let Some(table) = self.table(*home).filter(|_| buckets.len() <= BUCKETS) else {
                    return refused(self.not_mine(*home));
                };
                let limit = self.config.limits.page;
                let page = table.page(*home, buckets, after.as_ref(), None, limit, |_, _| true);
                let time = self.clock.time();
                Served::Reply(Reply::Page { time, copies: page.copies, more: page.more })
            }
        }
    }

    /// The reply to a hello, once no update is under way that began before it.
    pub fn greeting(&self, barrier: UpdateId) -> Option<Reply> {
        let over = self.updates.first_key_value().is_none_or(|(id, _)| *id >= barrier);
        over.then(|| Reply::Kept { time: self.clock.time(), newer: false })
    }

    fn kept(&self, newer: bool) -> Served {
        Served::Reply(Reply::Kept { time: self.clock.time(), newer })
    }

    fn not_mine(&self, home: u16) -> String {
        format!("node {} holds no copies of what belongs to node {home}", self.config.me)
    }

    fn compare(&self, home: u16, digests: &[u64]) -> Served {
        match self.table(home) {
            Some(table) if digests.len() == BUCKETS => {
                let buckets = table.differing(digests);
                Served::Reply(Reply::Differ { time: self.clock.time(), buckets })
            }
            Some(_) => refused(format!("expected {BUCKETS} digests, found {}", digests.len())),
            None => refused(self.not_mine(home)),
        }
    }

    /// All or nothing: what is refused is not kept in part.
    fn keep_all(&mut self, copies: &[Copy]) -> Served {
        let nodes = self.config.nodes;
        let is_fine =
            |copy: &Copy| copy.time <= LAST_TIME && copy.node < nodes && copy.home < nodes;
        if let Some(wrong) = copies.iter().find(|copy| !is_fine(copy)) {
            let Copy { home, time, node, .. } = wrong;
            return refused(format!("no such version or node: home {home}, version {time}.{node}"));
        }
        if let Some(other) = copies.iter().find(|copy| self.table(copy.home).is_none()) {
            return refused(self.not_mine(other.home));
        }
        let bytes: usize = copies.iter().map(|copy| table::size(&copy.key, &copy.value)).sum();
        if !self.has_room(bytes) {
            return refused(format!("the table is full ({} bytes)", self.config.limits.bytes));
        }
        let newer = self.merge(copies);
        self.kept(newer)
    }

    /// Keeps what is newer than what is there; gives whether something newer was there.
    pub(super) fn merge(&mut self, copies: &[Copy]) -> bool {
        let mut newer = false;
        for copy in copies {
            let version = table::version(copy);
            self.clock.observe(version.time.min(LAST_TIME));
            let (key, value) = (Arc::from(&*copy.key), Arc::from(&*copy.value));
            if !self.keep(copy.home, &key, &value, version) {
                let held = self.table(copy.home).and_then(|table| table.get(&copy.key));
                newer |= held.is_some_and(|(_, held)| held > version);
            }
        }
        newer
    }
}

fn refused(why: String) -> Served {
    Served::Reply(Reply::Refused { why })
}
