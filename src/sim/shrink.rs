//! Makes a failing plan small: fewer clients, operations, faults and replicas, and a simpler network, as long
//! as it fails in the same way.
//!
//! Each pass tries to leave something out or to make something simpler, and keeps what still fails; the
//! passes are repeated until none of them helps: then nothing can be left out alone. Operations and faults
//! go in chunks first, halving (*delta debugging*, Zeller and Hildebrandt, TSE 2002), because most of them do
//! not matter. Deterministic: no randomness, a fixed order of tries. Cost: one run a try, and at most so many
//! as the caller allows.

use super::plan::{Delay, MS, Plan, PlanError, PlannedFault, Shape, Step, Sync};
use super::sweep::run_caught;
use super::verdict::{Checker, Kind, Verdict};
use super::{Detail, Outcome, run};

/// What is left of a failing plan.
#[derive(Clone, Debug)]
pub struct Shrunk<P = Plan> {
    /// The small plan.
    pub plan: P,
    /// How it fails.
    pub verdict: Verdict,
    /// How many runs it took.
    pub runs: u64,
    /// Whether nothing can be left out any more; `false` where the runs were used up first.
    pub minimal: bool,
}

/// Runs a plan.
pub(super) type Run<'a, P> = dyn Fn(&P) -> Result<Outcome, PlanError> + 'a;

/// A plan that knows how it can be made smaller.
pub(super) trait Small: Clone + PartialEq {
    /// Tries everything once.
    fn pass(shrinker: &mut Shrinker<'_, Self>);
}

/// The smallest plan so far, and how to try a smaller one.
pub(super) struct Shrinker<'a, P> {
    pub best: P,
    kind: Kind,
    verdict: Verdict,
    run: &'a Run<'a, P>,
    runs: u64,
    most: u64,
}

/// Shrinks a plan that fails, in at most so many runs. `None` where it does not fail.
///
/// # Errors
/// A plan that cannot be run.
pub fn shrink(plan: &Plan, checker: &Checker<'_>, most: u64) -> Result<Option<Shrunk>, PlanError> {
    shrink_with(plan, &|plan| run(plan, Detail::History, checker), most)
}

/// The same for plans of any kind.
pub(super) fn shrink_with<P: Small>(
    plan: &P,
    run: &Run<'_, P>,
    most: u64,
) -> Result<Option<Shrunk<P>>, PlanError> {
    let outcome = run_caught(|| run(plan))?;
    let Some(kind) = outcome.verdict.kind() else { return Ok(None) };
    let best = plan.clone();
    let mut shrinker =
        Shrinker { best, kind, verdict: outcome.verdict, run, runs: 1, most: most.max(1) };
    while shrinker.helps() {}
    let Shrinker { best, verdict, runs, most, .. } = shrinker;
    Ok(Some(Shrunk { plan: best, verdict, runs, minimal: runs < most }))
}

impl<P: Small> Shrinker<'_, P> {
    /// Whether a pass made it smaller.
    fn helps(&mut self) -> bool {
        let before = self.best.clone();
        P::pass(self);
        self.best != before
    }

    /// Tries a smaller plan; whether it fails in the same way and is kept.
    pub fn keeps(&mut self, smaller: P) -> bool {
        if smaller == self.best || self.runs >= self.most {
            return false;
        }
        self.runs += 1;
        // A plan that became impossible by leaving something out is not smaller but wrong.
        let Ok(outcome) = run_caught(|| (self.run)(&smaller)) else { return false };
        let same = outcome.verdict.kind() == Some(self.kind);
        if same {
            (self.best, self.verdict) = (smaller, outcome.verdict);
        }
        same
    }

    pub fn with(&mut self, change: impl FnOnce(&mut P)) -> bool {
        let mut smaller = self.best.clone();
        change(&mut smaller);
        self.keeps(smaller)
    }

    /// Leaves out some of a list of things, in chunks that halve down to one: `drop` takes a range out.
    pub fn drop_chunks(
        &mut self,
        count: impl Fn(&P) -> usize,
        drop: impl Fn(&mut P, std::ops::Range<usize>),
    ) {
        let mut size = count(&self.best);
        while size > 0 {
            let mut from = 0;
            while from < count(&self.best) {
                let to = (from + size).min(count(&self.best));
                if !self.with(|plan| drop(plan, from..to)) {
                    from = to;
                }
            }
            size /= 2;
        }
    }
}

impl Small for Plan {
    fn pass(shrinker: &mut Shrinker<'_, Self>) {
        shrinker.drop_clients();
        shrinker.drop_chunks(|plan| plan.faults.len(), |plan, gone| drop(plan.faults.drain(gone)));
        shrinker.drop_operations();
        shrinker.drop_replicas();
        shrinker.simplify_timing();
        simplify_faults(shrinker, |plan| &mut plan.faults);
        shrinker.simplify_operations();
    }
}

