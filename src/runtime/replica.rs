//! One running replica: the node behind its one lock, and the carrying out of its effects.
//!
//! Every thread that has something for the node goes through [`Replica::drive`]: it locks, hands the input
//! over, moves the effects into the links' and the disk's queues, unlocks, and then does itself what waits
//! there (send, write, hand out answers), together with what other threads have left; what clients want is left
//! in an inbox for whoever drives next (`asks.rs`). No one is woken to do it, and the lock is never held across a
//! socket write, a sync or a wait; across a file write once a start, when the replica goes live.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tracing::{error, info, warn};

use super::asks::Ask;
use super::budget::Budget;
use super::clock::Clock;
use super::disk::Disk;
use super::gate::Gate;
use super::link::Link;
use super::ports::Owner;
use super::recorder::Track;
use super::recording;
use super::sessions::Sessions;
use super::slot::Ticket;
use super::sync::{lock, pause, wait_for};
use super::timer::Timer;
use super::{Notice, Settings};
use crate::base::{Now, Op, Outcome, ReplicaId};
use crate::node::{LogWrite, Node};
use crate::wire::peer::{Fetch, Frame};

/// One running replica, shared by all its threads.
pub(super) struct Replica {
    pub(super) id: ReplicaId,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    node: Mutex<Node<Ticket>>,
    /// What clients have left for whoever drives the node next.
    pub(super) inbox: Mutex<Vec<Ask>>,
    /// Held by whoever drives the node; it looks into the inbox again before it leaves.
    pub(super) turn: Mutex<()>,
    links: Vec<Link>,
    pub(super) gate: Gate,
    pub(super) disk: Disk,
    pub(super) stop: AtomicBool,
    /// Signalled, with the flag's lock, when the replica begins to take writes or to answer reads; and, while some
    /// threads wait for it, whenever the node has had an input.
    live: Mutex<()>,
    became_live: Condvar,
    /// How many threads wait for what an input may bring.
    waiting: AtomicUsize,
    /// Signalled, with its lock, when the replica stops.
    paused: Mutex<()>,
    stopped: Condvar,
    pub(super) timer: Timer,
    /// When all that had gathered for the peers last went to them, in nanoseconds since the start.
    pub(super) told: AtomicU64,
    pub(super) sessions: Sessions,
    /// Memory for large requests.
    pub(super) budget: Budget,
    notify: Sender<Notice>,
    failed: AtomicBool,
    /// Where deliveries are recorded.
    deliveries: Option<Track>,
}

impl Owner for Replica {
    fn name(&self) -> String {
        format!("replica {}", self.id)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn pause(&self, time: Duration) {
        pause(&self.paused, &self.stopped, time, || self.stopping());
    }
}

impl Replica {
    pub(super) fn new(
        id: ReplicaId,
        settings: Settings,
        clock: Clock,
        mut node: Node<Ticket>,
        disk: Disk,
        notify: Sender<Notice>,
    ) -> Self {
        let deliveries = recording::deliveries_of(&settings, id);
        if deliveries.is_some() {
            node.show_deliveries();
        }
        let budget = Budget::new(settings.request_memory);
        let addresses = &settings.broadcast_addresses;
        let gate = Gate::new(addresses, settings.replicas, settings.control);
        let links = (0..settings.replicas).map(|_| Link::default()).collect();
        Self {
            id,
            settings,
            clock,
            node: Mutex::new(node),
            inbox: Mutex::default(),
            turn: Mutex::new(()),
            links,
            gate,
            disk,
            stop: AtomicBool::new(false),
            live: Mutex::new(()),
            became_live: Condvar::new(),
            waiting: AtomicUsize::new(0),
            paused: Mutex::new(()),
            stopped: Condvar::new(),
            timer: Timer::default(),
            told: AtomicU64::new(0),
            sessions: Sessions::default(),
            budget,
            notify,
            failed: AtomicBool::new(false),
            deliveries,
        }
    }

