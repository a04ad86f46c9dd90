//! One replica: the protocol, the store it delivers into, and the clients that wait.
//!
//! A node is as pure as the protocol it runs. Its driver calls an input, then [`Node::finish`], and then
//! carries out what stands in [`Output`]:
//!
//! 1. append [`Output::log`] to the file; where [`Output::log_first`] says so, before any frame leaves;
//! 2. send the frames of each peer;
//! 3. hand out each [`Reply`], *after* the log is written (and, with `--sync always`, synced) up to its
//!    [`Reply::after`]: a replica never answers for what its disk does not hold.

mod catch_up;
pub mod log;
mod merge;
mod promises;
mod state;

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{KeptLog, Now, Op, Outcome, ReplicaId, Timestamp};
use crate::protocol::{
    Effects, Event, Mode, Protocol, Reads, Recovered, Refusal, ReplyAt, Setup, Status, Writes,
};
use crate::storage::{Batch, Store};
use crate::wire::peer::{Fetch, Frame, Message};
use catch_up::Transfer;
use promises::Promises;
use state::States;

pub use log::{InstallResult, NodeLog};

/// How often a replica says something on an idle link.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long a link may be silent before it is given up. Blackholed packets and stopped processes show in
/// no other way.
pub const SILENCE: Duration = Duration::from_secs(3);

/// About how many bytes of lines are executed in one go. A small write can make a long line (an append to a
/// long value), so without a bound one batch could hold the replica up for seconds, and take gigabytes.
const DELIVER_AT_ONCE: usize = 4 * 1024 * 1024;

/// The answer to a client that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<T> {
    /// Whom it is for.
    pub ticket: T,
    /// How the operation ended.
    pub outcome: Outcome,
    /// The offset in the log that has to be written first.
    pub after: u64,
    /// The write's timestamp, where it tells clients something.
    pub version: Timestamp,
}

/// A step in taking over a peer's whole `storage.txt`, done beside the own file until the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallStep {
    /// Begin; whatever was begun before is given up.
    Begin,
    /// Whole lines of the peer's file.
    Lines(Vec<u8>),
    /// Put the result in the place of the own file, with these own notes, and pass it to
    /// [`Node::installed`].
    Finish {
        /// The present incarnation.
        incarnation: u64,
        /// Own messages that are noted and not delivered.
        pending: Vec<(Timestamp, Vec<u8>)>,
        /// The last operation of the state that is replaced.
        own: Timestamp,
        /// What is kept of a replicated log.
        kept: KeptLog,
    },
    /// Give it up.
    Abandon,
}

/// What the driver has to do.
#[derive(Debug)]
pub struct Output<T> {
    /// What to do to `storage.txt`, in order.
    pub log: Vec<LogWrite>,
    /// Whether the log must be written before a frame leaves.
    pub log_first: bool,
    /// Answers to clients.
    pub replies: Vec<Reply<T>>,
    /// Peers that ask for a part of `storage.txt`.
    pub serve: Vec<(ReplicaId, Fetch)>,
    /// Links to cut, and why.
    pub cut: Vec<(ReplicaId, String)>,
    /// Reads that may be answered from the store now; only where a mode has them wait for that.
    pub reads: Vec<T>,
    /// The replica has begun to take writes.
    pub became_live: bool,
    /// What has been delivered, in order, and how it ended; only where [`Node::show_deliveries`] asks for it.
    pub delivered: Vec<(Op, Outcome)>,
}

/// One thing to do to the log file.
#[derive(Debug)]
pub enum LogWrite {
    /// Append lines.
    Append(Batch),
    /// A step of an installation.
    Install(InstallStep),
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    up: bool,
    heard: Duration,
    spoke: Duration,
}

/// One replica. `T` is what the driver knows a waiting client by.
pub struct Node<T> {
    mode: &'static Mode,
    me: ReplicaId,
    replicas: u16,
    protocol: Box<dyn Protocol>,
    store: Store,
    /// The clients that wait for the delivery of own writes, in the order of those writes.
    waiting: VecDeque<(Timestamp, T)>,
    /// The clients that wait until the store is current, with the round that finds out.
    readers: VecDeque<(u64, T)>,
    promises: Promises,
    live: bool,
    links: Vec<Link>,
    transfer: Option<Transfer>,
    states: States,
    /// A whole state is being put in the place of the own file.
    installing: bool,
    /// Whom the protocol wants to fetch from when that is done.
    next_source: Option<ReplicaId>,
    fx: Effects,
    output: Output<T>,
    show_deliveries: bool,
    readable: bool,
    /// When a batch was last ended, by both clocks.
    finished: Duration,
    unix_ms: u64,
}

