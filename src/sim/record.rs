//! What is kept of a run: its history, and on demand its trace and its messages.
//!
//! The trace is JSON, one event a line, in the order in which things happened:
//!
//! ```text
//! {"at":5216000,"event":"send","from":0,"to":1,"message":7,"frames":["write 1.0"]}
//! {"at":5718000,"event":"receive","from":0,"to":1,"message":7}
//! {"at":5718000,"event":"deliver","replica":1,"position":1,"timestamp":"1.0","key":"x","value":"3"}
//! ```
//! Times are nanoseconds of virtual time. Nothing in it depends on the machine.

use std::fmt::Write;

use super::client::Request;
use super::replica::Death;
use super::verdict::Broken;
use crate::base::{ReplicaId, Timestamp};
use crate::faults::Fault;
use crate::history::{
    self, Action, Builder, Clock, Completion, History, Invocation, KeyId, Message, OpId, Outcome,
    Told, ValueId,
};
use crate::node::LogWrite;
use crate::wire::gossip::{GossipFrame, Row};
use crate::wire::peer::Frame;
use crate::wire::raft::RaftFrame;

/// How much is kept of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The history, with deliveries and faults.
    #[default]
    History,
    /// Messages and the trace as well.
    Everything,
}

/// The number of a message that is not recorded.
const UNRECORDED: u32 = u32::MAX;

/// Writes things down.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) builder: Builder,
    /// The names of the processes, by number.
    processes: Vec<String>,
    pub(super) trace: Option<String>,
}

/// Appends an event to the trace, where there is one.
macro_rules! note {
    ($recorder:expr, $at:expr, $event:literal, $($format:tt)*) => {
        if let Some(trace) = &mut $recorder.trace {
            // Writing to a string does not fail.
            let _ = write!(trace, concat!("{{\"at\":{},\"event\":\"", $event, "\""), $at);
            let _ = write!(trace, $($format)*);
            trace.push_str("}\n");
        }
    };
}
pub(super) use note;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks<'a> {
    Read,
    Write(&'a str),
    Delete,
}

impl Recorder {
    pub fn new(detail: Detail, claim: Option<&str>) -> Self {
        let mut builder = Builder::new(Clock::Nanoseconds);
        builder.history_mut().claim = claim.map(str::to_owned);
        let trace = (detail == Detail::Everything).then(String::new);
        Self { builder, processes: Vec::new(), trace }
    }

    /// The history and the trace.
    pub fn finish(self, healed_at: u64) -> (History, String) {
        let mut history = self.builder.finish();
        for fault in &mut history.faults {
            fault.until =
                fault.until.map(|until| if healed_at > 0 { until.min(healed_at) } else { until });
        }
        (history, self.trace.unwrap_or_default())
    }

    pub fn invoked(
        &mut self,
        now: u64,
        process: &str,
        key: &str,
        asks: Asks<'_>,
        replica: u16,
    ) -> (OpId, KeyId, ValueId) {
        let key_id = self.builder.key(key);
        let value =
            self.builder.value(if let Asks::Write(text) = asks { Some(text) } else { None });
        let action = if asks == Asks::Read { Action::Read(value) } else { Action::Write(value) };
        let invocation = Invocation {
            process,
            key: key_id,
            action,
            replica: Some(ReplicaId(replica)),
            at: Some(now),
        };
        let operation = self.builder.invoke(invocation).expect("a client asks one thing at a time");
        let number = self.process(operation);
        if number == self.processes.len() {
            self.processes.push(process.to_owned());
        }
        let asks = match asks {
            Asks::Read => "null".to_owned(),
            Asks::Write(value) => format!("\"{value}\""),
            Asks::Delete => "\"\",\"delete\":true".to_owned(),
        };
        note!(
            self,
            now,
            "ask",
            ",\"operation\":{},\"process\":\"{process}\",\"replica\":{replica},\"key\":\"{key}\",\"write\":{asks}",
            operation.0
        );
        (operation, key_id, value)
    }