    /// Ends the replica because it cannot write its disk: nothing is answered from here on.
    pub(super) fn fail(&self, why: &str) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            error!("replica {}: {why}; it stops serving", self.id);
            self.stop.store(true, Ordering::Release);
            self.sessions.shut();
            self.wake_all();
            // The host is there as long as a thread of the replica is.
            let _ = self.notify.send(Notice::Failed(self.id, why.to_owned()));
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// An error once nothing may be answered any more.
    pub(super) fn may_answer(&self) -> io::Result<()> {
        if self.failed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    pub(super) fn link(&self, peer: ReplicaId) -> &Link {
        &self.links[peer.index()]
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        let me = self.id;
        (0..self.settings.replicas).map(ReplicaId).filter(move |peer| *peer != me)
    }

    /// Looks at the node without giving it an input.
    pub(super) fn look<R>(&self, f: impl FnOnce(&Node<Ticket>, Now) -> R) -> R {
        let node = lock(&self.node);
        f(&node, self.clock.now())
    }

    /// Tells the node something from which nothing follows.
    pub(super) fn tend(&self, f: impl FnOnce(&mut Node<Ticket>)) {
        f(&mut lock(&self.node));
    }

    /// Gives the node an input, with what clients have left for it, and carries out what follows.
    pub(super) fn drive<R>(
        &self,
        source: Source,
        input: impl FnOnce(&mut Node<Ticket>, Now) -> R,
    ) -> R {
        let turn = lock(&self.turn);
        let result = self.drive_in_turn(turn, source, self.take_asks(), input);
        self.empty_inbox();
        result
    }

    /// Gives the node what follows from an earlier input. It takes nothing along that clients have left: what that led
    /// to would come here again, one call deeper.
    pub(super) fn drive_on<R>(
        &self,
        source: Source,
        input: impl FnOnce(&mut Node<Ticket>, Now) -> R,
    ) -> R {
        self.drive_in_turn(lock(&self.turn), source, Vec::new(), input)
    }

    pub(super) fn drive_in_turn<R>(
        &self,
        turn: MutexGuard<'_, ()>,
        source: Source,
        asks: Vec<Ask>,
        input: impl FnOnce(&mut Node<Ticket>, Now) -> R,
    ) -> R {
        let (result, rest) = self.give(source, asks, input);
        drop(turn);
        if let Err(why) = &rest.early {
            self.fail(why);
        }
        self.carry_out(source, rest);
        result
    }

    fn give<R>(
        &self,
        source: Source,
        asks: Vec<Ask>,
        input: impl FnOnce(&mut Node<Ticket>, Now) -> R,
    ) -> (R, Rest) {
        let mut node = lock(&self.node);
        let now = self.clock.now();
        let was_readable = node.readable();
        let asked = source == Source::Client || !asks.is_empty();
        asks.into_iter().for_each(|ask| ask.give(&mut node, now));
        let result = input(&mut node, now);
        for peer in self.peers() {
            node.note_heard(peer, self.link(peer).heard_at());
        }
        let output = node.finish(now);
        let log_first = std::mem::take(&mut output.log_first);
        let mut rest = Rest {
            asked,
            replies: std::mem::take(&mut output.replies),
            serve: std::mem::take(&mut output.serve),
            cut: output
                .cut
                .drain(..)
                .map(|(peer, why)| (peer, self.link(peer).session(), why))
                .collect(),
            installing: output.log.iter().any(|write| matches!(write, LogWrite::Install(_))),
            log_end: self.disk.enqueue(&mut output.log),
            early: Ok(()),
            deadline: None,
            became_live: std::mem::take(&mut output.became_live),
            reads: std::mem::take(&mut output.reads),
            holds: false,
            waited_for: false,
            delivered: std::mem::take(&mut output.delivered),
        };
        if let Some(track) = &self.deliveries
            && !rest.delivered.is_empty()
        {
            // Under the lock, which is what orders the deliveries; it copies and never waits.
            track.record_at_once(|tape| recording::record_deliveries(tape, &rest.delivered));
        }
        if log_first {
            // Once a start: no frame may leave before this is written, so no one may see the queues yet. It is
            // the one write under the lock. If it fails, the replica ends below, without it.
            rest.early = self.disk.write_through(rest.log_end);
        }
        for peer in self.peers() {
            let frames = node.frames_mut(peer);
            if rest.early.is_err() {
                frames.clear();
            } else if !frames.is_empty() && !self.link(peer).enqueue(frames) {
                warn!("replica {}: cut the link to replica {peer}: too much waits for it", self.id);
            }
        }
        rest.deadline = node.deadline();
        rest.holds = node.holds_promises();
        rest.waited_for = rest.holds && node.is_waited_for();
        rest.became_live |= log_first || was_readable != node.readable();
        (result, rest)
    }

    fn carry_out(&self, source: Source, rest: Rest) {
        // The peer that has just spoken is the one that waits, so it comes first.
        let first = match source {
            Source::Link(peer) => Some(peer),
            _ => None,
        };
        if let Some(peer) = first.filter(|_| !rest.asked) {
            self.link(peer).flush();
        }
        for peer in first.into_iter().chain(self.peers().filter(|peer| Some(*peer) != first)) {
            if !self.link(peer).flush_unless_busy(rest.asked) {
                // Normally the answer is here before that.
                self.timer.mind(Some(self.clock.now().since_start + GATHER_AT_MOST));
            }
        }
        self.write_through(rest.log_end);
        if !self.failed() {
            self.disk.hand_out(rest.replies);
            rest.reads.iter().for_each(|ticket| ticket.fill(Outcome::Stored));
        }
        if rest.holds && (rest.waited_for || !self.may_gather(source)) {
            self.tell_kept(source, rest.log_end);
        }
        if rest.installing
            && let Some(installed) = self.disk.take_installed()
        {
            self.drive_on(Source::Own, |node, now| match installed {
                Ok(installed) => node.installed(now, installed),
                Err(why) => node.install_failed(&why),
            });
        }
        for (peer, fetch) in rest.serve {
            self.serve(peer, fetch);
        }
        for (peer, session, why) in rest.cut {
            if self.link(peer).detach(session) {
                warn!("replica {}: cut the link to replica {peer}: it {why}", self.id);
            }
        }
        // Whoever waits has counted itself before it looked at the node: if it saw it as it was before this input,
        // it is seen here.
        if rest.became_live || self.waiting.load(Ordering::SeqCst) > 0 {
            let _guard = lock(&self.live);
            self.became_live.notify_all();
        }
        self.timer.mind(rest.deadline);
    }

    /// Sends a peer the part of `storage.txt` that it asks for.
    fn serve(&self, peer: ReplicaId, fetch: Fetch) {
        match self.disk.read_chunk(fetch) {
            Ok(chunk) => {
                let mut frame = Vec::with_capacity(chunk.lines.len() + 64);
                Frame::Chunk(chunk).encode(&mut frame);
                self.link(peer).enqueue(&mut frame);
                self.link(peer).flush();
            }
            Err(error) => {
                warn!("replica {}: cannot read its store for replica {peer}: {error}", self.id);
                self.link(peer).detach(self.link(peer).session());
            }
        }
    }

    /// Waits until the replica takes writes; `false` when the deadline passes or the replica stops first.
    pub(super) fn wait_live(&self, deadline: Instant) -> bool {
        self.wait_until(deadline, |node| node.status().live)
    }

    /// Waits until the replica answers reads.
    pub(super) fn wait_readable(&self, deadline: Instant) -> bool {
        self.wait_until(deadline, Node::readable)
    }

    /// Waits until something holds that the next input may bring, whatever it is.
    pub(super) fn wait_for_input(
        &self,
        deadline: Instant,
        holds: impl Fn(&Node<Ticket>) -> bool,
    ) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let held = self.wait_until(deadline, holds);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        held
    }

