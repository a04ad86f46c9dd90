//! What is kept of a run beside what every run keeps (`sim::record`): transactions, decisions, views.
//!
//! The numbers of incarnations are long; here they are counted in the order in which they are met, so that
//! transaction `2.7` is the seventh command of the second.

use std::fmt::Write;

use crate::protocol::two_phase::{Change, Event, Frame, Members, Record, TxnId, View};
use crate::sim::record::{Recorder, note, quoted};

/// Short names for incarnations.
#[derive(Debug, Default)]
pub(super) struct Names {
    incarnations: Vec<u64>,
    /// Which life of the coordinator an incarnation belongs to.
    lives: Vec<(u64, u32)>,
}

impl Names {
    fn incarnation(&mut self, number: u64) -> usize {
        if number == 0 {
            return 0;
        }
        match self.incarnations.iter().position(|known| *known == number) {
            Some(at) => at + 1,
            None => {
                self.incarnations.push(number);
                self.incarnations.len()
            }
        }
    }

    /// Notes that a life of the coordinator is this incarnation.
    pub fn lives(&mut self, incarnation: u64, life: u32) {
        if self.lives.last() != Some(&(incarnation, life)) {
            self.lives.push((incarnation, life));
        }
    }

    /// The life of the coordinator that began a transaction.
    pub fn life(&self, txn: TxnId) -> Option<u32> {
        let of = |(incarnation, _): &&(u64, u32)| *incarnation == txn.incarnation;
        self.lives.iter().rfind(of).map(|(_, life)| *life)
    }

    /// A transaction, short.
    pub fn txn(&mut self, txn: TxnId) -> String {
        format!("{}.{}", self.incarnation(txn.incarnation), txn.sequence)
    }

    fn txns(&mut self, txns: &[TxnId]) -> String {
        let all: Vec<String> = txns.iter().map(|txn| self.txn(*txn)).collect();
        all.join(" ")
    }

    fn view(&mut self, view: View) -> String {
        let (epoch, maker) = (view.id.epoch, self.incarnation(view.id.maker));
        format!("{epoch} by {maker} of {}", ids(view.members))
    }

    /// What frames are, in words.
    pub fn labels(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut labels = Vec::new();
        while let Ok(Some((frame, used))) = Frame::decode(bytes) {
            labels.push(self.label(&frame));
            bytes = &bytes[used..];
        }
        labels
    }

    fn label(&mut self, frame: &Frame) -> String {
        match frame {
            Frame::Greeting(greeting) => {
                format!("greeting of {}", self.incarnation(greeting.incarnation))
            }
            Frame::Report(report) => {
                let (view, doubt) = (self.view(report.view), self.txns(&report.prepared));
                let witness = if report.witness { ", witness" } else { "" };
                let committed = self.txns(&report.committed);
                format!("report: view {view}, in doubt: {doubt}; committed: {committed}{witness}")
            }
            Frame::Refused { newest } => format!("refusal: {} was here", self.incarnation(*newest)),
            Frame::Prepare { txn, change, .. } => {
                format!("REQUEST-TO-PREPARE {} {}", self.txn(*txn), told(change))
            }
            Frame::Prepared { txn, .. } => format!("PREPARED {}", self.txn(*txn)),
            Frame::No { txn, .. } => format!("NO {}", self.txn(*txn)),
            Frame::Commit(txn) => format!("COMMIT {}", self.txn(*txn)),
            Frame::Abort(txn) => format!("ABORT {}", self.txn(*txn)),
            Frame::Done(txn) => format!("DONE {}", self.txn(*txn)),
            Frame::Read { key, .. } => format!("read {}", text(key)),
            Frame::Value { value, .. } => {
                format!("value {}", value.as_ref().map_or("nil".to_owned(), |value| text(value)))
            }
            Frame::Heartbeat { number, heard, .. } => format!("heartbeat {number}, heard {heard}"),
            Frame::Alive { number } => format!("alive {number}"),
            Frame::Install { view, resolve, .. } => {
                let view = self.view(*view);
                let commits = resolve.as_deref().map(|txns| self.txns(txns));
                let commits = commits
                    .map_or(String::new(), |txns| format!(", of what is in doubt commits: {txns}"));
                format!("install view {view}{commits}")
            }
            Frame::Installed(id) => format!("installed {}", id.epoch),
            Frame::Join { copy } => format!("join {copy}"),
            Frame::Joined { copy } => format!("joined {copy}"),
            Frame::Fetch { copy, .. } => format!("fetch {copy}"),
            Frame::Chunk { copy, entries, .. } => format!("chunk {copy} of {}", entries.len()),
            Frame::Store { copy, entries } => format!("store {copy} of {}", entries.len()),
            Frame::Stored { copy } => format!("stored {copy}"),
        }
    }

