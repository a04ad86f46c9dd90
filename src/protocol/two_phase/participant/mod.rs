//! The participant: holds a copy, promises, and carries out what the coordinator decides.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use super::{Blob, Change, Frame, Key, PresumedAbort, Rules, Timing, TxnId, View, Violation};

/// What a participant needs to know from the start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// A number that no other start of this participant has, not 0.
    pub life: u64,
    /// Whether it keeps a log: then [`Batch`] carries [`Record`]s.
    pub durable: bool,
    /// How many bytes it holds at most, about; beyond it, it votes NO.
    pub max_bytes: usize,
    /// The times to go by.
    pub timing: Timing,
    /// What an earlier life left on disk.
    pub recovered: Recovered,
}

/// What a participant that keeps a log writes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It has promised.
    Prepared {
        /// The transaction.
        txn: TxnId,
        /// What it does.
        change: Change,
    },
    /// It has carried out what it promised.
    Committed(TxnId),
    /// It has dropped what it promised.
    Aborted(TxnId),
    /// It holds the data of this view.
    View {
        /// The view.
        view: View,
        /// Its own place in it.
        me: u16,
    },
    /// It has seen this incarnation of the coordinator.
    Incarnation(u64),
    /// All transactions below this one are finished everywhere.
    Finished(TxnId),
    /// It has dropped its copy, its promises and its view.
    Cleared,
    /// It has stored a part of somebody else's copy.
    Copied(Vec<(Key, Blob)>),
}

/// What an earlier life left on disk: its records, folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The newest incarnation of the coordinator that it had seen.
    pub seen: u64,
    /// Its view.
    pub view: View,
    /// Its place there.
    pub me: u16,
    /// Its data.
    pub table: BTreeMap<Key, Blob>,
    /// What it had promised.
    pub prepared: BTreeMap<TxnId, Change>,
    /// What it had committed and not yet heard to be finished everywhere.
    pub committed: std::collections::BTreeSet<TxnId>,
}

impl Recovered {
    /// Takes in the next record of the log.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Prepared { txn, change } => {
                self.prepared.insert(txn, change);
            }
            Record::Committed(txn) => {
                if let Some(change) = self.prepared.remove(&txn) {
                    match change {
                        Change::Set { key, value } => {
                            self.table.insert(key, value);
                        }
                        Change::Delete { keys } => keys.iter().for_each(|key| {
                            self.table.remove(key);
                        }),
                    }
                }
                self.committed.insert(txn);
            }
            Record::Aborted(txn) => {
                self.prepared.remove(&txn);
            }
            Record::View { view, me } => (self.view, self.me) = (view, me),
            Record::Incarnation(seen) => self.seen = self.seen.max(seen),
            Record::Finished(below) => self.committed = self.committed.split_off(&below),
            Record::Cleared => *self = Self { seen: self.seen, ..Self::default() },
            Record::Copied(entries) => self.table.extend(entries),
        }
    }

    /// Records that fold to the same again: a compacted log.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let view = Record::View { view: self.view, me: self.me };
        let copied =
            |(key, value): (&Key, &Blob)| Record::Copied(vec![(key.clone(), value.clone())]);
        let prepared = |(txn, change): (&TxnId, &Change)| Record::Prepared {
            txn: *txn,
            change: change.clone(),
        };
        [Record::Cleared, Record::Incarnation(self.seen)]
            .into_iter()
            .chain(self.table.iter().map(copied))
            .chain(self.committed.iter().copied().map(Record::Committed))
            .chain(self.prepared.iter().map(prepared))
            .chain([view])
    }
}

/// The effects of a batch of inputs. The frames come out of it only by [`Batch::persisted`]: no frame may
/// leave before the records are on disk, because a vote is a promise.
#[derive(Debug, Default)]
#[must_use]
pub struct Batch {
    /// To be written, in order, and forced to disk; always empty without a log.
    pub records: Vec<Record>,
    frames: Vec<(u64, Vec<u8>)>,
    /// Sessions to be closed once their frames are sent, and why.
    pub cuts: Vec<(u64, Violation)>,
}

impl Batch {
    /// The records are on disk: the encoded frames to be sent, by session.
    #[must_use]
    pub fn persisted(self) -> Vec<(u64, Vec<u8>)> {
        self.frames
    }
}

/// The participant.
#[derive(Debug)]
pub struct Participant<R: Rules = PresumedAbort> {
    setup: Setup,
    batch: Batch,
    rules: PhantomData<R>,
}

impl<R: Rules> Participant<R> {
    /// A participant with what its earlier life left.
    pub fn new(setup: Setup) -> Self {
        Self { setup, batch: Batch::default(), rules: PhantomData }
    }

    /// Somebody has connected and sent the preface. `session` is a number that no other connection has.
    pub fn connected(&mut self, _now: Duration, _session: u64) {}

    /// That connection is lost.
    pub fn disconnected(&mut self, _now: Duration, _session: u64) {}

    /// A frame has come on a connection.
    ///
    /// # Errors
    /// When no correct coordinator sends this: the driver cuts the connection and calls
    /// [`Participant::disconnected`].
    pub fn receive(
        &mut self,
        _now: Duration,
        _session: u64,
        frame: Frame,
    ) -> Result<(), Violation> {
        Err(Violation::Unexpected(frame.name()))
    }

    /// The system has refused a connection to the coordinator's address: its process has ended.
    pub fn coordinator_gone(&mut self, _now: Duration) {}

    /// Whether the driver should see now whether the coordinator still exists.
    pub fn probe(&self, _now: Duration) -> bool {
        false
    }

    /// From now on votes NO on everything, or no longer.
    pub fn refuse_all(&mut self, _refuses: bool) {}

    /// Ends a batch of inputs, or of none when the deadline has passed, and yields its effects.
    pub fn finish(&mut self, _now: Duration) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// When [`Participant::finish`] or [`Participant::probe`] next has something to do by itself.
    pub fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Its data, for those who watch.
    pub fn table(&self) -> &BTreeMap<Key, Blob> {
        &self.setup.recovered.table
    }

    /// What it has promised and not heard the end of.
    pub fn prepared(&self) -> &BTreeMap<TxnId, Change> {
        &self.setup.recovered.prepared
    }

    /// Its view; of epoch 0 when it holds no data.
    pub fn view(&self) -> View {
        self.setup.recovered.view
    }
}
