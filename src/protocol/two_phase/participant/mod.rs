//! The participant: holds a copy, promises, and carries out what the coordinator decides.
//!
//! It obeys one session at a time: the last on which an incarnation greeted it that is not older than any
//! it has seen. All else it does is answering: it asks for nothing and decides nothing. Its one own
//! judgement is the *witness* (see the header of `two_phase`): whether it has seen the coordinator's
//! process end while that coordinator still counted on it.
//!
//! What it holds is bounded by `max_bytes` and by [`MAX_ITEMS`] promises and decisions together.

mod lease;
mod obey;

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::time::Duration;

pub use super::table::{Record, Recovered};
use super::{Blob, Change, Frame, Greeting, Key, MAX_PARTICIPANTS, PresumedAbort};
use super::{HIGHEST_INCARNATION, Report, Rules, Timing, TxnId, View, ViewId, Violation};
use crate::wire::two_phase::MAX_ITEMS;
use lease::Lease;

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

/// The effects of a batch of inputs. The frames come out of it only by [`Batch::persisted`]: no frame may
/// leave before the records are on disk, because a vote is a promise.
#[derive(Debug, Default)]
#[must_use]
pub struct Batch {
    /// To be written, in order, and forced to disk; always empty without a log.
    pub records: Vec<Record>,
    frames: Vec<(u64, Vec<u8>)>,
    /// Sessions to be closed once their frames are sent, and why; the machine treats them as lost already.
    pub cuts: Vec<(u64, Violation)>,
}

impl Batch {
    /// The records are on disk: the encoded frames to be sent, by session.
    #[must_use]
    pub fn persisted(self) -> Vec<(u64, Vec<u8>)> {
        self.frames
    }

    fn send(&mut self, session: u64, frame: &Frame) {
        if self.frames.last().is_none_or(|(last, _)| *last != session) {
            self.frames.push((session, Vec::new()));
        }
        if let Some((_, bytes)) = self.frames.last_mut() {
            frame.encode(bytes);
        }
    }
}

/// A copy that is being made.
#[derive(Debug)]
struct Join {
    copy: u64,
    /// Keys that have been committed since it began: what is copied of them is older.
    touched: BTreeSet<Key>,
}

/// The participant.
#[derive(Debug)]
pub struct Participant<R: Rules = PresumedAbort> {
    life: u64,
    durable: bool,
    max_bytes: usize,
    state: Recovered,
    refuses: bool,
    /// Its place in the configuration of whom it obeys.
    me: u16,
    /// The session that it obeys.
    ruler: Option<u64>,
    /// The incarnation that it obeys.
    ruling: u64,
    lease: Lease,
    /// What it reports to the incarnation that rules now: the one before it, and whether it saw that end.
    before: (u64, bool),
    join: Option<Join>,
    batch: Batch,
    rules: PhantomData<R>,
}

impl<R: Rules> Participant<R> {
    /// A participant with what its earlier life left.
    pub fn new(setup: Setup) -> Self {
        let state = setup.recovered;
        let mut it = Self {
            life: setup.life,
            durable: setup.durable,
            max_bytes: setup.max_bytes,
            me: state.me,
            before: (state.seen, false),
            state,
            refuses: false,
            ruler: None,
            ruling: 0,
            lease: Lease::new(setup.timing),
            join: None,
            batch: Batch::default(),
            rules: PhantomData,
        };
        if it.state.view.id.epoch == 0 {
            // Half a copy, or nothing.
            it.clear();
        }
        it
    }

    /// Somebody has connected and sent the preface. `session` is a number that no other connection has.
    pub fn connected(&mut self, _now: Duration, _session: u64) {
        // It is a stranger until it greets.
    }

    /// That connection is lost.
    pub fn disconnected(&mut self, now: Duration, session: u64) {
        if self.ruler == Some(session) {
            self.ruler = None;
            self.lease.silent(now);
        }
    }