    /// What the coordinator tells about itself.
    pub fn note_event(&mut self, recorder: &mut Recorder, now: u64, event: &Event) {
        if recorder.trace.is_none() {
            return;
        }
        match event {
            Event::Began(txn) => {
                note!(recorder, now, "begin", ",\"txn\":\"{}\"", self.txn(*txn));
            }
            Event::Decided { txn, commit } => {
                let txn = self.txn(*txn);
                note!(recorder, now, "decide", ",\"txn\":\"{txn}\",\"commit\":{commit}");
            }
            Event::Finished(txn) => {
                note!(recorder, now, "finish", ",\"txn\":\"{}\"", self.txn(*txn));
            }
            Event::Resolved { txn, commit } => {
                let txn = self.txn(*txn);
                note!(recorder, now, "resolve", ",\"txn\":\"{txn}\",\"commit\":{commit}");
            }
            Event::Decides(view) => {
                note!(recorder, now, "decide-view", ",\"view\":\"{}\"", self.view(*view));
            }
            Event::Active(view) => {
                note!(recorder, now, "view", ",\"view\":\"{}\"", self.view(*view));
            }
            Event::Excludes(p) => note!(recorder, now, "exclude", ",\"participant\":{p}"),
            Event::Joins(p) => note!(recorder, now, "join", ",\"participant\":{p}"),
            Event::CaughtUp(p) => note!(recorder, now, "caught-up", ",\"participant\":{p}"),
            Event::StartsOver { incarnation } => {
                let incarnation = self.incarnation(*incarnation);
                note!(recorder, now, "start-over", ",\"incarnation\":{incarnation}");
            }
            Event::DataLost => note!(recorder, now, "data-lost", ""),
        }
    }

    /// What a participant writes into its log.
    pub fn note_records(&mut self, recorder: &mut Recorder, now: u64, p: u16, records: &[Record]) {
        if recorder.trace.is_none() {
            return;
        }
        let mut words = Vec::new();
        for record in records {
            words.push(match record {
                Record::Prepared { txn, change } => {
                    format!("prepared {} {}", self.txn(*txn), told(change))
                }
                Record::Committed(txn) => format!("committed {}", self.txn(*txn)),
                Record::Aborted(txn) => format!("aborted {}", self.txn(*txn)),
                Record::View { view, .. } => format!("view {}", self.view(*view)),
                Record::Incarnation(number) => format!("incarnation {}", self.incarnation(*number)),
                Record::Finished(txn) => format!("finished below {}", self.txn(*txn)),
                Record::Cleared => "cleared".to_owned(),
                Record::Copied(entries) => format!("{} copied", entries.len()),
            });
        }
        let words = quoted(&words.join(", "));
        note!(recorder, now, "write", ",\"participant\":{p},\"records\":{words}");
    }

    /// A participant has carried out how a transaction ends.
    pub fn note_ended(
        &mut self,
        recorder: &mut Recorder,
        now: u64,
        p: u16,
        txn: TxnId,
        commit: bool,
        change: &Change,
    ) {
        if commit {
            recorder.carried_out(now, p, change);
        }
        let (txn, change) = (self.txn(txn), quoted(&told(change)));
        let what = if commit { "committed" } else { "aborted" };
        note!(
            recorder,
            now,
            "end",
            ",\"participant\":{p},\"txn\":\"{txn}\",\"how\":\"{what}\",\"change\":{change}"
        );
    }

    /// A participant has dropped its copy.
    pub fn note_dropped(&mut self, recorder: &mut Recorder, now: u64, p: u16) {
        note!(recorder, now, "drop-copy", ",\"participant\":{p}");
    }
}

impl Recorder {
    /// A participant's system refused it a connection to the coordinator.
    pub fn probed(&mut self, now: u64, p: u16) {
        note!(self, now, "refused", ",\"participant\":{p}");
    }

    /// A participant's copy has changed.
    fn carried_out(&mut self, now: u64, p: u16, change: &Change) {
        let value = match change {
            Change::Set { value, .. } => Some(text(value)),
            Change::Delete { .. } => None,
        };
        for key in change.keys() {
            let (key, value) = (self.builder.key(&text(key)), self.builder.value(value.as_deref()));
            self.builder.deliver(crate::base::ReplicaId(p), key, value, now);
        }
    }
}

/// A change in words.
fn told(change: &Change) -> String {
    match change {
        Change::Set { key, value } => format!("{}={}", text(key), text(value)),
        Change::Delete { keys } => {
            let keys: Vec<String> = keys.iter().map(|key| text(key)).collect();
            format!("without {}", keys.join(" "))
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ids(members: Members) -> String {
    let all: Vec<String> = members.iter().map(|p| p.to_string()).collect();
    all.join(" ")
}
