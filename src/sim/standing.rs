//! How far a replica is, and whether it has come to rest.

use super::replica::Replica;
use crate::base::VectorClock;

impl Replica {
    /// Up to where it has delivered, if it is live and nothing is under way.
    pub fn settled_position(&self) -> Option<u64> {
        let node = &self.running.as_ref()?.node;
        let status = node.status();
        (status.live && status.pending == 0).then(|| node.store().position())
    }

    /// What it has, if it is live and nothing is under way.
    pub fn settled_clock(&self) -> Option<VectorClock> {
        let node = &self.running.as_ref()?.node;
        let status = node.status();
        (status.live && status.pending == 0).then(|| node.clock())
    }

    /// Where it stands, in words.
    pub fn standing(&self) -> String {
        let Some(running) = &self.running else { return "is down".to_owned() };
        let status = running.node.status();
        let live = if status.live { "live" } else { "not live" };
        let position = running.node.store().position();
        format!("is {live} at position {position} with {} messages pending", status.pending)
    }
}
