//! Which data is the newest, after a start or when nobody is left. The rules (a) to (d) and why they are right
//! are in the header of `two_phase`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Coordinator, Event, Link, Phase};
use crate::protocol::two_phase::{
    Frame, Greeting, HIGHEST_INCARNATION, Members, Rules, TxnId, View, Violation,
};

/// What this process knows of the views of its own earlier incarnations.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The last view that it decided upon, and the last that was active before.
    last: Option<(View, View)>,
    /// Until when a promise to somebody keeps it from forming a view.
    pub(super) wait_until: Option<Duration>,
}

/// A view that may be formed.
struct Plan {
    members: Members,
    /// The active view that its data comes from; of epoch 0 when it begins empty.
    from: View,
    /// The newest epoch heard of.
    epoch: u64,
}

impl<T, R: Rules> Coordinator<T, R> {
    pub(super) fn greet(&mut self, now: Duration, p: u16) {
        let greeting = Greeting {
            incarnation: self.incarnation,
            you: p,
            participants: self.setup.participants,
        };
        let peer = self.peer(p);
        peer.link = Link::Greeted;
        peer.heard_at = now;
        peer.out.clear();
        peer.mark = None;
        self.send(p, &Frame::Greeting(greeting));
    }

    /// Forgets everything but what it knows of the views, and greets everybody as a new incarnation.
    pub(super) fn start_over(&mut self, now: Duration, incarnation: u64) {
        if self.phase != Phase::Gathering {
            self.known.last = Some((self.view, self.active));
            self.patience = Some(now + self.setup.timing.patience);
            self.at_start = false;
        }
        self.phase = Phase::Gathering;
        self.incarnation = incarnation;
        self.events.push(Event::StartsOver { incarnation });
        self.view = View::default();
        self.pending = Members::default();
        self.first = (false, None);
        self.filling = false;
        self.give_up();
        for p in 0..self.setup.participants {
            let peer = self.peer(p);
            peer.lost = false;
            peer.join = None;
            if peer.link != Link::Down {
                self.greet(now, p);
            }
        }
    }

    /// A number above this one, which no other start of the coordinator comes to: the low bits are those of its
    /// own clock. Two starts with clocks behind would else raise themselves above the same one to the same, and
    /// each would be obeyed as if it were the other.
    fn above(&self, newest: u64) -> u64 {
        const OWN: u64 = (1 << 30) - 1;
        ((newest | OWN).saturating_add(1)) | (self.setup.incarnation & OWN)
    }

    /// A frame from a participant that has not reported yet.
    pub(super) fn receive_first(
        &mut self,
        now: Duration,
        p: u16,
        frame: Frame,
    ) -> Result<(), Violation> {
        match frame {
            Frame::Report(report) if report.to == self.incarnation => {
                if report.view.id.epoch > 0 && report.me != p {
                    return Err(Violation::Place { was: report.me, now: p });
                }
                let gathering = self.phase == Phase::Gathering;
                let peer = self.peer(p);
                peer.link = Link::Up;
                peer.heard_at = now;
                // By answering the greeting it has let go of its lease.
                peer.promised = Duration::ZERO;
                peer.answered = 0;
                peer.lost = !gathering;
                peer.report = report;
                if !gathering {
                    peer.report.prepared = Vec::new();
                    peer.report.committed = Vec::new();
                }
            }
            Frame::Refused { newest } if newest >= self.incarnation => {
                let next = self.above(newest);
                if next > HIGHEST_INCARNATION {
                    return Err(Violation::Unexpected("refusal"));
                }
                // Another coordinator has been here; what it has done to the views is not known.
                self.start_over(now, next);
                self.known = Known::default();
            }
            // It belongs to an incarnation that is over.
            _ => {}
        }
        Ok(())
    }

    /// Forms the first view, if what has been reported allows it.
    pub(super) fn try_to_form(&mut self, now: Duration) {
        self.known.wait_until = None;
        let Some(plan) = self.plan() else { return };
        let others = (0..).zip(&self.peers).filter(|(p, _)| !plan.members.has(*p));
        let promised = others.map(|(_, peer)| peer.promised).max().unwrap_or_default();
        if R::keeps_lease() && promised > now {
            self.known.wait_until = Some(promised);
            return;
        }
        self.form(plan);
    }

