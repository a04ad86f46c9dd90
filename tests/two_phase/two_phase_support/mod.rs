//! A coordinator and its participants in virtual time: every frame goes through the real encoder, and moves
//! when the test lets it.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use consistency_lab::protocol::two_phase::{
    Answer, Change, Command, Coordinator, Event, Frame, Key, Limits, Members, Participant,
    PresumedAbort, Recovered, Rules, Timing, Violation, coordinator, participant,
};

pub const MS: Duration = Duration::from_millis(1);

/// A connection: frames under way, with the time of their arrival, in both directions.
#[derive(Default)]
pub struct Wire {
    pub session: u64,
    pub down: VecDeque<(Duration, Vec<u8>)>,
    pub up: VecDeque<(Duration, Vec<u8>)>,
}

pub struct Node<R: Rules> {
    pub machine: Option<Participant<R>>,
    pub disk: Recovered,
    pub wire: Option<Wire>,
    pub is_cut: bool,
    pub dial_at: Duration,
}

pub struct World<R: Rules = PresumedAbort> {
    pub now: Duration,
    pub coordinator: Option<Coordinator<u64, R>>,
    pub nodes: Vec<Node<R>>,
    pub durable: bool,
    pub answers: Vec<(u64, Answer)>,
    pub events: Vec<Event>,
    pub cuts: Vec<(u16, Violation)>,
    /// Said of every frame that is sent.
    pub frames: Vec<String>,
    pub show: bool,
    pub random: Random,
    /// The longest that a frame is under way, in milliseconds.
    pub delay: u64,
    pub max_bytes: usize,
    /// Whether data has begun anew, because nobody holds any.
    pub fresh: bool,
    next: u64,
}

/// A small generator of pseudo-random numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = self.0 ^ (self.0 >> 29);
        (x.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % n.max(1)
    }
}

pub fn key(name: &str) -> Key {
    name.as_bytes().into()
}

pub fn set(name: &str, value: &str) -> Command {
    Command::Set { key: key(name), value: Arc::new(value.as_bytes().to_vec()) }
}

pub fn get(name: &str) -> Command {
    Command::Get { key: key(name) }
}

