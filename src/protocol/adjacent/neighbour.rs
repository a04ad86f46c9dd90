//! What a node does on its own towards each neighbour: hello, hints, comparing.
//!
//! One call is under way at a time for each neighbour. A *sweep* goes through the homes that the two share: compare
//! the digests, then page by page pull what differs, keep what is newer there, and push what is newer here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::table;
use crate::wire::lines::adjacent::{Copy, Place, Reply, Request};

/// What has been asked and is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Hello,
    Ping,
    Hints(Vec<(u16, Arc<str>)>),
    Sweep,
}

/// How far the comparing of a home has come.
#[derive(Clone, Debug)]
enum Stage {
    Compare,
    Pull {
        buckets: Vec<u16>,
        after: Option<Place>,
    },
    /// Then pull on behind a place, or go to the next home.
    Push {
        copies: Vec<Copy>,
        buckets: Vec<u16>,
        then: Option<Place>,
    },
}

#[derive(Clone, Debug)]
struct Sweep {
    /// The home that is compared now is the last one.
    homes: Vec<u16>,
    stage: Stage,
}

/// A node that has pairs in common with this one.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    /// What both hold.
    homes: Vec<u16>,
    silent: bool,
    /// How often it has answered or asked something.
    signs: u64,
    /// How often it had when it was last called.
    signs_before: u64,
    failures: u32,
    /// It has answered the hello, or not in time.
    greeted: bool,
    /// It has been compared with since the start, or was passed over.
    recovered: bool,
    hints: BTreeSet<(u16, Arc<str>)>,
    asked: Asked,
    sweep: Option<Sweep>,
    /// Not before this time is it asked anything.
    not_before: Duration,
    /// When to compare next.
    sweep_at: Duration,
}

impl Neighbour {
    pub(super) fn new(homes: Vec<u16>) -> Self {
        Self {
            homes,
            silent: false,
            signs: 0,
            signs_before: 0,
            failures: 0,
            greeted: false,
            recovered: false,
            hints: BTreeSet::new(),
            asked: Asked::Nothing,
            sweep: None,
            not_before: Duration::ZERO,
            sweep_at: Duration::ZERO,
        }
    }

    pub(super) fn signs(&self) -> u64 {
        self.signs
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// It did not answer; gives whether that is news.
    pub(super) fn silent(&mut self, now: Duration, backoff: (Duration, Duration)) -> bool {
        let wait = backoff.0.saturating_mul(1 << self.failures.min(16)).min(backoff.1);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait;
        !std::mem::replace(&mut self.silent, true)
    }

    /// It answered, or asked something; gives whether that is news.
    pub(super) fn alive(&mut self, now: Duration) -> bool {
        self.failures = 0;
        self.signs += 1;
        if !std::mem::replace(&mut self.silent, false) {
            return false;
        }
        self.not_before = now;
        self.sweep_at = now;
        true
    }

    /// Remembers that it misses a pair. Beyond the bound nothing is remembered: comparing finds it.
    pub(super) fn hint(&mut self, home: u16, key: &Arc<str>, most: usize) {
        if self.hints.len() < most {
            self.hints.insert((home, Arc::clone(key)));
        }
    }
}

impl Node {
    /// The next call to a neighbour, if there is one now. Its outcome goes to [`Node::answered`] before this is
    /// asked again.
    pub fn next_call(&mut self, node: u16, now: Duration) -> Option<Request> {
        let from = self.config.me;
        let all_greeted = self.neighbours.values().all(|neighbour| neighbour.greeted);
        let neighbour = self.neighbours.get_mut(&node)?;
        if neighbour.asked != Asked::Nothing || now < neighbour.not_before {
            return None;
        }
        neighbour.signs_before = neighbour.signs;
        if !neighbour.greeted {
            neighbour.asked = Asked::Hello;
            return Some(Request::Hello { from });
        }
        if !self.live && (!all_greeted || neighbour.recovered) {
            return None;
        }
        if neighbour.silent {
            neighbour.asked = Asked::Ping;
            return Some(Request::Ping { from });
        }
        if self.live && neighbour.sweep.is_none() && !neighbour.hints.is_empty() {
            return Some(self.send_hints(node));
        }
        let due = !neighbour.recovered || now >= neighbour.sweep_at;
        if neighbour.sweep.is_none() && due {
            neighbour.sweep = Some(Sweep { homes: neighbour.homes.clone(), stage: Stage::Compare });
        }
        let Sweep { homes, stage } = neighbour.sweep.as_ref()?;
        let home = *homes.last()?;
        neighbour.asked = Asked::Sweep;
        let request = match stage {
            Stage::Compare => {
                let digests = self.table(home).map(|table| table.digests().to_vec());
                Request::Compare { from, home, digests: digests.unwrap_or_default() }
            }
            Stage::Pull { buckets, after } => {
                Request::Pull { from, home, buckets: buckets.clone(), after: after.clone() }
            }
            Stage::Push { copies, .. } => Request::Keep { from, copies: copies.clone() },
        };
        Some(request)
    }

