//! Recorded histories: what clients asked, what they were told, and when.
//!
//! A [`History`] is a list of [`Operation`]s in the order of their invocations, each from its invocation to its
//! completion. Names of processes, keys and values are interned, so that an operation is small and
//! equality is a comparison of numbers. Beside the operations stand what a checker never trusts and a
//! reader wants to see: the order of deliveries at each replica (a hint to search faster), faults and
//! messages.
//!
//! # Order and time
//!
//! Each invocation and each completion is an *event* with a number of its own ([`Operation::invoked`],
//! [`Operation::completed`]); the numbers are the real-time order, and the only thing checkers look at. The
//! times in nanoseconds beside them are for people and for staleness in milliseconds.
//!
//! # Unknown outcomes
//!
//! An operation that ends `Unknown` may take effect at any time after its invocation, or never. It comes
//! behind what its process did before it, and before nothing. `Fail` means that it has definitely had no
//! effect. A read that did not end `Ok` says nothing. All models here use these rules.

mod agree;
mod build;
pub mod dbcop;
mod deliveries;
pub mod edn;
pub mod elle;
mod error;
pub mod events;
pub mod formats;
mod forms;
mod jepsen;
pub mod jsonl;
mod lines;
pub mod log;
mod names;
mod nemesis;
pub mod record;
pub mod shiviz;
pub mod tape;
pub mod tape_lines;
mod term;
mod text;

use crate::base::ReplicaId;

pub use build::{BuildError, Builder, Completion, Invocation, Told};
pub use error::{Place, ReadError};
pub use names::Names;
pub use text::text_of;

/// A sequential client, an index into [`History::processes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

/// A key, an index into [`History::keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

/// A value, an index into [`History::values`]; equal values have equal ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

impl ValueId {
    /// No value: the key does not exist. Every [`Names`] of values begins with it.
    pub const NIL: ValueId = ValueId(0);
}

/// An operation, an index into [`History::operations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u32);

impl OpId {
    /// The id as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an operation did, or would do if it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the key; it held this value (means something only where the read ended `Ok`).
    Read(ValueId),
    /// Wrote this value. A deletion writes [`ValueId::NIL`].
    Write(ValueId),
    /// Compared and set: where the key held `from`, it holds `to` now. With `swapped` false it was executed
    /// and found another value than `from`, which an `Ok` outcome tells for certain.
    Cas {
        /// What the key was to hold.
        from: ValueId,
        /// What it was to hold then.
        to: ValueId,
        /// Whether it did.
        swapped: bool,
    },
    /// Joined this to the end of the value.
    Append(ValueId),
    /// Something that no specification here describes, of this name (in [`History::values`]).
    Other(ValueId),
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect between its invocation and its completion.
    Ok,
    /// It has definitely not happened.
    Fail,
    /// Nobody knows.
    Unknown,
}

/// The event number of a completion that never came.
pub const NEVER: u32 = u32::MAX;

/// One operation of one process on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub process: ProcessId,
    /// What about.
    pub key: KeyId,
    /// What for, and what it was told.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Whom it asked, where that is known.
    pub replica: Option<ReplicaId>,
    /// The event number of its invocation.
    pub invoked: u32,
    /// The event number of its completion, [`NEVER`] where it is `Unknown`: it may take effect later.
    pub completed: u32,
    /// When it was invoked, in the history's clock.
    pub invoked_at: u64,
    /// When its process heard the answer, or gave up; `None` where the history ends before.
    pub completed_at: Option<u64>,
}

impl Operation {
    /// The value read, where this is a read that ended `Ok`.
    pub fn read(&self) -> Option<ValueId> {
        match (self.action, self.outcome) {
            (Action::Read(value), Outcome::Ok) => Some(value),
            _ => None,
        }
    }

    /// The value that a plain write writes, where it may have taken effect.
    pub fn written(&self) -> Option<ValueId> {
        match (self.action, self.outcome) {
            (Action::Write(value), Outcome::Ok | Outcome::Unknown) => Some(value),
            _ => None,
        }
    }

    /// Whether it can matter to any checker: it may have had an effect, or it observed something.
    pub fn matters(&self) -> bool {
        match self.outcome {
            Outcome::Ok => true,
            Outcome::Fail => false,
            Outcome::Unknown => !matches!(self.action, Action::Read(_)),
        }
    }

    /// Whether it ended before `other` began, in real time.
    pub fn precedes(&self, other: &Operation) -> bool {
        self.completed < other.invoked
    }
}

/// Operations that are one command: a deletion of several keys, say.
///
/// They took effect together, at one moment, or not at all. Checkers of one key, and of models that know no
/// commands, judge them one by one; that is weaker, and never wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together {
    /// Which, in the order of their invocations.
    pub operations: Vec<OpId>,
    /// How many of their keys there were, where the answer told: what `DEL` counts.
    pub found: Option<u32>,
}

