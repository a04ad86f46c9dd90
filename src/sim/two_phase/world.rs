//! The world of one run: the time, the queue of what is to come, and everything that lives in it.
//!
//! The world only dispatches; what an event does is told in the file of whom it happens to.

use std::time::Duration;

use super::client::{Client, Reply, Request};
use super::coordinator::CoordinatorNode;
use super::mutants::Mutant;
use super::network::Wire;
use super::participant::ParticipantNode;
use super::plan::{MS, Plan};
use super::record::Names;
use crate::check::agreement::Watch;
use crate::history::OpId;
use crate::protocol::two_phase::{TxnId, View};
use crate::sim::link::Payload;
use crate::sim::queue::Queue;
use crate::sim::random::{Concern, Stream};
use crate::sim::record::Recorder;
use crate::sim::verdict::{Broken, Kind};
use crate::sim::world::{MAX_EVENTS, Phase};

/// Something to come. Nodes are participants by their number, and the coordinator behind them.
#[derive(Debug)]
pub(super) enum Event {
    /// Something arrives over a link.
    Arrive { from: u16, to: u16, session: u32, payload: Payload },
    /// The coordinator dials a participant.
    Dial { to: u16, life: u32 },
    /// A deadline of a machine has come.
    Timer { node: u16, life: u32 },
    /// A participant's log is synced.
    Synced { participant: u16, life: u32 },
    /// A participant's dial, to see whether the coordinator's process exists, comes to its machine.
    Probe { participant: u16, life: u32 },
    /// It hears that it does not.
    Refused { participant: u16, life: u32 },
    /// It may try again.
    ProbeOver { participant: u16, life: u32 },
    /// A command arrives.
    Ask { request: u32 },
    /// An answer arrives.
    Answer { request: u32, reply: Reply },
    /// A client may ask what comes next.
    Next { client: u32 },
    /// A client may have waited too long.
    Timeout { client: u32 },
    /// A fault begins.
    Fault { index: u32 },
    /// A fault ends.
    End { index: u32 },
    /// A participant begins or ceases to vote NO.
    VotesNo { participant: u16, no: bool },
    /// A node is started.
    Start { node: u16 },
    /// The healed system should have come to rest.
    Bound,
}