impl<T> Node<T> {
    /// A replica of `mode` (which must be built) with what its disk held.
    pub fn new(
        mode: &'static Mode,
        build: fn(Setup) -> Box<dyn Protocol>,
        mut setup: Setup,
        store: Store,
        pending: Vec<Message>,
        kept: KeptLog,
    ) -> Self {
        setup.recovered = Recovered {
            position: store.position(),
            delivered: store.last(),
            clock: store.clock(),
            incarnation: store.incarnation(),
            pending,
            kept,
        };
        Self {
            mode,
            me: setup.me,
            replicas: setup.replicas,
            readable: store.incarnation() > 0,
            waiting: VecDeque::new(),
            readers: VecDeque::new(),
            promises: Promises::default(),
            live: false,
            finished: Duration::ZERO,
            unix_ms: 0,
            links: vec![Link::default(); usize::from(setup.replicas)],
            transfer: None,
            states: States::default(),
            installing: false,
            next_source: None,
            fx: Effects::new(setup.replicas),
            output: Output {
                log: Vec::new(),
                log_first: false,
                replies: Vec::new(),
                serve: Vec::new(),
                cut: Vec::new(),
                reads: Vec::new(),
                became_live: false,
                delivered: Vec::new(),
            },
            show_deliveries: false,
            protocol: build(setup),
            store,
        }
    }

    /// Which replica this is.
    pub fn id(&self) -> ReplicaId {
        self.me
    }

