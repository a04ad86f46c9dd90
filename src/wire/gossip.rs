//! What replicas say to each other that converge without one order of writes, in frames of our own.
//!
//! A clock is written as the entries that are not 0: `count:u16 (replica:u16 time:u64)*`.

use super::codec::{self, CodecError, Reader, put_bytes};
use super::frame::framed;
use super::peer::{self, Message, put_ts, take_ts};
use crate::base::{ReplicaId, Timestamp, VectorClock, Versioned};

/// Where in a whole frame with a [`Spread`] the number of hops stands: behind length, kind and tag.
const HOPS_AT: usize = 6;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GossipFrame {
    /// Opens a link.
    Meet {
        /// How things stand with the sender.
        row: Row,
        /// It has nothing yet: not even what it may have had in an earlier life.
        fresh: bool,
    },
    /// A write on its way to everyone.
    Write(Spread),
    /// Asks for all that the sender of this lacks.
    Lacks {
        /// What it has.
        have: VectorClock,
        /// It has nothing yet.
        fresh: bool,
    },
    /// All that was lacked has been sent, write by write.
    Resent,
    /// A part of what was lacked, as entries instead of writes.
    State(Piece),
    /// Asks for the next part.
    More,
    /// How things stand with several replicas, as far as the sender knows.
    Rows {
        /// A row each.
        rows: Vec<Row>,
        /// The sender has taken over state: what it has is not under way besides, so who lacks it may ask at once.
        settled: bool,
    },
}

/// A write on its way to everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Over how many links it has come.
    pub hops: u8,
    /// What must be executed before it, besides what its own replica has written before.
    pub needs: VectorClock,
    /// The write; its place and the place before it say whether one is missing in its replica's stream.
    pub message: Message,
}

/// Entries of a table, and in the last part the clock that they stand for together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The entries.
    pub entries: Vec<Versioned>,
    /// What who has all parts knows of.
    pub end: Option<VectorClock>,
}

/// How things stand with one replica, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Which replica.
    pub of: ReplicaId,
    /// Which start of it.
    pub incarnation: u64,
    /// Rises with each row of that start.
    pub number: u64,
    /// The replicas that it is linked to, a bit each.
    pub links: u128,
    /// What it has executed.
    pub have: VectorClock,
}

impl Row {
    /// Which row it is, of all that this replica ever says.
    pub fn age(&self) -> (u64, u64) {
        (self.incarnation, self.number)
    }
}

impl Spread {
    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        framed(&mut out, peer::KIND_GOSSIP, |out| self.put(out));
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[WRITE, self.hops]);
        put_clock(out, &self.needs);
        self.message.encode(out);
    }

    /// Sets the number of hops in a whole frame.
    pub fn set_hops(frame: &mut [u8], hops: u8) {
        if let Some(at) = frame.get_mut(HOPS_AT) {
            *at = hops;
        }
    }
}

const MEET: u8 = 1;
const WRITE: u8 = 2;
const LACKS: u8 = 3;
const RESENT: u8 = 4;
const STATE: u8 = 5;
const MORE: u8 = 6;
const ROWS: u8 = 7;

fn put_clock(out: &mut Vec<u8>, clock: &VectorClock) {
    let entries: Vec<Timestamp> = clock.iter().collect();
    out.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    entries.into_iter().for_each(|ts| put_ts(out, ts));
}

fn take_clock(r: &mut Reader<'_>) -> Result<VectorClock, CodecError> {
    let mut clock = VectorClock::new();
    for _ in 0..r.u16()? {
        let ts = take_ts(r)?;
        codec::check_replica(ts.replica)?;
        clock.observe(ts);
    }
    Ok(clock)
}

fn put_row(out: &mut Vec<u8>, row: &Row) {
    out.extend_from_slice(&row.of.0.to_le_bytes());
    out.extend_from_slice(&row.incarnation.to_le_bytes());
    out.extend_from_slice(&row.number.to_le_bytes());
    out.extend_from_slice(&row.links.to_le_bytes());
    put_clock(out, &row.have);
}

fn take_row(r: &mut Reader<'_>) -> Result<Row, CodecError> {
    let of = ReplicaId(r.u16()?);
    codec::check_replica(of)?;
    let (incarnation, number) = (r.u64()?, r.u64()?);
    let links = u128::from(r.u64()?) | u128::from(r.u64()?) << 64;
    Ok(Row { of, incarnation, number, links, have: take_clock(r)? })
}