/// Makes faults begin at whole milliseconds, and last for less.
pub(super) fn simplify_faults<P: Small>(
    shrinker: &mut Shrinker<'_, P>,
    faults: impl Fn(&mut P) -> &mut Vec<PlannedFault>,
) {
    let all = faults(&mut shrinker.best).len();
    for at in 0..all {
        let round = |time: u64| time.div_ceil(MS) * MS;
        shrinker.with(|plan| {
            let planned = &mut faults(plan)[at];
            planned.at = round(planned.at);
        });
        let lasts = faults(&mut shrinker.best)[at].fault.lasts();
        // Whole milliseconds only, and from there on only shorter ones, or the passes would never end.
        for simpler in [MS, round(lasts / 4), round(lasts / 2), round(lasts)] {
            if lasts > 0 && simpler > 0 && (simpler < lasts || !lasts.is_multiple_of(MS)) {
                let fault = faults(&mut shrinker.best)[at].fault.lasting(simpler);
                if shrinker.with(|plan| faults(plan)[at].fault = fault) {
                    break;
                }
            }
        }
    }
}

impl Shrinker<'_, Plan> {
    fn drop_clients(&mut self) {
        for client in (0..self.best.clients.len()).rev() {
            self.with(|plan| drop(plan.clients.remove(client)));
        }
    }

    fn drop_operations(&mut self) {
        self.drop_chunks(Plan::operations, drop_steps);
    }

    fn drop_replicas(&mut self) {
        for replica in (0..self.best.replicas).rev() {
            if self.best.replicas > 2
                && let Some(smaller) = without_replica(&self.best, replica)
            {
                self.keeps(smaller);
            }
        }
    }

    fn simplify_timing(&mut self) {
        let even = Delay { base: MS, jitter: 0, shape: Shape::Constant };
        self.with(|plan| plan.links.fill(even));
        for link in 0..self.best.links.len() {
            let Delay { base, shape, .. } = self.best.links[link];
            // Only towards what is simpler, or the passes would never end.
            let done = self.with(|plan| plan.links[link] = even);
            if !done && shape != Shape::Constant {
                self.with(|plan| plan.links[link] = Delay { base, ..even });
            }
        }
        self.with(|plan| {
            plan.client_delay = Delay { base: MS / 10, jitter: 0, shape: Shape::Constant };
        });
        self.with(|plan| plan.sync = Sync::Os);
        self.with(|plan| plan.sync_time = MS);
        self.with(|plan| (plan.write_timeout, plan.client_timeout) = (500 * MS, 1000 * MS));
        self.with(|plan| plan.chunk = 2000);
        self.with(|plan| plan.seed = 0);
    }

    fn simplify_operations(&mut self) {
        self.with(|plan| steps(plan).for_each(|step| step.key = 0));
        self.with(|plan| steps(plan).for_each(|step| step.retry = false));
        self.with(|plan| steps(plan).for_each(|step| step.at = step.at.div_ceil(MS) * MS));
        self.with(|plan| {
            let mut values = 0;
            for value in steps(plan).filter_map(|step| step.write.as_mut()) {
                values += 1;
                *value = values;
            }
        });
        for number in 0..self.best.operations() {
            self.with(|plan| steps(plan).nth(number).into_iter().for_each(|step| step.key = 0));
            self.with(|plan| {
                steps(plan).nth(number).into_iter().for_each(|step| step.retry = false);
            });
        }
    }
}

fn steps(plan: &mut Plan) -> impl Iterator<Item = &mut Step> {
    plan.clients.iter_mut().flat_map(|client| &mut client.steps)
}

/// Leaves out operations, counted over all clients.
fn drop_steps(plan: &mut Plan, range: std::ops::Range<usize>) {
    let mut number = 0;
    for client in &mut plan.clients {
        client.steps.retain(|_| {
            number += 1;
            !range.contains(&(number - 1))
        });
    }
}

/// The plan without a replica: those above it move down, whoever asked it asks the next one.
fn without_replica(plan: &Plan, gone: u16) -> Option<Plan> {
    let n = plan.replicas;
    let renumber = |id: u16| (id != gone).then_some(id - u16::from(id > gone));
    let mut smaller = plan.clone();
    smaller.replicas = n - 1;
    for step in steps(&mut smaller) {
        step.replica = renumber(step.replica).unwrap_or(gone % (n - 1));
    }
    let stays = |at: &usize| {
        let (from, to) = (*at / usize::from(n), *at % usize::from(n));
        from != usize::from(gone) && to != usize::from(gone)
    };
    smaller.links = (0..plan.links.len()).filter(stays).map(|at| plan.links[at]).collect();
    let fault = |planned: &PlannedFault| {
        Some(PlannedFault { at: planned.at, fault: planned.fault.renumbered(renumber)? })
    };
    smaller.faults = plan.faults.iter().filter_map(fault).collect();
    (smaller.links.len() == usize::from(n - 1).pow(2)).then_some(smaller)
}
