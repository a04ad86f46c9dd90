//! The nemesis: has the planned faults happen, and heals everything at the end.
//!
//! Some faults are only fair while the others are well: a cluster of these modes survives the loss of one
//! disk as long as all other replicas are live and stay so until the lost copy is whole again. Where a majority
//! decides, the others need only have votes and keep their disks meanwhile. A fault that would not be fair at its time is left
//! out.

use super::replica::Death;
use super::world::{Event, Phase, World};
use crate::faults::Fault;
use crate::protocol::Reads;
use crate::storage::MemDisk;

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

    /// Whether a replica may lose its memory now.
    fn may_die(&mut self, id: u16) -> bool {
        // Where a majority decides, the others may die as they like, as long as they keep their disks.
        self.mode.reads == Reads::Current || self.is_whole(id)
    }

    /// Whether no other replica than this one has lost its disk and not got all back yet.
    fn is_whole(&mut self, id: u16) -> bool {
        match self.repairing {
            Some((lost, position)) if lost != id => {
                if self.is_safe(lost, position) {
                    self.repairing = None;
                }
                self.repairing.is_none()
            }
            _ => true,
        }
    }

    fn happen(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Crash { replica, down } => self.kill(*replica, *down, Death::Killed),
            Fault::PowerLoss { replicas, down, kept } => {
                // All or none: those who share a supply.
                let may = replicas.iter().all(|id| self.may_die(*id));
                may && replicas
                    .iter()
                    .filter(|id| self.kill(**id, *down, Death::PowerLoss(*kept)))
                    .count()
                    > 0
            }
            Fault::DiskLost { replica, down } => self.lose_disk(*replica, *down),
            Fault::TornWrite { replica, down } => {
                self.arm(*replica, *down, Death::Killed, |disk| disk.crash_at(disk.steps() + 1))
            }
            Fault::DiskFull { replica, down } => {
                let full = |disk: &MemDisk| disk.set_capacity(Some(disk.file_len()));
                self.arm(*replica, *down, Death::Killed, full)
            }
            Fault::SyncError { replica, down } => {
                self.arm(*replica, *down, Death::SyncFailed, |disk| disk.fail_syncs(true))
            }
            Fault::Cut { a, b } => self.sever(*a, *b),
            Fault::ClockJump { replica, by_ms } => {
                self.replicas[usize::from(*replica)].clock_error_ms += by_ms;
                true
            }
            Fault::Compaction { replica } => {
                self.compact(*replica);
                true
            }
            Fault::Pause { replica, .. } => {
                self.replicas[usize::from(*replica)].paused += 1;
                true
            }
            Fault::Partition { .. } | Fault::OneWay { .. } => {
                for (from, to) in self.blocked_by(fault) {
                    self.link_mut(from, to).blocked += 1;
                }
                true
            }
            Fault::SlowLink { from, to, by, .. } => {
                let link = self.link_mut(*from, *to);
                link.slower = link.slower.saturating_add(*by);
                from != to
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
                    self.link_mut(from, to).blocked -= 1;
                    if self.link_mut(from, to).blocked == 0 {
                        self.release(from, to);
                    }
                }
            }
            Fault::SlowLink { from, to, by, .. } => {
                let link = self.link_mut(*from, *to);
                link.slower = link.slower.saturating_sub(*by);
            }
            Fault::Pause { replica, .. } => {
                let at = usize::from(*replica);
                self.replicas[at].paused -= 1;
                if self.replicas[at].paused == 0 {
                    self.resume(*replica);
                }
            }
            _ => {}
        }
    }

    /// The directions in which nothing passes.
    fn blocked_by(&self, fault: &Fault) -> Vec<(u16, u16)> {
        let all = || 0..self.replicas_count();
        let pairs = |blocks: &dyn Fn(u16, u16) -> bool| {
            let pair = |from| all().map(move |to| (from, to));
            all().flat_map(pair).filter(|(from, to)| from != to && blocks(*from, *to)).collect()
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
        if self.life(id).is_none() || !self.may_die(id) {
            return false;
        }
        self.replicas[usize::from(id)].on_failure = None;
        self.die(id, death);
        self.schedule(self.now.saturating_add(down), Event::Start { replica: id });
        true
    }

    /// Has the next thing that a replica asks of its disk fail.
    fn arm(&mut self, id: u16, down: u64, death: Death, arm: impl FnOnce(&MemDisk)) -> bool {
        let at = usize::from(id);
        let armed = self.replicas[at].on_failure.is_some();
        if armed || self.life(id).is_none() || self.repairing.is_some() && !self.may_die(id) {
            return false;
        }
        self.replicas[at].on_failure = Some((down, death));
        arm(&self.replicas[at].disk);
        true
    }

    fn lose_disk(&mut self, id: u16, down: u64) -> bool {
        let others_well = self.peers(id).all(|peer| {
            let sound = self.replicas[usize::from(peer)].on_failure.is_none();
            self.node(peer).is_some_and(|node| match node.status() {
                // Where a majority decides they need not be live; but a replica without a vote has nothing to
                // keep, and two of three without one are too many.
                status if self.mode.reads == Reads::Current => {
                    status.role.is_some_and(|role| role.name != "joining")
                }
                status => status.live && sound,
            })
        });
        // Where a majority decides, the others have to be one: the replica comes back without a vote.
        let n = self.replicas_count();
        let others_decide = self.mode.reads != Reads::Current || 2 * (n - 1) > n;
        if !others_well || !others_decide || !self.is_whole(id) {
            return false;
        }
        let Some(position) = self.node(id).map(|node| node.store().position()) else {
            return false;
        };
        // If it had not been whole since its last loss, it still owes what it held before that.
        let owed = self.repairing.map_or(0, |(_, position)| position);
        self.kill(id, down, Death::Killed);
        self.replicas[usize::from(id)].disk = MemDisk::new();
        self.repairing = Some((id, owed.max(position)));
        true
    }

    /// Breaks the connection between two replicas, with all that is on its way.
    fn sever(&mut self, a: u16, b: u16) -> bool {
        if a == b {
            return false;
        }
        let sessions = self.sessions;
        for (from, to) in [(a, b), (b, a)] {
            self.link_mut(from, to).severed = sessions;
        }
        self.lose(a, b);
        self.lose(b, a);
        self.redial(a, b);
        true
    }

    /// A replica that was held up goes on with what has come meanwhile, in order.
    fn resume(&mut self, id: u16) {
        for event in std::mem::take(&mut self.replicas[usize::from(id)].inbox) {
            self.dispatch(event);
        }
    }

    /// Ends all faults: every replica runs, every link is whole.
    pub fn heal(&mut self) {
        for from in 0..self.replicas_count() {
            for to in self.peers(from) {
                let link = self.link_mut(from, to);
                (link.blocked, link.slower) = (0, 0);
                self.release(from, to);
            }
        }
        for id in 0..self.replicas_count() {
            let replica = &mut self.replicas[usize::from(id)];
            replica.disk.heal();
            replica.on_failure = None;
            replica.paused = 0;
            self.resume(id);
            self.schedule(self.now, Event::Start { replica: id });
        }
    }
}