    fn wait_until(&self, deadline: Instant, holds: impl Fn(&Node<Ticket>) -> bool) -> bool {
        let mut guard = lock(&self.live);
        loop {
            if self.look(|node, _| holds(node)) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stopping() {
                return false;
            }
            guard = wait_for(&self.became_live, guard, left);
        }
    }

    /// A connection to `peer` has come up, by this change of the gate where it was dialed from here. Gives the number
    /// of its session; none where no link is wanted.
    pub(super) fn connected(
        &self,
        peer: ReplicaId,
        stream: &Arc<TcpStream>,
        dialed: Option<u64>,
    ) -> Option<u64> {
        let session = self.drive(Source::Link(peer), |node, now| {
            // Asked with the node locked: whoever shuts the gate comes here afterwards, and cuts the link.
            if !self.gate.admits(peer, dialed) {
                return None;
            }
            node.disconnected(peer);
            let session = self.link(peer).attach(Arc::clone(stream));
            node.connected(now, peer);
            Some(session)
        })?;
        info!("replica {}: linked to replica {peer}", self.id);
        Some(session)
    }

    /// Cuts the link to `peer`, if there is one.
    pub(super) fn cut(&self, peer: ReplicaId) {
        self.drive(Source::Own, |node, _| {
            self.link(peer).detach(self.link(peer).session());
            node.disconnected(peer);
        });
    }

