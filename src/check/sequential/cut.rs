//! A smaller part of a history that was refuted by search, and so as a whole.
//!
//! Closed parts of growing length are judged, in the order of invocation: the shortest prefix that is
//! refuted is found by galloping and bisection, for with a part every larger one is refuted. Then keys
//! are left out one after the other. What cannot be decided within the budget counts as not refuted, so
//! the answer is always a proof, and only its size depends on the budget. To make it minimal is the
//! shrinker's business.

use super::super::{Answer, Problem};
use super::closure::Closure;
use crate::history::OpId;

/// How many keys are tried to be left out.
const MAX_KEYS: usize = 64;
/// How many operations the first prefix has.
const FIRST_PREFIX: usize = 16;

/// Judges parts of a history.
pub(super) struct Cutter<'p> {
    pub(super) problem: &'p Problem<'p>,
    pub(super) closure: &'p Closure<'p>,
    /// The checker, without cutting.
    pub(super) judge: fn(&Problem<'_>) -> Answer,
}

impl Cutter<'_> {
    /// What refutes this part, in the numbers of the whole history.
    pub(super) fn refute(&self, part: &[OpId]) -> Option<Vec<OpId>> {
        if self.problem.budget.is_spent() {
            return None;
        }
        let history = self.problem.history.restricted(part);
        match (self.judge)(&Problem { history: &history, ..*self.problem }) {
            Answer::Violation(core) => Some(core.iter().map(|op| part[op.index()]).collect()),
            Answer::Valid | Answer::Unknown(_) => None,
        }
    }

    /// A part of these operations, which are refuted, that is refuted too.
    pub(super) fn cut(&self, whole: Vec<OpId>) -> Vec<OpId> {
        let core = self.cut_end(whole);
        self.cut_keys(core)
    }

    fn cut_end(&self, whole: Vec<OpId>) -> Vec<OpId> {
        let (mut too_short, mut length) = (0, FIRST_PREFIX);
        let mut core = loop {
            if length >= whole.len() {
                length = whole.len();
                break whole.clone();
            }
            if let Some(core) = self.refute(&self.closed(&whole[..length])) {
                break core;
            }
            too_short = length;
            length *= 2;
        };
        while length - too_short > 1 {
            let middle = too_short + (length - too_short) / 2;
            match self.refute(&self.closed(&whole[..middle])) {
                Some(smaller) => (core, length) = (smaller, middle),
                None => too_short = middle,
            }
        }
        core
    }

    fn cut_keys(&self, mut core: Vec<OpId>) -> Vec<OpId> {
        let history = self.problem.history;
        let mut keys: Vec<_> = core.iter().map(|op| history.operation(*op).key).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() < 2 {
            return core;
        }
        for key in keys.into_iter().take(MAX_KEYS) {
            let others = core.iter().copied().filter(|op| history.operation(*op).key != key);
            if let Some(smaller) = self.refute(&others.collect::<Vec<_>>()) {
                core = smaller;
            }
        }
        core
    }

    fn closed(&self, ops: &[OpId]) -> Vec<OpId> {
        self.closure.close_ops(ops)
    }
}
