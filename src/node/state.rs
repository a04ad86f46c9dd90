//! State transfer where replicas have no one order: the entries that differ, told by two vector clocks.
//!
//! A replica that lacks more than a neighbour's log reaches back is sent the *entries* that the missing writes have
//! become, oldest version first, a piece at a time: it asks for the next when it has one, so one is on the way at
//! most. When all have been looked at that were there at the beginning, what has changed meanwhile follows, until
//! what is left fits into one piece. That last one says what the whole stands for: the sender's clock at that
//! moment.
//!
//! The receiver keeps the pieces and takes them over as one operation, in the table, in the file and in its clock.
//! Half of it would be a state that never was: values without what they depend on.
//!
//! Cost: one look at every entry a round (the rest is as much as differs), and on the receiver's side memory for
//! what differs, up to [`MOST`].

use super::Node;
use crate::base::{ReplicaId, VectorClock, Versioned};
use crate::protocol::Needs;
use crate::wire::gossip::{GossipFrame, Piece};
use crate::wire::peer::Frame;

/// About how many bytes a piece has.
const PIECE: usize = 256 * 1024;

/// How often what has changed meanwhile is looked for in pieces of that size; where writes come faster than these, they
/// are as large as this from then on, which still fits a frame.
const ROUNDS: u32 = 8;
const LARGE_PIECE: usize = 64 * 1024 * 1024;

/// The most bytes of one transfer that are held.
const MOST: usize = 4 * 1024 * 1024 * 1024;

/// What one entry takes besides its key and its value, about.
const ENTRY: usize = 64;

/// The transfers under way.
#[derive(Debug, Default)]
pub(super) struct States {
    out: Vec<Shipment>,
    /// From whom, what has come so far, and how many bytes that is.
    coming: Option<(ReplicaId, Vec<Versioned>, usize)>,
}

/// A transfer to a neighbour.
#[derive(Debug)]
struct Shipment {
    to: ReplicaId,
    /// The store's clock when this round began.
    through: VectorClock,
    /// What is left of this round, the next one last.
    keys: Vec<Box<[u8]>>,
    round: u32,
}

impl States {
    /// The link to a peer is lost.
    pub fn forget(&mut self, peer: ReplicaId) {
        self.out.retain(|shipment| shipment.to != peer);
        self.coming.take_if(|(from, ..)| *from == peer);
    }
}

/// Whether a frame belongs to a transfer that has begun.
pub(super) fn is_about_state(frame: &GossipFrame) -> bool {
    matches!(frame, GossipFrame::State(_) | GossipFrame::More)
}

impl<T> Node<T> {
    /// Begins to send a peer what is not covered by its clock.
    pub(super) fn ship(&mut self, to: ReplicaId, known: VectorClock) {
        self.states.out.retain(|shipment| shipment.to != to);
        let shipment =
            Shipment { to, through: self.store.clock(), keys: self.news(&known), round: 0 };
        self.states.out.push(shipment);
        self.send_piece(self.states.out.len() - 1);
    }

    /// The keys that changed behind a clock, the first to be sent last.
    fn news(&self, known: &VectorClock) -> Vec<Box<[u8]>> {
        let mut keys = self.store.table().beyond(known);
        keys.reverse();
        keys
    }

    fn send_piece(&mut self, at: usize) {
        let mut piece = Piece::default();
        let mut size = 0;
        let mut shipment = self.states.out.swap_remove(at);
        loop {
            let full = if shipment.round < ROUNDS { PIECE } else { LARGE_PIECE };
            while size < full {
                let Some(key) = shipment.keys.pop() else { break };
                // It may have been forgotten meanwhile: then everybody has had it.
                if let Some(entry) = self.store.table().versioned(&key) {
                    size += entry.key.len() + entry.value.data.len() + ENTRY;
                    piece.entries.push(entry);
                }
            }
            if !shipment.keys.is_empty() {
                break;
            }
            let now = self.store.clock();
            if now == shipment.through {
                piece.end = Some(now);
                break;
            }
            shipment.keys = self.news(&shipment.through);
            (shipment.through, shipment.round) = (now, shipment.round + 1);
        }
        let to = shipment.to;
        if piece.end.is_none() {
            self.states.out.push(shipment);
        }
        let frame = Frame::Gossip(Box::new(GossipFrame::State(piece)));
        self.fx.promise(to, Needs::Everything, &frame);
    }

    pub(super) fn on_state(&mut self, peer: ReplicaId, frame: GossipFrame) -> Result<(), String> {
        match frame {
            GossipFrame::More => {
                let at = self.states.out.iter().position(|shipment| shipment.to == peer);
                self.send_piece(at.ok_or("asked for more of what it had not asked for")?);
            }
            GossipFrame::State(piece) => self.take_piece(peer, piece)?,
            _ => {}
        }
        Ok(())
    }

    fn take_piece(&mut self, peer: ReplicaId, piece: Piece) -> Result<(), String> {
        if !self.protocol.asks(peer) {
            return Err("sent a piece of state that was not asked for".to_owned());
        }
        let size = |entry: &Versioned| entry.key.len() + entry.value.data.len() + ENTRY;
        let more: usize = piece.entries.iter().map(size).sum();
        let (_, entries, bytes) = self.states.coming.get_or_insert((peer, Vec::new(), 0));
        *bytes += more;
        if *bytes > MOST {
            return Err(format!("sent more than {MOST} bytes of state"));
        }
        entries.extend(piece.entries);
        let Some(known) = piece.end else {
            let more = Frame::Gossip(Box::new(GossipFrame::More));
            self.fx.promise(peer, Needs::Everything, &more);
            return Ok(());
        };
        let limit = u64::from(self.replicas);
        if known.iter().any(|ts| u64::from(ts.replica.0) >= limit) {
            return Err("names a replica that the cluster does not have".to_owned());
        }
        let Some((_, entries, _)) = self.states.coming.take() else { return Ok(()) };
        if entries.iter().any(|entry| !known.has(entry.version)) {
            return Err("sent state that is newer than it says".to_owned());
        }
        let protocol = &self.protocol;
        self.store.merge_state(&entries, &known, |new, old| protocol.wins(new, old));
        self.protocol.merged(peer, &known);
        Ok(())
    }
}
