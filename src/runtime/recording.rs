//! What a server records: the beginning of a history, the operations of a session, the deliveries.
//!
//! On the server's side a process is a connection, `r0c17` is the 17th of replica 0. An operation is open from
//! when its session begins to execute it until its answer is known. Operations that a connection has under
//! way at once (a pipelined run of writes) are recorded in lanes; see [`crate::history::tape`].

use std::ops::Range;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::recorder::{RecordError, Recorder, Track};
use super::replica::Replica;
use super::{Host, Settings};
use crate::base::{Op, Outcome, ReplicaId};
use crate::history::jsonl::{Header, Order};
use crate::history::record::{self, Certain, Ended, Invoked};
use crate::history::tape::{Ending, Tape};
use crate::history::{Clock, text_of};
use crate::protocol::ReplyAt;
use crate::wire::Failure;

/// How many keys the header of a history may name, with what they hold at the beginning.
const MAX_INITIAL: usize = 10_000;

/// How many bytes of them.
const MAX_INITIAL_BYTES: usize = 16 * 1024 * 1024;

/// How long replicas may take to hold the same values.
const SETTLE: Duration = Duration::from_secs(2);

/// Why the recording of a history cannot begin.
#[derive(Debug, Error)]
pub enum BeginError {
    /// There is too much to name.
    #[error(
        "the stores hold {keys} keys; a history names what keys hold at its beginning, at most \
         {MAX_INITIAL} keys of {} MiB together: start with an empty --data folder",
        MAX_INITIAL_BYTES / 1024 / 1024
    )]
    TooMuch {
        /// How many keys there are.
        keys: usize,
    },
    /// A value will vanish by itself, or all of them will.
    #[error(
        "the stores hold what vanishes at a time of its own ({0}); a history cannot say that of its \
         beginning: start with an empty --data folder"
    )]
    Vanishing(String),
    /// The replicas differ.
    #[error(
        "the replicas do not hold the same values; a history begins with one state: start with an \
         empty --data folder"
    )]
    Different,
    /// The file cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a store holds, by key.
type Contents = Vec<(Box<[u8]>, Box<[u8]>)>;

impl Host {
    /// Begins the recording: writes down what all hosted replicas hold. No client is served before.
    ///
    /// # Errors
    /// The replicas hold what a history cannot begin with, or the file cannot be written.
    pub fn begin_history(&self, recorder: &Recorder) -> Result<(), BeginError> {
        let deadline = Instant::now() + SETTLE;
        let contents = loop {
            let all: Vec<Contents> =
                self.running.iter().map(|r| contents(&r.replica)).collect::<Result<_, _>>()?;
            let same = all.windows(2).all(|pair| pair[0] == pair[1]);
            match all.into_iter().next() {
                Some(first) if same => break first,
                None => break Contents::new(),
                Some(_) if Instant::now() > deadline => return Err(BeginError::Different),
                // What was broadcast in an earlier life is still being delivered.
                Some(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        contents.iter().for_each(|(_, value)| recorder.numbers().note(value));
        let text = |bytes: &[u8]| text_of(bytes).into_owned();
        let header = Header {
            claim: self.running.first().map(|r| r.replica.settings.mode.name.to_owned()),
            clock: Clock::Nanoseconds,
            order: Order::Time,
            initial: contents.iter().map(|(k, v)| (text(k), Some(text(v)))).collect(),
        };
        Ok(recorder.begin(&header)?)
    }
}

fn contents(replica: &Replica) -> Result<Contents, BeginError> {
    replica.look(|node, now| {
        let table = node.store().table();
        let keys = table.len(now.unix_ms);
        let bytes = usize::try_from(table.live_bytes()).unwrap_or(usize::MAX);
        if keys > MAX_INITIAL || bytes > MAX_INITIAL_BYTES {
            return Err(BeginError::TooMuch { keys });
        }
        if table.flush_at().is_some() {
            return Err(BeginError::Vanishing("a delayed flush_all".to_owned()));
        }
        let mut found = Contents::new();
        for key in table.keys_matching(b"*", now.unix_ms) {
            let Some(entry) = table.get(&key, now.unix_ms) else { continue };
            if entry.expires != 0 {
                return Err(BeginError::Vanishing(format!("key {}", text_of(&key))));
            }
            let data = entry.data.into();
            found.push((key, data));
        }
        Ok(found)
    })
}

/// Which replicas' deliveries are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliveries {
    /// Those of replica 0, where the mode has one order that all replicas share: the hint that a checker can
    /// use, for one line a write.
    #[default]
    Order,
    /// Those of every replica in every mode, to see who has what when; a line a write and replica.
    All,
}

impl FromStr for Deliveries {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "order" => Ok(Self::Order),
            "all" => Ok(Self::All),
            other => Err(format!("expected order or all, found {other}")),
        }
    }
}