    pub fn completed(
        &mut self,
        now: u64,
        operation: OpId,
        outcome: Outcome,
        value: Option<ValueId>,
    ) {
        let process =
            &self.processes[self.builder.history_mut().operation(operation).process.0 as usize];
        let told = value.map_or(Told::Nothing, Told::Value);
        let completion = Completion { process, outcome, told, at: Some(now) };
        self.builder.complete(completion).expect("a client ends what it has asked");
        if self.trace.is_some() {
            let shown = value.map(|value| self.builder.history_mut().value(value).to_owned());
            let shown = shown.map_or(String::new(), |text| format!(",\"value\":\"{text}\""));
            note!(
                self,
                now,
                "told",
                ",\"operation\":{},\"outcome\":\"{outcome:?}\"{shown}",
                operation.0
            );
        }
    }

    /// The number of the process of an operation.
    pub fn process(&mut self, operation: OpId) -> usize {
        self.builder.history_mut().operation(operation).process.0 as usize
    }

    pub fn process_name(&self, process: usize) -> &str {
        self.processes.get(process).map_or("?", |name| name)
    }

    /// Notes a message with what `labels` says of its frames.
    pub fn sent(
        &mut self,
        now: u64,
        from: u16,
        to: u16,
        labels: impl FnOnce() -> Vec<String>,
    ) -> u32 {
        if self.trace.is_none() {
            return UNRECORDED;
        }
        let labels = labels();
        let messages = &mut self.builder.history_mut().messages;
        let number = messages.len() as u32;
        messages.push(Message {
            from: ReplicaId(from),
            to: ReplicaId(to),
            sent: now,
            received: None,
            label: labels.join(", "),
        });
        let frames = labels.join("\",\"");
        note!(
            self,
            now,
            "send",
            ",\"from\":{from},\"to\":{to},\"message\":{number},\"frames\":[\"{frames}\"]"
        );
        number
    }

    pub fn received(&mut self, now: u64, from: u16, to: u16, message: u32) {
        if message != UNRECORDED {
            self.builder.history_mut().messages[message as usize].received = Some(now);
            note!(self, now, "receive", ",\"from\":{from},\"to\":{to},\"message\":{message}");
        }
    }

    pub fn lost(&mut self, now: u64, from: u16, to: u16, message: u32) {
        note!(self, now, "lose", ",\"from\":{from},\"to\":{to},\"message\":{message}");
    }

    pub fn linked(&mut self, now: u64, at: u16, peer: u16) {
        note!(self, now, "link", ",\"replica\":{at},\"peer\":{peer}");
    }

    pub fn unlinked(&mut self, now: u64, at: u16, peer: u16) {
        note!(self, now, "unlink", ",\"replica\":{at},\"peer\":{peer}");
    }

    pub fn cut(&mut self, now: u64, at: u16, peer: u16, why: &str) {
        note!(self, now, "cut", ",\"replica\":{at},\"peer\":{peer},\"why\":{}", quoted(why));
    }

    pub fn delivered(
        &mut self,
        now: u64,
        id: u16,
        position: u64,
        ts: Timestamp,
        request: &Request,
    ) {
        self.builder.deliver(ReplicaId(id), request.key_id, request.value_id, now);
        if self.trace.is_some() {
            let (key, value) = (super::client::key_name(request.key), request.write.as_deref());
            let value = value.unwrap_or_default();
            note!(
                self,
                now,
                "deliver",
                ",\"replica\":{id},\"position\":{position},\"timestamp\":\"{ts}\",\"key\":\"{key}\",\"value\":\"{value}\""
            );
        }
    }

    /// A delivery that came with the state of another replica.
    pub fn taken_over(&mut self, now: u64, id: u16, position: u64, request: &Request) {
        self.builder.deliver(ReplicaId(id), request.key_id, request.value_id, now);
        note!(self, now, "take-over", ",\"replica\":{id},\"position\":{position}");
    }

    pub fn started(&mut self, now: u64, id: u16, position: u64) {
        note!(self, now, "start", ",\"replica\":{id},\"position\":{position}");
    }

    pub fn died(&mut self, now: u64, id: u16, death: Death) {
        let how = match death {
            Death::Killed => "killed",
            Death::PowerLoss(_) => "power loss",
            Death::SyncFailed => "sync failed",
        };
        note!(self, now, "crash", ",\"replica\":{id},\"how\":\"{how}\"");
    }

    pub fn persisted(&mut self, now: u64, id: u16, write: &LogWrite) {
        let bytes = match write {
            LogWrite::Append(batch) => batch.bytes.len(),
            LogWrite::Install(_) => 0,
        };
        note!(self, now, "write", ",\"replica\":{id},\"bytes\":{bytes}");
    }

