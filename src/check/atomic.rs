//! Atomic visibility: nobody sees half of a command that writes several keys.
//!
//! `DEL a b` takes effect at one moment. If a read of `a` that ended before a read of `b` began has seen it and the
//! read of `b` has not, then it was seen half, although each key by itself may be perfectly linearizable.
//!
//! # What is decided
//!
//! For each command of several writes by itself: is there one moment at which it can have taken effect on all
//! its keys, while everything else goes key by key? For each of its keys, all moments at which it can have
//! taken effect there are computed; the command was seen half if every key has some and they have none in
//! common. Because linearizability is local, this is exact: where there is a common moment, all keys have
//! linearizations with the command at that moment. That no *two* commands tear each other apart is more, and
//! [`super::strict`] decides it; but what this one finds can be told in a sentence.
//!
//! # How
//!
//! The moments of a key are the gaps between its own events, within the command's interval; the command is set
//! into each and [`super::linearizable`] asked. A command of unknown outcome has one moment more: never. Cost:
//! one such check a gap, so `O(overlap · n log n)` a command that ended, and `O(n² log n)` one that did not.
//! Ends `Unknown` where the budget is spent.
//!
//! Source of the word: Bailis et al., *Scalable Atomic Visibility with RAMP Transactions*, SIGMOD 2014.

use super::commands::{Command, commands};
use super::witness::{describe, shown};
use super::{Answer, BUDGET_SPENT, Problem, linearizable};
use crate::history::{Action, Clock, History, KeyId, NEVER, OpId, Outcome, ValueId};

/// A command that was seen half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// Its operations.
    pub command: Vec<OpId>,
    /// They and the others that show it, in the order of invocation.
    pub operations: Vec<OpId>,
    /// The argument, a sentence a line.
    pub why: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many commands of several writes, none of them seen half.
    Whole(usize),
    /// The first one, in the order of invocation, that was.
    Half(Half),
    /// It cannot be said, for this reason.
    Unknown(String),
}

/// Whether no command was seen half.
pub fn check(problem: &Problem<'_>) -> Answer {
    match find(problem) {
        Found::Whole(_) => Answer::Valid,
        Found::Half(half) => Answer::Violation(half.operations),
        Found::Unknown(why) => Answer::Unknown(why),
    }
}

/// The first command that was seen half.
pub fn find(problem: &Problem<'_>) -> Found {
    let history = problem.history;
    if history.clock == Clock::ProcessOrder {
        return Found::Unknown("the history has no real-time order between processes".to_owned());
    }
    if 2 * history.operations.len() as u64 >= u64::from(NEVER) / SPREAD as u64 - 1 {
        return Found::Unknown("the history has too many events".to_owned());
    }
    let commands = match commands(problem) {
        Ok(commands) => commands,
        Err(why) => return Found::Unknown(why),
    };
    let writes = |id: &OpId| matches!(history.operation(*id).action, Action::Write(_));
    let several =
        |command: &&Command| command.operations.len() > 1 && command.operations.iter().all(writes);
    let all: Vec<OpId> = history.ids().collect();
    let mut whole = 0;
    for command in commands.iter().filter(several) {
        match moments_apart(problem, command, &all) {
            Err(()) => return Found::Unknown(BUDGET_SPENT.to_owned()),
            Ok(false) => whole += 1,
            Ok(true) => return Found::Half(explain(problem, command)),
        }
    }
    Found::Whole(whole)
}

/// The numbers of events are spread by this much, so that there is room between them.
const SPREAD: u32 = 4;

/// The moment that never comes.
const NOT_AT_ALL: (u32, u32) = (NEVER, NEVER);

/// When a command can have taken effect on a key: ranges of event numbers, ends excluded, in order.
type Moments = Vec<(u32, u32)>;

/// Whether every key has moments, and they have none in common.
fn moments_apart(problem: &Problem<'_>, command: &Command, among: &[OpId]) -> Result<bool, ()> {
    let mut common: Option<Moments> = None;
    for id in &command.operations {
        let moments = moments(problem, command, *id, among)?;
        if moments.is_empty() {
            // This key is wrong by itself.
            return Ok(false);
        }
        common = Some(match common {
            None => moments,
            Some(common) => intersection(&common, &moments),
        });
    }
    Ok(common.is_some_and(|common| common.is_empty()))
}

fn intersection(a: &Moments, b: &Moments) -> Moments {
    let both = |(from, to): &(u32, u32)| {
        let (from, to) = (*from, *to);
        b.iter().filter_map(move |(other, until)| {
            if (from, to) == NOT_AT_ALL || (*other, *until) == NOT_AT_ALL {
                return ((from, to) == (*other, *until)).then_some(NOT_AT_ALL);
            }
            let range = (from.max(*other), to.min(*until));
            (range.0 < range.1).then_some(range)
        })
    };
    a.iter().flat_map(both).collect()
}

