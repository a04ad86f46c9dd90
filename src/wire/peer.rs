//! What replicas say to each other: a preface, then frames.
//!
//! ```text
//! connection = PREFACE greeting frame*           (frames as in `frame`)
//! ```
//!
//! TCP keeps order and integrity; what can go wrong is that something else speaks to the port. So the
//! preface is a line of text that nothing else sends, and a frame is at most [`MAX_FRAME`] long.

use super::codec::{self, CodecError, Reader, put_bytes};
pub use super::frame::FrameError;
use super::frame::{framed, unframed};
use super::gossip::GossipFrame;
use super::raft::RaftFrame;
use crate::base::{Op, ReplicaId, Timestamp};

/// The first bytes on a connection between replicas, in both directions.
pub const PREFACE: &[u8] = b"consistency-lab peer 1\n";

/// The longest frame in bytes: the largest value that `--max-value` allows, and its surroundings.
pub const MAX_FRAME: usize = crate::base::limits::HIGHEST_MAX_VALUE + 1024 * 1024;

/// The longest name of a mode in a greeting.
const MAX_MODE: usize = 64;

/// A place in the stream of messages that one replica originates.
///
/// A replica that restarts begins a new incarnation, so that a place can never be mistaken for one of an
/// earlier life, even when the clock of that life was lost with its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamPlace {
    /// Which life of the originating replica.
    pub incarnation: u64,
    /// The Lamport time of the message.
    pub time: u64,
}

/// A write on its way: what total-order broadcast orders and delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place in the total order, and who originated it.
    pub ts: Timestamp,
    /// The life of the originator that it belongs to.
    pub incarnation: u64,
    /// The place before it in that stream; a receiver that lacks what is there acknowledges nothing behind.
    pub prev: StreamPlace,
    /// The originator's wall clock, in milliseconds since 1970; execution takes the time from here.
    pub at: u64,
    /// Whether `--write-delay` passes it over (the initial values do not wait).
    pub prompt: bool,
    /// What to execute.
    pub op: Op,
}

impl Message {
    /// Its place in its originator's stream.
    pub fn place(&self) -> StreamPlace {
        StreamPlace { incarnation: self.incarnation, time: self.ts.time }
    }

    /// Appends the message, without a frame around it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_ts(out, self.ts);
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        put_place(out, self.prev);
        out.extend_from_slice(&self.at.to_le_bytes());
        out.push(u8::from(self.prompt));
        codec::put_op(out, &self.op);
    }

    /// Reads what [`Message::encode`] wrote, to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Message, CodecError> {
        let mut r = Reader::new(bytes);
        let message = take_message(&mut r)?;
        r.finish()?;
        Ok(message)
    }
}

/// The first frame on a connection: who speaks, and to whom it wants to speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Who speaks.
    pub from: ReplicaId,
    /// Whom it takes the other side for.
    pub to: ReplicaId,
    /// How many replicas it counts.
    pub replicas: u16,
    /// Its consistency mode; replicas of different modes do not mix.
    pub mode: String,
}

/// What a replica tells a peer when a link comes up: enough for both to send what the other lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// A number that no other start of this replica has.
    pub life: u64,
    /// How many writes it has delivered.
    pub position: u64,
    /// The last that it delivered.
    pub delivered: Timestamp,
    /// Its Lamport time.
    pub clock: u64,
    /// How far it has the stream of each replica, its own included: one that lost its memory knows less
    /// of what it once said than its peers do.
    pub have: Vec<StreamPlace>,
}

/// What a replica says when it has sent a peer everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// How many writes it had delivered by then.
    pub position: u64,
    /// Which life of each replica it was linked to then; 0 is none.
    pub view: Vec<u64>,
}

/// A request for the part of `storage.txt` behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The generation of the file that `offset` belongs to; 0 asks to find the place by `after`.
    pub generation: u64,
    /// Where to go on reading.
    pub offset: u64,
    /// The position that the requester has.
    pub after: u64,
}

