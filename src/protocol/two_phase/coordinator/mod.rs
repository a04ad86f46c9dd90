//! The coordinator: stores nothing, decides everything.
//!
//! ```text
//! transactions   what a command goes through, from its locks to its answer
//! locks          who waits for whom
//! recovery       which data is the newest, after a start or when nobody is left
//! views          who is a member: exclusion, installation, heartbeats
//! joining        bringing a participant up to date while commands go on
//! ```
//!
//! Frames of transactions are written as soon as an input gives rise to them; all that depends on the time or
//! on several inputs at once (exclusion, forming a view, joining) happens in [`Coordinator::finish`].

mod joining;
mod locks;
mod recovery;
mod transactions;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use super::{Answer, Command, Frame, Members, PresumedAbort, Report};
use super::{Rules, Timing, TxnId, View, ViewId, Violation};
use joining::Join;
use locks::Locks;
use recovery::Known;
use transactions::Running;

/// How much may be under way at once; beyond it, commands are answered with an error at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many commands.
    pub commands: usize,
    /// How many bytes of them, about; a single command may be larger.
    pub bytes: usize,
    /// About how many bytes of a copy are sent to a participant that joins at once.
    pub chunk: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commands: 100_000, bytes: 1024 * 1024 * 1024, chunk: 256 * 1024 }
    }
}

/// What a coordinator needs to know from the start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many participants are configured; 1 to [`MAX_PARTICIPANTS`](super::MAX_PARTICIPANTS).
    pub participants: u16,
    /// A number greater than that of any earlier start, such as the wall clock in nanoseconds; not 0.
    pub incarnation: u64,
    /// The times to go by.
    pub timing: Timing,
    /// How much may be under way.
    pub limits: Limits,
    /// Whether [`Event`]s about single transactions are wanted too.
    pub trace: bool,
}

/// What happened, for a log and for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Traced: a transaction began at these participants.
    Began(TxnId),
    /// Traced: a transaction is decided.
    Decided {
        /// The transaction.
        txn: TxnId,
        /// Whether it commits.
        commit: bool,
    },
    /// Traced: everybody has carried the decision out.
    Finished(TxnId),
    /// A view is decided upon, and sent to its members.
    Decides(View),
    /// All its members have stored it.
    Active(View),
    /// A member is excluded by the next view.
    Excludes(u16),
    /// A participant drops its copy and takes part again.
    Joins(u16),
    /// It has caught up.
    CaughtUp(u16),
    /// Nobody who holds the data is left, or a newer incarnation is known: everything starts over.
    StartsOver {
        /// The new incarnation.
        incarnation: u64,
    },
    /// What an earlier incarnation left prepared ends so.
    Resolved {
        /// The transaction.
        txn: TxnId,
        /// Whether it commits.
        commit: bool,
    },
    /// All participants have lost their memory, and with it all data.
    DataLost,
}

/// Where a coordinator stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether commands are carried out.
    pub serving: bool,
    /// The incarnation.
    pub incarnation: u64,
    /// The view; of epoch 0 while there is none.
    pub view: View,
    /// Who is connected and has reported.
    pub connected: Members,
    /// Who is being brought up to date.
    pub joining: Members,
    /// How many commands are under way or wait for the participants.
    pub commands: usize,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Link {
    #[default]
    Down,
    /// The greeting of the present incarnation is out; all that comes before the report is of an older one.
    Greeted,
    Up,
}

/// What is known of a participant.
#[derive(Debug, Default)]
struct Peer {
    link: Link,
    report: Report,
    out: Vec<u8>,
    /// When anything last came from it; silence counts from here.
    heard_at: Duration,
    /// The number of the last heartbeat.
    beat: u64,
    /// The number of the last that it answered.
    answered: u64,
    /// When that answer came.
    answered_at: Duration,
    /// Until when it may rely on not being excluded, as far as it has been told so.
    promised: Duration,
    /// A heartbeat and when it was sent; by the answer to it, everything sent before must be answered too.
    mark: Option<(u64, Duration)>,
    /// The last view that it was told to install.
    told: ViewId,
    /// It has reported anew since there is a view: until it joins, it is no member, or has to be excluded, and
    /// nothing of the transactions that it took part in concerns it.
    lost: bool,
    join: Option<Join>,
}

/// What the coordinator is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It looks for the newest data.
    Gathering,
    /// It has found it; its holders are installing the first view, and end what an earlier incarnation left.
    Forming,
    Serving,
}

