//! The demo's world: the production coordinator, three production participants, one client, and messages that
//! take 1 ms of virtual time each. What passes between the machines is encoded and decoded as on a socket.
//!
//! The time goes on in steps of a millisecond: all that is due arrives, then each machine ends its batch and what it
//! sends is on its way. The coordinator can be killed between two steps, or between two of its sends.

use std::collections::VecDeque;
use std::time::Duration;

use super::DemoError;
use super::draw::{CLIENT, HUB, Lane, Sense};
use super::notes::{Noted, Notes};
use super::words;
use crate::protocol::two_phase::{
    Answer, Command, Coordinator, Event, Frame, Key, Limits, Participant, Recovered, Timing,
    coordinator, participant,
};

/// How many participants there are.
pub(super) const PARTICIPANTS: u16 = 3;
/// How long a message takes, in milliseconds.
const HOP: u64 = 1;
/// After how many milliseconds of waiting something is wrong.
const PATIENCE: u64 = 2_000;
/// What a participant may hold.
const MAX_BYTES: usize = 1 << 20;

/// Frames under way in one direction: when each arrives, and where it is noted.
type Queue = VecDeque<(u64, Option<Noted>, Frame)>;

/// A connection between the coordinator and a participant.
#[derive(Debug, Default)]
struct Wire {
    session: u64,
    down: Queue,
    up: Queue,
    /// The coordinator's end is gone; the participant notices then.
    broken_at: Option<u64>,
}

#[derive(Debug)]
struct Node {
    machine: Participant,
    wire: Option<Wire>,
}

/// The world.
pub(super) struct World {
    /// What is kept.
    pub notes: Notes,
    coordinator: Option<Coordinator<()>>,
    incarnation: u64,
    sessions: u64,
    nodes: Vec<Node>,
    asks: VecDeque<(u64, Command)>,
    answers: VecDeque<(u64, Answer)>,
    /// Whether the client waits.
    waits: bool,
    /// What the client was told, in order.
    pub told: Vec<Answer>,
    /// The coordinator is killed as soon as it has sent COMMIT to the first participant.
    dies_at_first_commit: bool,
}

impl World {
    /// Empty participants, and nobody else.
    pub fn new() -> Self {
        let node = |p: u16| Node {
            machine: Participant::new(participant::Setup {
                life: u64::from(p) + 1,
                durable: false,
                max_bytes: MAX_BYTES,
                timing: Timing::default(),
                recovered: Recovered::default(),
            }),
            wire: None,
        };
        Self {
            notes: Notes::new(),
            coordinator: None,
            incarnation: 0,
            sessions: 0,
            nodes: (0..PARTICIPANTS).map(node).collect(),
            asks: VecDeque::new(),
            answers: VecDeque::new(),
            waits: false,
            told: Vec::new(),
            dies_at_first_commit: false,
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.notes.now)
    }

    /// A new incarnation of the coordinator, which knows nothing, connects to everybody.
    pub fn start_coordinator(&mut self) {
        let now = self.now();
        self.incarnation += 1;
        let mut it = Coordinator::new(coordinator::Setup {
            participants: PARTICIPANTS,
            incarnation: self.incarnation,
            timing: Timing::default(),
            limits: Limits::default(),
            trace: true,
        });
        self.notes.lanes[HUB] = Lane::Idle;
        let words = format!("incarnation {} starts; it remembers nothing", self.incarnation);
        self.notes.mark('●', &[HUB], Sense::Plain, words);
        self.notes.crash_ends();
        for (p, node) in (0..).zip(&mut self.nodes) {
            self.sessions += 1;
            node.wire = Some(Wire { session: self.sessions, ..Wire::default() });
            node.machine.connected(now, self.sessions);
            it.connected(now, p);
        }
        self.coordinator = Some(it);
    }