impl GossipFrame {
    /// Appends the frame's body.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            GossipFrame::Meet { row, fresh } => {
                out.extend_from_slice(&[MEET, u8::from(*fresh)]);
                put_row(out, row);
            }
            GossipFrame::Write(spread) => spread.put(out),
            GossipFrame::Lacks { have, fresh } => {
                out.extend_from_slice(&[LACKS, u8::from(*fresh)]);
                put_clock(out, have);
            }
            GossipFrame::Resent => out.push(RESENT),
            GossipFrame::State(piece) => {
                out.extend_from_slice(&[STATE, u8::from(piece.end.is_some())]);
                if let Some(end) = &piece.end {
                    put_clock(out, end);
                }
                out.extend_from_slice(&(piece.entries.len() as u32).to_le_bytes());
                for Versioned { version, key, value } in &piece.entries {
                    put_ts(out, *version);
                    put_bytes(out, key);
                    codec::put_value(out, value);
                }
            }
            GossipFrame::More => out.push(MORE),
            GossipFrame::Rows { rows, settled } => {
                out.extend_from_slice(&[ROWS, u8::from(*settled)]);
                out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
                rows.iter().for_each(|row| put_row(out, row));
            }
        }
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match r.u8()? {
            MEET => GossipFrame::Meet { fresh: r.flag()?, row: take_row(r)? },
            WRITE => GossipFrame::Write(Spread {
                hops: r.u8()?,
                needs: take_clock(r)?,
                message: peer::take_message(r)?,
            }),
            LACKS => GossipFrame::Lacks { fresh: r.flag()?, have: take_clock(r)? },
            RESENT => GossipFrame::Resent,
            STATE => {
                let end = if r.flag()? { Some(take_clock(r)?) } else { None };
                let mut entries = Vec::new();
                for _ in 0..r.u32()? {
                    let version = take_ts(r)?;
                    codec::check_replica(version.replica)?;
                    entries.push(Versioned { version, key: r.key()?, value: r.value()? });
                }
                GossipFrame::State(Piece { entries, end })
            }
            MORE => GossipFrame::More,
            ROWS => {
                let (settled, mut rows) = (r.flag()?, Vec::new());
                for _ in 0..r.u32()? {
                    rows.push(take_row(r)?);
                }
                GossipFrame::Rows { rows, settled }
            }
            tag => return Err(CodecError::Tag { what: "a frame of gossip", tag }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Op, StoreRule, Value};
    use crate::wire::peer::{Frame, StreamPlace};

    fn clock(text: &str) -> VectorClock {
        text.parse().expect("a clock")
    }

    #[test]
    fn every_frame_comes_back() {
        let row = Row {
            of: ReplicaId(3),
            incarnation: 7,
            number: 1,
            links: 1 << 127 | 5,
            have: clock("9.0,2.3"),
        };
        let (key, value) = (Box::from(*b"k"), Value { flags: 3, ..Value::deleted() });
        let message = Message {
            ts: Timestamp::new(9, ReplicaId(1)),
            incarnation: 0,
            prev: StreamPlace { incarnation: 0, time: 4 },
            at: 12,
            prompt: false,
            op: Op::Store { key: Box::from(*b"k"), value: value.clone(), rule: StoreRule::Always },
        };
        let spread = Spread { hops: 2, needs: clock("3.0"), message };
        let version = Timestamp::new(5, ReplicaId(2));
        let entries = vec![Versioned { version, key, value }];
        for frame in [
            GossipFrame::Meet { row: row.clone(), fresh: true },
            GossipFrame::Write(spread.clone()),
            GossipFrame::Lacks { have: clock("-"), fresh: false },
            GossipFrame::Resent,
            GossipFrame::State(Piece { entries: entries.clone(), end: None }),
            GossipFrame::State(Piece { entries, end: Some(clock("9.1")) }),
            GossipFrame::More,
            GossipFrame::Rows { rows: vec![row.clone(), Row::default()], settled: true },
        ] {
            let frame = Frame::Gossip(Box::new(frame));
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let length = bytes.len();
            assert_eq!(Frame::decode(&bytes), Ok(Some((frame, length))));
        }
        let mut frame = spread.frame();
        Spread::set_hops(&mut frame, 3);
        let forwarded = Frame::Gossip(Box::new(GossipFrame::Write(Spread { hops: 3, ..spread })));
        assert_eq!(Frame::decode(&frame).map(|f| f.map(|(f, _)| f)), Ok(Some(forwarded)));
    }

    #[test]
    fn a_replica_that_cannot_be_is_refused() {
        let have = VectorClock::from_iter([Timestamp::new(1, ReplicaId(1000))]);
        let mut bytes = Vec::new();
        Frame::Gossip(Box::new(GossipFrame::Lacks { have, fresh: false })).encode(&mut bytes);
        assert!(Frame::decode(&bytes).is_err());
    }
}