/// When a command can have taken effect on the key of one of its operations, as far as these show.
fn moments(
    problem: &Problem<'_>,
    command: &Command,
    id: OpId,
    among: &[OpId],
) -> Result<Moments, ()> {
    let history = problem.history;
    let key = history.operation(id).key;
    let ids: Vec<OpId> =
        among.iter().copied().filter(|id| history.operation(*id).key == key).collect();
    let mut alone = history.restricted(&ids);
    for operation in &mut alone.operations {
        operation.invoked *= SPREAD;
        if operation.completed != NEVER {
            operation.completed *= SPREAD;
        }
    }
    let Some(at) = ids.iter().position(|own| *own == id) else { return Ok(Vec::new()) };
    let mut ends: Vec<u32> = ids
        .iter()
        .filter(|other| **other != id)
        .map(|id| history.operation(*id))
        .flat_map(|operation| [operation.invoked, operation.completed])
        .filter(|event| (command.invoked..command.completed).contains(event))
        .collect();
    ends.push(command.completed);
    ends.sort_unstable();
    let mut moments = Moments::new();
    let mut from = command.invoked;
    for to in ends {
        let operation = &mut alone.operations[at];
        operation.outcome = Outcome::Ok;
        (operation.invoked, operation.completed) = (from * SPREAD + 1, from * SPREAD + 2);
        if holds(problem, &alone)? {
            match moments.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => moments.push((from, to)),
            }
        }
        from = to;
    }
    if command.optional {
        alone.operations[at].outcome = Outcome::Fail;
        if holds(problem, &alone)? {
            moments.push(NOT_AT_ALL);
        }
    }
    Ok(moments)
}

/// Whether the history of one key is linearizable. Its operations may stand out of order.
fn holds(problem: &Problem<'_>, alone: &History) -> Result<bool, ()> {
    let mut order: Vec<OpId> = alone.ids().collect();
    order.sort_by_key(|id| alone.operation(*id).invoked);
    let history = alone.restricted(&order);
    match linearizable::check(&Problem { history: &history, ..*problem }) {
        Answer::Valid => Ok(true),
        Answer::Violation(_) => Ok(false),
        Answer::Unknown(_) => Err(()),
    }
}

/// As few operations as show it, and why they do.
fn explain(problem: &Problem<'_>, command: &Command) -> Half {
    let history = problem.history;
    let keys: Vec<KeyId> = command.operations.iter().map(|id| history.operation(*id).key).collect();
    let mut kept: Vec<OpId> =
        history.ids().filter(|id| keys.contains(&history.operation(*id).key)).collect();
    for id in kept.clone() {
        let fewer: Vec<OpId> = kept.iter().copied().filter(|other| *other != id).collect();
        if may_go(history, id, &fewer) && moments_apart(problem, command, &fewer) == Ok(true) {
            kept = fewer;
        }
    }
    let mut why = vec![format!("The {} was seen half:", named(history, command))];
    let mut shows = Vec::new();
    for id in &command.operations {
        let moments = moments(problem, command, *id, &kept).unwrap_or_default();
        shows.push((history.key(history.operation(*id).key), moments));
    }
    for (key, moments) in &shows {
        let ranges: Vec<String> =
            moments.iter().map(|moment| range(history, *moment, command)).collect();
        why.push(format!(
            "on {} it can only have taken effect {};",
            shown(key),
            ranges.join(", or ")
        ));
    }
    why.push("no moment fits all of its keys.".to_owned());
    Half { command: command.operations.clone(), operations: kept, why }
}

/// Whether what the others show is still true without this operation: it is a read, or a write that none of
/// them has read. Deletions stay, because what is absent does not tell who removed it.
fn may_go(history: &History, id: OpId, others: &[OpId]) -> bool {
    match history.operation(id).action {
        Action::Read(_) => true,
        Action::Write(value) => {
            value != ValueId::NIL
                && !others.iter().any(|other| history.operation(*other).read() == Some(value))
        }
        _ => false,
    }
}

fn named(history: &History, command: &Command) -> String {
    let keys: Vec<String> = command
        .operations
        .iter()
        .map(|id| shown(history.key(history.operation(*id).key)))
        .collect();
    let process = command.operations.first().map(|id| history.operation(*id).process);
    let process = process.map_or(String::new(), |process| shown(history.process(process)));
    format!("write of {} by {process}", keys.join(" and "))
}

fn range(history: &History, (from, to): (u32, u32), command: &Command) -> String {
    if (from, to) == NOT_AT_ALL {
        return "never".to_owned();
    }
    let behind = (from != command.invoked).then(|| event(history, from));
    let before = (to != command.completed).then(|| event(history, to));
    match (behind, before) {
        (None, None) => "at any time of its own".to_owned(),
        (Some(behind), None) => format!("after {behind}"),
        (None, Some(before)) => format!("before {before}"),
        (Some(behind), Some(before)) => format!("after {behind} and before {before}"),
    }
}

/// An event in words.
fn event(history: &History, number: u32) -> String {
    let of = history
        .operations
        .iter()
        .find(|operation| operation.invoked == number || operation.completed == number);
    let Some(operation) = of else { return "the end".to_owned() };
    let what =
        format!("{} {}", shown(history.process(operation.process)), describe(history, operation));
    let verb = if operation.invoked == number { "began" } else { "ended" };
    format!("“{what}” {verb}")
}
