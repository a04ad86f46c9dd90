//! The coordinator: the production machine, which remembers nothing, and how a driver serves it.

use std::time::Duration;

use super::client::Reply;
use super::disk::Death;
use super::mutants::Coordinates;
use super::plan::MS;
use super::world::{Event, World};
use crate::check::agreement::Step;
use crate::protocol::two_phase::coordinator::Setup;
use crate::protocol::two_phase::{
    self as protocol, Answer, Command, Frame, Limits, Timing, Violation,
};
use crate::sim::link::{Payload, REDIAL};
use crate::sim::verdict::Kind;

/// The wall clock's beginning, in nanoseconds since 1970, far enough from it to jump back.
const EPOCH: i128 = 1_000_000_000 * 1_000_000_000;

/// The coordinator, whether it runs or not.
#[derive(Default)]
pub(super) struct CoordinatorNode {
    pub running: Option<Running>,
    /// By how many faults it is held up, and what came meanwhile.
    pub paused: u32,
    pub inbox: Vec<Event>,
    /// By how much its wall clock is wrong.
    pub clock_error_ms: i64,
    /// Until when its machine is off: nobody refuses a connection.
    pub off_until: u64,
}

/// One life of the coordinator.
pub(super) struct Running {
    pub machine: Box<dyn Coordinates>,
    pub life: u32,
    started: u64,
    timer: u64,
}

impl CoordinatorNode {
    /// Which life it lives; `None` while it is down.
    pub fn life(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.life)
    }
}