pub fn delete(names: &[&str]) -> Command {
    Command::Delete { keys: names.iter().map(|name| key(name)).collect() }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl<R: Rules> World<R> {
    pub fn new(n: u16, durable: bool, seed: u64) -> Self {
        let node = |_| Node {
            machine: None,
            disk: Recovered::default(),
            wire: None,
            is_cut: false,
            dial_at: Duration::ZERO,
        };
        Self {
            now: Duration::ZERO,
            coordinator: None,
            nodes: (0..n).map(node).collect(),
            durable,
            answers: Vec::new(),
            events: Vec::new(),
            cuts: Vec::new(),
            frames: Vec::new(),
            show: false,
            random: Random(seed.wrapping_mul(77) + 1),
            delay: 0,
            max_bytes: 1 << 30,
            fresh: false,
            next: 1,
        }
    }

    pub fn unique(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn start_coordinator(&mut self) {
        let incarnation = self.unique() * 1000;
        self.coordinator = Some(Coordinator::new(coordinator::Setup {
            participants: self.nodes.len() as u16,
            incarnation,
            timing: Timing::default(),
            limits: Limits::default(),
            trace: false,
        }));
    }

    pub fn kill_coordinator(&mut self) {
        self.coordinator = None;
        for p in 0..self.nodes.len() {
            self.break_link(p as u16);
        }
    }

    pub fn start(&mut self, p: u16) {
        let life = self.unique();
        let (durable, max_bytes) = (self.durable, self.max_bytes);
        let node = &mut self.nodes[usize::from(p)];
        let recovered = if durable { node.disk.clone() } else { Recovered::default() };
        node.machine = Some(Participant::new(participant::Setup {
            life,
            durable,
            max_bytes,
            timing: Timing::default(),
            recovered,
        }));
    }

    pub fn start_all(&mut self) {
        (0..self.nodes.len() as u16).for_each(|p| self.start(p));
        self.start_coordinator();
    }

    pub fn kill(&mut self, p: u16) {
        self.nodes[usize::from(p)].machine = None;
        self.break_link(p);
    }

    pub fn break_link(&mut self, p: u16) {
        let now = self.now;
        let node = &mut self.nodes[usize::from(p)];
        let Some(wire) = node.wire.take() else { return };
        if let Some(machine) = &mut node.machine {
            machine.disconnected(now, wire.session);
        }
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.disconnected(now, p);
        }
    }

    pub fn cut(&mut self, p: u16) {
        self.nodes[usize::from(p)].is_cut = true;
        self.break_link(p);
    }

    pub fn heal(&mut self, p: u16) {
        self.nodes[usize::from(p)].is_cut = false;
    }

    pub fn submit(&mut self, ticket: u64, command: Command) {
        match &mut self.coordinator {
            Some(coordinator) => coordinator.submit(self.now, command, ticket),
            None => self.answers.push((ticket, Answer::Unknown)),
        }
    }

    /// All that is to be done at this very time.
    pub fn pump(&mut self) {
        loop {
            self.dial();
            let moved = self.deliver();
            self.collect();
            if !moved {
                return;
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.pump();
        while self.now < end {
            self.now += MS;
            self.pump();
        }
    }

    /// Moves one frame to participant `p`, and what it answers back.
    pub fn step(&mut self, p: u16) {
        self.collect();
        for up in [false, true] {
            self.deliver_one(usize::from(p), !up, up);
            self.collect();
        }
    }

    fn dial(&mut self) {
        let now = self.now;
        for p in 0..self.nodes.len() {
            let session = self.unique();
            let node = &mut self.nodes[p];
            let Some(coordinator) = &mut self.coordinator else {
                if let Some(machine) = node.machine.as_mut().filter(|m| m.probe(now))
                    && !node.is_cut
                {
                    machine.coordinator_gone(now);
                }
                continue;
            };
            let ready = node.wire.is_none() && !node.is_cut && now >= node.dial_at;
            if let Some(machine) = node.machine.as_mut().filter(|_| ready) {
                node.wire = Some(Wire { session, ..Wire::default() });
                node.dial_at = now + 20 * MS;
                machine.connected(now, session);
                coordinator.connected(now, p as u16);
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let mut moved = false;
        for p in 0..self.nodes.len() {
            moved |= self.deliver_one(p, true, true);
        }
        moved
    }

    fn deliver_one(&mut self, p: usize, may_down: bool, may_up: bool) -> bool {
        let mut moved = false;
        let now = self.now;
        let ready =
            |queue: &VecDeque<(Duration, Vec<u8>)>| queue.front().is_some_and(|(at, _)| *at <= now);
        let node = &mut self.nodes[p];
        let Some(wire) = &mut node.wire else { return false };
        let mut bad = None;
        if may_down && ready(&wire.down) {
            moved = true;
            let (_, bytes) = wire.down.pop_front().unwrap();
            let frame = decode(&bytes);
            bad = node.machine.as_mut().unwrap().receive(now, wire.session, frame).err();
        }
        if bad.is_none() && may_up && ready(&wire.up) {
            moved = true;
            let (_, bytes) = wire.up.pop_front().unwrap();
            let frame = decode(&bytes);
            let coordinator = self.coordinator.as_mut().unwrap();
            bad = coordinator.receive(now, p as u16, frame).err();
        }
        if let Some(why) = bad {
            self.cuts.push((p as u16, why));
            self.break_link(p as u16);
        }
        moved
    }

    fn collect(&mut self) {
        self.collect_participants();
        let Some(mut coordinator) = self.coordinator.take() else { return };
        coordinator.finish(self.now);
        self.answers.append(coordinator.replies_mut());
        self.events.append(coordinator.events_mut());
        let cuts = std::mem::take(coordinator.cuts_mut());
        for p in 0..self.nodes.len() {
            let bytes = std::mem::take(coordinator.frames_mut(p as u16));
            let mut at = self.arrival();
            for frame in split(&bytes) {
                self.say("C", &format!("P{p}"), &frame);
                if matches!(decode(&frame), Frame::Install { fresh: true, .. }) {
                    let holds = |node: &Node<R>| node.disk.view.id.epoch > 0;
                    assert!(!self.durable || !self.nodes.iter().any(holds), "a disk has the data");
                    self.fresh = true;
                }
                if let Some(wire) = &mut self.nodes[p].wire {
                    at = at.max(wire.down.back().map_or(at, |(last, _)| *last));
                    wire.down.push_back((at, frame));
                }
            }
        }
        self.coordinator = Some(coordinator);
        for (p, why) in cuts {
            self.cuts.push((p, why));
            self.break_link(p);
        }
    }

    fn collect_participants(&mut self) {
        for p in 0..self.nodes.len() {
            let mut at = self.arrival();
            let node = &mut self.nodes[p];
            let Some(machine) = &mut node.machine else { continue };
            let batch = machine.finish(self.now);
            for record in batch.records.clone() {
                node.disk.apply(record);
            }
            assert!(!self.durable || node.disk == *machine.state(), "the log is the state");
            let cuts = batch.cuts.clone();
            for (session, bytes) in batch.persisted() {
                for frame in split(&bytes) {
                    self.say(&format!("P{p}"), "C", &frame);
                    let wire = self.nodes[p].wire.as_mut().filter(|w| w.session == session);
                    if let Some(wire) = wire {
                        at = at.max(wire.up.back().map_or(at, |(last, _)| *last));
                        wire.up.push_back((at, frame));
                    }
                }
            }
            for (session, why) in cuts {
                self.cuts.push((p as u16, why));
                if self.nodes[p].wire.as_ref().is_some_and(|w| w.session == session) {
                    self.break_link(p as u16);
                }
            }
        }
    }

    fn arrival(&mut self) -> Duration {
        self.now + MS * self.random.below(self.delay + 1) as u32
    }

    fn say(&mut self, from: &str, to: &str, bytes: &[u8]) {
        if self.show
            && let Some(line) = describe(&decode(bytes))
        {
            self.frames.push(format!("{from} -> {to}  {line}"));
        }
    }
}

pub fn decode(bytes: &[u8]) -> Frame {
    let (frame, length) = Frame::decode(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    frame
}

fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (_, length) = Frame::decode(bytes).unwrap().unwrap();
        frames.push(bytes[..length].to_vec());
        bytes = &bytes[length..];
    }
    frames
}

pub fn names(members: Members) -> String {
    members.iter().map(|p| format!("P{p}")).collect::<Vec<_>>().join(" ")
}

fn change(change: &Change) -> String {
    match change {
        Change::Set { key, value } => format!("set {}={}", text(key), text(value)),
        Change::Delete { keys } => {
            format!("del {}", keys.iter().map(|key| text(key)).collect::<Vec<_>>().join(" "))
        }
    }
}

/// A frame in words; `None` for heartbeats.
pub fn describe(frame: &Frame) -> Option<String> {
    Some(match frame {
        Frame::Heartbeat { .. } | Frame::Alive { .. } => return None,
        Frame::Greeting(g) => format!("greeting of incarnation {}", g.incarnation),
        Frame::Report(r) => format!(
            "report: epoch {}, members [{}], prepared {:?}, committed {:?}{}",
            r.view.id.epoch,
            names(r.view.members),
            r.prepared.iter().map(ToString::to_string).collect::<Vec<_>>(),
            r.committed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            if r.witness { ", a witness" } else { "" }
        ),
        Frame::Refused { newest } => format!("refused: incarnation {newest} is newer"),
        Frame::Prepare { txn, change: c, .. } => format!("REQUEST-TO-PREPARE {txn} {}", change(c)),
        Frame::Prepared { txn, held } => format!("PREPARED {txn}, holds {held}"),
        Frame::No { txn, why } => format!("NO {txn} {why:?}"),
        Frame::Commit(txn) => format!("COMMIT {txn}"),
        Frame::Abort(txn) => format!("ABORT {txn}"),
        Frame::Done(txn) => format!("DONE {txn}"),
        Frame::Read { key, .. } => format!("read {}", text(key)),
        Frame::Value { value, .. } => {
            format!("value {}", value.as_ref().map_or("none".into(), |value| text(value)))
        }
        Frame::Install { view, fresh, resolve } => format!(
            "install epoch {} of [{}]{}{}",
            view.id.epoch,
            names(view.members),
            if *fresh { ", empty" } else { "" },
            resolve.as_ref().map_or(String::new(), |commits| format!(
                ", of the old commits {:?}",
                commits.iter().map(ToString::to_string).collect::<Vec<_>>()
            ))
        ),
        Frame::Installed(id) => format!("installed epoch {}", id.epoch),
        Frame::Join { .. } => "join".into(),
        Frame::Joined { .. } => "joined".into(),
        Frame::Fetch { after, .. } => {
            format!("fetch after {}", after.as_ref().map_or("nothing".into(), |key| text(key)))
        }
        Frame::Chunk { end, entries, .. } => {
            format!("chunk of {}{}", entries.len(), if *end { ", the last" } else { "" })
        }
        Frame::Store { entries, .. } => format!("store {}", entries.len()),
        Frame::Stored { .. } => "stored".into(),
    })
}
