//! Raft; the mode `linearizable`.
//!
//! # The algorithm
//!
//! Replicas elect a *leader* for a *term*; at most one in each, because each replica has one vote a term and keeps
//! it on disk. All writes go through the leader, which puts them into its log and has the others take them
//! over. An entry that a majority keeps is *agreed upon* (committed), once one of the leader's own term is among
//! them; it is in the log of every later leader, because only a replica whose log is at least as up to date as a
//! majority's is elected. Every replica delivers the agreed entries in the order of the log: a replica's position
//! is the index of the last.
//!
//! The engine is the crate `raft` of TiKV, which knows neither time nor network nor disk. Here is what it leaves to
//! its user:
//!
//! ```text
//! log        the entries in memory     writes  own writes into the log, exactly once
//! convert    what is said to peers     reads   reads of what is current
//! join       links; votes              rules   what of all this can be broken alone
//! ```
//!
//! Messages that promise something (votes, acknowledgements) leave when the notes that they promise to keep are
//! written, and with `--sync always` synced ([`Effects::promise`]); the leader's entries leave at once, and the
//! leader counts itself among those who keep them only when its own disk does.
//!
//! # Writes, once
//!
//! Any replica takes writes. It sends them to the leader, in order, tagged with the leader's term, and only once it
//! has itself delivered an entry of that term (*settled*). The leader takes them in that term only; if a link
//! breaks they are sent again, and it knows by their numbers what it has taken already. Terms rise along a log. So
//! when a replica has delivered an entry of a later term, nothing of an earlier one can follow: an own write that
//! was proposed in an earlier term and has not been delivered never will be, and is proposed again. Clients see of
//! a change of leader only that it takes a moment. (A replica that has fallen so far behind that it takes over a
//! peer's state cannot tell what of its own is in there: those clients are told that the outcome is unknown.)
//!
//! # Reads
//!
//! A read is answered by its own replica's store once that has reached an index that the leader knew to be agreed
//! upon after the read had come, confirmed by a majority (see `reads.rs`). It needs neither a log entry nor
//! anyone's clock. What is agreed upon is on a majority's disks, so neither reads nor replies to writes wait for
//! the own disk once more.
//!
//! # Lost disks
//!
//! A replica that loses its disk forgets its votes and what it has acknowledged. Were it to go on, it could vote
//! twice in a term, or elect a leader that lacks an entry which counted on it. So a replica with an empty disk has
//! no vote: it takes no part until it is *sure*. It asks all others how things stand, and waits until all of them
//! say the same term T, one of them as the leader of T that has had an entry of T agreed upon up to index C; then
//! it fetches the store up to C, and begins in term T with its vote given to that leader.
//!
//! Why that is enough: (1) it has never voted or acknowledged in a term above T: whoever asked for that vote was in
//! that term himself, and is among all who say T. (2) Whatever was agreed upon in terms below T is in the log of
//! T's leader before its first own entry, hence at or before C. (3) In T only that leader counts
//! acknowledgements, and it has struck off those of the earlier life at the new one's hello, before it said C;
//! what it had counted before is at or before C. So the new life knows all that the old one's promises were worth.
//! *All* others are needed for (1); with three replicas that is the same as a majority of those who have a vote.
//! Where all have empty disks, or have never voted, the group is new and all get their votes at once; so the first
//! start of a group needs all its replicas, and every later one only a majority. Two lost disks at a time of three
//! are more than Raft can bear, and of two replicas it cannot bear one: whoever is left is no majority.
//!
//! # Lagging replicas
//!
//! The log in memory is bounded. A replica that needs older entries is told a position and fetches the part of the
//! leader's `storage.txt` that it lacks, or all of it, as in the other modes; then the engine is shown a snapshot of
//! the place that the store has reached.
//!
//! # What it costs
//!
//! A write: two hops to and from the nearest of a majority, one more each way where the client's replica does not
//! lead. A read: one such round for all reads that wait. The loss of the leader: an election timeout
//! ([`TICK`] times 6 to 12) and two rounds. A minority may be away without anyone noticing; without a majority
//! nothing is answered. Every entry stands in the file twice, first as an entry and then as what it came to.
//!
//! Sources: D. Ongaro, J. Ousterhout, *In Search of an Understandable Consensus Algorithm*, USENIX ATC 2014; D.
//! Ongaro, *Consensus: Bridging Theory and Practice*, 2014, sections 6.4 (reads), 9.6 (pre-vote) and 10.2.1
//! (writing to the leader's disk in parallel).

mod convert;
mod join;
mod log;
mod reads;
pub mod rules;
mod steps;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::VecDeque;
use std::time::Duration;

use raft::eraftpb::{Entry, HardState};
use raft::{Config, RawNode, ReadOnlyOption, StateRole};

