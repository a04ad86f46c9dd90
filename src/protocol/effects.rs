//! What a machine wants done: frames to send, writes to remember, and a few rarer events.

use crate::base::{Ballot, LogEntry, ReplicaId, Timestamp, VectorClock};
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
    /// A peer lacks the entries of writes that its clock does not know of; it is to be sent them.
    Ship {
        /// The peer.
        to: ReplicaId,
        /// Its clock.
        known: VectorClock,
    },
    /// Entries that have ended, of writes that this clock knows of, can be forgotten.
    Settled(VectorClock),
}

/// Something for the replica's own file, to be written in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// How the replica stands in elections.
    Ballot(Ballot),
    /// An entry of the log; it replaces all from its index on.
    Entry(LogEntry),
}

/// What must be kept by the replica's disk before frames may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The last ballot: the frame speaks for the replica's term, and not for its log.
    Ballot,
    /// All notes up to here.
    Everything,
}

/// Frames that leave only when what they promise is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// To whom.
    pub to: ReplicaId,
    /// What must be kept before.
    pub needs: Needs,
    /// Whether nobody waits for them: they may go together with later ones.
    pub may_gather: bool,
    /// The frames, encoded.
    pub frames: Vec<u8>,
}

/// The effects of a batch of inputs, in the order they arose.
#[derive(Debug)]
pub struct Effects {
    frames: Vec<Vec<u8>>,
    /// Own messages, encoded, that must be on disk before their clients are answered.
    pub remember: Vec<(Timestamp, Vec<u8>)>,
    /// Notes for the own file.
    pub notes: Vec<Note>,
    /// Frames that wait until the notes are kept.
    pub promises: Vec<Promise>,
    /// When all notes up to here are kept, the machine is to be told this number by `kept`.
    pub mark: Option<u64>,
    /// All else.
    pub events: Vec<Event>,
}

impl Effects {
    /// No effects yet, in a cluster of `replicas`.
    pub fn new(replicas: u16) -> Self {
        Self {
            frames: vec![Vec::new(); usize::from(replicas)],
            remember: Vec::new(),
            notes: Vec::new(),
            promises: Vec::new(),
            mark: None,
            events: Vec::new(),
        }
    }

    /// Sends a frame to one peer.
    pub fn send(&mut self, to: ReplicaId, frame: &Frame) {
        frame.encode(&mut self.frames[to.index()]);
    }

    /// Sends a frame to one peer once what it promises is kept.
    pub fn promise(&mut self, to: ReplicaId, needs: Needs, frame: &Frame) {
        frame.encode(self.promised(to, needs, false));
    }

    /// The same with a frame that is encoded already, and that nobody waits for.
    pub fn promise_in_time(&mut self, to: ReplicaId, needs: Needs, frame: &[u8]) {
        self.promised(to, needs, true).extend_from_slice(frame);
    }

    fn promised(&mut self, to: ReplicaId, needs: Needs, may_gather: bool) -> &mut Vec<u8> {
        let same =
            |last: &Promise| last.to == to && last.needs == needs && last.may_gather == may_gather;
        if !self.promises.last().is_some_and(same) {
            self.promises.push(Promise { to, needs, may_gather, frames: Vec::new() });
        }
        let last = self.promises.last_mut().expect("one was pushed if there was none");
        &mut last.frames
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
