//! Who may be linked to whom, and where the others are.
//!
//! Usually every replica is linked to every other, at the addresses of the settings, and the gate is open for ever.
//! Under control (`--control`) a replica begins without links; whoever controls it opens and shuts the gate for each
//! peer, and says where the peer is. The thread that dials a peer waits here until there is somebody to dial.
//!
//! Each change for a peer gets a number. A connection that was dialed before the last change is not used: it may lead
//! to a process that is gone.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::sync::{lock, wait_for};
use crate::base::ReplicaId;

/// How long after a failed dial, or a lost link, the next is tried.
const REDIAL: Duration = Duration::from_millis(50);

/// Under control both sides are told at about the same time, and the one that dials may be the first to hear of it: it
/// tries again after this time, and then after twice as long each time, up to [`REDIAL`].
const REDIAL_AT_FIRST: Duration = Duration::from_millis(1);

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    /// Where to dial it; nowhere while the gate is shut.
    address: Option<String>,
    /// How often that has changed.
    change: u64,
}

/// Where a peer is to be dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `HOST:PORT`.
    pub(super) address: String,
    /// Which change this is of.
    pub(super) change: u64,
}

/// The gate of one replica.
#[derive(Debug)]
pub(super) struct Gate {
    controlled: bool,
    peers: Mutex<Vec<Peer>>,
    /// A peer has changed, or the replica stops.
    changed: Condvar,
}

impl Gate {
    /// A gate that is open for all, at these addresses; or one `under control`, that is shut.
    pub(super) fn new(addresses: &[String], replicas: u16, controlled: bool) -> Self {
        let peer = |id| {
            let address = addresses.get(usize::from(id)).filter(|_| !controlled).cloned();
            Peer { address, change: 0 }
        };
        let peers = Mutex::new((0..replicas).map(peer).collect());
        Self { controlled, peers, changed: Condvar::new() }
    }

    /// Whether somebody opens and shuts it.
    pub(super) fn is_controlled(&self) -> bool {
        self.controlled
    }

    /// Opens it for a peer at this address; gives whether it was not open for that address.
    pub(super) fn open(&self, peer: ReplicaId, address: &str) -> bool {
        self.set(peer, Some(address.to_owned()))
    }

    /// Shuts it for a peer.
    pub(super) fn shut(&self, peer: ReplicaId) {
        self.set(peer, None);
    }

    fn set(&self, id: ReplicaId, address: Option<String>) -> bool {
        let mut peers = lock(&self.peers);
        let Some(peer) = peers.get_mut(id.index()) else { return false };
        if peer.address == address {
            return false;
        }
        peer.address = address;
        peer.change += 1;
        drop(peers);
        self.changed.notify_all();
        true
    }

    /// Whether a link to a peer may begin; one that was dialed must be of the last change.
    pub(super) fn admits(&self, peer: ReplicaId, dialed: Option<u64>) -> bool {
        if !self.controlled {
            return true;
        }
        let peers = lock(&self.peers);
        peers.get(peer.index()).is_some_and(|peer| {
            peer.address.is_some() && dialed.is_none_or(|change| change == peer.change)
        })
    }

    /// Waits until there is an address to dial a peer at; `None` when the replica stops.
    pub(super) fn target(&self, id: ReplicaId, stopping: impl Fn() -> bool) -> Option<Target> {
        let mut peers = lock(&self.peers);
        loop {
            if stopping() {
                return None;
            }
            let peer = peers.get(id.index())?;
            if let Some(address) = &peer.address {
                return Some(Target { address: address.clone(), change: peer.change });
            }
            // A second: a wake-up that was missed would cost no more.
            peers = wait_for(&self.changed, peers, Duration::from_secs(1));
        }
    }

    /// Pauses before the next dial, after so many that failed in a row: until a time has passed, what was dialed has
    /// changed, or the replica stops.
    pub(super) fn pause(
        &self,
        id: ReplicaId,
        dialed: u64,
        failures: u32,
        stopping: impl Fn() -> bool,
    ) {
        let doubled = REDIAL_AT_FIRST.saturating_mul(1 << failures.min(10));
        let time = if self.controlled { doubled.min(REDIAL) } else { REDIAL };
        let deadline = Instant::now() + time;
        let mut peers = lock(&self.peers);
        while !stopping() && peers.get(id.index()).is_some_and(|peer| peer.change == dialed) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            peers = wait_for(&self.changed, peers, left);
        }
    }

    /// Ends all waiting of a replica that stops.
    pub(super) fn wake(&self) {
        drop(lock(&self.peers));
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: ReplicaId = ReplicaId(1);

    #[test]
    fn an_open_gate_admits_all_and_knows_where_they_are() {
        let gate = Gate::new(&["a:1".to_owned(), "b:2".to_owned()], 2, false);
        assert!(gate.admits(PEER, None) && gate.admits(PEER, Some(0)));
        let target = gate.target(PEER, || false);
        assert_eq!(target, Some(Target { address: "b:2".to_owned(), change: 0 }));
    }

    #[test]
    fn under_control_a_connection_of_an_earlier_change_is_not_used() {
        let gate = Gate::new(&[], 3, true);
        assert!(!gate.admits(PEER, None));
        assert!(gate.open(PEER, "a:1"));
        let first = gate.target(PEER, || false).expect("it is open").change;
        assert!(!gate.open(PEER, "a:1"), "nothing new");
        assert!(gate.admits(PEER, Some(first)) && gate.admits(PEER, None));
        assert!(gate.open(PEER, "a:2"), "it has moved");
        assert!(!gate.admits(PEER, Some(first)) && gate.admits(PEER, None));
        gate.shut(PEER);
        gate.shut(PEER);
        assert!(!gate.admits(PEER, None));
        assert!(gate.open(PEER, "a:1"));
        assert!(!gate.admits(PEER, Some(first)), "cut meanwhile");
        assert!(!gate.open(ReplicaId(3), "a:1"), "there is no such replica");
    }

    #[test]
    fn who_waits_for_an_address_is_woken_by_it_and_by_the_end() {
        let gate = Gate::new(&[], 2, true);
        std::thread::scope(|scope| {
            let target = scope.spawn(|| gate.target(PEER, || false));
            gate.open(PEER, "a:1");
            assert_eq!(target.join().expect("no panic").expect("an address").address, "a:1");
            gate.pause(PEER, 0, 0, || false); // Changed since: no pause.
            gate.shut(PEER);
            assert_eq!(gate.target(PEER, || true), None);
        });
    }
}