    fn plan(&self) -> Option<Plan> {
        let up = self.up();
        let held = |p: u16| self.peers[usize::from(p)].report.view;
        let holders: Members = up.iter().filter(|p| held(*p).id.epoch > 0).collect();
        let highest = holders.iter().map(|p| held(p).id.epoch).max().unwrap_or(0);
        let epoch = self.known.last.map_or(0, |(last, _)| last.id.epoch).max(highest);
        let all = Members::first(self.setup.participants);
        if up == all && all.iter().all(|p| held(p) == View::default()) {
            // (c): all data begins with one participant, and the others join it.
            return Some(Plan { members: Members::one(0), from: View::default(), epoch });
        }
        if let Some((last, active)) = self.known.last {
            return self.plan_from_own(holders, last, active);
        }
        let mut views: Vec<View> = holders.iter().map(held).collect();
        let (newest, members) = loop {
            let newest = views.iter().copied().reduce(R::newer)?;
            let members = holders.and(newest.members);
            let all_members = members == newest.members;
            if R::is_certain(all_members, self.has_majority_with_witness(holders, members)) {
                break (newest, members);
            }
            if !members.iter().any(|p| held(p).id < newest.id) {
                return None;
            }
            // It was never active: see (a).
            views.retain(|view| view.id != newest.id);
        };
        // Where some hold only the view before it, theirs counts as the last that was active.
        let oldest = members.iter().map(held).min_by_key(|view| view.id)?;
        let common = members.iter().map(|p| held(p).members).fold(newest.members, Members::and);
        let from = if common.is_empty() { newest } else { View { id: oldest.id, members: common } };
        Some(Plan { members, from, epoch })
    }

    /// (d): this very process made the last view.
    fn plan_from_own(&self, holders: Members, last: View, active: View) -> Option<Plan> {
        let from = if active.id.epoch == 0 { last } else { active };
        let holds = |p: &u16| {
            let held = self.peers[usize::from(*p)].report.view.id;
            R::is_own_last(held, from.id, last.id)
        };
        let heirs = holders.and(last.members).and(from.members);
        let members: Members = heirs.iter().filter(holds).collect();
        (!members.is_empty()).then_some(Plan { members, from, epoch: last.id.epoch })
    }

    /// (b): those that hold anything are a majority, and a member of the newest view among them saw the
    /// newest incarnation that any participant knows end while it held its lease.
    fn has_majority_with_witness(&self, holders: Members, members: Members) -> bool {
        let report = |p: u16| &self.peers[usize::from(p)].report;
        let newest = self.up().iter().map(|p| report(p).seen).max().unwrap_or(0);
        holders.len() > usize::from(self.setup.participants) / 2
            && members.iter().any(|p| report(p).witness && report(p).seen == newest)
    }

    fn form(&mut self, plan: Plan) {
        let fresh = plan.from.id.epoch == 0;
        if fresh && self.known.last.is_some_and(|(_, active)| active.id.epoch > 0) {
            self.events.push(Event::DataLost);
        }
        let commits = self.resolve(plan.members);
        self.phase = Phase::Forming;
        self.active = plan.from;
        self.first = (fresh, Some(commits));
        self.decide_view(plan.epoch + 1, plan.members);
    }

    /// What of that which is prepared somewhere commits: what a member has committed. All else aborts.
    fn resolve(&mut self, members: Members) -> Vec<TxnId> {
        let mut prepared = BTreeSet::new();
        let mut committed = BTreeSet::new();
        for p in members.iter() {
            let report = &mut self.peer(p).report;
            prepared.extend(std::mem::take(&mut report.prepared));
            committed.extend(std::mem::take(&mut report.committed));
        }
        let mut commits = Vec::new();
        for txn in prepared {
            let commit = R::resolves_to_commit(committed.contains(&txn));
            self.events.push(Event::Resolved { txn, commit });
            if commit {
                commits.push(txn);
            }
        }
        commits
    }
}