use super::{Effects, Event, Note, Protocol, Refusal, Role, Setup, Status, Violation};
use crate::base::{Ballot, KeptLog, LogEntry, LogPlace, Now, Op, ReplicaId, Timestamp};
use crate::wire::peer::{Frame, Message, StreamPlace};
use crate::wire::raft::{Proposal, RaftFrame};
use convert::{engine_id, replica_of};
use join::{Joining, Peer};
use log::Log;
use reads::Rounds;
pub use rules::{Ongaro, Rules};
use writes::Writes;

/// The engine's unit of time.
pub const TICK: Duration = Duration::from_millis(50);

/// How many ticks a leader is not doubted; elections begin after this many to twice as many.
const ELECTION_TICKS: usize = 6;

/// An entry that is agreed upon and not delivered.
#[derive(Debug)]
struct Agreed {
    entry: Entry,
    since: Duration,
}

/// State that is being fetched.
#[derive(Clone, Copy, Debug)]
struct Catching {
    source: ReplicaId,
    /// Up to where at the least.
    needs: u64,
    /// The transfer has ended short of that; it is begun again then.
    again_at: Option<Duration>,
}

/// One replica's share in Raft, under these rules.
pub struct RaftMachine<R: Rules = Ongaro> {
    setup: Setup,
    /// The engine; there is none while the replica has no vote.
    engine: Option<RawNode<Log>>,
    peers: Vec<Peer>,
    joining: Joining,
    /// Up to where the store goes.
    position: u64,
    delivered: Timestamp,
    agreed: VecDeque<Agreed>,
    catching: Option<Catching>,
    /// A state is being put in the place of the own one.
    installing: bool,
    writes: Writes,
    rounds: Rounds,
    /// The ballot that was last noted.
    noted: Option<Ballot>,
    /// The last mark that was set, and the last that is kept.
    marked: u64,
    kept: u64,
    next_tick: Option<Duration>,
    /// The first election of a new group need not wait for a timeout.
    campaign_at: Option<Duration>,
    campaigns: u64,
    incarnation: u64,
    /// It has been live in this life.
    was_live: bool,
    rules: std::marker::PhantomData<R>,
}

/// The machine behind `linearizable`.
pub fn build(setup: Setup) -> Box<dyn Protocol> {
    build_with::<Ongaro>(setup)
}

/// The same machine under other rules, for those who want to see what a rule is good for.
pub fn build_with<R: Rules>(setup: Setup) -> Box<dyn Protocol> {
    Box::new(RaftMachine::<R>::new(setup))
}

impl<R: Rules> RaftMachine<R> {
    /// A machine that starts from what an earlier life left behind.
    pub fn new(mut setup: Setup) -> Self {
        let recovered = std::mem::take(&mut setup.recovered);
        let n = usize::from(setup.replicas);
        let mut machine = Self {
            engine: None,
            peers: vec![Peer::default(); n],
            joining: Joining::default(),
            position: recovered.position,
            delivered: recovered.delivered,
            agreed: VecDeque::new(),
            catching: None,
            installing: false,
            writes: Writes::default(),
            rounds: Rounds::default(),
            noted: recovered.kept.ballot,
            marked: 0,
            kept: 0,
            next_tick: None,
            campaign_at: None,
            campaigns: 0,
            incarnation: recovered.incarnation,
            was_live: false,
            rules: std::marker::PhantomData,
            setup,
        };
        if machine.setup.replicas == 1 {
            machine.campaign_at = Some(Duration::ZERO);
        }
        if let Some(Ballot::Voter { term, vote }) = recovered.kept.ballot {
            machine.engine = Some(machine.start(term, vote, &recovered.kept.entries));
        }
        machine
    }

