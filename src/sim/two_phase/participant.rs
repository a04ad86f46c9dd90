//! A participant: the production machine, its log on a disk in memory, and how a driver serves them.
//!
//! With a log, what a batch of inputs gives rise to leaves when its records are synced, in order; meanwhile the
//! machine goes on. A process that is killed leaves all it wrote; a loss of power takes what was not synced, or a
//! part of it. A disk that fails ends the process, and what it did not sync is gone.
//!
//! A probe of the coordinator is a dial of its own, in no order with anything else. It is refused where it
//! comes to a machine that runs and has no such process; it hears nothing where a link is cut.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::coordinator::is_usual;
use super::disk::{Death, Fails, Log};
use super::mutants::Participates;
use super::plan::MS;
use super::world::{Event, World};
use crate::check::agreement::Step;
use crate::protocol::two_phase::participant::Setup;
use crate::protocol::two_phase::{Change, Frame, Record, Timing, TxnId, View, Violation};
use crate::sim::link::Payload;
use crate::sim::verdict::Kind;
use crate::sim::world::Phase;

/// How long after a probe the next may begin.
const PROBE_PAUSE: u64 = 50 * MS;

/// A participant, whether it runs or not.
#[derive(Default)]
pub(super) struct ParticipantNode {
    pub running: Option<Running>,
    pub log: Log,
    /// Its open connections.
    pub sessions: BTreeSet<u32>,
    /// By how many faults it is held up, and what came meanwhile.
    pub paused: u32,
    pub inbox: Vec<Event>,
    /// What fails next, and how long it stays down then.
    pub fails: Option<(Fails, u64)>,
    /// How many plans want it to vote NO.
    refuses: u32,
}

/// What leaves when the log is synced up to its end.
struct Waiting {
    upto: usize,
    frames: Vec<(u64, Vec<u8>)>,
    steps: Vec<Step<TxnId>>,
}

/// One life of a participant.
pub(super) struct Running {
    pub machine: Box<dyn Participates>,
    pub life: u32,
    started: u64,
    timer: u64,
    probing: bool,
    waiting: VecDeque<Waiting>,
    /// Up to where a sync under way goes.
    syncing: Option<usize>,
}

impl ParticipantNode {
    fn life(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.life)
    }

    fn view(&self) -> View {
        match &self.running {
            Some(running) => running.machine.view(),
            None => self.log.recovered().view,
        }
    }

    /// Whether it has a copy, also while it is down.
    pub fn holds_data(&self) -> bool {
        self.view().id.epoch > 0
    }

    /// Whether it has a copy, or knows that it had one.
    pub fn remembers(&self) -> bool {
        self.view() != View::default()
    }

    /// What it has promised and not heard the end of, also while it is down.
    pub fn in_doubt(&self) -> usize {
        match &self.running {
            Some(running) => running.machine.prepared().len(),
            None => self.log.recovered().prepared.len(),
        }
    }
}

/// What a machine has carried out: how a transaction ended, or that it dropped its copy and all promises.
enum Did {
    Ended(TxnId, Change, bool),
    Dropped,
}

/// Has a machine do something, and notes what it carried out by that.
fn watch<R>(
    machine: &mut dyn Participates,
    did: &mut Vec<Did>,
    act: impl FnOnce(&mut dyn Participates) -> R,
) -> R {
    let promised = machine.prepared().clone();
    let result = act(machine);
    for (txn, change) in promised {
        if !machine.prepared().contains_key(&txn) {
            let commit = machine.state().committed.contains(&txn);
            did.push(Did::Ended(txn, change, commit));
        }
    }
    result
}