    /// A frame has come on a connection.
    ///
    /// # Errors
    /// When no correct coordinator sends this: the driver cuts the connection and calls
    /// [`Participant::disconnected`].
    pub fn receive(&mut self, now: Duration, session: u64, frame: Frame) -> Result<(), Violation> {
        if let Frame::Greeting(greeting) = frame {
            return self.greeted(now, session, greeting);
        }
        if self.ruler != Some(session) {
            return Err(Violation::Unexpected(frame.name()));
        }
        self.lease.heard(now);
        self.obey(now, session, frame)
    }

    fn greeted(&mut self, now: Duration, session: u64, g: Greeting) -> Result<(), Violation> {
        let placed = g.you < g.participants && g.participants <= MAX_PARTICIPANTS;
        if !placed || g.incarnation == 0 || g.incarnation > HIGHEST_INCARNATION {
            return Err(Violation::Unexpected("greeting"));
        }
        let newest = self.state.seen;
        if !R::obeys(g.incarnation, newest) {
            self.batch.send(session, &Frame::Refused { newest });
            return Ok(());
        }
        if g.incarnation > newest {
            self.before = (newest, self.lease.is_witness());
            self.log(Record::Incarnation(g.incarnation));
        }
        if let Some(old) = self.ruler.replace(session).filter(|old| *old != session) {
            self.batch.cuts.push((old, Violation::Replaced));
        }
        if !R::keeps_promise() {
            self.state.prepared.clear();
        }
        self.me = g.you;
        self.ruling = g.incarnation;
        self.join = None;
        self.lease.begin(now);
        let report = Report {
            to: g.incarnation,
            life: self.life,
            seen: self.before.0,
            witness: self.before.1,
            view: self.state.view,
            me: self.state.me,
            prepared: self.state.prepared.keys().copied().collect(),
            committed: self.state.committed.iter().copied().collect(),
        };
        self.batch.send(session, &Frame::Report(report));
        Ok(())
    }

    fn log(&mut self, record: Record) {
        if self.durable {
            self.batch.records.push(record.clone());
        }
        self.state.apply(record);
    }

    /// Drops the copy. Who had one remembers that: a view of epoch 0, but not the one of a first start.
    fn clear(&mut self) {
        let had = self.state.view != View::default();
        self.log(Record::Cleared);
        if had {
            let id = ViewId { epoch: 0, maker: self.state.seen };
            self.log(Record::View { view: View { id, ..View::default() }, me: self.me });
        }
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.state.bytes() + bytes <= self.max_bytes
            && self.state.prepared.len() + self.state.committed.len() < MAX_ITEMS
    }

    /// The system has refused a connection to the coordinator's address: its process has ended.
    pub fn coordinator_gone(&mut self, now: Duration) {
        self.lease.coordinator_gone(now);
    }

    /// Whether the driver should see now whether the coordinator still exists. It stays so for a while: the
    /// driver paces itself.
    pub fn probe(&self, now: Duration) -> bool {
        self.lease.probe(now)
    }

    /// From now on votes NO on everything, or no longer: its log has failed, or a lesson wants it so.
    pub fn refuse_all(&mut self, refuses: bool) {
        self.refuses = refuses;
    }

    /// Ends a batch of inputs, or of none when the deadline has passed, and yields its effects.
    pub fn finish(&mut self, _now: Duration) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// When [`Participant::probe`] may next turn true by itself.
    pub fn deadline(&self) -> Option<Duration> {
        self.lease.deadline()
    }

    /// Its data, for those who watch.
    pub fn table(&self) -> &BTreeMap<Key, Blob> {
        &self.state.table
    }

    /// What it has promised and not heard the end of.
    pub fn prepared(&self) -> &BTreeMap<TxnId, Change> {
        &self.state.prepared
    }

    /// Its view; of epoch 0 when it holds no data.
    pub fn view(&self) -> View {
        self.state.view
    }

    /// All that its records amount to, for a compacted log.
    pub fn state(&self) -> &Recovered {
        &self.state
    }
}