    /// The coordinator is no more. What it has sent arrives; what is on its way to it does not.
    pub fn kill_coordinator(&mut self) {
        let at = self.notes.now + HOP;
        self.coordinator = None;
        self.dies_at_first_commit = false;
        self.notes.lanes[HUB] = Lane::Down;
        self.notes.mark('†', &[HUB], Sense::Bad, "C is killed");
        self.notes.crash_begins();
        for wire in self.nodes.iter_mut().filter_map(|node| node.wire.as_mut()) {
            wire.broken_at = Some(at);
            for noted in wire.up.drain(..).filter_map(|(_, noted, _)| noted) {
                self.notes.lost(noted);
            }
        }
        self.asks.clear();
        self.answers.clear();
        if self.waits {
            self.answers.push_back((at, Answer::Unknown));
        }
    }

    /// The next COMMIT is the last thing that the coordinator does: only one participant gets it.
    pub fn kill_at_first_commit(&mut self) {
        self.dies_at_first_commit = true;
    }

    /// Whether the coordinator runs.
    pub fn has_coordinator(&self) -> bool {
        self.coordinator.is_some()
    }

    /// From now on participant `p` votes NO, or no longer.
    pub fn refuse(&mut self, p: u16, refuses: bool) {
        self.nodes[usize::from(p)].machine.refuse_all(refuses);
    }

    /// The client sends a command.
    pub fn ask(&mut self, command: Command) -> Result<(), DemoError> {
        self.notes.asked(&command)?;
        self.waits = true;
        self.asks.push_back((self.notes.now + HOP, command));
        Ok(())
    }

    /// The client sends a command, and hears the answer.
    pub fn ask_and_wait(&mut self, command: Command) -> Result<Answer, DemoError> {
        self.ask(command)?;
        self.until("an answer", |world| !world.waits)?;
        self.told.last().cloned().ok_or_else(|| DemoError::Machine("no answer".to_owned()))
    }