/// The world of one run.
pub(super) struct World<'a> {
    pub plan: &'a Plan,
    pub mutant: &'static Mutant,
    pub now: u64,
    queue: Queue<Event>,
    pub events: u64,
    pub phase: Phase,
    pub healed_at: u64,
    pub coordinator: CoordinatorNode,
    pub participants: Vec<ParticipantNode>,
    /// For each participant: from the coordinator to it, and back.
    pub wires: Vec<[Wire; 2]>,
    pub sessions: u32,
    pub clients: Vec<Client>,
    /// Clients that have not come to their end.
    pub busy_clients: usize,
    pub requests: Vec<Request>,
    pub keys: u16,
    pub nemesis: Stream,
    /// Whether a copy was lost since the last view became active: then the newest may be.
    pub lossy: bool,
    /// The view that has been decided upon and not yet stored by all its members.
    pub pending_view: Option<View>,
    /// Counts what took effect, in the order in which it probably did.
    pub hints: u64,
    /// When all copies were lost, as operations and their hints.
    pub losses: Vec<(OpId, u64)>,
    pub watch: Watch<TxnId>,
    pub names: Names,
    pub recorder: Recorder,
    pub broken: Option<Broken>,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, mutant: &'static Mutant, recorder: Recorder) -> Self {
        let n = plan.participants;
        let wires = plan.links.iter().enumerate().map(|(i, [to, from])| {
            let number = 2 * i as u64;
            [Wire::new(plan.seed, number, *to), Wire::new(plan.seed, number + 1, *from)]
        });
        let client = |(i, script): (usize, &super::plan::Script)| {
            Client::new(plan.seed, i as u32, format!("c{i}"), script.steps.clone())
        };
        let mut world = Self {
            plan,
            mutant,
            now: 0,
            queue: Queue::new(),
            events: 0,
            phase: Phase::Faults,
            healed_at: 0,
            coordinator: CoordinatorNode::default(),
            participants: (0..n).map(|_| ParticipantNode::default()).collect(),
            wires: wires.collect(),
            sessions: 0,
            clients: plan.clients.iter().enumerate().map(client).collect(),
            busy_clients: plan.clients.len(),
            requests: Vec::with_capacity(plan.operations() + 16),
            keys: plan.keys(),
            nemesis: Stream::new(plan.seed, Concern::Nemesis),
            lossy: false,
            pending_view: None,
            hints: 0,
            losses: Vec::new(),
            watch: Watch::default(),
            names: Names::default(),
            recorder,
            broken: None,
        };
        for node in 0..=n {
            world.schedule(0, Event::Start { node });
        }
        for client in 0..world.clients.len() as u32 {
            world.schedule(0, Event::Next { client });
        }
        for (index, planned) in plan.faults.iter().enumerate() {
            world.schedule(planned.at, Event::Fault { index: index as u32 });
        }
        for votes in &plan.votes_no {
            let participant = votes.participant;
            world.schedule(votes.from, Event::VotesNo { participant, no: true });
            world.schedule(votes.until, Event::VotesNo { participant, no: false });
        }
        world
    }

    /// The number of the coordinator among the nodes.
    pub fn hub(&self) -> u16 {
        self.plan.participants
    }

    pub fn all_participants(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.plan.participants
    }

    /// Runs until the end, or until something is broken beyond going on.
    pub fn run(&mut self) {
        self.mind_phase();
        while self.phase != Phase::Over {
            let Some((at, event)) = self.queue.pop() else {
                self.violate(Kind::Liveness, || "nothing more would ever happen".to_owned());
                return;
            };
            self.now = at;
            self.events += 1;
            if self.events > MAX_EVENTS {
                self.violate(Kind::Liveness, || format!("no rest within {MAX_EVENTS} events"));
                return;
            }
            self.dispatch(event);
            self.mind_phase();
        }
    }

    pub fn schedule(&mut self, at: u64, event: Event) {
        self.queue.schedule(at, event);
    }

    /// The time of a process that was started then.
    pub fn since(&self, started: u64) -> Duration {
        Duration::from_nanos(self.now.saturating_sub(started))
    }

    /// The world's time of a deadline of a process that was started then.
    pub fn at(&self, started: u64, deadline: Duration) -> u64 {
        let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        started.saturating_add(deadline).max(self.now)
    }

    /// Notes a broken invariant; the first counts.
    pub fn violate(&mut self, kind: Kind, why: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let broken = Broken { kind, at: self.now, why: why() };
            self.recorder.broken(&broken);
            self.broken = Some(broken);
        }
    }

    /// The node that must run for this event; a paused one gets it later.
    fn happens_at(&self, event: &Event) -> Option<u16> {
        match event {
            Event::Arrive { to, .. } => Some(*to),
            Event::Dial { .. } | Event::Ask { .. } => Some(self.hub()),
            Event::Timer { node, .. } => Some(*node),
            Event::Synced { participant, .. }
            | Event::Refused { participant, .. }
            | Event::ProbeOver { participant, .. } => Some(*participant),
            _ => None,
        }
    }

    /// The events that wait for a paused node.
    pub fn inbox(&mut self, node: u16) -> (&mut u32, &mut Vec<Event>) {
        match self.participants.get_mut(usize::from(node)) {
            Some(participant) => (&mut participant.paused, &mut participant.inbox),
            None => (&mut self.coordinator.paused, &mut self.coordinator.inbox),
        }
    }

    /// Has an event happen, or keeps it for a node that is held up.
    pub fn dispatch(&mut self, event: Event) {
        if let Some(node) = self.happens_at(&event)
            && *self.inbox(node).0 > 0
        {
            self.inbox(node).1.push(event);
            return;
        }
        match event {
            Event::Arrive { from, to, session, payload } => {
                self.on_arrival(from, to, session, payload);
            }
            Event::Dial { to, life } => self.on_dial(to, life),
            Event::Timer { node, life } if node == self.hub() => self.on_coordinator_timer(life),
            Event::Timer { node, life } => self.on_participant_timer(node, life),
            Event::Synced { participant, life } => self.on_synced(participant, life),
            Event::Probe { participant, life } => self.on_probe(participant, life),
            Event::Refused { participant, life } => self.on_refused(participant, life),
            Event::ProbeOver { participant, life } => self.on_probe_over(participant, life),
            Event::Ask { request } => self.on_ask(request),
            Event::Answer { request, reply } => self.on_answer(request, reply),
            Event::Next { client } => self.on_next(client),
            Event::Timeout { client } => self.on_timeout(client),
            Event::Fault { index } => self.on_fault(index),
            Event::End { index } => self.on_end(index),
            Event::VotesNo { participant, no } => self.on_votes_no(participant, no),
            Event::Start { node } if node == self.hub() => self.start_coordinator(),
            Event::Start { node } => self.start_participant(node),
            Event::Bound => self.on_bound(),
        }
    }

    /// Goes on to the next phase when this one is over.
    fn mind_phase(&mut self) {
        match self.phase {
            Phase::Faults if self.busy_clients == 0 && self.plan.settle == 0 => {
                self.phase = Phase::Over;
            }
            Phase::Faults if self.busy_clients == 0 => {
                self.phase = Phase::Healed;
                self.healed_at = self.now;
                self.recorder.healed(self.now);
                self.heal();
                self.schedule(self.now.saturating_add(self.plan.settle), Event::Bound);
                self.ask_after_healing();
            }
            Phase::Healed if self.busy_clients == 0 && self.is_whole() => {
                self.phase = Phase::Reading;
                self.recorder.converged(self.now);
                self.read_everything();
            }
            Phase::Reading if self.busy_clients == 0 => {
                self.phase = Phase::Over;
                self.compare_copies();
            }
            _ => {}
        }
    }

    fn on_bound(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        let bound = self.plan.settle / MS;
        if let Some(standing) = self.standing_still() {
            self.violate(Kind::Liveness, || format!("{bound} ms after all was healed, {standing}"));
        }
    }
}
