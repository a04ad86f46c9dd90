//! Gossip: every replica takes writes at once and tells all others in time; the modes `session` and `causal`.
//!
//! # The algorithm
//!
//! A replica that takes a write draws a Lamport timestamp, executes it, answers, and sends it on its way: along the
//! tree of links that its router knows ([`router`]), so that it reaches also those who are not linked to it. Of two
//! writes of a key the later timestamp holds ([`Protocol::wins`]): a write is later than all that its replica had
//! seen, and between concurrent ones the timestamps decide, the same way everywhere.
//!
//! What a replica has executed is a vector clock. Each tells its own, and whom it is linked to, every now and then
//! and when links change, and passes on what it hears of others: these *rows* are the acknowledgements, the gossip
//! of clocks and the map of the router in one. A write stays in the [`log`] until all rows have it. When a link comes
//! up, or a row shows for a while that a neighbour has more, a replica asks it for what it lacks, and is sent either
//! the writes out of the log, or, where the log does not reach back so far, the entries that they have become
//! (see `node/state.rs`): only those that differ, which the two clocks tell.
//!
//! - `session` executes writes as they come. A client that moves between replicas carries a vector clock of what it
//!   has written and read; a replica that lacks any of it says so instead of answering. So it *reads its own writes*
//!   and its *reads are monotonic* (Terry et al.), and nothing else is promised.
//! - `causal` sends with each write the clock of its replica, and executes it where that much is executed (*causal
//!   broadcast*). A state transfer is taken over as one operation, clock and all. So whoever sees a write sees all
//!   that it depends on: convergent causal consistency (CCv).
//!
//! # Why all agree in the end
//!
//! A stream (the writes of one replica) is executed in its order: each write names the one before it, and one that
//! comes early is held aside. So an entry of a vector clock is a promise: all up to there. What a replica lacks of a
//! neighbour it sees in its row, and asks until it has it; where links hang together everything gets everywhere.
//! The table holds of each key the latest version among the executed writes, so equal clocks mean equal tables.
//! A deleted key stays as an entry until no older write of it can be under way any more: until all have all that
//! anybody had when all had the deletion.
//!
//! # What it costs
//!
//! n-1 messages a write, and rows of n numbers that gather for [`GOSSIP`]; a client waits for nobody. Memory is
//! bounded: the log as `Tail` says, what waits as `Backlog` says, and both have an answer at the bound.
//!
//! # What it does not do
//!
//! - The order of versions must agree with the order of what depends on what. Comparing vector clocks first and
//!   replica numbers where they are concurrent looks natural, and is no order: with a → b (b depends on a) and c
//!   concurrent to both, the numbers may put b before c and c before a. A Lamport timestamp is such an order.
//! - An acknowledgement is worth what the disk behind it remembers, so all that is sent leaves when the disk keeps
//!   what came before it. A replica that lost what it had acknowledged (power, without `--sync always`) is refused
//!   ([`Violation::Forgot`]): it would draw timestamps a second time. With an empty folder it gets everything back;
//!   it takes writes when it has, or when it has met nobody for a while: then it may be the first of all.
//!
//! Source: R. Golding, *A weak-consistency architecture for distributed information services*, 1992 (timestamped
//! anti-entropy, the summary and acknowledgement vectors); D. Terry et al., *Session Guarantees for Weakly Consistent
//! Replicated Data*, PDIS 1994; M. Ahamad et al., *Causal Memory*, 1995.

mod inflow;
mod log;
mod router;
pub mod rules;
mod standing;

use std::collections::VecDeque;
use std::time::Duration;

use super::total_order::weight;
use super::{Effects, Event, Needs, Protocol, Refusal, Setup, Status, Violation};
use crate::base::{LamportClock, Now, Op, ReplicaId, Timestamp, VectorClock};
use crate::wire::gossip::{GossipFrame, Spread};
use crate::wire::peer::{Frame, Message, StreamPlace};
use inflow::{Arrival, Inflow};
use log::Log;
use router::Router;
pub use rules::{Causal, Rules, Session};
use standing::Standing;

