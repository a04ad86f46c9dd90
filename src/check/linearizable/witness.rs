//! What a failed search says: few operations of one key that are not linearizable by themselves.
//!
//! First [`cut`]: what was invoked after the end that cannot be passed has no say. Then, where the values tell, a
//! [`window`]: most violations lie in the last few operations before that end. A window is closed under *what a
//! read can have read from*: all writes of its value that were invoked before it ended and were not overwritten for
//! certain before it began. So any linearization of the whole would be one of the window, and no violation comes
//! only from what was left out. If a window is linearizable a larger one is tried.

use super::part::in_order;
use super::plan::{NONE, Plan, Required};
use crate::check::spec::Step;
use crate::history::OpId;

/// The operations that cannot pass the end of this rank.
pub(super) fn cut(plan: &Plan, rank: usize) -> Vec<OpId> {
    let end = plan.required[plan.by_end[rank] as usize].end;
    let mut core = Vec::new();
    let mut made = vec![false; plan.values.makers.len()];
    let mut found = Vec::new();
    for required in plan.required.iter().filter(|required| required.call < end) {
        if required.end > end && required.step.only_observes() {
            continue;
        }
        core.push(required.id);
        if required.leaves != NONE {
            made[required.leaves as usize] = true;
        }
        if required.finds != NONE {
            found.push(required.finds);
        }
    }
    for class in &plan.classes {
        let members = plan.optional[class.members.clone()].iter();
        let before = core.len();
        core.extend(members.filter(|(call, _)| *call < end).map(|(_, id)| id));
        if class.leaves != NONE && core.len() > before {
            made[class.leaves as usize] = true;
        }
    }
    // What was read from the future belongs to it: the write comes along, though it cannot help.
    found.retain(|value| *value != plan.initial && !made[*value as usize]);
    for required in plan.required.iter().filter(|required| required.call >= end) {
        if let Some(at) = found.iter().position(|value| *value == required.leaves) {
            core.push(required.id);
            let value = found[at];
            found.retain(|other| *other != value);
        }
    }
    for class in plan.classes.iter().filter(|class| found.contains(&class.leaves)) {
        core.push(plan.optional[class.members.start].1);
    }
    in_order(core)
}

/// For each end: the two latest invocations of writes of different values that had ended by then.
struct Overwrites {
    /// By rank: place, by latest invocation; the second leaves another value.
    latest: Vec<[u32; 2]>,
}

impl Overwrites {
    fn of(plan: &Plan) -> Self {
        let call = |at: u32| plan.required.get(at as usize).map(|required| required.call);
        let value = |at: u32| plan.required.get(at as usize).map(|required| required.leaves);
        let mut best = [NONE; 2];
        let update = |at: &u32| {
            if value(*at) != Some(NONE) {
                if call(*at) > call(best[0]) {
                    let other = value(best[0]) != value(*at);
                    best = [*at, if other { best[0] } else { best[1] }];
                } else if value(*at) != value(best[0]) && call(*at) > call(best[1]) {
                    best[1] = *at;
                }
            }
            best
        };
        Self { latest: plan.by_end.iter().map(update).collect() }
    }

    /// The write that ended before `reader` began and was invoked last, among those of other values.
    fn before(&self, plan: &Plan, reader: &Required) -> Option<u32> {
        let ended = |at: &u32| plan.required[*at as usize].end < reader.call;
        let rank = plan.by_end.partition_point(ended).checked_sub(1)?;
        let [first, second] = self.latest[rank];
        let is_other = |at: &u32| {
            plan.required.get(*at as usize).is_some_and(|write| write.leaves != reader.finds)
        };
        [first, second].into_iter().find(is_other)
    }
}

/// Operations that are gathered together with whatever they can have read from.
struct Closure<'a> {
    plan: &'a Plan,
    overwrites: Overwrites,
    /// By value, the required operations that leave it, in the order of invocation.
    makers: Vec<Vec<u32>>,
    chosen: Vec<bool>,
    /// By class, whether its members are chosen.
    chosen_classes: Vec<bool>,
    waiting: Vec<u32>,
    ids: Vec<OpId>,
}

impl<'a> Closure<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut makers: Vec<Vec<u32>> = vec![Vec::new(); plan.values.makers.len()];
        for (at, required) in plan.required.iter().enumerate() {
            if let Some(makers) = makers.get_mut(required.leaves as usize) {
                makers.push(at as u32);
            }
        }
        let chosen = vec![false; plan.required.len()];
        let chosen_classes = vec![false; plan.classes.len()];
        let (waiting, ids) = (Vec::new(), Vec::new());
        let overwrites = Overwrites::of(plan);
        Self { plan, overwrites, makers, chosen, chosen_classes, waiting, ids }
    }

    /// Adds an operation, and has those that it can have read from wait for it.
    fn add(&mut self, at: u32) {
        if std::mem::replace(&mut self.chosen[at as usize], true) {
            return;
        }
        let plan = self.plan;
        let reader = &plan.required[at as usize];
        self.ids.push(reader.id);
        if reader.finds == NONE {
            return;
        }
        let overwrite = self.overwrites.before(plan, reader);
        let since = overwrite.map_or(0, |at| plan.required[at as usize].call);
        let unknown = self.add_classes(reader.finds);
        let all = &self.makers[reader.finds as usize];
        let can = |maker: &&u32| {
            let maker = &plan.required[**maker as usize];
            maker.call < reader.end && maker.end >= since
        };
        let before = self.waiting.len();
        self.waiting.extend(all.iter().filter(can));
        if self.waiting.len() == before && !unknown {
            // It can have read from nobody: the last that wrote it, and who overwrote that.
            self.waiting.extend(overwrite);
            let ended = |maker: &&u32| plan.required[**maker as usize].end < since;
            self.waiting.extend(all.iter().rfind(ended).or(all.first()));
        }
    }

    /// Adds those of unknown outcome that leave this value, with all that could make them do so. Says whether there
    /// are any.
    fn add_classes(&mut self, value: u32) -> bool {
        let mut wanted = vec![value];
        while let Some(value) = wanted.pop() {
            for (at, class) in self.plan.classes.iter().enumerate() {
                if class.leaves != value || std::mem::replace(&mut self.chosen_classes[at], true) {
                    continue;
                }
                self.ids.extend(self.plan.optional[class.members.clone()].iter().map(|(_, id)| id));
                if let Step::Try { from, .. } = class.step
                    && let Some(from) = self.plan.values.find(from)
                {
                    self.waiting.extend(&self.makers[from as usize]);
                    wanted.push(from);
                }
            }
        }
        self.plan.classes.iter().any(|class| class.leaves == value)
    }
}

/// The operations of the last `size` ends up to this rank, closed; `None` where the values do not tell.
pub(super) fn window(plan: &Plan, rank: usize, size: usize) -> Option<Vec<OpId>> {
    if !plan.transparent {
        return None;
    }
    let mut closure = Closure::new(plan);
    // What found only that it was not some value can have found too much; it is no loss to leave it out.
    let said = |at: &&u32| !matches!(plan.required[**at as usize].step, Step::Miss(_));
    closure.waiting.extend(plan.by_end[..=rank].iter().rev().filter(said).take(size));
    while let Some(at) = closure.waiting.pop() {
        closure.add(at);
    }
    Some(in_order(closure.ids))
}