/// The coordinator. `T` is what the driver knows a command by.
#[derive(Debug)]
pub struct Coordinator<T, R: Rules = PresumedAbort> {
    setup: Setup,
    incarnation: u64,
    peers: Vec<Peer>,
    phase: Phase,
    /// The view last decided upon.
    view: View,
    /// The last that all its members have stored; the data of the next comes from its members.
    active: View,
    /// Whose word is missing until `view` is active.
    pending: Members,
    /// Whether those who join with `view` have stored it, and all others have been told.
    told_all: bool,
    /// Whether `view` begins empty, and what its members shall end; until it is active for the first time.
    first: (bool, Option<Vec<TxnId>>),
    known: Known,
    /// All data is new and empty, and commands wait until more than one participant has it.
    filling: bool,
    /// Until when commands wait for the participants; `None` before the first input.
    patience: Option<Duration>,
    /// Whether they wait although nobody is connected: only at the very start.
    at_start: bool,
    /// The time of the present input.
    clock: Duration,
    next_beat: Duration,
    next_copy: u64,
    /// The number of the next command.
    next: u64,
    locks: Locks,
    running: BTreeMap<u64, Running<T>>,
    /// Those whose votes are complete while a view is being installed.
    held: Vec<u64>,
    /// Reads that find nobody to ask just now.
    parked: Vec<u64>,
    /// Commands that wait until there is a view.
    waiting: VecDeque<(Command, usize, T)>,
    /// About how many bytes running and waiting commands take.
    bytes: usize,
    replies: Vec<(T, Answer)>,
    cuts: Vec<(u16, Violation)>,
    events: Vec<Event>,
    rules: PhantomData<R>,
}

impl<T, R: Rules> Coordinator<T, R> {
    /// A coordinator that knows nothing.
    pub fn new(setup: Setup) -> Self {
        Self {
            incarnation: setup.incarnation,
            peers: (0..setup.participants).map(|_| Peer::default()).collect(),
            phase: Phase::Gathering,
            view: View::default(),
            active: View::default(),
            pending: Members::default(),
            told_all: true,
            filling: false,
            first: (false, None),
            known: Known::default(),
            patience: None,
            at_start: true,
            clock: Duration::ZERO,
            next_beat: Duration::ZERO,
            next_copy: 1,
            next: 1,
            locks: Locks::default(),
            running: BTreeMap::new(),
            held: Vec::new(),
            parked: Vec::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            replies: Vec::new(),
            cuts: Vec::new(),
            events: Vec::new(),
            rules: PhantomData,
            setup,
        }
    }

    /// A client wants `command` carried out; its answer will be among [`Coordinator::replies_mut`] under `ticket`.
    pub fn submit(&mut self, now: Duration, command: Command, ticket: T) {
        self.begin(now);
        self.take_command(now, command, ticket);
    }

    /// A connection to participant `p` has come up (its preface has been read). Whatever an earlier one
    /// carried is gone; what is in [`Coordinator::frames_mut`] afterwards belongs on the new one.
    pub fn connected(&mut self, now: Duration, p: u16) {
        self.begin(now);
        self.disconnected(now, p);
        if usize::from(p) < self.peers.len() {
            self.greet(now, p);
        }
    }

    /// The connection to participant `p` is lost. Without an effect when there is none.
    pub fn disconnected(&mut self, now: Duration, p: u16) {
        self.begin(now);
        let Some(peer) = self.peers.get_mut(usize::from(p)) else { return };
        if peer.link != Link::Down {
            peer.link = Link::Down;
            peer.out.clear();
            peer.mark = None;
            self.stop_joining(p);
            self.ask_others(p);
        }
    }

    /// The driver has seen participant `p` take or give bytes of a large frame: it lives, although no frame
    /// has come from it.
    pub fn alive(&mut self, now: Duration, p: u16) {
        if let Some(peer) = self.peers.get_mut(usize::from(p)) {
            peer.heard_at = peer.heard_at.max(now);
        }
    }

    /// A frame has come from participant `p`.
    ///
    /// # Errors
    /// When no correct participant sends this: the driver cuts the connection and calls
    /// [`Coordinator::disconnected`].
    pub fn receive(&mut self, now: Duration, p: u16, frame: Frame) -> Result<(), Violation> {
        self.begin(now);
        let Some(peer) = self.peers.get_mut(usize::from(p)) else {
            return Err(Violation::Unexpected(frame.name()));
        };
        match peer.link {
            Link::Down => Ok(()),
            Link::Greeted => self.receive_first(now, p, frame),
            Link::Up => {
                peer.heard_at = peer.heard_at.max(now);
                self.receive_next(now, p, frame)
            }
        }
    }

