//! The order of the writes of each key, by trying out and learning.
//!
//! [`saturate`](super::saturate) leaves open what no observation tells: two writes of one key, neither of
//! which comes before the other in every legal order. Here they are ordered as they ended in real time,
//! most likely rightly, and each decision is saturated at once, so that all it implies elsewhere is known
//! before the next one. When a contradiction comes, its explanation names the decisions that it rests on;
//! the latest of those is taken back and its contrary is added, with what refuted it as the reason. A
//! contradiction that rests on no decision refutes the history. (This is conflict-directed backjumping,
//! as in the solvers for satisfiability: S. Prosser, *Hybrid Algorithms for the Constraint Satisfaction
//! Problem*, 1993.)
//!
//! When nothing is left open, a linear extension is a proof, and [`verify`](super::verify) has the last
//! word. Most often one is found long before. After [`MAX_CONFLICTS`] contradictions this gives up and
//! leaves the history to [`search`](super::search), whose memory of failures bounds it better.

use super::explain::{Explanation, explain};
use super::place;
use super::program::{NONE, Program};
use super::relation::{Cycle, Mark, Reason, Relation};
use super::saturate::{Rules, stop};

/// After how many contradictions to give up.
const MAX_CONFLICTS: usize = 2_000;
/// After how many nodes in explanations to give up; bounds their memory.
const MAX_EXPLAINED: usize = 20_000_000;

/// What came out.
#[derive(Debug)]
pub(super) enum Decision {
    /// There is a legal total order.
    Valid,
    /// The history is refuted by these nodes.
    Refuted(Vec<u32>),
    /// Neither; the relation holds what is certain.
    Open,
    /// The budget is spent.
    Spent,
}

struct Decider<'r> {
    relation: &'r mut Relation,
    rules: &'r Rules,
    refutations: Vec<Explanation>,
    /// The edges that were tried out, and the relation before each.
    decided: Vec<(u32, Mark)>,
    conflicts: usize,
    explained: usize,
    stop: &'r mut dyn FnMut(u64) -> bool,
}

/// Why no decision can be added.
enum Stuck {
    Refuted(Vec<u32>),
    TooHard,
    Spent,
}

/// Orders the writes of each key, beginning with a saturated relation, which is as it was afterwards where
/// the answer is [`Decision::Open`].
pub(super) fn decide(
    program: &Program<'_>,
    relation: &mut Relation,
    rules: &Rules,
    times: &[u32],
) -> Decision {
    relation.record();
    let start = relation.mark();
    let mut decider = Decider {
        relation,
        rules,
        refutations: Vec::new(),
        decided: Vec::new(),
        conflicts: 0,
        explained: 0,
        stop: &mut stop(program),
    };
    loop {
        let order = decider.relation.linear_extension(times);
        let writes: Vec<_> = order
            .into_iter()
            .filter(|number| !program.node(*number).step.only_observes())
            .collect();
        if place::complete(program, &writes).is_some() {
            return Decision::Valid;
        }
        match decider.order_neighbours(&writes) {
            Ok(true) => {}
            Err(Stuck::Refuted(nodes)) => return Decision::Refuted(nodes),
            Err(Stuck::Spent) => return Decision::Spent,
            Ok(false) | Err(Stuck::TooHard) => {
                decider.relation.undo(start);
                return Decision::Open;
            }
        }
    }
}

impl Decider<'_> {
    /// Decides that writes of one key come as they do here. Returns whether anything was open.
    fn order_neighbours(&mut self, writes: &[u32]) -> Result<bool, Stuck> {
        let mut last_of_key = hashbrown::HashMap::<_, _, foldhash::fast::FixedState>::default();
        let mut pairs = Vec::new();
        for write in writes.iter().filter(|write| self.rules.writes(**write)) {
            if let Some(last) = last_of_key.insert(self.rules.key(*write), *write) {
                pairs.push((last, *write));
            }
        }
        let mut any = false;
        // From the end to the beginning: what a decision changes in the clocks is known soon behind it
        // then.
        for (first, second) in pairs.into_iter().rev() {
            if !self.relation.ordered(first, second) && !self.relation.ordered(second, first) {
                any = true;
                self.decide(first, second)?;
            }
        }
        Ok(any)
    }

    fn decide(&mut self, first: u32, second: u32) -> Result<(), Stuck> {
        let edge = self.relation.edges().len() as u32;
        self.decided.push((edge, self.relation.mark()));
        let mut outcome = self.relation.add(first, second, Reason::Decided);
        loop {
            let cycle = match outcome.and_then(|()| self.relation.saturate(self.rules, self.stop)) {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Stuck::Spent),
                Err(cycle) => cycle,
            };
            let (from, to, refutation) = self.take_back(cycle)?;
            outcome = self.relation.add(from, to, Reason::Refuted(refutation));
        }
    }

    /// Takes back the latest decision that a contradiction rests on. Returns its contrary.
    fn take_back(&mut self, cycle: Cycle) -> Result<(u32, u32, u32), Stuck> {
        let mut why = explain(self.relation, self.rules, &self.refutations, cycle);
        self.conflicts += 1;
        self.explained += why.nodes.len();
        let Some(latest) = why.decisions.pop_last() else {
            return Err(Stuck::Refuted(why.nodes.into_iter().collect()));
        };
        if self.conflicts > MAX_CONFLICTS || self.explained > MAX_EXPLAINED {
            return Err(Stuck::TooHard);
        }
        let wrong = self.relation.edges()[latest as usize];
        while let Some((edge, mark)) = self.decided.pop() {
            if edge == latest {
                self.relation.undo(mark);
                break;
            }
        }
        let refutation = self.refutations.len() as u32;
        self.refutations.push(why);
        debug_assert_ne!(refutation, NONE, "far fewer than there are numbers");
        Ok((wrong.to, wrong.from, refutation))
    }
}
