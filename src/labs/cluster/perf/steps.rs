//! The same load with more and more clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{Load, Phase, PhaseResult, Table, TableError, run_load};
use crate::bench::{BenchError, Meter};

/// The most clients of one step.
pub const MAX_CLIENTS: usize = 1024;

/// A step that brings less than this over the one before is the last.
const WORTH_GOING_ON: f64 = 1.10;

/// How many clients, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// These.
    List(Vec<usize>),
    /// 1, 2, 4, … until no phase but scans gains a tenth any more.
    Auto,
}

impl Clients {
    /// The number of step `index`; `None` where there is none.
    fn of(&self, index: usize) -> Option<usize> {
        match self {
            Self::List(list) => list.get(index).copied(),
            Self::Auto => {
                1usize.checked_shl(index as u32).filter(|clients| *clients <= MAX_CLIENTS)
            }
        }
    }
}

impl std::str::FromStr for Clients {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let number = |part: &str| match part.trim().parse() {
            Ok(number) if (1..=MAX_CLIENTS).contains(&number) => Ok(number),
            _ => Err(format!("expected auto, or numbers from 1 to {MAX_CLIENTS} such as 1,2,4,8")),
        };
        Ok(Self::List(text.split(',').map(number).collect::<Result<_, _>>()?))
    }
}

/// What a number of clients reached.
#[derive(Clone, Debug)]
pub struct Step {
    /// How many.
    pub clients: usize,
    /// The phases.
    pub phases: Vec<PhaseResult>,
}

impl Step {
    /// The sum of the clients' throughputs in a phase.
    pub fn throughput(&self, phase: Phase) -> f64 {
        self.phases.iter().find(|result| result.phase == phase).map_or(0.0, PhaseResult::throughput)
    }
}

/// Why the steps could not be run.
#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// A client could not be made.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The threads could not be started.
    #[error(transparent)]
    Bench(#[from] BenchError),
}

/// Runs the load with each number of clients, each with a table of its own that `table` makes. Ends early, with
/// what there is, when `stop` is set.
///
/// # Errors
/// A client or a thread could not be had.
pub fn run_steps<T: Table>(
    clients: &Clients,
    load: &Load,
    table: &dyn Fn() -> Result<T, TableError>,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Vec<Step>, StepsError> {
    let run = Instant::now();
    let mut steps: Vec<Step> = Vec::new();
    while let Some(count) = clients.of(steps.len()) {
        let mut tables = (0..count).map(|_| table()).collect::<Result<Vec<T>, _>>()?;
        let load = Load { prefix: format!("{}-{}", load.prefix, steps.len()), ..load.clone() };
        let phases = run_load(&mut tables, &load, run, stop, meter)?;
        steps.push(Step { clients: count, phases });
        if stop.load(Ordering::Relaxed) || (*clients == Clients::Auto && levelled_out(&steps)) {
            break;
        }
    }
    Ok(steps)
}

/// Whether the last doubling gained less than a tenth, in every phase but scans: those look at every key, and
/// more clients have more keys.
fn levelled_out(steps: &[Step]) -> bool {
    let [.., before, last] = steps else { return false };
    let gained = |phase| last.throughput(phase) >= before.throughput(phase) * WORTH_GOING_ON;
    ![Phase::Insert, Phase::Lookup, Phase::Remove].into_iter().any(gained)
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::{Memory, small_load};
    use super::*;

    #[test]
    fn numbers_of_clients_are_read() {
        assert_eq!("auto".parse(), Ok(Clients::Auto));
        assert_eq!("1,2,16".parse(), Ok(Clients::List(vec![1, 2, 16])));
        for wrong in ["", "0", "1,,2", "-1", "99999", "many"] {
            assert!(wrong.parse::<Clients>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn steps_follow_the_list_and_auto_ends_by_itself() {
        let memory = Memory::default();
        let (stop, meter) = (AtomicBool::new(false), Meter::default());
        let table = || Ok(memory.clone());
        let run = |clients| run_steps(&clients, &small_load(), &table, &stop, &meter);
        let steps = run(Clients::List(vec![3, 1])).expect("threads");
        assert_eq!(steps.iter().map(|step| step.clients).collect::<Vec<_>>(), [3, 1]);
        let steps = run(Clients::Auto).expect("threads");
        let doubled = |(index, step): (usize, &Step)| step.clients == 1 << index;
        assert!(steps.len() >= 2 && steps.iter().enumerate().all(doubled));
    }
}
