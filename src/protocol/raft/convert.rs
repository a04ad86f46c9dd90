//! Between the engine's messages and ours, and what the engine must never be shown.
//!
//! The engine trusts its peers and panics on what no correct peer sends. So every step is held against what this
//! replica knows first; what cannot be is a [`Violation`], and the peer is cut off.

use raft::eraftpb::{Entry, Message, MessageType};
use raft::{Raft, StateRole};

use super::log::Log;
use crate::base::{LogPlace, ReplicaId};
use crate::protocol::{Needs, Violation};
use crate::wire::raft::{Step, StepKind};

/// Under which number the engine knows a replica; it has no 0.
pub(super) fn engine_id(replica: ReplicaId) -> u64 {
    u64::from(replica.0) + 1
}

/// The replica that the engine knows under this number.
pub(super) fn replica_of(id: u64) -> Option<ReplicaId> {
    id.checked_sub(1).and_then(|id| u16::try_from(id).ok()).map(ReplicaId)
}

const TYPES: &[(StepKind, MessageType)] = &[
    (StepKind::Append, MessageType::MsgAppend),
    (StepKind::AppendReply, MessageType::MsgAppendResponse),
    (StepKind::Vote, MessageType::MsgRequestVote),
    (StepKind::VoteReply, MessageType::MsgRequestVoteResponse),
    (StepKind::PreVote, MessageType::MsgRequestPreVote),
    (StepKind::PreVoteReply, MessageType::MsgRequestPreVoteResponse),
    (StepKind::Heartbeat, MessageType::MsgHeartbeat),
    (StepKind::HeartbeatReply, MessageType::MsgHeartbeatResponse),
    (StepKind::Snapshot, MessageType::MsgSnapshot),
];

/// What must be kept before a replica that does not lead says this.
pub(super) fn needs(step: &Step) -> Needs {
    match step.kind {
        StepKind::Heartbeat | StepKind::HeartbeatReply => Needs::Ballot,
        StepKind::PreVote | StepKind::PreVoteReply => Needs::Ballot,
        StepKind::AppendReply if step.reject => Needs::Ballot,
        _ => Needs::Everything,
    }
}

/// A message of the engine as a step; `None` for those that never travel here.
pub(super) fn to_step(mut message: Message) -> Option<Step> {
    let (kind, _) = TYPES.iter().find(|(_, of)| *of == message.get_msg_type())?;
    let mut step = Step::new(*kind, message.term);
    (step.log_term, step.index) = (message.log_term, message.index);
    if *kind == StepKind::Snapshot {
        let of = message.get_snapshot().get_metadata();
        (step.log_term, step.index) = (of.term, of.index);
    }
    (step.commit, step.commit_term) = (message.commit, message.commit_term);
    (step.reject, step.reject_hint) = (message.reject, message.reject_hint);
    step.context = context_of(&message.context);
    let entries = message.take_entries().into_iter();
    step.entries = entries.map(|entry| (entry.term, entry.data.to_vec())).collect();
    Some(step)
}

/// The number of a question as the engine carries it.
pub(super) fn context(number: u64) -> Vec<u8> {
    if number == 0 { Vec::new() } else { number.to_le_bytes().to_vec() }
}

/// The number that the engine carried; 0 for none.
pub(super) fn context_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// A step as a message for the engine.
pub(super) fn to_message(step: Step, from: ReplicaId, to: ReplicaId) -> Message {
    let mut message = Message::default();
    let kind = TYPES.iter().find(|(kind, _)| *kind == step.kind);
    message.set_msg_type(kind.map_or(MessageType::MsgUnreachable, |(_, of)| *of));
    (message.from, message.to) = (engine_id(from), engine_id(to));
    (message.term, message.log_term, message.index) = (step.term, step.log_term, step.index);
    (message.commit, message.commit_term) = (step.commit, step.commit_term);
    (message.reject, message.reject_hint) = (step.reject, step.reject_hint);
    message.context = context(step.context).into();
    let entry = |(at, (term, data)): (u64, (u64, Vec<u8>))| Entry {
        term,
        index: step.index + at,
        data: data.into(),
        ..Entry::default()
    };
    message.set_entries((1..).zip(step.entries).map(entry).collect::<Vec<_>>().into());
    message
}

/// Whether a step can be shown to the engine.
pub(super) fn check(raft: &Raft<Log>, step: &Step) -> Result<(), Violation> {
    let last = step.index.saturating_add(step.entries.len() as u64);
    let places = [
        LogPlace::new(step.term, last),
        LogPlace::new(step.log_term, step.commit),
        LogPlace::new(step.commit_term, step.reject_hint),
    ];
    if step.term == 0 || !places.iter().all(|place| place.is_possible()) {
        return Err(Violation::Log("a place that no log reaches"));
    }
    let mut term = step.log_term;
    for (next, _) in &step.entries {
        if *next < term || *next > step.term {
            return Err(Violation::Log("terms that are out of order"));
        }
        term = *next;
    }
    if step.term < raft.term {
        // The engine answers or ignores it without a look at the log.
        return Ok(());
    }
    let leads = raft.state == StateRole::Leader && step.term == raft.term;
    match step.kind {
        StepKind::Append | StepKind::Heartbeat | StepKind::Snapshot if leads => {
            Err(Violation::Log("there are two leaders of one term"))
        }
        StepKind::Append if !fits(raft, step) => {
            Err(Violation::Log("entries before those that are agreed upon"))
        }
        StepKind::Heartbeat if step.commit > raft.raft_log.last_index() => {
            Err(Violation::Log("agreement on what this replica never acknowledged"))
        }
        StepKind::AppendReply if leads && step.index > raft.raft_log.last_index() => {
            Err(Violation::Log("an acknowledgement of what was never sent"))
        }
        _ => Ok(()),
    }
}

/// Whether entries can follow what is agreed upon here.
fn fits(raft: &Raft<Log>, step: &Step) -> bool {
    let committed = raft.raft_log.committed;
    let Ok(term) = raft.raft_log.term(committed) else { return true };
    step.index < committed
        || step.log_term >= term && (step.index != committed || step.log_term == term)
}