    pub fn synced(&mut self, now: u64, id: u16) {
        note!(self, now, "sync", ",\"replica\":{id}");
    }

    pub fn disk_failed(&mut self, now: u64, id: u16, why: &str) {
        note!(self, now, "disk-fails", ",\"replica\":{id},\"why\":{}", quoted(why));
    }

    pub fn fault(&mut self, now: u64, fault: &Fault, happened: bool) {
        if happened {
            let band = history::Fault {
                name: fault.kind().name().to_owned(),
                replicas: fault.replicas().into_iter().map(ReplicaId).collect(),
                from: now,
                until: Some(now.saturating_add(fault.lasts())),
            };
            self.builder.history_mut().faults.push(band);
        }
        let words = fault.to_string();
        note!(self, now, "fault", ",\"what\":{},\"happened\":{happened}", quoted(&words));
    }

    pub fn fault_ends(&mut self, now: u64, fault: &Fault) {
        note!(self, now, "fault-ends", ",\"what\":{}", quoted(&fault.to_string()));
    }

    pub fn healed(&mut self, now: u64) {
        note!(self, now, "heal", "");
    }

    pub fn converged(&mut self, now: u64) {
        note!(self, now, "converged", "");
    }

    pub fn broken(&mut self, broken: &Broken) {
        let (kind, why) = (broken.kind.name(), quoted(&broken.why));
        note!(self, broken.at, "broken", ",\"kind\":\"{kind}\",\"why\":{why}");
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What the frames are, in words.
pub(super) fn labels(mut bytes: &[u8]) -> Vec<String> {
    let mut labels = Vec::new();
    while let Ok(Some((frame, used))) = Frame::decode(bytes) {
        labels.push(label(&frame));
        bytes = &bytes[used..];
    }
    labels
}

fn label(frame: &Frame) -> String {
    match frame {
        Frame::Greeting(_) => "greeting".to_owned(),
        Frame::Hello(hello) => format!("hello at {}", hello.position),
        Frame::Write(message) => format!("write {}", message.ts),
        Frame::Ack { origin, through } => format!("ack {}.{origin}", through.time),
        Frame::Delivered(ts) => format!("delivered {ts}"),
        Frame::Synced(synced) => format!("synced at {}", synced.position),
        Frame::Fetch(fetch) => format!("fetch behind {}", fetch.after),
        Frame::Chunk(chunk) => format!("chunk of {} bytes", chunk.lines.len()),
        Frame::Raft(raft) => raft_label(raft),
        Frame::Gossip(gossip) => gossip_label(gossip),
        Frame::Heartbeat => "heartbeat".to_owned(),
    }
}

fn gossip_label(frame: &GossipFrame) -> String {
    match frame {
        GossipFrame::Meet { row, .. } => format!("meet with {}", row.have),
        GossipFrame::Write(spread) => format!("write {}", spread.message.ts),
        GossipFrame::Lacks { have, .. } => format!("asks beyond {have}"),
        GossipFrame::Resent => "all sent again".to_owned(),
        GossipFrame::State(piece) => match &piece.end {
            Some(end) => format!("{} entries up to {end}", piece.entries.len()),
            None => format!("{} entries", piece.entries.len()),
        },
        GossipFrame::More => "asks for more".to_owned(),
        GossipFrame::Rows { rows, .. } => {
            let row = |row: &Row| format!("{} has {}", row.of, row.have);
            rows.iter().map(row).collect::<Vec<_>>().join("; ")
        }
    }
}

fn raft_label(frame: &RaftFrame) -> String {
    match frame {
        RaftFrame::Hello(hello) => format!("hello at {} in term {}", hello.position, hello.term),
        RaftFrame::Step(step) => {
            let refused = if step.reject { " refused" } else { "" };
            let (kind, term, index, entries) =
                (step.kind, step.term, step.index, step.entries.len());
            format!("{kind:?}{refused} {term}.{index}+{entries} agreed {}", step.commit)
        }
        RaftFrame::Forward { term, .. } => format!("forward in term {term}"),
        RaftFrame::AskRead { round, .. } => format!("read {round}"),
        RaftFrame::ReadAt { round, index, .. } => format!("read {round} at {index}"),
        RaftFrame::AskStanding => "standing".to_owned(),
        RaftFrame::Standing { term, commit } => format!("term {term}, agreed {commit}"),
    }
}
