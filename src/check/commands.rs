//! The commands of a history: operations that are one command ([`Together`](crate::history::Together)) as one, all others alone.
//!
//! A command of several operations took effect if any of them is known to have; it has definitely not happened
//! if any of them has not. Its interval is the widest of theirs: that is never wrong.

use super::Problem;
use crate::history::{Action, NEVER, OpId, Outcome};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its operations, in the order of their invocations.
    pub operations: Vec<OpId>,
    /// The event number of its invocation.
    pub invoked: u32,
    /// The event number of its completion; [`NEVER`] where it may take effect later.
    pub completed: u32,
    /// Whether it may not have taken effect at all.
    pub optional: bool,
    /// How many of its keys there were, where the answer told.
    pub found: Option<u32>,
}

impl Command {
    /// Whether it only reads.
    pub fn only_reads(&self, problem: &Problem<'_>) -> bool {
        let operation = |id: &OpId| problem.history.operation(*id).action;
        self.operations.iter().all(|id| matches!(operation(id), Action::Read(_)))
    }
}

/// The commands that can matter to a checker, in the order of their invocations.
///
/// # Errors
/// Why a checker that knows reads and writes only cannot judge the history.
pub fn commands(problem: &Problem<'_>) -> Result<Vec<Command>, String> {
    let history = problem.history;
    let mut grouped = vec![false; history.operations.len()];
    let mut commands = Vec::with_capacity(history.operations.len());
    for together in &history.together {
        together.operations.iter().for_each(|id| grouped[id.index()] = true);
        commands.extend(command(problem, together.operations.clone(), together.found)?);
    }
    for id in history.ids().filter(|id| !grouped[id.index()]) {
        commands.extend(command(problem, vec![id], None)?);
    }
    commands.sort_by_key(|command| command.invoked);
    Ok(commands)
}

fn command(
    problem: &Problem<'_>,
    operations: Vec<OpId>,
    found: Option<u32>,
) -> Result<Option<Command>, String> {
    let all = || operations.iter().map(|id| problem.history.operation(*id));
    if all().any(|operation| operation.outcome == Outcome::Fail) {
        return Ok(None);
    }
    let known = all().any(|operation| operation.outcome == Outcome::Ok);
    if !known && !all().any(|operation| operation.matters()) {
        return Ok(None);
    }
    if let Some(other) =
        all().find(|operation| !matches!(operation.action, Action::Read(_) | Action::Write(_)))
    {
        return Err(format!(
            "expected reads and writes only, found another operation on {}",
            problem.history.key(other.key)
        ));
    }
    let invoked = all().map(|operation| operation.invoked).min().unwrap_or(0);
    let completed = all().map(|operation| operation.completed).max().unwrap_or(NEVER);
    Ok(Some(Command { operations, invoked, completed, optional: !known, found }))
}