    /// Lets the time go on until something is so.
    pub fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) -> Result<(), DemoError> {
        let latest = self.notes.now + PATIENCE;
        self.step()?;
        while !so(self) {
            if self.notes.now == latest {
                return Err(DemoError::Machine(format!(
                    "{what} did not come within {PATIENCE} ms"
                )));
            }
            self.wait(1)?;
        }
        Ok(())
    }

    /// Lets the time go on.
    pub fn wait(&mut self, ms: u64) -> Result<(), DemoError> {
        for _ in 0..ms {
            self.notes.now += 1;
            self.step()?;
        }
        Ok(())
    }

    /// All that is to be done at this very time.
    fn step(&mut self) -> Result<(), DemoError> {
        self.hear_client()?;
        self.deliver_up()?;
        self.deliver_down()?;
        self.notice_end();
        self.collect_participants()?;
        self.collect_coordinator()
    }

    fn hear_client(&mut self) -> Result<(), DemoError> {
        let now = self.notes.now;
        while let Some((_, command)) = due(&mut self.asks, |(at, _)| *at <= now) {
            let time = self.now();
            if let Some(coordinator) = &mut self.coordinator {
                coordinator.submit(time, command, ());
            }
        }
        while let Some((_, answer)) = due(&mut self.answers, |(at, _)| *at <= now) {
            if answer == Answer::Unknown {
                let words = "the connection breaks: was it done or not?";
                self.notes.mark('?', &[CLIENT], Sense::Open, words);
            }
            self.notes.told(&answer)?;
            self.waits = false;
            self.told.push(answer);
        }
        Ok(())
    }

    fn deliver_up(&mut self) -> Result<(), DemoError> {
        let (now, time) = (self.notes.now, self.now());
        for p in 0..PARTICIPANTS {
            let Some(coordinator) = &mut self.coordinator else { return Ok(()) };
            let Some(wire) = &mut self.nodes[usize::from(p)].wire else { continue };
            while let Some((_, noted, frame)) = due(&mut wire.up, |(at, ..)| *at <= now) {
                noted.into_iter().for_each(|noted| self.notes.received(noted));
                coordinator.receive(time, p, frame).map_err(machine)?;
            }
        }
        Ok(())
    }

    /// What arrives at the participants, and what becomes of their promises by it.
    fn deliver_down(&mut self) -> Result<(), DemoError> {
        let (now, time) = (self.notes.now, self.now());
        let mut changes = Vec::new();
        for (p, Node { machine: it, wire }) in (0..).zip(&mut self.nodes) {
            let Some(wire) = wire else { continue };
            let before = it.prepared().clone();
            while let Some((_, noted, frame)) = due(&mut wire.down, |(at, ..)| *at <= now) {
                noted.into_iter().for_each(|noted| self.notes.received(noted));
                it.receive(time, wire.session, frame).map_err(machine)?;
            }
            for (txn, change) in it.prepared().iter().filter(|(txn, _)| !before.contains_key(txn)) {
                changes.push((
                    p,
                    '?',
                    Sense::Open,
                    format!("promised {txn}: {}", words::told(change)),
                ));
            }
            for (txn, change) in before.iter().filter(|(txn, _)| !it.prepared().contains_key(txn)) {
                if it.state().committed.contains(txn) {
                    self.notes.carried_out(p, change);
                    let words = format!("carried out {txn}: {}", words::told(change));
                    changes.push((p, '✓', Sense::Good, words));
                } else {
                    changes.push((p, '✗', Sense::Bad, format!("dropped {txn}")));
                }
            }
        }
        while let Some((_, sign, sense, words)) = changes.first().cloned() {
            let same = changes.extract_if(.., |(.., other)| *other == words);
            let columns: Vec<usize> = same.map(|(p, ..)| column(p)).collect();
            self.note_lanes();
            self.notes.mark(sign, &columns, sense, words);
        }
        Ok(())
    }

    fn note_lanes(&mut self) {
        for (p, node) in (0..).zip(&self.nodes) {
            let open = !node.machine.prepared().is_empty();
            self.notes.lanes[column(p)] = if open { Lane::Promised } else { Lane::Idle };
        }
    }

    /// Participants notice that the coordinator's process has ended: their connection breaks, and the
    /// system of its address refuses a new one.
    fn notice_end(&mut self) {
        let (now, time) = (self.notes.now, self.now());
        let mut refused = Vec::new();
        let is_down = self.coordinator.is_none();
        for (p, node) in (0..).zip(&mut self.nodes) {
            let broken = |wire: &mut Wire| wire.broken_at.is_some_and(|at| at <= now);
            if let Some(wire) = node.wire.take_if(broken) {
                node.machine.disconnected(time, wire.session);
            }
            if is_down && node.wire.is_none() && node.machine.probe(time) {
                node.machine.coordinator_gone(time);
                refused.push(column(p));
            }
        }
        if !refused.is_empty() {
            self.notes.mark('○', &refused, Sense::Plain, "C's address refuses connections");
        }
    }

    fn collect_participants(&mut self) -> Result<(), DemoError> {
        let (at, time) = (self.notes.now + HOP, self.now());
        for (p, node) in (0..).zip(&mut self.nodes) {
            let batch = node.machine.finish(time);
            if let Some((_, why)) = batch.cuts.first() {
                return Err(machine(why));
            }
            for (session, bytes) in batch.persisted() {
                for frame in frames(&bytes)? {
                    let noted =
                        words::frame(&frame).map(|words| self.notes.sent(column(p), HUB, words));
                    match node.wire.as_mut().filter(|wire| wire.session == session) {
                        Some(wire) if wire.broken_at.is_none() => {
                            wire.up.push_back((at, noted, frame))
                        }
                        _ => noted.into_iter().for_each(|noted| self.notes.lost(noted)),
                    }
                }
            }
        }
        Ok(())
    }

    fn collect_coordinator(&mut self) -> Result<(), DemoError> {
        let (at, time) = (self.notes.now + HOP, self.now());
        let Some(it) = &mut self.coordinator else { return Ok(()) };
        it.finish(time);
        if let Some((_, why)) = it.cuts_mut().first() {
            return Err(machine(why));
        }
        for event in std::mem::take(it.events_mut()) {
            note_event(&mut self.notes, &event);
        }
        let answers = std::mem::take(it.replies_mut());
        let sent: Vec<Vec<u8>> =
            (0..PARTICIPANTS).map(|p| std::mem::take(it.frames_mut(p))).collect();
        for (p, bytes) in (0..).zip(sent) {
            for frame in frames(&bytes)? {
                let is_commit = matches!(frame, Frame::Commit(_));
                let noted =
                    words::frame(&frame).map(|words| self.notes.sent(HUB, column(p), words));
                if let Some(wire) = &mut self.nodes[usize::from(p)].wire {
                    wire.down.push_back((at, noted, frame));
                }
                if is_commit && self.dies_at_first_commit {
                    self.kill_coordinator();
                    return Ok(());
                }
            }
        }
        for ((), answer) in answers {
            self.notes.answers(&answer);
            self.answers.push_back((at, answer));
        }
        Ok(())
    }

    /// Whether the coordinator carries commands out, and everybody is a member.
    pub fn is_whole(&self) -> bool {
        let status = self.coordinator.as_ref().map(Coordinator::status);
        status.is_some_and(|s| s.serving && s.view.members.len() == usize::from(PARTICIPANTS))
    }

    /// Whether nothing is promised anywhere, and no command under way.
    pub fn is_free(&self) -> bool {
        let idle = self.coordinator.as_ref().is_some_and(|it| it.status().commands == 0);
        idle && self.nodes.iter().all(|node| node.machine.prepared().is_empty())
    }

    /// What participant `p` has under a key.
    pub fn value(&self, p: u16, key: &str) -> Option<String> {
        let key: Key = key.as_bytes().into();
        self.nodes[usize::from(p)].machine.table().get(&key).map(|value| words::text(value))
    }

    /// What participant `p` has promised, in words.
    pub fn promises(&self, p: u16) -> Vec<String> {
        self.nodes[usize::from(p)].machine.prepared().values().map(words::told).collect()
    }
}