/// How long clocks gather before they are told.
pub const GOSSIP: Duration = Duration::from_millis(100);

/// How far ahead of a replica's clock a client can have been at another.
const AHEAD: u64 = 1 << 32;

/// How long a neighbour's row shows that something is missing here before it is asked for: it may be under way.
const ASK_AFTER: Duration = Duration::from_millis(100);

/// One replica's share in gossip, under these rules.
#[derive(Clone, Debug)]
pub struct Gossip<R> {
    setup: Setup,
    clock: LamportClock,
    /// It takes writes.
    live: bool,
    /// When it began.
    began: Option<Duration>,
    /// It began without data, and has not got what others know yet.
    fresh: bool,
    /// What is executed.
    have: VectorClock,
    /// The last own write.
    last_own: u64,
    /// Own writes that are to be executed next.
    own: VecDeque<Message>,
    inflow: Inflow<R>,
    log: Log,
    router: Router,
    standing: Standing,
    /// The neighbour that was asked for what is missing and has not sent all of it, and what was here then.
    asked: Option<(ReplicaId, VectorClock)>,
    /// Since when some neighbour has had more.
    behind_since: Option<Duration>,
    /// Those who are known to have more for good, not under way: they can be asked at once.
    ask_now: bool,
}

/// The machine behind `session`.
pub fn build_session(setup: Setup) -> Box<dyn Protocol> {
    build_with::<Session>(setup)
}

/// The machine behind `causal`.
pub fn build_causal(setup: Setup) -> Box<dyn Protocol> {
    build_with::<Causal>(setup)
}

/// The same machine under other rules, for those who want to see what a rule is good for.
pub fn build_with<R: Rules>(setup: Setup) -> Box<dyn Protocol> {
    Box::new(Gossip::<R>::new(setup))
}

impl<R: Rules> Gossip<R> {
    /// A machine that starts from what an earlier life left behind.
    pub fn new(mut setup: Setup) -> Self {
        let recovered = std::mem::take(&mut setup.recovered);
        let (me, n, have) = (setup.me, setup.replicas, recovered.clock);
        let mut clock = LamportClock::new(me);
        clock.observe(have.latest());
        let incarnation = recovered.incarnation + 1;
        Self {
            clock,
            live: false,
            began: None,
            fresh: recovered.incarnation == 0,
            last_own: have.get(me),
            own: VecDeque::new(),
            inflow: Inflow::new(n, have.clone(), setup.backlog),
            log: Log::new(setup.tail, have.clone()),
            router: Router::new(me, n),
            standing: Standing::new(me, n, incarnation, have.clone()),
            asked: None,
            behind_since: None,
            ask_now: false,
            have,
            setup,
        }
    }

    fn me(&self) -> ReplicaId {
        self.setup.me
    }

    fn known(&self, id: ReplicaId) -> Result<(), Violation> {
        if id.0 < self.setup.replicas { Ok(()) } else { Err(Violation::UnknownReplica(id)) }
    }

    /// Looks whether a clock from outside can be.
    fn known_clock(&self, clock: &VectorClock) -> Result<(), Violation> {
        clock.iter().try_for_each(|ts| self.known(ts.replica))?;
        let latest = clock.latest();
        if latest > Timestamp::GREATEST_TIME { Err(Violation::Time(latest)) } else { Ok(()) }
    }

    fn on_write(
        &mut self,
        now: Now,
        peer: ReplicaId,
        spread: Spread,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        let ts = spread.message.ts;
        self.known(ts.replica)?;
        self.known_clock(&spread.needs)?;
        if ts.time > Timestamp::GREATEST_TIME {
            return Err(Violation::Time(ts.time));
        }
        if u16::from(spread.hops) > self.setup.replicas {
            return Err(Violation::Loop(spread.hops));
        }
        self.clock.observe(ts.time);
        match self.inflow.arrive(&spread) {
            Arrival::Next => self.take(now, peer, spread, fx),
            Arrival::Known if R::goes_on(false) => drop(self.send_on(peer, &spread, fx)),
            Arrival::Known | Arrival::Early => return Ok(()),
        }
        while let Some(early) = self.inflow.next_early() {
            self.take(now, peer, early, fx);
        }
        Ok(())
    }