    /// The engine of a replica with a vote.
    fn start(
        &self,
        term: u64,
        vote: Option<ReplicaId>,
        entries: &VecDeque<LogEntry>,
    ) -> RawNode<Log> {
        let base = LogPlace::of(self.delivered);
        let (mut last, mut taken) = (LogPlace::new(base.term, self.position), Vec::new());
        for entry in entries.iter().filter(|entry| entry.place.index > self.position) {
            if entry.place.index != last.index + 1 || entry.place.term < last.term {
                break;
            }
            last = entry.place;
            taken.push(Entry {
                term: last.term,
                index: last.index,
                data: entry.data.clone().into(),
                ..Entry::default()
            });
        }
        let hard = HardState {
            term: term.max(last.term),
            vote: vote.filter(|_| term >= last.term).map_or(0, engine_id),
            commit: self.position,
            ..HardState::default()
        };
        let base = LogPlace::new(base.term, self.position);
        let mut log = Log::new(base, self.setup.replicas, hard, self.setup.tail);
        taken.into_iter().for_each(|entry| log.put(entry));
        let config = Config {
            id: engine_id(self.setup.me),
            election_tick: ELECTION_TICKS,
            heartbeat_tick: 1,
            applied: self.position,
            max_size_per_msg: R::MESSAGE_BYTES,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: ELECTION_TICKS,
            max_election_tick: 2 * ELECTION_TICKS + 1,
            read_only_option: ReadOnlyOption::Safe,
            batch_append: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        RawNode::new(&config, log, &logger).expect("the configuration is a valid one")
    }

    fn begin_voting(&mut self, term: u64, vote: Option<ReplicaId>, fx: &mut Effects) {
        self.engine = Some(self.start(term, vote, &VecDeque::new()));
        self.note_ballot(Ballot::Voter { term, vote: R::kept_vote(vote) }, fx);
    }

    fn note_ballot(&mut self, ballot: Ballot, fx: &mut Effects) {
        if self.noted != Some(ballot) {
            self.noted = Some(ballot);
            fx.notes.push(Note::Ballot(ballot));
        }
    }

    fn others(&self) -> impl Iterator<Item = ReplicaId> + Clone + use<R> {
        let me = self.setup.me;
        (0..self.setup.replicas).map(ReplicaId).filter(move |id| *id != me)
    }

    /// Whom this replica takes for the leader.
    fn leader(&self) -> Option<ReplicaId> {
        self.engine.as_ref().and_then(|engine| replica_of(engine.raft.leader_id))
    }

    /// Whether writes can be proposed and reads asked for: there is a leader within reach, and this replica has
    /// delivered an entry of its term.
    fn is_settled(&self) -> bool {
        let Some(engine) = &self.engine else { return false };
        let within_reach =
            self.leader().is_some_and(|id| id == self.setup.me || self.peers[id.index()].open);
        within_reach
            && self.catching.is_none()
            && !self.installing
            && R::is_settled(LogPlace::of(self.delivered).term, engine.raft.term)
    }

    /// When the next entry can be delivered.
    fn ripe_at(&self) -> Option<Duration> {
        let front = self.agreed.front().filter(|_| self.catching.is_none() && !self.installing)?;
        let delay = self.setup.write_delay;
        let waits =
            !delay.is_zero() && Proposal::decode(&front.entry.data).is_ok_and(|p| !p.prompt);
        Some(if waits { front.since + delay } else { front.since })
    }

    fn settle_in(&mut self, fx: &mut Effects) {
        if !self.was_live && self.is_settled() {
            self.was_live = true;
            self.incarnation += 1;
            fx.events.push(Event::Live(self.incarnation));
        }
    }
}

/// An entry as the message that is delivered. What is no write changes nothing, and counts all the same.
fn message_of(entry: &Entry) -> Message {
    let time = LogPlace::new(entry.term, entry.index).time();
    match Proposal::decode(&entry.data) {
        Ok(Proposal { origin, life, number, at, prompt, op }) => Message {
            ts: Timestamp::new(time, origin),
            incarnation: life,
            prev: StreamPlace { incarnation: life, time: number },
            at,
            prompt,
            op,
        },
        Err(_) => Message {
            ts: Timestamp::new(time, ReplicaId(0)),
            incarnation: 0,
            prev: StreamPlace::default(),
            at: 0,
            prompt: true,
            op: Op::Delete { keys: Vec::new() },
        },
    }
}

impl<R: Rules> Protocol for RaftMachine<R> {
    fn connected(&mut self, peer: ReplicaId, fx: &mut Effects) {
        self.peers[peer.index()].open = false;
        fx.send(peer, &Frame::Raft(Box::new(RaftFrame::Hello(self.hello()))));
    }

    fn disconnected(&mut self, peer: ReplicaId, _fx: &mut Effects) {
        self.peers[peer.index()].open = false;
        self.catching = self.catching.filter(|catching| catching.source != peer);
    }

    fn submit(
        &mut self,
        now: Now,
        op: Op,
        prompt: bool,
        _fx: &mut Effects,
    ) -> Result<Timestamp, Refusal> {
        if let Some(refusal) = self.not_live() {
            return Err(refusal);
        }
        let number = self.take_write(now, op, prompt)?;
        Ok(Timestamp::new(number, self.setup.me))
    }