impl World<'_> {
    pub fn start_coordinator(&mut self) {
        if self.coordinator.running.is_some() {
            return;
        }
        self.sessions += 1;
        let wall = EPOCH
            + i128::from(self.now)
            + i128::from(self.coordinator.clock_error_ms) * i128::from(MS);
        let incarnation = wall.clamp(1, i128::from(u64::MAX >> 1)) as u64;
        let setup = Setup {
            participants: self.plan.participants,
            incarnation,
            timing: Timing::default(),
            limits: Limits { chunk: self.plan.chunk, ..Limits::default() },
            trace: true,
        };
        let (life, started) = (self.sessions, self.now);
        let machine = (self.mutant.coordinator)(setup);
        self.coordinator.running = Some(Running { machine, life, started, timer: u64::MAX });
        self.coordinator.off_until = 0;
        let hub = self.hub();
        self.recorder.started(self.now, hub, 0);
        for p in self.all_participants() {
            self.link_mut(hub, p).link.forget();
            self.dial_at(p, self.now);
        }
        self.drive_coordinator(|_, _| ());
    }

    /// Ends its life. With it goes all it knew.
    pub fn kill_coordinator(&mut self, death: Death) {
        let Some(running) = self.coordinator.running.take() else { return };
        let hub = self.hub();
        self.recorder.died(self.now, hub, death.for_trace());
        self.pending_view = None;
        self.note_step(Step::Serves(Vec::new()));
        self.reset_clients(running.life);
        self.coordinator.inbox.clear();
        for p in self.all_participants() {
            let (session, sessions) = (self.session(p), self.sessions);
            self.link_mut(hub, p).link.forget();
            if let Death::PowerLoss(_) = death {
                if self.nemesis.one_in(2) {
                    self.link_mut(hub, p).link.severed = sessions;
                }
            } else if session != 0 {
                self.send(hub, p, session, Payload::Close);
            }
        }
    }

    pub fn on_coordinator_timer(&mut self, life: u32) {
        let now = self.now;
        let Some(running) = &mut self.coordinator.running else { return };
        if running.life == life && running.timer <= now {
            running.timer = u64::MAX;
            self.drive_coordinator(|_, _| ());
        }
    }

    pub fn coordinator_receives(&mut self, from: u16, frames: Vec<Frame>) {
        let mut wrong = None;
        self.drive_coordinator(|machine, now| {
            let result = frames.into_iter().try_for_each(|frame| machine.receive(now, from, frame));
            wrong = result.err();
        });
        if let Some(violation) = wrong {
            self.coordinator_cuts(from, &violation);
            self.drive_coordinator(|machine, now| machine.disconnected(now, from));
        }
    }

    /// Its connection to a participant is closed by itself, for this reason.
    fn coordinator_cuts(&mut self, p: u16, why: &Violation) {
        let hub = self.hub();
        self.recorder.cut(self.now, hub, p, &why.to_string());
        if !is_usual(why) {
            self.violate(Kind::Protocol, || format!("the coordinator cut off {p}: it {why}"));
        }
        let session = std::mem::take(&mut self.link_mut(hub, p).link.session);
        if session != 0 {
            self.send(hub, p, session, Payload::Close);
            self.dial_at(p, self.now + REDIAL);
        }
    }

    /// Gives the machine an input and carries out what follows from it.
    pub fn drive_coordinator(&mut self, input: impl FnOnce(&mut dyn Coordinates, Duration)) {
        let Some(mut running) = self.coordinator.running.take() else { return };
        let now = self.since(running.started);
        input(running.machine.as_mut(), now);
        running.machine.finish(now);
        self.names.lives(running.machine.status().incarnation, running.life);
        for event in std::mem::take(running.machine.events_mut()) {
            self.note_event(&event);
        }
        let hub = self.hub();
        for p in self.all_participants() {
            let bytes = std::mem::take(running.machine.frames_mut(p));
            let session = self.session(p);
            if session != 0 {
                self.send_frames(hub, p, session, bytes);
            }
        }
        for (request, answer) in std::mem::take(running.machine.replies_mut()) {
            self.coordinator_answers(request, answer);
        }
        let cuts = std::mem::take(running.machine.cuts_mut());
        if let Some(deadline) = running.machine.deadline() {
            let at = self.at(running.started, deadline);
            if at < running.timer {
                running.timer = at;
                self.schedule(at, Event::Timer { node: hub, life: running.life });
            }
        }
        self.coordinator.running = Some(running);
        for (p, why) in cuts {
            self.coordinator_cuts(p, &why);
        }
    }

    fn note_event(&mut self, event: &protocol::Event) {
        self.names.note_event(&mut self.recorder, self.now, event);
        match event {
            protocol::Event::Active(view) => {
                (self.lossy, self.pending_view) = (false, None);
                // Somebody may have died since it said that it has stored the view.
                let there = |p: &u16| self.participants[usize::from(*p)].holds_data();
                if !view.members.iter().all(|p| there(&p)) {
                    self.lossy = true;
                }
                self.note_step(Step::Serves(view.members.iter().collect()));
            }
            protocol::Event::Decides(view) => {
                self.pending_view = Some(*view);
                self.note_step(Step::Serves(Vec::new()));
            }
            protocol::Event::StartsOver { .. } => {
                self.pending_view = None;
                self.note_step(Step::Serves(Vec::new()));
            }
            protocol::Event::Decided { txn, commit: true } => {
                if let Some(view) = self.pending_view {
                    let (txn, epoch) = (self.names.txn(*txn), view.id.epoch);
                    self.violate(Kind::Agreement, || {
                        format!("{txn} commits before all members have stored view {epoch}")
                    });
                }
            }
            _ => {}
        }
    }

    pub fn note_step(&mut self, step: Step<protocol::TxnId>) {
        if let Err(disagreement) = self.watch.step(step) {
            let txn = self.names.txn(disagreement.txn);
            let (yes, no) = (disagreement.committed, disagreement.aborted);
            self.violate(Kind::Agreement, || {
                format!("transaction {txn} was committed by participant {yes} and aborted by {no}")
            });
        }
    }

    pub fn on_ask(&mut self, request: u32) {
        let Some(life) = self.coordinator.life() else {
            return self.answer(request, Reply::Refused);
        };
        self.hints += 1;
        let asked = &mut self.requests[request as usize];
        (asked.life, asked.arrived) = (Some(life), self.hints);
        let command = self.requests[request as usize].command();
        self.drive_coordinator(|machine, now| machine.submit(now, command, request));
    }

    fn coordinator_answers(&mut self, request: u32, answer: Answer) {
        let reply = match answer {
            Answer::Ok => Reply::Ok,
            Answer::Value(value) => {
                Reply::Value(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
            }
            Answer::Removed(count) => Reply::Removed(count),
            Answer::Error(why) => Reply::Error(why.to_string()),
            Answer::Unknown => Reply::Unknown,
        };
        self.requests[request as usize].ended = true;
        if matches!(reply, Reply::Ok | Reply::Value(_) | Reply::Removed(_)) {
            // Locks are given back in this order, so it is one in which commands took effect.
            self.hints += 1;
            self.requests[request as usize].hint = Some(self.hints);
        }
        self.answer(request, reply);
    }
}

/// Whether a correct peer is cut off for this now and then.
pub(super) fn is_usual(why: &Violation) -> bool {
    matches!(why, Violation::Silent | Violation::Replaced)
}

impl super::client::Request {
    /// The command as the machine takes it.
    fn command(&self) -> Command {
        let key = |key: &u16| super::client::key_bytes(*key);
        match &self.ask {
            super::Ask::Set { key: k, value } => {
                Command::Set { key: key(k), value: super::client::value_bytes(*value) }
            }
            super::Ask::Get { key: k } => Command::Get { key: key(k) },
            super::Ask::Del { keys } => Command::Delete { keys: keys.iter().map(key).collect() },
        }
    }
}
