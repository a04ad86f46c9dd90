//! From what clients asked and were told to the figures of a mode.
//!
//! A latency is from when the operation was *due*: for one that has a time of its own, that time, even if its client was
//! still waiting for the one before. Otherwise a mode that blocks would have its few long waits drown among the many
//! short ones of a mode that does not (coordinated omission).

use std::time::Duration;

use super::scenario::{PATIENCE, Scenario};
use crate::history::{History, Operation, Outcome};
use crate::report::{Kind, Tally};
use crate::sim::plan::Step;

/// What the operations of the clients were like.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Latencies of reads.
    pub reads: Tally,
    /// Of writes.
    pub writes: Tally,
    /// Operations a second in the calm part.
    pub throughput: f64,
    /// Answered in time, and due, while a fault was in force.
    pub served: Option<(u64, u64)>,
}

/// The calm part: how many operations ended well, and from when to when.
#[derive(Clone, Copy, Debug, Default)]
struct Calm {
    done: u64,
    span: Option<(u64, u64)>,
}

/// Measures the operations of the scenario's clients; `late` is how much later than planned everything was, in
/// nanoseconds of the history's clock.
pub(super) fn measure(scenario: &Scenario, history: &History, late: u64) -> Measured {
    let mut measured = Measured::default();
    let (mut calm, mut served) = (Calm::default(), (0, 0));
    let mut asked: Vec<usize> = Vec::new();
    for operation in &history.operations {
        let Some(client) = client_of(history.process(operation.process)) else { continue };
        asked.resize(asked.len().max(client + 1), 0);
        let Some(step) = scenario.steps(client).get(asked[client]) else { continue };
        asked[client] += 1;
        let took = measured.add(scenario, step, operation, late);
        if scenario.is_due(step) {
            if scenario.fails_at(step.at) {
                served.0 += u64::from(took.is_some_and(|took| took <= PATIENCE));
                served.1 += 1;
            }
        } else if let (Some(_), Some(end)) = (took, operation.completed_at) {
            let (from, to) = calm.span.unwrap_or((operation.invoked_at, end));
            calm.span = Some((from.min(operation.invoked_at), to.max(end)));
            calm.done += 1;
        }
    }
    measured.served = (served.1 > 0).then_some(served);
    if let Some((from, to)) = calm.span {
        measured.throughput = calm.done as f64 * 1e9 / to.saturating_sub(from).max(1) as f64;
    }
    measured
}

impl Measured {
    /// Adds an operation; gives how long it took if it ended well, in nanoseconds.
    fn add(
        &mut self,
        scenario: &Scenario,
        step: &Step,
        operation: &Operation,
        late: u64,
    ) -> Option<u64> {
        let kind = if step.write.is_some() { Kind::Write } else { Kind::Read };
        let tally = match kind {
            Kind::Write => &mut self.writes,
            Kind::Read => &mut self.reads,
        };
        match (operation.outcome, operation.completed_at) {
            (Outcome::Ok, Some(end)) => {
                let due = step.at.saturating_add(late);
                let from = if scenario.is_due(step) { due } else { operation.invoked_at };
                let took = end.saturating_sub(from);
                tally.record(Duration::from_nanos(took));
                Some(took)
            }
            (Outcome::Fail, _) => {
                tally.errors += 1;
                None
            }
            _ => {
                tally.unknown += 1;
                None
            }
        }
    }
}

/// The number of the client of a process: `c3`, and whatever it is called after a new connection.
fn client_of(process: &str) -> Option<usize> {
    let digits = process.strip_prefix('c')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_number() {
        assert_eq!(client_of("c12"), Some(12));
        assert_eq!(client_of("c3@1"), Some(3));
        assert_eq!((client_of("heal0"), client_of("end1"), client_of("c")), (None, None, None));
    }
}
