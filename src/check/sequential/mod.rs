//! Sequential consistency: is there one order of *all* operations, of all keys, in which every process'
//! operations come in its own order and every operation finds what the one order makes it find?
//!
//! Real time means nothing here: a replica may answer from the past, as long as each process sees one
//! world that only moves on. And it is not local (Herlihy and Wing, *Linearizability*, TOPLAS 1990): two
//! keys that are each in order by themselves may not be so together. So nothing here is ever split by
//! key.
//!
//! # The way to an answer
//!
//! To be in order is to have an order to show, so cheap ways to one come first:
//!
//! 1. `hint`: the order in which the replicas delivered the writes, if they recorded it;
//! 2. `guess`: the order in which the writes ended, or began;
//! 3. `growth`: strings show what was appended when, and become registers;
//! 4. `saturate`: what must hold in every order, to a fixpoint. A cycle refutes the history;
//! 5. `decide`: the writes of each key that are still not ordered are, one pair after the other, with
//!    all that follows, and back again when that fails;
//! 6. `search`: over how far each process has come, for whatever is left: values that are written
//!    twice, compare-and-sets that missed.
//!
//! Whoever finds an order, `verify` checks it in full before the answer is `Valid`. A violation names
//! operations that refute the history by themselves (`closure`): the cycle and what it rests on, or
//! what `cut` leaves of the whole.
//!
//! # Cost
//!
//! Stages 1 and 2 are O(n log n). A saturation looks a few times at each operation and costs O(k) clock
//! entries a look, for k processes. The problem is NP-complete (Gibbons and Korach, *Testing Shared
//! Memories*, 1997), so stages 5 and 6 are exponential at worst, and the budget ends them; runs of real
//! stores are decided with few wrong turns.

mod closure;
mod cut;
mod decide;
mod explain;
mod growth;
mod guess;
mod hint;
mod memo;
mod place;
mod program;
mod relation;
mod saturate;
mod search;
mod situation;
mod sources;
#[cfg(test)]
mod tests;
mod verify;

use super::spec::Machine;
use super::{Answer, BUDGET_SPENT, Problem};
use closure::Closure;
use cut::Cutter;
use decide::Decision;
use program::Program;
use relation::Relation;
use saturate::{Rules, Saturated};
use search::Found;
use sources::{Sources, ThinAir};

/// Checks a history for sequential consistency.
pub fn check(problem: &Problem<'_>) -> Answer {
    judge(problem, true)
}

fn judge(problem: &Problem<'_>, whole: bool) -> Answer {
    let machine = match Machine::of(problem) {
        Ok(machine) => machine,
        Err(reason) => return Answer::Unknown(reason),
    };
    let mut program = Program::of(problem, &machine);
    let in_order = (whole && hint::order(&program).is_some())
        || guess::order(&program).is_some()
        || (growth::unfold(&mut program) && guess::order(&program).is_some());
    if in_order {
        return Answer::Valid;
    }
    let sources = match Sources::of(&program) {
        Ok(sources) => sources,
        Err(ThinAir(nodes)) => return Answer::Violation(Closure::of(&program).close(nodes)),
    };
    let times = guess::times(&program);
    let mut edges = Vec::new();
    if let Some(mut relation) = Relation::of(&program, &sources) {
        if let Some(answer) = by_relation(&program, &sources, &mut relation, &times) {
            return answer;
        }
        edges.extend(relation.edges().iter().map(|edge| (edge.from, edge.to)));
    }
    by_search(&program, &sources, &edges, &times, whole)
}

/// What the relation tells, if that is enough; else it holds what is certain.
fn by_relation(
    program: &Program<'_>,
    sources: &Sources,
    relation: &mut Relation,
    times: &[u32],
) -> Option<Answer> {
    let rules = Rules::of(program, sources, relation);
    match saturate::saturate(program, relation, &rules, times) {
        Saturated::Yes => {}
        Saturated::Spent => return Some(Answer::Unknown(BUDGET_SPENT.to_owned())),
        Saturated::Refuted(cycle) => {
            let why = explain::explain(relation, &rules, &[], cycle);
            return Some(refuted(program, sources, why.nodes));
        }
    }
    match decide::decide(program, relation, &rules, times) {
        Decision::Valid => Some(Answer::Valid),
        Decision::Refuted(nodes) => Some(refuted(program, sources, nodes)),
        Decision::Spent => Some(Answer::Unknown(BUDGET_SPENT.to_owned())),
        Decision::Open => None,
    }
}

/// The violation that rests on these nodes, with what proves that those of unknown outcome happened.
fn refuted(
    program: &Program<'_>,
    sources: &Sources,
    nodes: impl IntoIterator<Item = u32>,
) -> Answer {
    let mut nodes: Vec<u32> = nodes.into_iter().collect();
    let mut at = 0;
    while let Some(node) = nodes.get(at) {
        nodes.extend(sources.witness[*node as usize]);
        at += 1;
    }
    Answer::Violation(Closure::of(program).close(nodes))
}

fn by_search(
    program: &Program<'_>,
    sources: &Sources,
    edges: &[(u32, u32)],
    times: &[u32],
    whole: bool,
) -> Answer {
    let needed = |number: &u32| !sources.all_clear || sources.definite[*number as usize];
    let loose: Vec<u32> = program.loose.iter().copied().filter(needed).collect();
    match search::search(program, edges, times, &loose) {
        Found::Spent => Answer::Unknown(BUDGET_SPENT.to_owned()),
        Found::Order(order) if verify::is_legal(program.problem, program.machine, &order) => {
            Answer::Valid
        }
        Found::Order(_) => {
            debug_assert!(false, "the search takes legal steps only");
            Answer::Unknown(
                "the search found an order that does not hold; this is a bug".to_owned(),
            )
        }
        Found::Nothing => {
            let closure = Closure::of(program);
            let all = closure.close(program.numbers());
            if !whole {
                return Answer::Violation(all);
            }
            let judge = |problem: &Problem<'_>| judge(problem, false);
            let cutter = Cutter { problem: program.problem, closure: &closure, judge };
            Answer::Violation(cutter.cut(all))
        }
    }
}
