//! What happened on one key, as the algorithms want to see it.

use crate::check::spec::{Machine, State, Step};
use crate::history::{History, KeyId, OpId, Outcome};

/// The operations on one key, without a copy of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) history: &'a History,
    pub(super) machine: &'a Machine<'a>,
    pub(super) key: KeyId,
    /// Those that matter, in the order of invocation.
    pub(super) ids: &'a [OpId],
}

/// One operation that can make a difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: OpId,
    pub(super) step: Step,
    /// The event of its invocation.
    pub(super) call: u32,
    /// The event of its completion.
    pub(super) end: u32,
    /// It may also never have taken effect; then it has no end.
    pub(super) optional: bool,
}

impl<'a> Part<'a> {
    /// What the key holds at first.
    pub(super) fn initial(&self) -> State {
        self.machine.initial(self.key)
    }

    /// The operations in the order of invocation. What neither tells nor changes anything can be placed at
    /// any moment, and is left out.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + use<'a> {
        let Part { history, machine, ids, .. } = *self;
        ids.iter().filter_map(move |id| {
            let step = machine.step(*id);
            let operation = history.operation(*id);
            let optional = operation.outcome == Outcome::Unknown;
            let entry = Entry {
                id: *id,
                step,
                call: operation.invoked,
                end: operation.completed,
                optional,
            };
            (step != Step::Idle).then_some(entry)
        })
    }
}

/// Operations as an answer wants them: each once, in the order of invocation.
pub(super) fn in_order(mut ids: Vec<OpId>) -> Vec<OpId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