    /// Takes the next write of a stream in, and sends it on.
    fn take(&mut self, now: Now, peer: ReplicaId, spread: Spread, fx: &mut Effects) {
        let ts = spread.message.ts;
        let frame = self.send_on(peer, &spread, fx);
        self.log.push(ts, frame);
        if ts.replica == self.me() {
            self.last_own = self.last_own.max(ts.time);
        }
        self.inflow.take(spread, now.since_start);
    }

    /// Sends a write on to this replica's children in its origin's tree. Gives the frame, as it is sent from here.
    fn send_on(&mut self, from: ReplicaId, spread: &Spread, fx: &mut Effects) -> Vec<u8> {
        let mut frame = spread.frame();
        Spread::set_hops(&mut frame, spread.hops.saturating_add(1));
        if R::strays() {
            let to = self.standing.open().filter(|to| *to != from);
            to.for_each(|to| fx.promise_in_time(to, Needs::Everything, &frame));
            return frame;
        }
        let children = self.router.children(spread.message.ts.replica);
        for &to in children.iter().filter(|to| **to != from) {
            if self.standing.is_open(to) {
                fx.promise_in_time(to, Needs::Everything, &frame);
            }
        }
        frame
    }

    /// Sends a neighbour what it lacks, or has the node do it.
    fn on_lacks(&mut self, peer: ReplicaId, have: VectorClock, fresh: bool, fx: &mut Effects) {
        if fresh || !self.log.reaches(&have) {
            return fx.events.push(Event::Ship { to: peer, known: have });
        }
        for frame in self.log.beyond(&have) {
            fx.promise_in_time(peer, Needs::Everything, frame);
        }
        // Somebody waits for this, and so for what goes before it.
        let resent = Frame::Gossip(Box::new(GossipFrame::Resent));
        fx.promise(peer, Needs::Everything, &resent);
    }

    /// Asks a neighbour for what is missing, if one has more for long enough.
    fn ask(&mut self, now: Now, fx: &mut Effects) {
        if self.asked.is_some() {
            return;
        }
        let received = &self.inflow.received;
        let Some(source) = self.standing.who_has_more(received) else {
            (self.behind_since, self.ask_now) = (None, false);
            return;
        };
        let since = *self.behind_since.get_or_insert(now.since_start);
        if self.ask_now || since + ASK_AFTER <= now.since_start {
            self.asked = Some((source, received.clone()));
            (self.behind_since, self.ask_now) = (None, false);
            // What waits here is not executed: were it left out of a transfer of state, that would not be whole.
            let lacks = GossipFrame::Lacks { have: self.have.clone(), fresh: self.fresh };
            fx.promise(source, Needs::Everything, &Frame::Gossip(Box::new(lacks)));
        }
    }