/// A replica applied a write; a hint, never trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where.
    pub replica: ReplicaId,
    /// Which write, where it is one of the history's operations.
    pub operation: Option<OpId>,
    /// The key.
    pub key: KeyId,
    /// The value it wrote or appended.
    pub value: ValueId,
    /// When, in the history's clock.
    pub at: u64,
}

/// Something went wrong on purpose, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What, in words: `partition`, `crash`, `pause`, …
    pub name: String,
    /// The replicas that it touched; empty for all.
    pub replicas: Vec<ReplicaId>,
    /// From when.
    pub from: u64,
    /// Until when; `None` where it had not ended.
    pub until: Option<u64>,
}

/// A message between two replicas, for pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub from: ReplicaId,
    /// The receiver.
    pub to: ReplicaId,
    /// When it left.
    pub sent: u64,
    /// When it came; `None` where it was lost.
    pub received: Option<u64>,
    /// What it was, in words.
    pub label: String,
}

/// What the times of a history are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Nanoseconds since some zero.
    Nanoseconds,
    /// The file has no times; they are the numbers of the events.
    #[default]
    Steps,
    /// The file does not even order what different processes did: only each process' own order means
    /// something, and nothing that needs real time can be checked.
    ProcessOrder,
}

/// How [`ValueId::NIL`] is written for people. No value of a history has this id but the absent one.
pub const NIL_TEXT: &str = "nil";

/// A recorded history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The model that whoever recorded it claims, by its name in [`crate::check`]'s list of models.
    pub claim: Option<String>,
    /// What its times are.
    pub clock: Clock,
    /// What keys held at the beginning, where the recording says so, in the order of the keys; all others
    /// were absent.
    pub initial: Vec<(KeyId, ValueId)>,
    /// The names of the processes.
    pub processes: Names,
    /// The names of the keys.
    pub keys: Names,
    /// The values, as text; the first is the absent one.
    pub values: Names,
    /// What replicas are called, by their numbers, where they have names.
    pub replica_names: Vec<String>,
    /// The operations, in the order of their invocations.
    pub operations: Vec<Operation>,
    /// Those of them that are one command.
    pub together: Vec<Together>,
    /// The deliveries, each replica's in its own order.
    pub deliveries: Vec<Delivery>,
    /// The writes in the order of their versions, where whoever recorded the history knows it without an order of
    /// deliveries; it is not in files.
    pub versions: Vec<OpId>,
    /// Faults.
    pub faults: Vec<Fault>,
    /// Messages between replicas.
    pub messages: Vec<Message>,
}

impl History {
    /// The operation of this id.
    pub fn operation(&self, id: OpId) -> &Operation {
        &self.operations[id.index()]
    }

    /// All ids, in the order of invocation.
    pub fn ids(&self) -> impl Iterator<Item = OpId> + use<> {
        (0..self.operations.len() as u32).map(OpId)
    }

    /// The name of a process.
    pub fn process(&self, id: ProcessId) -> &str {
        self.processes.text(id.0)
    }

    /// The name of a key.
    pub fn key(&self, id: KeyId) -> &str {
        self.keys.text(id.0)
    }

    /// The text of a value; `nil` for the absent one.
    pub fn value(&self, id: ValueId) -> &str {
        self.values.text(id.0)
    }

    /// The text of a value as its store has it; `None` for the absent one. The inverse of
    /// [`Builder::value`].
    pub fn stored_text(&self, id: ValueId) -> Option<&str> {
        let text = self.value(id);
        match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            _ if id == ValueId::NIL => None,
            Some(inner) if build::reads_nil(inner) => Some(inner),
            _ => Some(text),
        }
    }

    /// The same history with only these operations (in the order of invocation), event numbers and all
    /// else as they were. Ids of operations change to their places in `keep`.
    pub fn restricted(&self, keep: &[OpId]) -> History {
        let mut place = vec![None; self.operations.len()];
        for (new, old) in keep.iter().enumerate() {
            place[old.index()] = Some(OpId(new as u32));
        }
        let deliveries = self.deliveries.iter().filter_map(|delivery| {
            let operation = place[delivery.operation?.index()]?;
            Some(Delivery { operation: Some(operation), ..*delivery })
        });
        let together = self.together.iter().filter_map(|command| {
            let operations: Option<Vec<OpId>> =
                command.operations.iter().map(|id| place[id.index()]).collect();
            Some(Together { operations: operations?, found: command.found })
        });
        History {
            replica_names: self.replica_names.clone(),
            together: together.collect(),
            operations: keep.iter().map(|id| *self.operation(*id)).collect(),
            deliveries: deliveries.collect(),
            versions: self.versions.iter().filter_map(|id| place[id.index()]).collect(),
            faults: Vec::new(),
            messages: Vec::new(),
            claim: self.claim.clone(),
            clock: self.clock,
            initial: self.initial.clone(),
            processes: self.processes.clone(),
            keys: self.keys.clone(),
            values: self.values.clone(),
        }
    }
}
