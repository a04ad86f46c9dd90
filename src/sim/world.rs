//! The world of one run: the time, the queue of what is to come, and everything that lives in it.
//!
//! The world only dispatches; what an event does is told in the file of whom it happens to: `network`,
//! `replica`, `client`, `nemesis`.

use super::client::{Answer, Client, Request};
use super::judge::Judge;
use super::link::{Link, Payload};
use super::merged::Merged;
use super::mutants::Duties;
use super::plan::{MS, Plan, Resolved};
use super::queue::Queue;
use super::random::{Concern, Stream};
use super::record::Recorder;
use super::replica::Replica;
use super::verdict::{Broken, Kind};
use crate::protocol::{Mode, Protocol, Reads, ReplyAt, Setup, Writes};
use crate::wire::traffic::FrameCounter;

/// A run that goes on for longer does not come to rest.
pub(super) const MAX_EVENTS: u64 = 50_000_000;

/// Something to come.
#[derive(Debug)]
pub(super) enum Event {
    /// Something arrives over a link.
    Arrive { from: u16, to: u16, session: u32, payload: Payload },
    /// A replica dials a peer of lower number, if it has no link to it.
    Dial { from: u16, to: u16, life: u32 },
    /// A deadline of a node has come.
    Timer { replica: u16, life: u32 },
    /// A sync has ended.
    Synced { replica: u16, life: u32 },
    /// A replica has become live or readable: those who wait for that have their turn.
    Wake { replica: u16, life: u32 },
    /// A request has waited for that for too long.
    Refuse { replica: u16, life: u32, request: u32 },
    /// A request arrives.
    Ask { request: u32 },
    /// An answer arrives.
    Answer { request: u32, answer: Answer },
    /// A client may ask what comes next.
    Next { client: u32 },
    /// A client may have waited too long.
    Timeout { client: u32 },
    /// A fault begins.
    Fault { index: u32 },
    /// A fault ends.
    End { index: u32 },
    /// A replica is started.
    Start { replica: u16 },
    /// The healed cluster should have come to rest.
    Bound,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Clients ask, faults come.
    Faults,
    /// All is healed; every replica is asked to write.
    Healed,
    /// Every replica is read.
    Reading,
    /// The end.
    Over,
}