    /// When [`Node::next_call`] is worth asking again if nothing happens before; `None` where only an event helps.
    pub fn wake_at(&self, node: u16) -> Option<Duration> {
        let neighbour = self.neighbours.get(&node)?;
        if neighbour.asked != Asked::Nothing || (!self.live && neighbour.recovered) {
            return None;
        }
        if !self.live && neighbour.greeted && !self.neighbours.values().all(|other| other.greeted) {
            return None;
        }
        let busy = !neighbour.greeted
            || neighbour.silent
            || neighbour.sweep.is_some()
            || !neighbour.recovered
            || !neighbour.hints.is_empty();
        let due = if busy { Duration::ZERO } else { neighbour.sweep_at };
        Some(due.max(neighbour.not_before))
    }

    /// A batch of what the neighbour misses, with the values of now.
    fn send_hints(&mut self, node: u16) -> Request {
        let (mut copies, mut sent, mut bytes) = (Vec::new(), Vec::new(), 0);
        let hints = self.neighbours.get(&node).map(|neighbour| &neighbour.hints);
        for (home, key) in hints.into_iter().flatten() {
            let held = self.table(*home).and_then(|table| table.get(key));
            if let Some((value, version)) = held {
                bytes += table::size(key, value);
                if bytes > self.config.limits.page && !copies.is_empty() {
                    break;
                }
                copies.push(table::copy(*home, key, value, version));
            }
            sent.push((*home, Arc::clone(key)));
        }
        if let Some(neighbour) = self.neighbours.get_mut(&node) {
            neighbour.asked = Asked::Hints(sent);
        }
        Request::Keep { from: self.config.me, copies }
    }

    /// Takes the outcome of [`Node::next_call`]: the reply, or none.
    pub fn answered(&mut self, node: u16, reply: Option<&Reply>, now: Duration) {
        let signs = self.neighbours.get(&node).map_or(0, |neighbour| neighbour.signs_before);
        let is_reply = self.heard(node, signs, reply, now);
        let backoff = self.config.limits.backoff;
        let Some(neighbour) = self.neighbours.get_mut(&node) else { return };
        let asked = std::mem::replace(&mut neighbour.asked, Asked::Nothing);
        if !is_reply || matches!(reply, Some(Reply::Refused { .. })) {
            // Passed over; a hello, a hint or a page that was not answered is found missing by comparing.
            neighbour.greeted = true;
            neighbour.recovered = true;
            neighbour.sweep = None;
            neighbour.sweep_at = now + self.config.limits.sweep;
            neighbour.not_before = neighbour.not_before.max(now + backoff.0);
            self.become_live(now);
            return;
        }
        match (asked, reply) {
            (Asked::Hello, _) => {
                neighbour.greeted = true;
                self.nudge = true;
            }
            (Asked::Hints(sent), Some(Reply::Kept { newer, .. })) => {
                for hint in &sent {
                    neighbour.hints.remove(hint);
                }
                if *newer {
                    neighbour.sweep_at = now;
                }
            }
            (Asked::Sweep, Some(reply)) => self.swept(node, reply, now),
            _ => {}
        }
    }

