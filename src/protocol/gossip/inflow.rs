//! Writes on their way in: put into the order of their origin's stream, and held until what they need is executed.
//!
//! A write names the one before it of the same replica. Where that is missing it is *early* and held aside; the
//! asking for what is missing is [`super::Gossip`]'s. What has come without a gap is *received*, and executed when
//! its needs are: in the order of its origin's stream, so only the first of each stream is looked at.
//!
//! Both are bounded together; at the bound what comes is dropped, as if the link had lost it: it is asked for again.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use super::rules::Rules;
use crate::base::{Timestamp, VectorClock};
use crate::protocol::{Backlog, total_order::weight};
use crate::wire::gossip::Spread;

/// What became of a write that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It had come before.
    Known,
    /// It is held aside, or dropped: one before it is missing.
    Early,
    /// It is the next of its stream.
    Next,
}

/// A write that is received, and when it came.
#[derive(Clone, Debug)]
struct Waiting {
    spread: Spread,
    since: Duration,
}

/// The writes on their way in.
#[derive(Clone, Debug)]
pub(super) struct Inflow<R> {
    /// Up to where each stream has come without a gap.
    pub received: VectorClock,
    streams: Vec<VecDeque<Waiting>>,
    early: BTreeMap<Timestamp, Spread>,
    bound: Backlog,
    held: usize,
    bytes: usize,
    rules: PhantomData<R>,
}

impl<R: Rules> Inflow<R> {
    pub fn new(replicas: u16, received: VectorClock, bound: Backlog) -> Self {
        let streams = vec![VecDeque::new(); usize::from(replicas)];
        let early = BTreeMap::new();
        Self { received, streams, early, bound, held: 0, bytes: 0, rules: PhantomData }
    }

    /// How many writes are held.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Looks where a write belongs. One that is [`Arrival::Next`] is to be given to [`Inflow::take`]; one that is
    /// early is held.
    pub fn arrive(&mut self, spread: &Spread) -> Arrival {
        let (ts, prev) = (spread.message.ts, spread.message.prev.time);
        let received = self.received.get(ts.replica);
        if ts.time <= received {
            return Arrival::Known;
        }
        let size = weight(&spread.message.op);
        if self.held >= self.bound.writes || self.bytes + size > self.bound.bytes && self.held > 0 {
            return Arrival::Early;
        }
        if prev <= received {
            return Arrival::Next;
        }
        if self.early.insert(ts, spread.clone()).is_none() {
            (self.held, self.bytes) = (self.held + 1, self.bytes + size);
        }
        Arrival::Early
    }

    /// Takes the next write of a stream in.
    pub fn take(&mut self, spread: Spread, now: Duration) {
        let ts = spread.message.ts;
        self.received.observe(ts);
        (self.held, self.bytes) = (self.held + 1, self.bytes + weight(&spread.message.op));
        self.streams[ts.replica.index()].push_back(Waiting { spread, since: now });
    }

    /// A write that came early and is the next of its stream now.
    pub fn next_early(&mut self) -> Option<Spread> {
        let received = &self.received;
        let due = |(ts, spread): (&Timestamp, &Spread)| {
            (spread.message.prev.time <= received.get(ts.replica)).then_some(*ts)
        };
        let ts = self.early.iter().find_map(due)?;
        let spread = self.early.remove(&ts)?;
        self.release(&spread);
        Some(spread)
    }

    fn release(&mut self, spread: &Spread) {
        (self.held, self.bytes) = (self.held - 1, self.bytes - weight(&spread.message.op));
    }

    /// Takes out the next write that can be executed where `have` is, and has waited for `delay`.
    pub fn pop_ready(
        &mut self,
        have: &VectorClock,
        now: Duration,
        delay: Duration,
    ) -> Option<Spread> {
        let ready = |first: &Waiting| {
            R::is_ready(&first.spread.needs, have) && ripe_at(first, delay) <= now
        };
        let stream = self.streams.iter_mut().find(|s| s.front().is_some_and(ready))?;
        let spread = stream.pop_front()?.spread;
        self.release(&spread);
        Some(spread)
    }

    /// When the next write that waits for nothing but its delay has waited long enough.
    pub fn ripe_at(&self, have: &VectorClock, delay: Duration) -> Option<Duration> {
        let first = self.streams.iter().filter_map(VecDeque::front);
        first.filter(|w| R::is_ready(&w.spread.needs, have)).map(|w| ripe_at(w, delay)).min()
    }

    /// All up to this clock is executed already: what is held of it goes.
    pub fn skip(&mut self, known: &VectorClock) {
        self.received.merge(known);
        let mut gone = Vec::new();
        for stream in &mut self.streams {
            while let Some(first) = stream.front().filter(|w| known.has(w.spread.message.ts)) {
                gone.push(weight(&first.spread.message.op));
                stream.pop_front();
            }
        }
        self.early.retain(|ts, spread| {
            let stays = !known.has(*ts);
            if !stays {
                gone.push(weight(&spread.message.op));
            }
            stays
        });
        self.held -= gone.len();
        self.bytes -= gone.iter().sum::<usize>();
    }

    /// Own writes are executed without coming in.
    pub fn note_own(&mut self, ts: Timestamp) {
        self.received.observe(ts);
    }
}

fn ripe_at(waiting: &Waiting, delay: Duration) -> Duration {
    if waiting.spread.message.prompt { Duration::ZERO } else { waiting.since + delay }
}
