//! The scenario in the simulator: virtual time, the same bytes on any machine.

use super::measure::measure;
use super::scenario::Scenario;
use super::{CompareError, Compared, Run};
use crate::check::staleness;
use crate::labs::simulation::{Kept, with_problem};
use crate::protocol::Mode;
use crate::report::{Cost, ModeRow};
use crate::sim::plan::Step;
use crate::sim::{Detail, no_checker, run};
use crate::wire::traffic::Traffic;

/// Runs a mode and measures it.
pub(super) fn compared(scenario: &Scenario, mode: &'static Mode) -> Result<Compared, CompareError> {
    let kept = Kept::run(scenario.plan(mode.name))?;
    let history = &kept.outcome.history;
    let measured = measure(scenario, history, 0);
    let staleness = with_problem(history, staleness::profile);
    let counted = kept.outcome.counted;
    let convergence = counted.converged_at.map(|at| at.saturating_sub(counted.healed_at));
    let (write_cost, read_cost) = costs(scenario, mode)?;
    let row = ModeRow {
        mode: mode.name,
        promise: mode.promise,
        reads: measured.reads,
        writes: measured.writes,
        throughput: measured.throughput,
        served: measured.served,
        staleness,
        convergence: convergence.map(std::time::Duration::from_nanos),
        write_cost,
        read_cost,
        ladder: kept.judged.ladder.clone(),
        faults: history.faults.len(),
    };
    Ok(Compared { row, verdict: kept.outcome.verdict.clone(), run: Run::Simulated(Box::new(kept)) })
}

/// What a write and a read cost between the replicas: the same writes without reads and faults, the same reads without
/// writes, and neither, which is what is taken off (elections, greetings, the writes that prove that all is healed).
fn costs(scenario: &Scenario, mode: &Mode) -> Result<(Cost, Cost), CompareError> {
    let sent = |keep: &dyn Fn(&Step) -> bool| {
        let plan = scenario.quiet(mode.name, keep);
        let operations = plan.operations().saturating_sub(1);
        let outcome = run(&plan, Detail::History, &no_checker)?;
        Ok::<_, CompareError>((outcome.counted.traffic, operations))
    };
    let (idle, _) = sent(&|_| false)?;
    let (writes, written) = sent(&|step| step.write.is_some())?;
    let (reads, read) = sent(&|step| step.write.is_none())?;
    Ok((each(writes.since(idle), written), each(reads.since(idle), read)))
}

/// What each of so many operations cost.
pub(super) fn each(all: Traffic, operations: usize) -> Cost {
    let each = |count: u64| count as f64 / operations.max(1) as f64;
    Cost { messages: each(all.messages), bytes: each(all.bytes) }
}
