//! The ladder: every model's verdict on one history, and which is the strongest that holds.
//!
//! What a checker says of one model decides others: a history that is linearizable is sequential too, and one
//! that breaks read-your-writes breaks everything above it. So the linearizability checker goes first, then
//! the weak models, which are cheap, and the search for a sequential order comes last, if it is still needed.
//! A model that its own checker could not decide (repeated values, a spent budget) is often decided by
//! its neighbours.

use super::models::{SharedTrace, View};
use super::{Answer, MODELS, Model, Problem, claimed};
use crate::history::{Action, KeyId, OpId};

/// What is known of one model.
#[derive(Clone, Debug)]
pub struct Rung {
    /// The model.
    pub model: &'static Model,
    /// What was found.
    pub answer: Answer,
    /// The model whose verdict decided this one, where its own checker did not.
    pub because_of: Option<&'static Model>,
}

/// The verdicts on all models that were asked for, in the order of [`MODELS`].
#[derive(Clone, Debug)]
pub struct Ladder {
    /// One a model.
    pub rungs: Vec<Rung>,
}

/// How far the checking has come: called with the model that is about to be checked.
pub type Progress<'a> = &'a dyn Fn(&'static Model);

impl Ladder {
    /// Checks these models.
    pub fn climb(problem: &Problem<'_>, models: &[&'static Model], progress: Progress<'_>) -> Self {
        let mut rungs: Vec<Option<Rung>> = MODELS.iter().map(|_| None).collect();
        // The strongest, then from the weakest up.
        let order = MODELS.iter().take(1).chain(MODELS.iter().skip(1).rev());
        let mut shared = SharedTrace::default();
        let rest = plain_keys(problem);
        for model in order.filter(|model| models.iter().any(|asked| asked.name == model.name)) {
            if decided(&rungs, model).is_some() {
                continue;
            }
            progress(model);
            let mut answer = model.check_sharing(problem, &mut shared);
            if let (Answer::Unknown(_), Some(rest)) = (&answer, &rest) {
                answer = broken_in(problem, model, rest).unwrap_or(answer);
            }
            rungs[model.index()] = Some(Rung { model, answer, because_of: None });
        }
        let found = rungs.clone();
        for model in models {
            let rung = &mut rungs[model.index()];
            let undecided = rung.as_ref().is_none_or(|r| matches!(r.answer, Answer::Unknown(_)));
            if let (true, Some((by, answer))) = (undecided, decided(&found, model)) {
                *rung = Some(Rung { model, answer, because_of: Some(by) });
            }
        }
        Self { rungs: rungs.into_iter().flatten().collect() }
    }

    /// The verdict on one model.
    pub fn rung(&self, model: &Model) -> Option<&Rung> {
        self.rungs.iter().find(|rung| rung.model.name == model.name)
    }

    /// The models that hold while nothing that implies them does: usually one.
    pub fn strongest(&self) -> Vec<&'static Model> {
        let holds = |model: &Model| {
            self.rung(model).is_some_and(|rung| matches!(rung.answer, Answer::Valid))
        };
        let implied = |model: &'static Model| {
            MODELS
                .iter()
                .any(|other| holds(other) && other.name != model.name && other.implies(model))
        };
        let models = self.rungs.iter().map(|rung| rung.model);
        models.filter(|model| holds(model) && !implied(model)).collect()
    }

    /// The first model that does not hold, from the bottom of the ladder: what breaks it breaks all above.
    /// Convergence, which is beside the ladder, comes last, unless it is what the history claims.
    pub fn first_broken(&self, claim: Option<&str>) -> Option<&Rung> {
        let broken =
            |rung: &&Rung| matches!(rung.answer, Answer::Violation(_)) && rung.because_of.is_none();
        let beside = |rung: &Rung| rung.model.view == View::FinalReads;
        let claims = claim.map(claimed).unwrap_or_default();
        let convergence = self.rungs.iter().filter(broken).find(|rung| beside(rung));
        if let Some(rung) = convergence.filter(|r| claims.iter().any(|m| m.name == r.model.name)) {
            return Some(rung);
        }
        self.rungs.iter().rev().filter(broken).find(|rung| !beside(rung)).or(convergence)
    }
}

/// The operations on keys of which every operation can be judged by every checker; none where that is all
/// keys, or no key. What is done to `*` is done to all keys.
fn plain_keys(problem: &Problem<'_>) -> Option<Vec<OpId>> {
    let history = problem.history;
    let strange = |id: &OpId| {
        let operation = history.operation(*id);
        let plain = (problem.spec.takes)(operation.action)
            && !matches!(operation.action, Action::Append(_) | Action::Other(_));
        operation.matters() && !plain
    };
    let mut tainted: Vec<KeyId> =
        history.ids().filter(strange).map(|id| history.operation(id).key).collect();
    tainted.sort_unstable();
    tainted.dedup();
    if tainted.is_empty() || tainted.iter().any(|key| history.key(*key) == "*") {
        return None;
    }
    let is_plain = |id: &OpId| tainted.binary_search(&history.operation(*id).key).is_err();
    let plain: Vec<OpId> = history.ids().filter(is_plain).collect();
    (!plain.is_empty()).then_some(plain)
}

/// A violation among these operations, which are all those of some keys. What breaks a model there breaks
/// it in the whole; that it holds there says nothing of the whole.
fn broken_in(problem: &Problem<'_>, model: &Model, operations: &[OpId]) -> Option<Answer> {
    let history = problem.history.restricted(operations);
    let part = Problem { history: &history, ..*problem };
    match model.check(&part) {
        Answer::Violation(core) => {
            Some(Answer::Violation(core.into_iter().map(|id| operations[id.index()]).collect()))
        }
        _ => None,
    }
}

/// What the verdicts so far say of a model that they do not name.
fn decided(rungs: &[Option<Rung>], model: &'static Model) -> Option<(&'static Model, Answer)> {
    rungs.iter().flatten().find_map(|rung| match &rung.answer {
        Answer::Valid if rung.model.implies(model) => Some((rung.model, Answer::Valid)),
        Answer::Violation(core) if model.implies(rung.model) => {
            Some((rung.model, Answer::Violation(core.clone())))
        }
        _ => None,
    })
}