/// A part of `storage.txt`: whole lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The generation of the file; it changes with each compaction, and then the transfer starts over.
    pub generation: u64,
    /// Where the next chunk begins.
    pub next: u64,
    /// Whether this is the first chunk of a transfer.
    pub first: bool,
    /// Whether the transfer replaces the requester's state, or continues it.
    pub full: bool,
    /// Whether it ends here.
    pub end: bool,
    /// The lines.
    pub lines: Vec<u8>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a connection.
    Greeting(Greeting),
    /// Opens an exchange of what each side lacks.
    Hello(Hello),
    /// A write to be ordered.
    Write(Message),
    /// The sender holds the messages of `origin` up to this place.
    Ack {
        /// Whose messages.
        origin: ReplicaId,
        /// Up to where.
        through: StreamPlace,
    },
    /// The sender has delivered every message up to this timestamp.
    Delivered(Timestamp),
    /// The sender has sent all that it holds undelivered and the receiver lacks.
    Synced(Synced),
    /// Asks for a part of `storage.txt`.
    Fetch(Fetch),
    /// A part of `storage.txt`.
    Chunk(Chunk),
    /// What the replicas of a Raft group say.
    Raft(Box<RaftFrame>),
    /// What replicas say that converge without one order of writes.
    Gossip(Box<GossipFrame>),
    /// Nothing to say, but alive.
    Heartbeat,
}

const KIND_GREETING: u8 = 1;
const KIND_HELLO: u8 = 2;
const KIND_WRITE: u8 = 3;
const KIND_ACK: u8 = 4;
const KIND_DELIVERED: u8 = 5;
const KIND_SYNCED: u8 = 6;
const KIND_FETCH: u8 = 7;
const KIND_CHUNK: u8 = 8;
const KIND_HEARTBEAT: u8 = 9;
const KIND_RAFT: u8 = 10;
pub(super) const KIND_GOSSIP: u8 = 11;

/// Appends a frame with a message, without taking the message.
pub fn put_write(out: &mut Vec<u8>, message: &Message) {
    framed(out, KIND_WRITE, |out| message.encode(out));
}

pub(super) fn put_ts(out: &mut Vec<u8>, ts: Timestamp) {
    out.extend_from_slice(&ts.time.to_le_bytes());
    out.extend_from_slice(&ts.replica.0.to_le_bytes());
}

fn put_place(out: &mut Vec<u8>, place: StreamPlace) {
    out.extend_from_slice(&place.incarnation.to_le_bytes());
    out.extend_from_slice(&place.time.to_le_bytes());
}

pub(super) fn take_ts(r: &mut Reader<'_>) -> Result<Timestamp, CodecError> {
    Ok(Timestamp { time: r.u64()?, replica: ReplicaId(r.u16()?) })
}

fn take_place(r: &mut Reader<'_>) -> Result<StreamPlace, CodecError> {
    Ok(StreamPlace { incarnation: r.u64()?, time: r.u64()? })
}

pub(super) fn take_message(r: &mut Reader<'_>) -> Result<Message, CodecError> {
    Ok(Message {
        ts: take_ts(r)?,
        incarnation: r.u64()?,
        prev: take_place(r)?,
        at: r.u64()?,
        prompt: r.flag()?,
        op: codec::take_op(r)?,
    })
}