fn note_event(notes: &mut Notes, event: &Event) {
    let (sign, sense, words) = match event {
        Event::Decided { txn, commit: true } => {
            ('✓', Sense::Good, format!("decided: {txn} commits"))
        }
        Event::Decided { txn, commit: false } => {
            ('✗', Sense::Bad, format!("decided: {txn} aborts"))
        }
        Event::Resolved { txn, commit: true } => {
            ('✓', Sense::Good, format!("somebody has committed {txn}: it commits"))
        }
        Event::Resolved { txn, commit: false } => {
            ('✗', Sense::Bad, format!("nobody has committed {txn}: presumed abort"))
        }
        Event::Active(view) => ('●', Sense::Plain, format!("view {} is active", view.id.epoch)),
        _ => return,
    };
    notes.mark(sign, &[HUB], sense, words);
}

/// Takes the first out of a queue if it is due.
fn due<T>(queue: &mut VecDeque<T>, is_due: impl Fn(&T) -> bool) -> Option<T> {
    if queue.front().is_some_and(is_due) { queue.pop_front() } else { None }
}

/// The column of a participant.
fn column(p: u16) -> usize {
    HUB + 1 + usize::from(p)
}

fn frames(mut bytes: &[u8]) -> Result<Vec<Frame>, DemoError> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let Some((frame, used)) = Frame::decode(bytes).map_err(machine)? else {
            return Err(DemoError::Machine("half a frame was sent".to_owned()));
        };
        frames.push(frame);
        bytes = &bytes[used..];
    }
    Ok(frames)
}

fn machine(why: impl std::fmt::Display) -> DemoError {
    DemoError::Machine(why.to_string())
}
