//! What the replicas of a Raft group say to each other, in frames of our own.
//!
//! The engine's messages are written field by field ([`Step`]); what the engine leaves to its driver has frames of
//! its own: forwarded writes, reads, and how a replica joins. Nothing a peer sends reaches the engine's own
//! decoder.

use super::codec::{self, CodecError, Reader, put_bytes};
use super::peer::{put_ts, take_ts};
use crate::base::{Op, ReplicaId, Timestamp};

/// One frame of a Raft group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaftFrame {
    /// Opens a link.
    Hello(RaftHello),
    /// A message of the engine.
    Step(Step),
    /// A write for the leader of a term: a [`Proposal`], encoded.
    Forward {
        /// The term; in any other the write is not taken.
        term: u64,
        /// The proposal.
        proposal: Vec<u8>,
    },
    /// Asks the leader up to where a read must see.
    AskRead {
        /// The life of the replica that asks: an answer may be under way to an earlier one.
        life: u64,
        /// The number of the question in that life.
        round: u64,
    },
    /// The answer: up to this index.
    ReadAt {
        /// The life that asked.
        life: u64,
        /// The number of the question.
        round: u64,
        /// The index.
        index: u64,
    },
    /// A replica without a vote asks how things stand.
    AskStanding,
    /// How they stand.
    Standing {
        /// The replica's term.
        term: u64,
        /// Where it leads that term and has agreement on an entry of it: up to where there is agreement. Else 0.
        commit: u64,
    },
}

/// What a replica says of itself when a link comes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftHello {
    /// A number that no other start of this replica has.
    pub life: u64,
    /// Whether it has no vote yet.
    pub joining: bool,
    /// Its term.
    pub term: u64,
    /// The end of its log.
    pub last_index: u64,
    /// How many entries it has delivered, and the last.
    pub position: u64,
    /// The last of them.
    pub delivered: Timestamp,
}

/// What kind of message of the engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the paper tells what each is")]
pub enum StepKind {
    Append,
    AppendReply,
    Vote,
    VoteReply,
    PreVote,
    PreVoteReply,
    Heartbeat,
    HeartbeatReply,
    /// Only says which state the receiver needs: it fetches that itself.
    Snapshot,
}

const KINDS: &[StepKind] = &[
    StepKind::Append,
    StepKind::AppendReply,
    StepKind::Vote,
    StepKind::VoteReply,
    StepKind::PreVote,
    StepKind::PreVoteReply,
    StepKind::Heartbeat,
    StepKind::HeartbeatReply,
    StepKind::Snapshot,
];

/// A message of the engine, with the engine's names of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which kind.
    pub kind: StepKind,
    /// The sender's term.
    pub term: u64,
    /// The term of the entry at `index`.
    pub log_term: u64,
    /// A place in the log.
    pub index: u64,
    /// Up to where there is agreement.
    pub commit: u64,
    /// The term of the entry there.
    pub commit_term: u64,
    /// Whether it is a refusal.
    pub reject: bool,
    /// Where to try instead.
    pub reject_hint: u64,
    /// The number of a question that the leader needs acknowledged; 0 is none.
    pub context: u64,
    /// The terms and contents of the entries behind `index`.
    pub entries: Vec<(u64, Vec<u8>)>,
}

impl Step {
    /// A message of this kind and term, and nothing else in it.
    pub fn new(kind: StepKind, term: u64) -> Self {
        Self {
            kind,
            term,
            log_term: 0,
            index: 0,
            commit: 0,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            context: 0,
            entries: Vec::new(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let kind = KINDS.iter().position(|kind| *kind == self.kind).unwrap_or(0);
        out.extend_from_slice(&[kind as u8, self.reject.into()]);
        let numbers = [
            self.term,
            self.log_term,
            self.index,
            self.commit,
            self.commit_term,
            self.reject_hint,
            self.context,
        ];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for (term, data) in &self.entries {
            out.extend_from_slice(&term.to_le_bytes());
            put_bytes(out, data);
        }
    }

    fn take(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let tag = r.u8()?;
        let kind = *KINDS
            .get(usize::from(tag))
            .ok_or(CodecError::Tag { what: "a kind of Raft message", tag })?;
        let reject = r.flag()?;
        let mut step = Self::new(kind, r.u64()?);
        step.reject = reject;
        step.log_term = r.u64()?;
        step.index = r.u64()?;
        step.commit = r.u64()?;
        step.commit_term = r.u64()?;
        step.reject_hint = r.u64()?;
        step.context = r.u64()?;
        for _ in 0..r.u32()? {
            let term = r.u64()?;
            step.entries.push((term, r.bytes()?.to_vec()));
        }
        Ok(step)
    }
}

const TAG_HELLO: u8 = 1;
const TAG_STEP: u8 = 2;
const TAG_FORWARD: u8 = 3;
const TAG_ASK_READ: u8 = 4;
const TAG_READ_AT: u8 = 5;
const TAG_ASK_STANDING: u8 = 6;
const TAG_STANDING: u8 = 7;

impl RaftFrame {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut numbers = |tag: u8, numbers: &[u64]| {
            out.push(tag);
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        };
        match self {
            Self::Hello(h) => {
                numbers(TAG_HELLO, &[h.life, h.term, h.last_index, h.position]);
                put_ts(out, h.delivered);
                out.push(h.joining.into());
            }
            Self::Step(step) => {
                out.push(TAG_STEP);
                step.encode(out);
            }
            Self::Forward { term, proposal } => {
                numbers(TAG_FORWARD, &[*term]);
                out.extend_from_slice(proposal);
            }
            Self::AskRead { life, round } => numbers(TAG_ASK_READ, &[*life, *round]),
            Self::ReadAt { life, round, index } => {
                numbers(TAG_READ_AT, &[*life, *round, *index]);
            }
            Self::AskStanding => numbers(TAG_ASK_STANDING, &[]),
            Self::Standing { term, commit } => numbers(TAG_STANDING, &[*term, *commit]),
        }
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match r.u8()? {
            TAG_HELLO => Self::Hello(RaftHello {
                life: r.u64()?,
                term: r.u64()?,
                last_index: r.u64()?,
                position: r.u64()?,
                delivered: take_ts(r)?,
                joining: r.flag()?,
            }),
            TAG_STEP => Self::Step(Step::take(r)?),
            TAG_FORWARD => Self::Forward { term: r.u64()?, proposal: r.rest().to_vec() },
            TAG_ASK_READ => Self::AskRead { life: r.u64()?, round: r.u64()? },
            TAG_READ_AT => Self::ReadAt { life: r.u64()?, round: r.u64()?, index: r.u64()? },
            TAG_ASK_STANDING => Self::AskStanding,
            TAG_STANDING => Self::Standing { term: r.u64()?, commit: r.u64()? },
            tag => return Err(CodecError::Tag { what: "a Raft frame", tag }),
        })
    }
}