    /// The mode it runs.
    pub fn mode(&self) -> &'static Mode {
        self.mode
    }

    /// The store, for local reads.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The store, for what its driver has to tell it about the file.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Where its protocol stands.
    pub fn status(&self) -> Status {
        self.protocol.status()
    }

    /// From here on [`Output::delivered`] is filled; the driver empties it.
    pub fn show_deliveries(&mut self) {
        self.show_deliveries = true;
    }

    /// Whether reads can be answered. A replica that started without data, or with a part that it was fetching
    /// when it died, may have answered with more before it lost that: it waits until it is live. Its disk
    /// shows whether it has ever been.
    pub fn readable(&self) -> bool {
        self.readable
    }

    /// Why a write would be refused now, while the replica is not live.
    pub fn not_live(&self) -> Option<Refusal> {
        self.protocol.not_live()
    }

    /// The peers to which a link is up.
    pub fn linked(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        (0..self.replicas).map(ReplicaId).filter(|id| self.links[id.index()].up)
    }

    /// How many clients wait for a delivery.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A client's write. Its answer comes as a [`Reply`] with this ticket, sooner or later or never.
    ///
    /// # Errors
    /// When the write is refused; it has definitely not happened, and no reply will come.
    pub fn submit(&mut self, now: Now, op: Op, prompt: bool, ticket: T) -> Result<(), Refusal> {
        if self.mode.writes == Writes::Merged {
            return self.merge_own(now, op, prompt, ticket);
        }
        match self.mode.reply_at {
            ReplyAt::Delivery => {
                let ts = self.protocol.submit(now, op, prompt, &mut self.fx)?;
                self.waiting.push_back((ts, ticket));
            }
            ReplyAt::Submission => {
                let outcome = self.store.table().preview(&op, now.unix_ms);
                self.protocol.submit(now, op, prompt, &mut self.fx)?;
                self.remember();
                let after = self.store.appended();
                self.output.replies.push(Reply {
                    ticket,
                    outcome,
                    after,
                    version: Timestamp::ZERO,
                });
            }
        }
        Ok(())
    }

    /// A client wants to read what is current. Its ticket comes back in [`Output::reads`], sooner or later or never.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn read(&mut self, ticket: T) -> Result<(), Refusal> {
        let round = self.protocol.read()?;
        self.readers.push_back((round, ticket));
        Ok(())
    }

    fn answer_reads(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let current = self.protocol.current();
        while self.readers.front().is_some_and(|(round, _)| *round <= current) {
            self.output.reads.extend(self.readers.pop_front().map(|(_, ticket)| ticket));
        }
    }

    /// Writes down own messages before their clients are answered.
    fn remember(&mut self) {
        for (ts, bytes) in self.fx.remember.drain(..) {
            self.store.note_pending(ts, &bytes);
        }
    }

    /// A link to `peer` has come up.
    pub fn connected(&mut self, now: Now, peer: ReplicaId) {
        self.fx.frames_mut(peer).clear();
        self.links[peer.index()] =
            Link { up: true, heard: now.since_start, spoke: now.since_start };
        self.protocol.connected(peer, &mut self.fx);
        self.carry_out();
    }

    /// The link to `peer` is lost, and with it all that was on its way.
    pub fn disconnected(&mut self, peer: ReplicaId) {
        self.links[peer.index()].up = false;
        self.fx.frames_mut(peer).clear();
        self.promises.forget(peer);
        self.states.forget(peer);
        let moved = self.abandon_transfer(peer);
        self.protocol.disconnected(peer, &mut self.fx);
        if moved {
            // The protocol must know what the store has taken over, or it would deliver that once more.
            self.caught_up(Now { since_start: self.finished, unix_ms: 0 });
        }
        self.carry_out();
    }

    /// A frame has come from `peer`.
    pub fn receive(&mut self, now: Now, peer: ReplicaId, frame: Frame) {
        if !self.links[peer.index()].up {
            return;
        }
        self.links[peer.index()].heard = now.since_start;
        let result = match frame {
            Frame::Fetch(fetch) => {
                self.output.serve.push((peer, fetch));
                Ok(())
            }
            Frame::Chunk(chunk) => self.on_chunk(now, peer, chunk),
            Frame::Gossip(gossip) if state::is_about_state(&gossip) => self.on_state(peer, *gossip),
            frame => self
                .protocol
                .receive(now, peer, frame, &mut self.fx)
                .map_err(|violation| violation.to_string()),
        };
        if let Err(why) = result {
            self.output.cut.push((peer, why));
            self.links[peer.index()].up = false;
        }
        if !self.fx.events.is_empty() {
            self.carry_out();
        }
    }

    /// Bytes have come from `peer` at this time, whole frames or not.
    pub fn note_heard(&mut self, peer: ReplicaId, at: Duration) {
        let heard = &mut self.links[peer.index()].heard;
        *heard = at.max(*heard);
    }

    /// Ends a batch of inputs (or of none, when a deadline has passed) and gathers what is to be done.
    pub fn finish(&mut self, now: Now) -> &mut Output<T> {
        self.unix_ms = now.unix_ms;
        self.protocol.finish(now, &mut self.fx);
        self.carry_out();
        self.deliver(now);
        self.answer_reads();
        let was_live = std::mem::replace(&mut self.live, self.protocol.not_live().is_none());
        self.output.became_live = self.live && !was_live;
        self.mind_links(now);
        self.take_log();
        &mut self.output
    }

    fn take_log(&mut self) {
        if self.store.unwritten_bytes() > 0 {
            self.output.log.push(LogWrite::Append(self.store.take_unwritten()));
        }
    }

    /// Carries out what concerns the store and the waiting clients.
    fn carry_out(&mut self) {
        self.remember();
        self.promise();
        for event in std::mem::take(&mut self.fx.events) {
            match event {
                Event::CatchUp(source) => self.begin_transfer(source),
                Event::Live(incarnation) => {
                    if self.mode.writes == Writes::Merged {
                        self.store.note_merged();
                    }
                    self.store.note_start(incarnation);
                    self.output.log_first = true;
                    self.readable = true;
                }
                Event::Ship { to, known } => self.ship(to, known),
                Event::Settled(clock) => {
                    while self.store.forget(&clock, self.unix_ms) > 0
                        && self.store.unwritten_bytes() < DELIVER_AT_ONCE
                    {}
                }
            }
        }
    }

    /// Executes what can be delivered, up to a bound; the rest is due at once ([`Node::deadline`]).
    fn deliver(&mut self, now: Now) {
        while self.store.unwritten_bytes() < DELIVER_AT_ONCE
            && let Some(message) = self.protocol.deliver(now)
        {
            self.execute(message);
        }
    }

    fn execute(&mut self, message: Message) {
        let outcome = match self.mode.writes {
            Writes::Ordered => self.store.execute(message.ts, message.at, &message.op),
            Writes::Merged => {
                let protocol = &self.protocol;
                let wins = |new, old| protocol.wins(new, old);
                self.store.merge(message.ts, &message.op, wins);
                Outcome::Stored
            }
        };
        if let Some(own) = self.protocol.own(&message) {
            self.answer(own, outcome);
        }
        if self.show_deliveries {
            self.output.delivered.push((message.op, outcome));
        }
    }

    fn answer(&mut self, ts: Timestamp, outcome: Outcome) {
        // What a majority's disks hold needs not be on this one once more.
        let agreed = self.mode.reads == Reads::Current;
        let after = if agreed { 0 } else { self.store.appended() };
        while let Some((front, _)) = self.waiting.front()
            && *front <= ts
        {
            if let Some((front, ticket)) = self.waiting.pop_front()
                && front == ts
            {
                self.output.replies.push(Reply { ticket, outcome, after, version: ts });
            }
        }
    }

    /// Speaks on idle links and gives up silent ones.
    fn mind_links(&mut self, now: Now) {
        // A replica that was held up itself cannot tell whether its peers were silent.
        let held_up = now.since_start > self.finished + 2 * HEARTBEAT;
        self.finished = now.since_start;
        for peer in (0..self.replicas).map(ReplicaId) {
            let link = &mut self.links[peer.index()];
            if !link.up {
                continue;
            }
            if held_up {
                link.heard = now.since_start;
            }
            if now.since_start > link.heard + SILENCE {
                link.up = false;
                let why = format!("was silent for {} s", SILENCE.as_secs());
                self.output.cut.push((peer, why));
            } else if now.since_start >= link.spoke + HEARTBEAT {
                link.spoke = now.since_start;
                self.fx.send(peer, &Frame::Heartbeat);
            }
        }
    }

    /// The encoded frames for one peer, to be taken by the driver.
    pub fn frames_mut(&mut self, to: ReplicaId) -> &mut Vec<u8> {
        self.fx.frames_mut(to)
    }

    /// When [`Node::finish`] has something to do by itself.
    pub fn deadline(&self) -> Option<Duration> {
        let beat = self.links.iter().filter(|l| l.up).map(|l| l.spoke + HEARTBEAT).min();
        [self.protocol.deadline(), beat].into_iter().flatten().min()
    }
}