    fn on_gossip(
        &mut self,
        now: Now,
        peer: ReplicaId,
        frame: GossipFrame,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        match frame {
            GossipFrame::Meet { row, fresh } => {
                if row.of != peer {
                    return Err(Violation::Unexpected("row of another replica"));
                }
                self.known_clock(&row.have)?;
                let ours = row.have.get(self.me());
                // What it said to others later may have come here earlier.
                let before = self.standing.row(peer);
                if !fresh && row.age() > before.age() && !row.have.covers(&before.have) {
                    return Err(Violation::Forgot(peer));
                }
                if !self.fresh && ours > self.last_own {
                    return Err(Violation::Forgot(self.me()));
                }
                self.clock.observe(row.have.latest());
                self.standing.meet(peer, row, fresh, &mut self.router);
                self.ask_now = true;
            }
            _ if !self.standing.is_open(peer) => {
                return Err(Violation::Unexpected("frame before they have met"));
            }
            GossipFrame::Write(spread) => return self.on_write(now, peer, spread, fx),
            GossipFrame::Lacks { have, fresh } => {
                self.known_clock(&have)?;
                self.on_lacks(peer, have, fresh, fx);
            }
            GossipFrame::Resent => {
                if let Some((_, before)) = self.asked.take_if(|(asked, _)| *asked == peer) {
                    // Others may have still more; without progress there is no hurry.
                    self.ask_now |= before != self.inflow.received;
                }
            }
            GossipFrame::Rows { rows, settled } => {
                for row in &rows {
                    self.known(row.of)?;
                    self.known_clock(&row.have)?;
                }
                self.standing.hear(now.since_start, peer, rows, &mut self.router);
                self.ask_now |= settled;
            }
            GossipFrame::State(_) | GossipFrame::More => {
                return Err(Violation::Unexpected("piece of state"));
            }
        }
        Ok(())
    }

    /// Takes writes from here on, if there is no reason to wait. One that begins without data may have had some, and
    /// others may know what it wrote then: it waits until it has what those know whom it meets, but not for ever to
    /// meet somebody.
    fn begin(&mut self, now: Now, fx: &mut Effects) {
        let has_met = self.standing.open().next().is_some();
        if self.live {
            self.fresh &= !has_met || self.is_catching_up();
            return;
        }
        let began = *self.began.get_or_insert(now.since_start);
        let waited = self.setup.replicas == 1 || began + self.setup.patience <= now.since_start;
        if !self.fresh || if has_met { !self.is_catching_up() } else { waited } {
            self.live = true;
            fx.events.push(Event::Live(self.standing.incarnation()));
        }
    }

    /// Whether it has begun without data, and has met somebody who knows more: maybe what it wrote in an earlier life.
    /// A write of its own would come to stand in its stream before those.
    fn is_catching_up(&self) -> bool {
        self.fresh && self.standing.who_has_more(&self.have).is_some()
    }

    fn gather_acknowledgements(&mut self, fx: &mut Effects) {
        let by_all = self.standing.acknowledged::<R>();
        self.log.acknowledged(&by_all);
        if let Some(settled) = self.standing.settled(by_all) {
            fx.events.push(Event::Settled(settled));
        }
    }
}

impl<R: Rules> Protocol for Gossip<R> {
    fn connected(&mut self, peer: ReplicaId, fx: &mut Effects) {
        let row = self.standing.own_row(&self.have);
        let meet = GossipFrame::Meet { row, fresh: self.fresh };
        fx.promise(peer, Needs::Everything, &Frame::Gossip(Box::new(meet)));
    }

    fn disconnected(&mut self, peer: ReplicaId, _fx: &mut Effects) {
        self.standing.part(peer, &mut self.router);
        self.asked.take_if(|(asked, _)| *asked == peer);
    }

    fn submit(
        &mut self,
        now: Now,
        op: Op,
        prompt: bool,
        fx: &mut Effects,
    ) -> Result<Timestamp, Refusal> {
        if let Some(refusal) = self.not_live() {
            return Err(refusal);
        }
        if weight(&op) > crate::base::limits::HIGHEST_MAX_VALUE {
            return Err(Refusal::TooLarge);
        }
        if self.clock.time() >= Timestamp::GREATEST_TIME {
            return Err(Refusal::OutOfTime);
        }
        let mut needs = VectorClock::new();
        if R::CAUSAL {
            needs = self.have.clone();
            // The place before it in its stream says this already.
            needs.set(self.me(), 0);
        }
        let ts = self.clock.tick();
        let prev = StreamPlace { incarnation: 0, time: self.last_own };
        let message = Message { ts, incarnation: 0, prev, at: now.unix_ms, prompt, op };
        let spread = Spread { hops: 0, needs, message };
        let frame = spread.frame();
        for &to in self.router.children(self.setup.me) {
            if self.standing.is_open(to) {
                fx.promise_in_time(to, Needs::Everything, &frame);
            }
        }
        self.log.push(ts, frame);
        self.inflow.note_own(ts);
        (self.last_own, self.fresh) = (ts.time, false);
        self.own.push_back(spread.message);
        Ok(ts)
    }