    /// Goes on with a sweep.
    fn swept(&mut self, node: u16, reply: &Reply, now: Duration) {
        let Some(neighbour) = self.neighbours.get_mut(&node) else { return };
        let Some(Sweep { mut homes, stage }) = neighbour.sweep.take() else { return };
        let Some(home) = homes.last().copied() else { return };
        let next = match (stage, reply) {
            (Stage::Compare, Reply::Differ { buckets, .. }) if !buckets.is_empty() => {
                Some(Stage::Pull { buckets: buckets.clone(), after: None })
            }
            (Stage::Pull { buckets, after }, Reply::Page { copies, more, .. }) => {
                self.page_pulled(home, buckets, after, copies, *more)
            }
            (Stage::Push { buckets, then: Some(place), .. }, Reply::Kept { .. }) => {
                Some(Stage::Pull { buckets, after: Some(place) })
            }
            // Nothing differs, or all has been pushed; or a reply that does not answer: the next sweep tries again.
            _ => None,
        };
        let stage = next.unwrap_or_else(|| {
            homes.pop();
            Stage::Compare
        });
        let Some(neighbour) = self.neighbours.get_mut(&node) else { return };
        if homes.is_empty() {
            neighbour.sweep_at = now + self.config.limits.sweep;
            neighbour.recovered = true;
            self.become_live(now);
        } else {
            neighbour.sweep = Some(Sweep { homes, stage });
        }
    }

    /// Keeps what is newer in a page, and finds what is newer here; gives the next stage, if there is one.
    fn page_pulled(
        &mut self,
        home: u16,
        buckets: Vec<u16>,
        after: Option<Place>,
        copies: &[Copy],
        more: bool,
    ) -> Option<Stage> {
        let place = |copy: &Copy| Place(table::bucket(&copy.key) as u16, copy.key.clone());
        let last = copies.last().map(place);
        let until = last.clone().filter(|_| more);
        // A page that does not go forward would be asked for again and again.
        if more && last <= after {
            return None;
        }
        let fine: Vec<Copy> = copies
            .iter()
            .filter(|copy| copy.home == home && copy.time <= super::LAST_TIME)
            .cloned()
            .collect();
        let theirs = |key: &str| {
            let wanted = Place(table::bucket(key) as u16, key.to_owned());
            let at = copies.binary_search_by(|copy| place(copy).cmp(&wanted));
            at.ok().map(|at| table::version(&copies[at]))
        };
        let limit = self.config.limits.page;
        let push = self.table(home)?.page(
            home,
            &buckets,
            after.as_ref(),
            until.as_ref(),
            limit,
            |key, version| theirs(key).is_none_or(|theirs| theirs < version),
        );
        let bytes: usize = fine.iter().map(|copy| table::size(&copy.key, &copy.value)).sum();
        if self.has_room(bytes) {
            self.merge(&fine);
        }
        // Where not all fits in one push, what lies behind its last pair is pulled again.
        let then = if push.more { push.copies.last().map(place) } else { until };
        if !push.copies.is_empty() {
            return Some(Stage::Push { copies: push.copies, buckets, then });
        }
        then.map(|place| Stage::Pull { buckets, after: Some(place) })
    }

    /// Answers clients from here on if all neighbours have been compared with or passed over. What one of them has
    /// told may be missing at another: they are all compared with again.
    fn become_live(&mut self, now: Duration) {
        if !self.live && self.neighbours.values().all(|neighbour| neighbour.recovered) {
            self.live = true;
            for neighbour in self.neighbours.values_mut() {
                neighbour.sweep_at = now;
            }
        }
        self.nudge = true;
    }
}