impl Frame {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Greeting(g) => framed(out, KIND_GREETING, |out| {
                out.extend_from_slice(&g.from.0.to_le_bytes());
                out.extend_from_slice(&g.to.0.to_le_bytes());
                out.extend_from_slice(&g.replicas.to_le_bytes());
                put_bytes(out, g.mode.as_bytes());
            }),
            Frame::Hello(h) => framed(out, KIND_HELLO, |out| {
                out.extend_from_slice(&h.life.to_le_bytes());
                out.extend_from_slice(&h.position.to_le_bytes());
                put_ts(out, h.delivered);
                out.extend_from_slice(&h.clock.to_le_bytes());
                out.extend_from_slice(&(h.have.len() as u16).to_le_bytes());
                h.have.iter().for_each(|place| put_place(out, *place));
            }),
            Frame::Write(message) => put_write(out, message),
            Frame::Ack { origin, through } => framed(out, KIND_ACK, |out| {
                out.extend_from_slice(&origin.0.to_le_bytes());
                put_place(out, *through);
            }),
            Frame::Delivered(ts) => framed(out, KIND_DELIVERED, |out| put_ts(out, *ts)),
            Frame::Synced(s) => framed(out, KIND_SYNCED, |out| {
                out.extend_from_slice(&s.position.to_le_bytes());
                out.extend_from_slice(&(s.view.len() as u16).to_le_bytes());
                s.view.iter().for_each(|life| out.extend_from_slice(&life.to_le_bytes()));
            }),
            Frame::Fetch(f) => framed(out, KIND_FETCH, |out| {
                out.extend_from_slice(&f.generation.to_le_bytes());
                out.extend_from_slice(&f.offset.to_le_bytes());
                out.extend_from_slice(&f.after.to_le_bytes());
            }),
            Frame::Chunk(c) => framed(out, KIND_CHUNK, |out| {
                out.extend_from_slice(&c.generation.to_le_bytes());
                out.extend_from_slice(&c.next.to_le_bytes());
                out.extend_from_slice(&[c.first.into(), c.full.into(), c.end.into()]);
                out.extend_from_slice(&c.lines);
            }),
            Frame::Raft(raft) => framed(out, KIND_RAFT, |out| raft.encode(out)),
            Frame::Gossip(gossip) => framed(out, KIND_GOSSIP, |out| gossip.encode(out)),
            Frame::Heartbeat => framed(out, KIND_HEARTBEAT, |_| ()),
        }
    }

    /// Reads the frame at the front of `bytes`: the frame and its length, or `None` while it is incomplete.
    ///
    /// # Errors
    /// When the bytes can not become a frame whatever follows.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
        match unframed(bytes, MAX_FRAME)? {
            Some((body, length)) => Ok(Some((Self::decode_body(body)?, length))),
            None => Ok(None),
        }
    }

    fn decode_body(body: &[u8]) -> Result<Frame, FrameError> {
        let mut r = Reader::new(body);
        let frame = match r.u8()? {
            KIND_GREETING => Frame::Greeting(Greeting {
                from: ReplicaId(r.u16()?),
                to: ReplicaId(r.u16()?),
                replicas: r.u16()?,
                mode: String::from_utf8_lossy(r.bytes()?).chars().take(MAX_MODE).collect(),
            }),
            KIND_HELLO => Frame::Hello(Hello {
                life: r.u64()?,
                position: r.u64()?,
                delivered: take_ts(&mut r)?,
                clock: r.u64()?,
                have: (0..r.u16()?).map(|_| take_place(&mut r)).collect::<Result<_, _>>()?,
            }),
            KIND_WRITE => Frame::Write(take_message(&mut r)?),
            KIND_ACK => Frame::Ack { origin: ReplicaId(r.u16()?), through: take_place(&mut r)? },
            KIND_DELIVERED => Frame::Delivered(take_ts(&mut r)?),
            KIND_SYNCED => Frame::Synced(Synced {
                position: r.u64()?,
                view: (0..r.u16()?).map(|_| r.u64()).collect::<Result<_, _>>()?,
            }),
            KIND_FETCH => {
                Frame::Fetch(Fetch { generation: r.u64()?, offset: r.u64()?, after: r.u64()? })
            }
            KIND_CHUNK => Frame::Chunk(Chunk {
                generation: r.u64()?,
                next: r.u64()?,
                first: r.flag()?,
                full: r.flag()?,
                end: r.flag()?,
                lines: r.rest().to_vec(),
            }),
            KIND_RAFT => Frame::Raft(Box::new(RaftFrame::take(&mut r)?)),
            KIND_GOSSIP => Frame::Gossip(Box::new(GossipFrame::take(&mut r)?)),
            KIND_HEARTBEAT => Frame::Heartbeat,
            kind => return Err(FrameError::Kind(kind)),
        };
        r.finish()?;
        Ok(frame)
    }
}
