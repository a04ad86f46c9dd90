//! The checkers: does a history keep what a consistency model promises?
//!
//! Every model of the ladder is one line in [`MODELS`] and one file with a function from a [`Problem`] to an
//! [`Answer`]. A checker says `Valid` only where it has proved it, `Violation` only with operations that
//! break the model by themselves, and else `Unknown` with the reason.
//!
//! All of them take unknown outcomes as [`crate::history`] defines them. Checkers are pure: what time it is,
//! and so whether the budget is spent, they ask the [`Budget`] that they are given.

pub mod agreement;
pub mod atomic;
pub mod causal;
pub mod commands;
pub mod convergent;
mod explain;
pub mod ladder;
pub mod linearizable;
pub mod models;
pub mod order;
pub mod pram;
pub mod reads_from;
pub mod sequential;
pub mod session;
mod shrink;
pub mod spec;
pub mod staleness;
pub mod strict;
pub mod witness;

use crate::history::{History, KeyId, OpId, ValueId};

pub use models::{MODELS, Model, claimed, model};
pub use reads_from::{ReadsFrom, Source};

/// What a checker finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The history keeps the model's promise.
    Valid,
    /// It does not, and these operations alone do not either: for every read among them, the write it read
    /// from is among them too (where there is one). In the order of invocation, and not yet minimal.
    Violation(Vec<OpId>),
    /// It cannot be said, for this reason.
    Unknown(String),
}

/// When a search has to give up; asked every few thousand steps.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    spent: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Budget")
    }
}

impl<'a> Budget<'a> {
    /// A budget that is spent when this function says so; the driver has the clock.
    pub fn new(spent: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { spent }
    }

    /// No bound.
    pub const fn unlimited() -> Budget<'static> {
        Budget { spent: &|| false }
    }

    /// Whether the search has to end.
    pub fn is_spent(&self) -> bool {
        (self.spent)()
    }
}

/// Why [`Answer::Unknown`], where the budget is spent.
pub const BUDGET_SPENT: &str = "the budget is spent (a larger --budget may decide it)";

/// A history to be checked, and how to read it.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// What happened.
    pub history: &'a History,
    /// What the operations mean.
    pub spec: &'static spec::Spec,
    /// What a key held at the beginning where [`History::initial`] does not say.
    pub initial: ValueId,
    /// When to give up.
    pub budget: Budget<'a>,
}

impl Problem<'_> {
    /// What a key held at the beginning.
    pub fn initial(&self, key: KeyId) -> ValueId {
        let initial = &self.history.initial;
        let named = initial.binary_search_by_key(&key, |(named, _)| *named).map(|at| &initial[at]);
        named.map_or(self.initial, |(_, value)| *value)
    }
}