    fn receive(
        &mut self,
        now: Now,
        peer: ReplicaId,
        frame: Frame,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        match frame {
            Frame::Gossip(gossip) => self.on_gossip(now, peer, *gossip, fx),
            Frame::Heartbeat => Ok(()),
            _ => Err(Violation::Unexpected("frame of another protocol")),
        }
    }

    fn caught_up(&mut self, _now: Now, _position: u64, _delivered: Timestamp, _fx: &mut Effects) {
        debug_assert!(false, "state comes as entries, by `merged`");
    }

    fn asks(&self, peer: ReplicaId) -> bool {
        self.asked.as_ref().is_some_and(|(asked, _)| *asked == peer)
    }

    fn merged(&mut self, from: ReplicaId, known: &VectorClock) {
        R::merge(&mut self.have, known);
        self.inflow.skip(known);
        self.log.skip(known);
        self.clock.observe(known.latest());
        self.last_own = self.last_own.max(known.get(self.me()));
        (self.fresh, self.ask_now) = (false, true);
        self.asked.take_if(|(asked, _)| *asked == from);
        // Those behind this replica have to hear of it: nobody else will send it to them.
        self.standing.hurry();
    }

    fn deliver(&mut self, now: Now) -> Option<Message> {
        let message = match self.own.pop_front() {
            Some(own) => own,
            None => {
                let delay = self.setup.write_delay;
                self.inflow.pop_ready(&self.have, now.since_start, delay)?.message
            }
        };
        self.have.observe(message.ts);
        self.standing.gather(now.since_start);
        Some(message)
    }

    fn own(&self, _message: &Message) -> Option<Timestamp> {
        None
    }

    fn wins(&self, new: Timestamp, old: Timestamp) -> bool {
        R::wins(new, old)
    }

    fn observe(&mut self, time: u64) {
        // A client may say anything. What it has seen is at most some writes ahead of this replica; and were a clock
        // at the end of all times, nobody would believe the next.
        if time.saturating_sub(self.clock.time()) <= AHEAD {
            self.clock.observe(time);
        }
    }

    fn finish(&mut self, now: Now, fx: &mut Effects) {
        self.ask(now, fx);
        self.begin(now, fx);
        if self.standing.is_due(now.since_start) {
            self.gather_acknowledgements(fx);
            self.standing.tell(&self.have, fx);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let ripe = self.inflow.ripe_at(&self.have, self.setup.write_delay);
        let ask = self.behind_since.filter(|_| self.asked.is_none()).map(|at| at + ASK_AFTER);
        let begin = self.began.filter(|_| !self.live && self.standing.open().next().is_none());
        let begin = begin.map(|began| began + self.setup.patience);
        [ripe, ask, begin, self.standing.due_at()].into_iter().flatten().min()
    }

    fn not_live(&self) -> Option<Refusal> {
        let starting = Refusal::CatchingUp { me: self.me(), waiting_for: Vec::new() };
        (!self.live || self.is_catching_up()).then_some(starting)
    }

    fn status(&self) -> Status {
        let me = self.me();
        Status {
            live: self.not_live().is_none(),
            clock: self.clock.time(),
            pending: self.inflow.len() + self.own.len(),
            own_pending: self.log.count(|ts| ts.replica == me),
            incarnation: self.standing.incarnation(),
            role: None,
        }
    }

    fn own_pending(&self) -> Box<dyn Iterator<Item = &Message> + '_> {
        Box::new(std::iter::empty())
    }
}