    fn receive(
        &mut self,
        _now: Now,
        peer: ReplicaId,
        frame: Frame,
        fx: &mut Effects,
    ) -> Result<(), Violation> {
        let frame = match frame {
            Frame::Raft(frame) => *frame,
            Frame::Heartbeat => return Ok(()),
            _ => return Err(Violation::Unexpected("frame of another protocol")),
        };
        match frame {
            RaftFrame::Hello(hello) => self.on_hello(peer, hello, fx),
            _ if !self.peers[peer.index()].open => {
                Err(Violation::Unexpected("frame before its hello"))
            }
            RaftFrame::Step(step) => self.on_step(peer, step, fx),
            RaftFrame::Forward { term, proposal } => self.on_forward(peer, term, proposal),
            RaftFrame::AskRead { life, round } => {
                self.on_ask(peer, (life, round));
                Ok(())
            }
            RaftFrame::ReadAt { life, round, index } => {
                self.on_read_at(life, round, index);
                Ok(())
            }
            RaftFrame::AskStanding => {
                self.on_ask_standing(peer, fx);
                Ok(())
            }
            RaftFrame::Standing { term, commit } => self.on_standing(peer, term, commit),
        }
    }

    fn caught_up(&mut self, now: Now, position: u64, delivered: Timestamp, _fx: &mut Effects) {
        self.on_caught_up(now, position, delivered);
    }

    fn deliver(&mut self, now: Now) -> Option<Message> {
        while self.agreed.front().is_some_and(|next| next.entry.index <= self.position) {
            self.agreed.pop_front();
        }
        if self.ripe_at()? > now.since_start {
            return None;
        }
        let Agreed { entry, .. } = self.agreed.pop_front()?;
        debug_assert!(!R::ASSERTED || entry.index == self.position + 1, "deliveries have no gaps");
        let message = message_of(&entry);
        debug_assert!(!R::ASSERTED || message.ts > self.delivered, "terms rise along a log");
        self.position = entry.index;
        self.delivered = message.ts;
        if let Some(own) = self.own(&message) {
            self.writes.delivered(own.time);
        }
        Some(message)
    }

    fn finish(&mut self, now: Now, fx: &mut Effects) {
        self.join(now, fx);
        self.fetch_again(now, fx);
        if self.installing {
            return;
        }
        self.apply();
        self.tick(now);
        self.propose(fx);
        self.ask(now, fx);
        self.confirm();
        self.pump(now, fx);
        self.mind_the_others();
        self.settle_in(fx);
    }

    fn deadline(&self) -> Option<Duration> {
        let again = self.catching.and_then(|catching| catching.again_at);
        let Some(engine) = &self.engine else {
            return self.join_deadline().into_iter().chain(again).min();
        };
        let settled = self.is_settled();
        let at_once = settled && (!self.was_live || self.writes.are_unsent(engine.raft.term));
        let at_once = at_once.then_some(Duration::ZERO);
        let read = self.rounds.deadline(settled);
        let next_tick = self.next_tick.or(Some(Duration::ZERO));
        [next_tick, again, self.ripe_at(), self.campaign_at, at_once, read]
            .into_iter()
            .flatten()
            .min()
    }

    fn not_live(&self) -> Option<Refusal> {
        (!self.is_settled()).then_some(Refusal::NoLeader { me: self.setup.me })
    }

    fn status(&self) -> Status {
        let raft = self.engine.as_ref().map(|engine| &engine.raft);
        let name = raft.map_or("joining", |raft| match raft.state {
            StateRole::Leader => "leader",
            StateRole::Follower => "follower",
            StateRole::Candidate | StateRole::PreCandidate => "candidate",
        });
        Status {
            live: self.is_settled(),
            clock: self.delivered.time,
            pending: self.agreed.len() + self.writes.len(),
            own_pending: self.writes.len(),
            incarnation: self.incarnation,
            role: Some(Role {
                name,
                term: raft.map_or(0, |raft| raft.term),
                leader: self.leader(),
            }),
        }
    }

    fn own(&self, message: &Message) -> Option<Timestamp> {
        let own = message.ts.replica == self.setup.me && message.incarnation == self.setup.life;
        own.then(|| Timestamp::new(message.prev.time, self.setup.me))
    }

    fn own_pending(&self) -> Box<dyn Iterator<Item = &Message> + '_> {
        Box::new(std::iter::empty())
    }

    fn read(&mut self) -> Result<u64, Refusal> {
        Ok(self.rounds.wait())
    }

    fn current(&self) -> u64 {
        self.rounds.reached(self.position)
    }

    fn kept(&mut self, mark: u64) {
        self.kept = mark;
        if let Some(engine) = &mut self.engine {
            engine.on_persist_ready(mark);
        }
    }

    fn to_keep(&self) -> KeptLog {
        let log = self.engine.as_ref().map(RawNode::store);
        let entries = log.map(|log| log.undelivered().collect()).unwrap_or_default();
        KeptLog { ballot: self.noted, entries }
    }

    fn installing(&mut self, under_way: bool) {
        self.installing = under_way;
    }
}
