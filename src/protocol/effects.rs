//! What a machine wants done: frames to send, writes to remember, and a few rarer events.

use crate::base::{ReplicaId, Timestamp};
use crate::wire::peer::{self, Frame, Message};

/// Something other than a frame or a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The replica missed deliveries; it needs the part of `storage.txt` behind its own position from
    /// this peer, and is to be told by `caught_up`.
    CatchUp(ReplicaId),
    /// The replica takes writes from here on, in this incarnation, which must be on disk before any
    /// frame of this batch leaves.
    Live(u64),
}

/// The effects of a batch of inputs, in the order they arose.
#[derive(Debug)]
pub struct Effects {
    frames: Vec<Vec<u8>>,
    /// Own messages, encoded, that must be on disk before their clients are answered.
    pub remember: Vec<(Timestamp, Vec<u8>)>,
    /// All else.
    pub events: Vec<Event>,
}

impl Effects {
    /// No effects yet, in a cluster of `replicas`.
    pub fn new(replicas: u16) -> Self {
        Self {
            frames: vec![Vec::new(); usize::from(replicas)],
            remember: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Sends a frame to one peer.
    pub fn send(&mut self, to: ReplicaId, frame: &Frame) {
        frame.encode(&mut self.frames[to.index()]);
    }

    /// Sends a message to one peer.
    pub fn send_write(&mut self, to: ReplicaId, message: &Message) {
        peer::put_write(&mut self.frames[to.index()], message);
    }

    /// The encoded frames for one peer, to be taken by the driver.
    pub fn frames_mut(&mut self, to: ReplicaId) -> &mut Vec<u8> {
        &mut self.frames[to.index()]
    }
}