    fn receive_next(&mut self, now: Duration, p: u16, frame: Frame) -> Result<(), Violation> {
        match frame {
            Frame::Prepared { txn, held } => self.voted(p, txn, Ok(held)),
            Frame::No { txn, why } => self.voted(p, txn, Err(why)),
            Frame::Done(txn) => self.done(p, txn),
            Frame::Value { id, value } => self.read(p, id, value),
            Frame::Alive { number } => self.answered(now, p, number),
            Frame::Installed(id) => self.installed(now, p, id),
            Frame::Joined { copy } => self.joined(p, copy),
            Frame::Chunk { copy, end, entries } => self.chunk(p, copy, end, &entries),
            Frame::Stored { copy } => self.stored(p, copy),
            other => Err(Violation::Unexpected(other.name())),
        }
    }

    /// Ends a batch of inputs, or of none when the deadline has passed.
    pub fn finish(&mut self, now: Duration) {
        self.begin(now);
        self.cut_silent(now);
        match self.phase {
            Phase::Gathering => self.try_to_form(now),
            Phase::Forming | Phase::Serving => self.exclude_lost(now),
        }
        if self.phase == Phase::Serving {
            self.go_on_joining(now);
            self.commit_late(now);
            self.end_filling(now);
        }
        self.end_patience(now);
        if now >= self.next_beat {
            self.beat(now);
        }
    }

    /// When [`Coordinator::finish`] next has something to do by itself.
    pub fn deadline(&self) -> Option<Duration> {
        let patience = self.patience.filter(|_| self.filling || !self.waiting.is_empty());
        let beat = Some(self.next_beat).filter(|_| !self.up().is_empty());
        [patience, beat, self.next_loss()].into_iter().flatten().min()
    }

    /// The encoded frames for participant `p`, in order, to be taken and sent.
    ///
    /// # Panics
    /// When there is no such participant.
    pub fn frames_mut(&mut self, p: u16) -> &mut Vec<u8> {
        &mut self.peers[usize::from(p)].out
    }

    /// The answers to clients, to be taken.
    pub fn replies_mut(&mut self) -> &mut Vec<(T, Answer)> {
        &mut self.replies
    }

    /// Connections to be cut, and why, to be taken; the machine treats them as lost already.
    pub fn cuts_mut(&mut self) -> &mut Vec<(u16, Violation)> {
        &mut self.cuts
    }

    /// What happened, to be taken.
    pub fn events_mut(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        Status {
            serving: self.serves(),
            incarnation: self.incarnation,
            view: self.view,
            connected: self.up(),
            joining: self.joining(),
            commands: self.running.len() + self.waiting.len(),
        }
    }

    /// The clock of the first input is when everything begins.
    fn begin(&mut self, now: Duration) {
        self.clock = now;
        if self.patience.is_none() {
            self.patience = Some(now + self.setup.timing.patience);
            self.next_beat = now;
        }
    }

    /// Whether commands are carried out at once.
    fn serves(&self) -> bool {
        self.phase == Phase::Serving && !self.filling
    }

    fn peer(&mut self, p: u16) -> &mut Peer {
        &mut self.peers[usize::from(p)]
    }

    fn select(&self, wanted: impl Fn(&Peer) -> bool) -> Members {
        (0..).zip(&self.peers).filter(|(_, peer)| wanted(peer)).map(|(p, _)| p).collect()
    }

    /// Who is connected and has reported to this incarnation.
    fn up(&self) -> Members {
        self.select(|peer| peer.link == Link::Up)
    }

    /// Who of them has been there ever since it became a member or began to join.
    fn trusted(&self) -> Members {
        self.select(|peer| peer.link == Link::Up && !peer.lost)
    }

    fn joining(&self) -> Members {
        self.select(|peer| peer.join.is_some())
    }

    fn send(&mut self, p: u16, frame: &Frame) {
        frame.encode(&mut self.peer(p).out);
    }

    fn send_all(&mut self, to: Members, frame: &Frame) {
        for p in to.and(self.trusted()).iter() {
            self.send(p, frame);
        }
    }

    fn cut(&mut self, now: Duration, p: u16, why: Violation) {
        self.disconnected(now, p);
        self.cuts.push((p, why));
    }
}
