//! What is said about a run.

use std::sync::atomic::{AtomicU64, Ordering};

use super::world::World;
use crate::check::atomic::{self, Found};
use crate::check::spec::SPECS;
use crate::check::{Answer, Budget, Problem, agreement, linearizable, strict};
use crate::history::{History, OpId, ValueId};
use crate::protocol::two_phase::Status;
use crate::sim::verdict::{Finding, Kind};
use crate::sim::{Counted, Outcome, Verdict};

/// How often a search may ask whether it is to end: a count, so that a verdict depends on the history alone.
const PATIENCE: u64 = 4_000;

/// A client that has waited for so long is not waiting for anything any more.
const TOO_LONG: u64 = 5_000_000_000;

impl World<'_> {
    /// Everybody is a member, and nothing is under way.
    pub fn is_whole(&self) -> bool {
        let Some(status) = self.coordinator.running.as_ref().map(|r| r.machine.status()) else {
            return false;
        };
        let rests = |p: u16| {
            let node = &self.participants[usize::from(p)];
            let running = node.running.as_ref();
            running
                .is_some_and(|r| r.machine.view() == status.view && r.machine.prepared().is_empty())
        };
        let all = status.view.members.len() == self.participants.len();
        status.serving && all && status.commands == 0 && self.all_participants().all(rests)
    }

    /// Why the run is not over although it should be; `None` where nothing else can be asked of it.
    pub fn standing_still(&self) -> Option<String> {
        let waits = |since: u64| self.now.saturating_sub(since) > TOO_LONG;
        if self.clients.iter().any(|client| client.waits_since().is_some_and(waits)) {
            return Some("a client still waits for an answer".to_owned());
        }
        let nothing_held = !self.participants.iter().any(|node| node.remembers());
        if self.lossy && !nothing_held {
            // The newest copy may be gone. Errors are right, for as long as it takes.
            return None;
        }
        let Some(running) = &self.coordinator.running else {
            return Some("the coordinator is down".to_owned());
        };
        let Status { serving, view, connected, joining, commands, .. } = running.machine.status();
        let serves = if serving { "serves" } else { "does not serve" };
        let (members, epoch) = (view.members, view.id.epoch);
        let doubts: Vec<usize> = self.participants.iter().map(|node| node.in_doubt()).collect();
        let epochs: Vec<u64> = self
            .participants
            .iter()
            .map(|node| node.running.as_ref().map_or(0, |r| r.machine.view().id.epoch))
            .collect();
        Some(format!(
            "the coordinator {serves}; view {epoch} of {members:?}, connected {connected:?}, joining {joining:?}, \
             {commands} commands under way, {} clients still ask; the participants hold views {epochs:?}, in doubt \
             {doubts:?}",
            self.busy_clients
        ))
    }

    /// The copies of the final view are equal.
    pub fn compare_copies(&mut self) {
        let copies: Vec<_> = self
            .all_participants()
            .filter_map(|p| {
                let running = self.participants[usize::from(p)].running.as_ref()?;
                Some((p, running.machine.table()))
            })
            .collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let difference = agreement::difference(&copies, |key| text(key), |value| text(value));
        if let Some(why) = difference {
            self.violate(Kind::Diverged, || why);
        }
    }

    /// The run, judged.
    pub fn outcome(self) -> Outcome {
        let hints = self.hints();
        let World { recorder, broken, events, now, healed_at, .. } = self;
        let (history, trace) = recorder.finish(healed_at);
        let verdict = Verdict::of(judge(&history, &hints), broken);
        Outcome { history, trace, verdict, events, virtual_time: now, counted: Counted::default() }
    }

    /// For each operation, where in the order of all commands it probably took effect.
    fn hints(&self) -> Vec<Option<u64>> {
        let mut hints = vec![None; self.recorder.builder.history().operations.len()];
        for request in &self.requests {
            for id in &request.operations {
                hints[id.index()] = request.hint;
            }
        }
        for (id, hint) in &self.losses {
            hints[id.index()] = Some(*hint);
        }
        hints
    }
}

/// Asks the checkers.
fn judge(history: &History, hints: &[Option<u64>]) -> Finding {
    let counter = AtomicU64::new(0);
    let spent = || counter.fetch_add(1, Ordering::Relaxed) >= PATIENCE;
    let problem = |budget| Problem { history, spec: &SPECS[0], initial: ValueId::NIL, budget };
    let hint = |id: OpId| hints[id.index()];
    match strict::check_with(&problem(Budget::new(&spent)), &hint) {
        Answer::Valid => return Finding::Holds,
        Answer::Unknown(why) if !is_wrong_by_key(history) => return Finding::Unknown(why),
        Answer::Unknown(_) | Answer::Violation(_) => {}
    }
    if is_wrong_by_key(history) {
        return Finding::Violation("the history is not linearizable".to_owned());
    }
    counter.store(0, Ordering::Relaxed);
    match atomic::find(&problem(Budget::new(&spent))) {
        Found::Half(half) => Finding::Violation(half.why.join(" ")),
        _ => Finding::Violation("no order of all commands respects real time".to_owned()),
    }
}

/// Whether one key by itself is wrong.
fn is_wrong_by_key(history: &History) -> bool {
    let counter = AtomicU64::new(0);
    let spent = || counter.fetch_add(1, Ordering::Relaxed) >= PATIENCE;
    let budget = Budget::new(&spent);
    let problem = Problem { history, spec: &SPECS[0], initial: ValueId::NIL, budget };
    matches!(linearizable::check(&problem), Answer::Violation(_))
}
