//! What the participant does with the frames of the coordinator that it obeys.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Join, Participant, Record};
use crate::protocol::two_phase::table::entry_size;
use crate::protocol::two_phase::{
    Blob, Change, Frame, Key, No, Rules, TxnId, View, ViewId, Violation,
};

/// The most bytes of a part of the copy, about, whatever is asked for.
const MAX_PART: usize = 1024 * 1024;

impl<R: Rules> Participant<R> {
    pub(super) fn obey(
        &mut self,
        now: Duration,
        session: u64,
        frame: Frame,
    ) -> Result<(), Violation> {
        let answer = match frame {
            Frame::Prepare { txn, view, change } => self.prepare(txn, view, change)?,
            Frame::Commit(txn) => self.commit(txn)?,
            Frame::Abort(txn) => {
                if self.state.prepared.contains_key(&txn) {
                    self.log(Record::Aborted(txn));
                }
                Frame::Done(txn)
            }
            Frame::Read { id, key } => {
                self.holds_data("read")?;
                Frame::Value { id, value: self.state.table.get(&key).cloned() }
            }
            Frame::Heartbeat { number, heard, finished } => {
                self.lease.answered(now, number, heard);
                if self.state.committed.first().is_some_and(|first| *first < finished) {
                    self.log(Record::Finished(finished));
                }
                Frame::Alive { number }
            }
            Frame::Install { view, fresh, resolve } => self.install(view, fresh, resolve)?,
            Frame::Join { copy } => {
                self.clear();
                self.join = Some(Join { copy, touched: BTreeSet::new() });
                Frame::Joined { copy }
            }
            Frame::Fetch { copy, after, bytes } => {
                self.holds_data("fetch")?;
                let bytes = (bytes as usize).min(MAX_PART);
                let (entries, end) = self.state.part(after.as_ref(), bytes);
                Frame::Chunk { copy, end, entries }
            }
            Frame::Store { copy, entries } => self.store(copy, entries)?,
            other => return Err(Violation::Unexpected(other.name())),
        };
        self.batch.send(session, &answer);
        Ok(())
    }

    fn holds_data(&self, what: &'static str) -> Result<(), Violation> {
        if self.state.view.id.epoch == 0 { Err(Violation::Unexpected(what)) } else { Ok(()) }
    }

    fn prepare(&mut self, txn: TxnId, view: ViewId, change: Change) -> Result<Frame, Violation> {
        let known = self.state.prepared.contains_key(&txn) || self.state.committed.contains(&txn);
        if known || txn.incarnation != self.ruling {
            return Err(Violation::Unexpected("request to prepare"));
        }
        let deletes = matches!(change, Change::Delete { .. });
        let no = if self.refuses {
            Some(No::Refuses)
        } else if self.join.is_none() && self.state.view.id != view {
            Some(No::View)
        } else if !self.has_room_for(if deletes { 0 } else { change.size() }) {
            Some(No::Full)
        } else {
            None
        };
        if let Some(why) = no {
            return Ok(Frame::No { txn, why });
        }
        let held = change.keys().iter().filter(|key| self.state.table.contains_key(*key)).count();
        self.log(Record::Prepared { txn, change });
        Ok(Frame::Prepared { txn, held: held as u64 })
    }

    fn commit(&mut self, txn: TxnId) -> Result<Frame, Violation> {
        if let Some(change) = self.state.prepared.get(&txn) {
            if let Some(join) = &mut self.join
                && (matches!(change, Change::Set { .. }) || R::remembers_removed())
            {
                join.touched.extend(change.keys().iter().cloned());
            }
            self.log(Record::Committed(txn));
        } else if !self.state.committed.contains(&txn) {
            return Err(Violation::Unexpected("COMMIT"));
        }
        Ok(Frame::Done(txn))
    }

    fn install(
        &mut self,
        view: View,
        fresh: bool,
        resolve: Option<Vec<TxnId>>,
    ) -> Result<Frame, Violation> {
        let has_copy = fresh || self.join.is_some() || self.state.view.id.epoch > 0;
        let is_next = view.id > self.state.view.id && view.id.maker == self.ruling;
        if !has_copy || !is_next || !view.members.has(self.me) {
            return Err(Violation::Unexpected("view to install"));
        }
        if fresh {
            self.log(Record::Cleared);
        }
        // The view before the decisions: were it the other way round and the disk kept only the first
        // records, this participant could meet another of the old view that has decided differently.
        self.log(Record::View { view, me: self.me });
        if let Some(commits) = resolve {
            let ruling = self.ruling;
            let is_old = |txn: &TxnId| txn.incarnation < ruling;
            let old: Vec<TxnId> = self.state.prepared.keys().copied().filter(is_old).collect();
            let commits: BTreeSet<TxnId> = commits.into_iter().collect();
            for txn in old {
                let commit = commits.contains(&txn);
                self.log(if commit { Record::Committed(txn) } else { Record::Aborted(txn) });
            }
        }
        self.join = None;
        Ok(Frame::Installed(view.id))
    }

    fn store(&mut self, copy: u64, entries: Vec<(Key, Blob)>) -> Result<Frame, Violation> {
        let Some(join) = self.join.as_ref().filter(|join| join.copy == copy) else {
            return Err(Violation::Unexpected("store"));
        };
        let entries: Vec<_> =
            entries.into_iter().filter(|(key, _)| !join.touched.contains(key)).collect();
        let size: usize = entries.iter().map(|(key, value)| entry_size(key, value)).sum();
        if !self.has_room_for(size) {
            return Err(Violation::TooMany(self.max_bytes, "bytes"));
        }
        self.log(Record::Copied(entries));
        Ok(Frame::Stored { copy })
    }
}