impl World<'_> {
    pub fn start_participant(&mut self, p: u16) {
        let at = usize::from(p);
        if self.participants[at].running.is_some() {
            return;
        }
        self.sessions += 1;
        let setup = Setup {
            life: u64::from(self.sessions),
            durable: self.plan.durable,
            max_bytes: usize::MAX >> 1,
            timing: Timing::default(),
            recovered: self.participants[at].log.recovered(),
        };
        let mut machine = (self.mutant.participant)(setup);
        machine.refuse_all(self.participants[at].refuses > 0 && self.phase == Phase::Faults);
        self.participants[at].running = Some(Running {
            machine,
            life: self.sessions,
            started: self.now,
            timer: u64::MAX,
            probing: false,
            waiting: VecDeque::new(),
            syncing: None,
        });
        self.recorder.started(self.now, p, 0);
        self.drive_participant(p, |_, _| ());
    }

    /// Ends a life.
    pub fn kill_participant(&mut self, p: u16, death: Death) {
        let at = usize::from(p);
        if self.participants[at].running.is_none() {
            return;
        }
        let remembered = self.participants[at].remembers();
        self.participants[at].running = None;
        self.recorder.died(self.now, p, death.for_trace());
        let node = &mut self.participants[at];
        node.inbox.clear();
        node.log.after(death);
        let sessions = std::mem::take(&mut node.sessions);
        let severed = self.sessions;
        for session in sessions {
            match death {
                Death::PowerLoss(_) => {
                    if self.nemesis.one_in(2) {
                        self.link_mut(p, self.plan.participants).link.severed = severed;
                    }
                }
                _ => self.send(p, self.plan.participants, session, Payload::Close),
            }
        }
        self.link_mut(p, self.plan.participants).link.take_held();
        if remembered || !self.plan.durable {
            self.note_loss(p, remembered);
        }
    }

    /// The memory of a participant may be gone, and with it a copy.
    pub fn note_loss(&mut self, p: u16, remembered: bool) {
        if self.participants[usize::from(p)].remembers() {
            return;
        }
        self.note_step(Step::Dropped(p));
        self.lossy = true;
        if remembered && !self.participants.iter().any(ParticipantNode::remembers) {
            self.everything_is_lost();
        }
    }

    pub fn on_participant_timer(&mut self, p: u16, life: u32) {
        let now = self.now;
        let Some(running) = &mut self.participants[usize::from(p)].running else { return };
        if running.life == life && running.timer <= now {
            running.timer = u64::MAX;
            self.drive_participant(p, |_, _| ());
        }
    }

    pub fn on_votes_no(&mut self, p: u16, no: bool) {
        let healed = self.phase != Phase::Faults;
        let node = &mut self.participants[usize::from(p)];
        node.refuses = if no { node.refuses + 1 } else { node.refuses.saturating_sub(1) };
        let refuses = node.refuses > 0 && !healed;
        self.drive_participant(p, |machine, _| machine.refuse_all(refuses));
    }

    /// It votes as it sees fit again.
    pub fn votes_freely(&mut self, p: u16) {
        self.participants[usize::from(p)].refuses = 0;
        self.drive_participant(p, |machine, _| machine.refuse_all(false));
    }

    pub fn participant_receives(&mut self, p: u16, session: u32, frames: Vec<Frame>) {
        let mut wrong = None;
        self.drive_watched(p, |machine, now, did| {
            for frame in frames {
                let (joins, mut own) = (matches!(frame, Frame::Join { .. }), Vec::new());
                let received = watch(machine, &mut own, |machine| {
                    machine.receive(now, u64::from(session), frame)
                });
                if joins && received.is_ok() {
                    own = vec![Did::Dropped];
                }
                did.append(&mut own);
                if let Err(violation) = received {
                    wrong = Some(violation);
                    return;
                }
            }
        });
        if let Some(violation) = wrong {
            self.participant_cuts(p, u64::from(session), &violation);
            self.drive_participant(p, |machine, now| machine.disconnected(now, u64::from(session)));
        }
    }

    /// A participant closes a connection, for this reason.
    fn participant_cuts(&mut self, p: u16, session: u64, why: &Violation) {
        let (hub, session) = (self.hub(), session as u32);
        if self.participants[usize::from(p)].sessions.remove(&session) {
            self.recorder.cut(self.now, p, hub, &why.to_string());
            if !is_usual(why) {
                self.violate(Kind::Protocol, || {
                    format!("participant {p} cut off the coordinator: it {why}")
                });
            }
            self.send(p, hub, session, Payload::Close);
        }
    }

    /// Gives a machine an input and carries out what follows from it.
    pub fn drive_participant(
        &mut self,
        p: u16,
        input: impl FnOnce(&mut dyn Participates, Duration),
    ) {
        self.drive_watched(p, |machine, now, did| {
            watch(machine, did, |machine| input(machine, now))
        });
    }

    /// The same, where the input notes what the machine carried out.
    fn drive_watched(
        &mut self,
        p: u16,
        input: impl FnOnce(&mut dyn Participates, Duration, &mut Vec<Did>),
    ) {
        let at = usize::from(p);
        let Some(mut running) = self.participants[at].running.take() else { return };
        let now = self.since(running.started);
        let mut did = Vec::new();
        input(running.machine.as_mut(), now, &mut did);
        let mut batch = running.machine.finish(now);
        let records = std::mem::take(&mut batch.records);
        let steps = did.into_iter().map(|did| self.step_of(p, did)).collect();
        for (session, why) in std::mem::take(&mut batch.cuts) {
            // What still comes on it is not for the machine any more.
            self.participant_cuts(p, session, &why);
        }
        // The frames wait here for the log; see `Waiting`.
        let frames = batch.persisted();
        let fate = self.write(p, records);
        let upto = self.participants[at].log.records.len();
        running.waiting.push_back(Waiting { upto, frames, steps });
        self.mind_probe(p, &mut running, now);
        self.participants[at].running = Some(running);
        if let Some(down) = fate {
            self.kill_participant(p, Death::Killed);
            return self.schedule(self.now.saturating_add(down), Event::Start { node: p });
        }
        self.let_out(p);
    }

    /// Writes records; how long the process is down if it dies of it.
    fn write(&mut self, p: u16, records: Vec<Record>) -> Option<u64> {
        if records.is_empty() {
            return None;
        }
        self.names.note_records(&mut self.recorder, self.now, p, &records);
        let node = &mut self.participants[usize::from(p)];
        let (written, down) = match node.fails {
            Some((Fails::TornWrite, down)) => (records.len() / 2, Some(down)),
            Some((Fails::Full, down)) => (0, Some(down)),
            Some((Fails::Sync, _)) | None => (records.len(), None),
        };
        if down.is_some() {
            node.fails = None;
        }
        node.log.records.extend(records.into_iter().take(written));
        down
    }

    /// Lets out what waits for nothing any more, and begins the next sync.
    fn let_out(&mut self, p: u16) {
        let at = usize::from(p);
        loop {
            let node = &mut self.participants[at];
            let synced = node.log.synced;
            let Some(running) = &mut node.running else { return };
            let is_out = running.waiting.front().is_some_and(|next| next.upto <= synced);
            if !is_out {
                break;
            }
            let Some(next) = running.waiting.pop_front() else { break };
            for step in next.steps {
                self.note_step(step);
            }
            let hub = self.hub();
            for (session, bytes) in next.frames {
                if self.participants[at].sessions.contains(&(session as u32)) {
                    self.send_frames(p, hub, session as u32, bytes);
                }
            }
        }
        let node = &mut self.participants[at];
        let upto = node.log.records.len();
        let Some(running) = &mut node.running else { return };
        if running.syncing.is_none() && upto > node.log.synced {
            running.syncing = Some(upto);
            let life = running.life;
            let at = self.now + self.plan.sync_time;
            self.schedule(at, Event::Synced { participant: p, life });
        }
    }

    pub fn on_synced(&mut self, p: u16, life: u32) {
        let node = &mut self.participants[usize::from(p)];
        let Some(running) = node.running.as_mut().filter(|running| running.life == life) else {
            return;
        };
        let upto = running.syncing.take();
        if let Some((Fails::Sync, down)) = node.fails {
            node.fails = None;
            self.recorder.disk_failed(self.now, p, "a sync failed");
            self.kill_participant(p, Death::SyncFailed);
            return self.schedule(self.now.saturating_add(down), Event::Start { node: p });
        }
        // A compaction may have made it shorter, and synced it.
        let synced = upto.map_or(0, |upto| upto.min(node.log.records.len()));
        node.log.synced = node.log.synced.max(synced);
        self.recorder.synced(self.now, p);
        self.let_out(p);
    }

    /// Compacts the log, at one instant: all that was written is synced by it.
    pub fn compact(&mut self, p: u16) {
        let node = &mut self.participants[usize::from(p)];
        node.log.compact();
        let upto = node.log.synced;
        if let Some(running) = &mut node.running {
            running.waiting.iter_mut().for_each(|waiting| waiting.upto = upto);
            running.syncing = running.syncing.map(|_| upto);
        }
        self.let_out(p);
    }

    /// What a participant carried out, for the trace and for those who watch.
    fn step_of(&mut self, p: u16, did: Did) -> Step<TxnId> {
        match did {
            Did::Dropped => {
                self.names.note_dropped(&mut self.recorder, self.now, p);
                Step::Dropped(p)
            }
            Did::Ended(txn, change, commit) => {
                self.names.note_ended(&mut self.recorder, self.now, p, txn, commit, &change);
                if commit {
                    self.note_effect(txn, &change);
                }
                Step::Ended { participant: p, txn, commit }
            }
        }
    }

    /// Looks whether the coordinator still exists, where the machine wants to know, and minds its deadline.
    fn mind_probe(&mut self, p: u16, running: &mut Running, now: Duration) {
        let life = running.life;
        if !running.probing && running.machine.probe(now) {
            running.probing = true;
            let over = self.now + PROBE_PAUSE;
            self.schedule(over, Event::ProbeOver { participant: p, life });
            let link = &mut self.wires[usize::from(p)][1].link;
            if link.blocked == 0 {
                let at = self.now + link.takes();
                self.schedule(at, Event::Probe { participant: p, life });
            }
        }
        if let Some(deadline) = running.machine.deadline()
            && deadline > now
        {
            let at = self.at(running.started, deadline);
            if at < running.timer {
                running.timer = at;
                self.schedule(at, Event::Timer { node: p, life });
            }
        }
    }

    pub fn on_probe(&mut self, p: u16, life: u32) {
        let refuses = self.coordinator.running.is_none() && self.now >= self.coordinator.off_until;
        let link = &mut self.wires[usize::from(p)][0].link;
        if refuses && link.blocked == 0 {
            let at = self.now + link.takes();
            self.schedule(at, Event::Refused { participant: p, life });
        }
    }

    pub fn on_refused(&mut self, p: u16, life: u32) {
        if self.participants[usize::from(p)].life() == Some(life) {
            self.recorder.probed(self.now, p);
            self.drive_participant(p, |machine, now| machine.coordinator_gone(now));
        }
    }

    pub fn on_probe_over(&mut self, p: u16, life: u32) {
        if let Some(running) = &mut self.participants[usize::from(p)].running
            && running.life == life
        {
            running.probing = false;
            self.drive_participant(p, |_, _| ());
        }
    }
}
