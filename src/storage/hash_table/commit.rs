//! Group commit: whoever finds nobody writing writes all that has gathered; the others wait for it.
//!
//! A group's waiters are woken together when it is done, and one of those who came meanwhile is woken first
//! to write the next group. Groups take turns on two condition variables, so that nobody is woken for a
//! group that is not theirs.
//!
//! Compaction needs the log between two groups ([`HashTable::between_groups`]). It takes precedence over
//! the next group: a mutex alone would let busy writers starve it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::entries::Entry;
use super::folder::Folder;
use super::log::Log;
use super::{HashTable, lock};

/// A group takes batches until it has so many bytes; a larger batch is a group of its own.
const GROUP_BYTES: usize = 16 << 20;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The key has this value.
    Insert(Entry),
    /// The key is gone.
    Remove(Box<str>),
}

impl Write {
    /// About how many bytes it takes.
    pub fn cost(&self) -> usize {
        match self {
            Self::Insert(entry) => entry.cost(),
            Self::Remove(key) => key.len(),
        }
    }
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The key has the value.
    Inserted,
    /// The key is gone; this is what it had, if it was there.
    Removed(Option<Entry>),
}

/// Why changes were not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// None of them happened; later ones may.
    #[error("{0}")]
    Refused(String),
    /// Each of them may have happened or not, and no other will: the disk has failed.
    #[error("{0}")]
    Failed(String),
}

type Answers = Result<Vec<Answer>, CommitError>;

/// The changes of one client.
#[derive(Debug)]
struct Batch {
    writes: Vec<Write>,
    cost: usize,
    answers: Mutex<Option<Answers>>,
}

impl Batch {
    fn take_answers(&self) -> Option<Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Who writes and who waits.
#[derive(Debug, Default)]
pub(super) struct Gate {
    waiting: VecDeque<Arc<Batch>>,
    /// How many batches were ever taken out of `waiting`.
    taken: u64,
    /// Somebody writes the group of number `group`.
    writing: bool,
    /// The number of the group that is being written, or will be next.
    group: u64,
    /// Somebody wants the log between two groups: nobody begins one.
    errand: bool,
    /// What the log holds, as of the last group: the current file, and `table.txn` before it.
    pub(super) entries: u64,
    pub(super) before: Option<u64>,
    /// No compaction is wanted any more.
    pub(super) closed: bool,
}

impl Gate {
    pub(super) fn new<L>(log: &Log<L>) -> Self {
        Self { entries: log.entries, before: log.before, ..Self::default() }
    }

    /// How many records stand in both files.
    pub(super) fn log_entries(&self) -> u64 {
        self.entries + self.before.unwrap_or(0)
    }