/// The world of one run.
pub(super) struct World<'a> {
    pub plan: &'a Plan,
    pub mode: &'static Mode,
    pub build: fn(Setup) -> Box<dyn Protocol>,
    pub duties: Duties,
    pub now: u64,
    queue: Queue<Event>,
    pub events: u64,
    pub phase: Phase,
    pub healed_at: u64,
    pub converged_at: Option<u64>,
    /// What replicas have sent each other.
    pub sent: FrameCounter,
    pub replicas: Vec<Replica>,
    /// From each replica to each other, row by row.
    pub links: Vec<Link>,
    pub sessions: u32,
    pub clients: Vec<Client>,
    /// Clients that have not come to their end.
    pub busy_clients: usize,
    pub requests: Vec<Request>,
    pub keys: u16,
    pub nemesis: Stream,
    /// A replica that lost its disk, and how far it must get until it is whole again.
    pub repairing: Option<(u16, u64)>,
    pub recorder: Recorder,
    pub judge: Judge,
    /// The same where replicas have no one order.
    pub merged: Merged,
    pub broken: Option<Broken>,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, resolved: Resolved, recorder: Recorder) -> Self {
        let duties = resolved.mutant.map_or(Duties::ALL, |mutant| mutant.duties);
        let n = plan.replicas;
        let link = |(i, delay): (usize, &_)| Link::new(plan.seed, i as u64, *delay);
        let client = |(i, script): (usize, &super::plan::Script)| {
            Client::new(plan.seed, i as u32, format!("c{i}"), n, script.steps.clone())
        };
        let mut world = Self {
            plan,
            mode: resolved.mode,
            build: resolved.build,
            duties,
            now: 0,
            queue: Queue::new(),
            events: 0,
            phase: Phase::Faults,
            healed_at: 0,
            converged_at: None,
            sent: FrameCounter::default(),
            replicas: (0..n).map(|_| Replica::new()).collect(),
            links: plan.links.iter().enumerate().map(link).collect(),
            sessions: 0,
            clients: plan.clients.iter().enumerate().map(client).collect(),
            busy_clients: plan.clients.len(),
            requests: Vec::with_capacity(plan.operations() + 64),
            keys: plan.keys(),
            nemesis: Stream::new(plan.seed, Concern::Nemesis),
            repairing: None,
            recorder,
            judge: Judge::new(n, plan.keys()),
            merged: Merged::new(n, plan.keys()),
            broken: None,
        };
        if !duties.answers_at_delivery {
            world.mode = early(world.mode);
        }
        for replica in 0..n {
            world.schedule(0, Event::Start { replica });
        }
        for client in 0..world.clients.len() as u32 {
            world.schedule(0, Event::Next { client });
        }
        for (index, planned) in plan.faults.iter().enumerate() {
            world.schedule(planned.at, Event::Fault { index: index as u32 });
        }
        world
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

    pub fn replicas_count(&self) -> u16 {
        self.plan.replicas
    }

    /// Notes a broken invariant; the first counts.
    pub fn violate(&mut self, kind: Kind, why: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let broken = Broken { kind, at: self.now, why: why() };
            self.recorder.broken(&broken);
            self.broken = Some(broken);
        }
    }

    /// The replica that must run for this event; a paused one gets it later.
    fn happens_at(&self, event: &Event) -> Option<u16> {
        match event {
            Event::Arrive { to, .. } => Some(*to),
            Event::Dial { from, .. } => Some(*from),
            Event::Timer { replica, .. }
            | Event::Synced { replica, .. }
            | Event::Wake { replica, .. }
            | Event::Refuse { replica, .. } => Some(*replica),
            Event::Ask { request } => Some(self.requests[*request as usize].replica),
            _ => None,
        }
    }

    /// Has an event happen, or keeps it for a replica that is held up.
    pub fn dispatch(&mut self, event: Event) {
        if let Some(at) = self.happens_at(&event)
            && self.replicas[usize::from(at)].paused > 0
        {
            self.replicas[usize::from(at)].inbox.push(event);
            return;
        }
        match event {
            Event::Arrive { from, to, session, payload } => {
                self.on_arrival(from, to, session, payload);
            }
            Event::Dial { from, to, life } => self.on_dial(from, to, life),
            Event::Timer { replica, life } => self.on_timer(replica, life),
            Event::Synced { replica, life } => self.on_synced(replica, life),
            Event::Wake { replica, life } => self.on_wake(replica, life),
            Event::Refuse { replica, life, request } => self.on_refuse(replica, life, request),
            Event::Ask { request } => self.on_ask(request),
            Event::Answer { request, answer } => self.on_answer(request, answer),
            Event::Next { client } => self.on_next(client),
            Event::Timeout { client } => self.on_timeout(client),
            Event::Fault { index } => self.on_fault(index),
            Event::End { index } => self.on_end(index),
            Event::Start { replica } => self.on_start(replica),
            Event::Bound => self.on_bound(),
        }
    }

    /// Goes on to the next phase when this one is over.
    fn mind_phase(&mut self) {
        match self.phase {
            Phase::Faults if self.busy_clients == 0 => {
                self.phase = Phase::Healed;
                self.healed_at = self.now;
                self.recorder.healed(self.now);
                self.heal();
                self.schedule(self.now.saturating_add(self.plan.settle), Event::Bound);
                self.probe();
            }
            Phase::Healed if self.busy_clients == 0 && self.has_converged() => {
                self.phase = Phase::Reading;
                self.converged_at = Some(self.now);
                self.recorder.converged(self.now);
                self.read_everything();
            }
            Phase::Reading if self.busy_clients == 0 => {
                self.phase = Phase::Over;
                if self.mode.has_versions() {
                    self.look_at_the_merged_end();
                } else {
                    self.look_at_the_end();
                }
            }
            _ => {}
        }
    }

    /// Whether all that was written is delivered everywhere.
    fn has_converged(&self) -> bool {
        if self.mode.has_versions() {
            let mut clocks = self.replicas.iter().map(Replica::settled_clock);
            let first = clocks.next().flatten();
            return first.is_some() && clocks.all(|clock| clock == first);
        }
        let mut positions = self.replicas.iter().map(Replica::settled_position);
        let first = positions.next().flatten();
        first.is_some() && positions.all(|position| position == first)
    }

    fn on_bound(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        let standing =
            |(i, replica): (usize, &Replica)| format!("replica {i} {}", replica.standing());
        let all: Vec<String> = self.replicas.iter().enumerate().map(standing).collect();
        let (bound, open) = (self.plan.settle / MS, self.busy_clients);
        self.violate(Kind::Liveness, || {
            format!(
                "{bound} ms after all was healed, {open} clients still wait; {}",
                all.join("; ")
            )
        });
        self.phase = Phase::Over;
    }
}

/// The same mode with its answers given too early.
fn early(mode: &'static Mode) -> &'static Mode {
    const EARLY: Mode = Mode {
        name: "sequential",
        promise: "answers before the delivery, wrongly",
        build: None,
        reply_at: ReplyAt::Submission,
        reads: Reads::Local,
        writes: Writes::Ordered,
    };
    static SEQUENTIAL: Mode = EARLY;
    static LINEARIZABLE: Mode = Mode { reads: Reads::Current, ..EARLY };
    match (mode.reply_at, mode.reads) {
        (ReplyAt::Submission, _) => mode,
        (_, Reads::Local | Reads::Seen) => &SEQUENTIAL,
        (_, Reads::Current) => &LINEARIZABLE,
    }
}
