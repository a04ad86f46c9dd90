//! The nemesis: has the planned faults happen, and heals everything at the end. Every fault is fair here: what
//! the protocol cannot survive it has to answer with errors.

use super::disk::{Death, Fails};
use super::world::{Event, World};
use crate::faults::Fault;
use crate::sim::world::Phase;

impl World<'_> {
    pub fn on_fault(&mut self, index: u32) {
        if self.phase != Phase::Faults {
            return;
        }
        let planned = self.plan.faults[index as usize].fault.clone();
        let happened = self.happen(&planned);
        self.recorder.fault(self.now, &planned, happened);
        let ends = matches!(
            planned,
            Fault::Partition { .. }
                | Fault::OneWay { .. }
                | Fault::SlowLink { .. }
                | Fault::Pause { .. }
        );
        if happened && ends {
            let until = self.now.saturating_add(planned.lasts());
            self.schedule(until, Event::End { index });
        }
    }

    fn happen(&mut self, fault: &Fault) -> bool {
        let hub = self.hub();
        match fault {
            Fault::Crash { replica, down } => self.kill(*replica, *down, Death::Killed),
            Fault::PowerLoss { replicas, down, kept } => {
                let all = replicas.iter();
                all.filter(|id| self.kill(**id, *down, Death::PowerLoss(*kept))).count() > 0
            }
            Fault::DiskLost { replica, down } => {
                let happened = *replica != hub && self.kill(*replica, *down, Death::Killed);
                if happened {
                    let node = &mut self.participants[usize::from(*replica)];
                    let remembered = node.remembers();
                    node.log = super::disk::Log::default();
                    self.note_loss(*replica, remembered);
                }
                happened
            }
            Fault::TornWrite { replica, down } => self.arm(*replica, Fails::TornWrite, *down),
            Fault::DiskFull { replica, down } => self.arm(*replica, Fails::Full, *down),
            Fault::SyncError { replica, down } => self.arm(*replica, Fails::Sync, *down),
            Fault::Cut { a, b } => self.sever(*a, *b),
            Fault::ClockJump { replica, by_ms } => {
                if *replica == hub {
                    self.coordinator.clock_error_ms += by_ms;
                }
                *replica == hub
            }
            Fault::Compaction { replica } => {
                let happens = *replica != hub && self.plan.durable;
                if happens {
                    self.compact(*replica);
                }
                happens
            }
            Fault::Pause { replica, .. } => {
                *self.inbox(*replica).0 += 1;
                true
            }
            Fault::Partition { .. } | Fault::OneWay { .. } => {
                let blocked = self.blocked_by(fault);
                for (from, to) in &blocked {
                    self.link_mut(*from, *to).link.blocked += 1;
                }
                !blocked.is_empty()
            }
            Fault::SlowLink { from, to, by, .. } => {
                let is_link = (*from == hub) != (*to == hub);
                if is_link {
                    let link = &mut self.link_mut(*from, *to).link;
                    link.slower = link.slower.saturating_add(*by);
                }
                is_link
            }
        }
    }

    pub fn on_end(&mut self, index: u32) {
        if self.phase != Phase::Faults {
            return;
        }
        let fault = self.plan.faults[index as usize].fault.clone();
        self.recorder.fault_ends(self.now, &fault);
        match &fault {
            Fault::Partition { .. } | Fault::OneWay { .. } => {
                for (from, to) in self.blocked_by(&fault) {
                    self.link_mut(from, to).link.blocked -= 1;
                    if self.link_mut(from, to).link.blocked == 0 {
                        self.release(from, to);
                    }
                }
            }
            Fault::SlowLink { from, to, by, .. } => {
                let link = &mut self.link_mut(*from, *to).link;
                link.slower = link.slower.saturating_sub(*by);
            }
            Fault::Pause { replica, .. } => {
                let (paused, _) = self.inbox(*replica);
                *paused -= 1;
                if *paused == 0 {
                    self.resume(*replica);
                }
            }
            _ => {}
        }
    }

    /// The directions in which nothing passes. Participants have no links among themselves.
    fn blocked_by(&self, fault: &Fault) -> Vec<(u16, u16)> {
        let hub = self.hub();
        let pairs = |blocks: &dyn Fn(u16, u16) -> bool| {
            let both = |p| [(hub, p), (p, hub)];
            let all = self.all_participants().flat_map(both);
            all.filter(|(from, to)| blocks(*from, *to)).collect()
        };
        match fault {
            Fault::Partition { side, .. } => {
                pairs(&|from, to| side.contains(&from) != side.contains(&to))
            }
            Fault::OneWay { from: sources, to: targets, .. } => {
                pairs(&|from, to| sources.contains(&from) && targets.contains(&to))
            }
            _ => Vec::new(),
        }
    }

    fn kill(&mut self, id: u16, down: u64, death: Death) -> bool {
        let up = self.now.saturating_add(down);
        if id == self.hub() {
            if self.coordinator.running.is_none() {
                return false;
            }
            self.kill_coordinator(death);
            if let Death::PowerLoss(_) = death {
                // The machine comes back before the process does.
                self.coordinator.off_until = self.now.saturating_add(down / 2);
            }
        } else {
            if self.participants[usize::from(id)].running.is_none() {
                return false;
            }
            self.participants[usize::from(id)].fails = None;
            self.kill_participant(id, death);
        }
        self.schedule(up, Event::Start { node: id });
        true
    }

    /// Has the next thing that a participant asks of its disk fail.
    fn arm(&mut self, id: u16, what: Fails, down: u64) -> bool {
        let durable = self.plan.durable;
        let Some(node) = self.participants.get_mut(usize::from(id)) else { return false };
        let may = durable && node.fails.is_none() && node.running.is_some();
        if may {
            node.fails = Some((what, down));
        }
        may
    }

    /// Breaks the connection to a participant, with all that is on its way.
    fn sever(&mut self, a: u16, b: u16) -> bool {
        let (hub, sessions) = (self.hub(), self.sessions);
        let p = match (a == hub, b == hub) {
            (true, false) => b,
            (false, true) => a,
            _ => return false,
        };
        for (from, to) in [(hub, p), (p, hub)] {
            self.link_mut(from, to).link.severed = sessions;
        }
        for session in self.participants[usize::from(p)].sessions.clone() {
            self.participant_loses(p, session);
        }
        self.coordinator_loses(p);
        true
    }

    /// A node that was held up goes on with what has come meanwhile, in order.
    fn resume(&mut self, id: u16) {
        for event in std::mem::take(self.inbox(id).1) {
            self.dispatch(event);
        }
    }

    /// Ends all faults: everything runs, every link is whole.
    pub fn heal(&mut self) {
        let hub = self.hub();
        for p in self.all_participants() {
            for (from, to) in [(hub, p), (p, hub)] {
                let link = &mut self.link_mut(from, to).link;
                (link.blocked, link.slower) = (0, 0);
                self.release(from, to);
            }
        }
        for id in 0..=hub {
            *self.inbox(id).0 = 0;
            self.resume(id);
            self.schedule(self.now, Event::Start { node: id });
        }
        for node in &mut self.participants {
            node.fails = None;
        }
        self.all_participants().for_each(|p| self.votes_freely(p));
    }
}