    fn take_group(&mut self) -> Vec<Arc<Batch>> {
        let (mut group, mut cost) = (Vec::new(), 0);
        while let Some(batch) = self.waiting.front()
            && (group.is_empty() || cost + batch.cost <= GROUP_BYTES)
        {
            cost += batch.cost;
            group.extend(self.waiting.pop_front());
        }
        self.taken += group.len() as u64;
        group
    }
}

impl<F: Folder> HashTable<F> {
    /// Carries out changes, durably and in their order; returns when they are visible. Changes of other threads
    /// may come between them, but not between their sync and their effect.
    ///
    /// # Errors
    /// All of them have failed; see [`CommitError`].
    pub fn commit(&self, writes: Vec<Write>) -> Result<Vec<Answer>, CommitError> {
        let cost = writes.iter().map(Write::cost).sum();
        let own = Arc::new(Batch { writes, cost, answers: Mutex::new(None) });
        let mut gate = lock(&self.gate);
        let number = gate.taken + gate.waiting.len() as u64;
        gate.waiting.push_back(Arc::clone(&own));
        loop {
            if let Some(answers) = own.take_answers() {
                return answers;
            }
            if gate.writing || gate.errand {
                // Not taken while a group is written: the one behind it.
                let group = gate.group + u64::from(gate.writing && number >= gate.taken);
                gate = self.served(group).wait(gate).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            gate.writing = true;
            let group = gate.take_group();
            drop(gate);
            let log = self.write_group(&group);
            gate = lock(&self.gate);
            (gate.entries, gate.before) = log;
            if gate.compaction_is_due(self.options.compact_after) {
                self.due.notify_one();
            }
            let number = gate.group;
            self.end_group(&mut gate);
            if group.len() > 1 || !Arc::ptr_eq(&group[0], &own) {
                self.served(number).notify_all();
            }
        }
    }

    /// Where the waiters of a group wait.
    fn served(&self, group: u64) -> &Condvar {
        &self.served[usize::from(group % 2 == 1)]
    }

    /// Wakes whoever comes next.
    fn end_group(&self, gate: &mut Gate) {
        gate.writing = false;
        gate.group += 1;
        if gate.errand {
            self.between.notify_one();
        } else if !gate.waiting.is_empty() {
            self.served(gate.group).notify_one();
        }
    }

    /// Does something with the log while nobody writes; it must be short.
    pub(super) fn between_groups<R>(&self, errand: impl FnOnce(&mut Log<F::File>) -> R) -> R {
        let mut gate = lock(&self.gate);
        gate.errand = true;
        while gate.writing {
            gate = self.between.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        let mut log = lock(&self.log);
        let result = errand(&mut log);
        (gate.entries, gate.before) = (log.entries, log.before);
        gate.errand = false;
        if !gate.waiting.is_empty() {
            self.served(gate.group).notify_one();
        }
        result
    }

    /// How many batches wait for a group that is not being written yet.
    pub fn waiting(&self) -> usize {
        lock(&self.gate).waiting.len()
    }

    /// Writes a group, applies it and fills in its answers; gives what the log holds then.
    fn write_group(&self, group: &[Arc<Batch>]) -> (u64, Option<u64>) {
        let mut log = lock(&self.log);
        let mut result = self.write_batches(&mut log, group);
        if group.len() > 1 && matches!(result, Err(CommitError::Refused(_))) {
            // The disk may have room for some of them.
            for batch in group {
                result = self.write_batches(&mut log, std::slice::from_ref(batch));
                if let Err(why) = result {
                    answer(batch, Err(why));
                }
            }
        } else if let Err(why) = result {
            group.iter().for_each(|batch| answer(batch, Err(why.clone())));
        }
        (log.entries, log.before)
    }

    fn write_batches(
        &self,
        log: &mut Log<F::File>,
        batches: &[Arc<Batch>],
    ) -> Result<(), CommitError> {
        if let Some(why) = self.failure() {
            return Err(CommitError::Refused(why.to_owned()));
        }
        let growth = batches.iter().flat_map(|batch| &batch.writes).map(|write| match write {
            Write::Insert(entry) => entry.cost(),
            Write::Remove(_) => 0,
        });
        let (growth, bytes) = (growth.sum::<usize>(), self.read().bytes());
        if growth > 0 && bytes.saturating_add(growth) > self.options.max_bytes {
            let most = self.options.max_bytes;
            return Err(CommitError::Refused(format!(
                "the table is full: it takes {bytes} bytes of memory, and may take {most}"
            )));
        }
        log.write(batches.iter().flat_map(|batch| &batch.writes)).inspect_err(|why| {
            if let CommitError::Failed(why) = why {
                let _ = self.failed.set(why.clone());
            }
        })?;
        let mut entries = self.write();
        for batch in batches {
            let apply = |write: &Write| match write {
                Write::Insert(entry) => {
                    entries.insert(entry.clone());
                    Answer::Inserted
                }
                Write::Remove(key) => Answer::Removed(entries.remove(key)),
            };
            answer(batch, Ok(batch.writes.iter().map(apply).collect()));
        }
        Ok(())
    }
}

fn answer(batch: &Batch, answers: Answers) {
    *batch.answers.lock().unwrap_or_else(PoisonError::into_inner) = Some(answers);
}