/// A write on its way into the log: what the data of an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The replica whose client asked.
    pub origin: ReplicaId,
    /// Which life of it.
    pub life: u64,
    /// Its number among the writes of that life, from 1.
    pub number: u64,
    /// The origin's wall clock, in milliseconds since 1970.
    pub at: u64,
    /// Whether `--write-delay` passes it over.
    pub prompt: bool,
    /// What to execute.
    pub op: Op,
}

impl Proposal {
    /// Appends the proposal.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.origin.0.to_le_bytes());
        for number in [self.life, self.number, self.at] {
            put_short(out, number);
        }
        out.push(self.prompt.into());
        codec::put_op(out, &self.op);
    }

    /// Reads what [`Proposal::encode`] wrote, to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader::new(bytes);
        let (origin, life, number) = Self::take_name(&mut r)?;
        let at = take_short(&mut r)?;
        let proposal =
            Self { origin, life, number, at, prompt: r.flag()?, op: codec::take_op(&mut r)? };
        r.finish()?;
        Ok(proposal)
    }

    fn take_name(r: &mut Reader<'_>) -> Result<(ReplicaId, u64, u64), CodecError> {
        Ok((ReplicaId(r.u16()?), take_short(r)?, take_short(r)?))
    }
}

/// A number in as many bytes as it needs: these stand in `storage.txt`, where a zero byte takes four.
fn put_short(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_le_bytes();
    let length = 8 - number.leading_zeros() as usize / 8;
    out.push(length as u8);
    out.extend_from_slice(&bytes[..length]);
}

fn take_short(r: &mut Reader<'_>) -> Result<u64, CodecError> {
    let length = r.u8()?;
    if length > 8 {
        return Err(CodecError::Tag { what: "a length of at most 8", tag: length });
    }
    let mut bytes = [0; 8];
    let taken = r.take(usize::from(length))?;
    bytes[..taken.len()].copy_from_slice(taken);
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peer::Frame;

    fn step() -> Step {
        Step {
            log_term: 3,
            index: 17,
            commit: 16,
            commit_term: 2,
            reject: true,
            reject_hint: 9,
            context: 77,
            entries: vec![(3, Vec::new()), (4, b"data".to_vec())],
            ..Step::new(StepKind::Append, 4)
        }
    }

    #[test]
    fn frames_come_back() {
        let hello =
            RaftHello { life: 7, joining: true, term: 3, last_index: 12, ..RaftHello::default() };
        let frames = [
            RaftFrame::Hello(hello),
            RaftFrame::Step(step()),
            RaftFrame::Forward { term: 3, proposal: b"p".to_vec() },
            RaftFrame::AskRead { life: 9, round: 1 },
            RaftFrame::ReadAt { life: 9, round: 1, index: 2 },
            RaftFrame::AskStanding,
            RaftFrame::Standing { term: 2, commit: 9 },
        ];
        for frame in frames {
            let frame = Frame::Raft(Box::new(frame));
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert_eq!(Frame::decode(&bytes), Ok(Some((frame, bytes.len()))));
            for cut in 5..bytes.len() {
                let mut short = bytes[..cut].to_vec();
                short[..4].copy_from_slice(&(cut as u32 - 4).to_le_bytes());
                // A forwarded proposal is opaque here: any length of it is one.
                let opaque = short.get(5) == Some(&TAG_FORWARD) && cut >= 14;
                assert!(opaque || Frame::decode(&short).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn proposals_come_back() {
        for number in [1, 255, 256, u64::MAX] {
            let op = Op::Delete { keys: vec![b"x".as_slice().into()] };
            let proposal =
                Proposal { origin: ReplicaId(2), life: 9, number, at: 0, prompt: false, op };
            let mut bytes = Vec::new();
            proposal.encode(&mut bytes);
            assert_eq!(Proposal::decode(&bytes), Ok(proposal));
            assert!(Proposal::decode(&bytes[1..]).is_err());
        }
    }
}