    /// Frames have come on a session. `false` when the session is over.
    pub(super) fn receive(&self, peer: ReplicaId, session: u64, frames: &mut Vec<Frame>) -> bool {
        self.link(peer).heard();
        self.drive(Source::Link(peer), |node, now| {
            if !self.link(peer).is_current(session) {
                return false;
            }
            for frame in frames.drain(..) {
                node.receive(now, peer, frame);
            }
            true
        })
    }

    /// The connection of a session is lost.
    pub(super) fn disconnected(&self, peer: ReplicaId, session: u64) {
        if self.link(peer).detach(session) && !self.stopping() {
            info!("replica {}: lost the link to replica {peer}", self.id);
        }
        self.drive(Source::Own, |node, _| {
            if !self.link(peer).is_connected() {
                node.disconnected(peer);
            }
        });
    }

    /// The body of the timer thread: deliveries that were delayed, heartbeats, silent links.
    pub(super) fn run_timer(&self) {
        let now = || self.clock.now().since_start;
        self.timer.run(
            now,
            || self.stopping(),
            || {
                self.drive(Source::Own, |_, _| ());
                self.peers().for_each(|peer| self.link(peer).flush());
            },
        );
    }

    /// Wakes everything that waits, for the last time.
    pub(super) fn wake_all(&self) {
        {
            let _guard = lock(&self.live);
            self.became_live.notify_all();
        }
        {
            let _guard = lock(&self.paused);
            self.stopped.notify_all();
        }
        self.timer.wake();
        self.gate.wake();
        for peer in self.peers() {
            self.link(peer).close();
        }
    }
}

/// How long frames gather at the most while a peer owes an answer.
const GATHER_AT_MOST: Duration = Duration::from_millis(1);

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A client's write.
    Client,
    /// Frames from this peer.
    Link(ReplicaId),
    /// The replica's own timer and disk.
    Own,
}

/// What is left to do when the lock is released.
struct Rest {
    /// A client's writes or reads are among the inputs: peers will answer what follows.
    asked: bool,
    replies: Vec<crate::node::Reply<Ticket>>,
    serve: Vec<(ReplicaId, Fetch)>,
    /// With the session that it concerns.
    cut: Vec<(ReplicaId, u64, String)>,
    early: Result<(), String>,
    installing: bool,
    log_end: u64,
    deadline: Option<Duration>,
    became_live: bool,
    /// Reads that may be answered now.
    reads: Vec<Ticket>,
    /// Frames wait until the log is kept.
    holds: bool,
    /// Somebody waits for them.
    waited_for: bool,
    /// Dropped when the lock is released.
    delivered: Vec<(Op, Outcome)>,
}