/// Where the deliveries of a replica are recorded, if they are.
pub(super) fn deliveries_of(settings: &Settings, id: ReplicaId) -> Option<Track> {
    let recorder = settings.history.as_ref()?;
    let wanted = match recorder.deliveries() {
        Deliveries::All => true,
        Deliveries::Order => settings.mode.reply_at == ReplyAt::Delivery && id == ReplicaId(0),
    };
    wanted.then(|| recorder.track("", Some(id)))
}

/// Records what has been delivered.
pub(super) fn record_deliveries(tape: &mut Tape, delivered: &[(Op, Outcome)]) {
    for (op, outcome) in delivered {
        match (op, outcome) {
            (Op::Store { key, value, .. }, Outcome::Stored) => {
                tape.deliver(key, Some(&value.data));
            }
            (Op::StoreMany(pairs), _) => {
                pairs.iter().for_each(|(key, value)| tape.deliver(key, Some(&value.data)));
            }
            (Op::Concat { key, data, .. }, Outcome::Length(_)) => tape.deliver(key, Some(data)),
            (Op::Count { key, .. }, Outcome::Number(new)) => {
                tape.deliver(key, Some(itoa::Buffer::new().format(*new).as_bytes()));
            }
            (Op::Delete { keys }, Outcome::Deleted(1..)) => {
                keys.iter().for_each(|key| tape.deliver(key, None));
            }
            _ => {}
        }
    }
}

/// Records the operations of one session.
#[derive(Debug)]
pub(super) struct SessionRecord {
    track: Track,
    certain: Certain,
    invoked: Vec<Invoked>,
    /// Where the values of a read are in the replies; `None` where there is no such key.
    pub(super) found: Vec<Option<Range<usize>>>,
}

impl SessionRecord {
    /// The record of a connection, if there is a recording.
    pub(super) fn of(replica: &Replica, connection: u64) -> Option<Self> {
        let recorder = replica.settings.history.as_ref()?;
        let process = format!("r{}c{connection}", replica.id);
        Some(Self {
            track: recorder.track(&process, Some(replica.id)),
            certain: match replica.settings.mode.reply_at {
                ReplyAt::Delivery => Certain::Everywhere,
                ReplyAt::Submission => Certain::Here,
            },
            invoked: Vec::new(),
            found: Vec::new(),
        })
    }

    /// Writes are about to be ordered.
    pub(super) fn invoke(&mut self, ops: &[Op]) {
        let Self { track, invoked, .. } = self;
        invoked.clear();
        track.record(|tape| {
            let mut lane = 0;
            for op in ops {
                let one = record::invoke(tape, track.numbers(), lane, op);
                lane = one.next_lane();
                invoked.push(one);
            }
        });
    }

    /// This is how they ended.
    pub(super) fn complete(&mut self, results: &[Result<Outcome, Failure>]) {
        let Self { track, invoked, certain, .. } = self;
        track.record(|tape| {
            for (one, result) in invoked.iter().zip(results) {
                let ended = match result {
                    Ok(outcome) => Ended::Outcome(*outcome, *certain),
                    Err(Failure::Refused(why)) => Ended::Refused(why),
                    Err(Failure::OutcomeUnknown) => Ended::Unknown,
                };
                one.complete(tape, track.numbers(), ended);
            }
        });
    }

    /// Keys are about to be read; gives when.
    pub(super) fn begin_reads(&mut self, keys: &[&[u8]]) -> u64 {
        self.found.clear();
        if keys.is_empty() { 0 } else { self.track.begin() }
    }

    /// Their values stand in the replies, if they were read.
    pub(super) fn record_reads(&mut self, begun: u64, keys: &[&[u8]], shown: Option<&[u8]>) {
        let Self { track, found, .. } = self;
        if keys.is_empty() {
            return;
        }
        track.record(|tape| {
            for (lane, (index, key)) in (0..).zip(keys.iter().enumerate()) {
                let ending = match (shown, found.get(index)) {
                    (Some(out), Some(Some(at))) => Ending::Found(out.get(at.clone())),
                    (Some(_), Some(None)) => Ending::Found(None),
                    _ => Ending::Failed("refused"),
                };
                tape.read(lane, begun, key, ending);
            }
        });
    }
}
