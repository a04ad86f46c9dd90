//! How fast histories are checked for linearizability: `cargo bench --bench linearizable`.
//!
//! Histories of a correct store, 50 processes on 100 keys, half of the operations reads: with unique written
//! values (zones), with five values (the search), and with a stale read at the end. `-- --ops N` sets the largest
//! number of operations. Histories are made in memory, so no reading of files is in the times.

use std::time::{Duration, Instant};

use consistency_lab::check::spec::Spec;
use consistency_lab::check::{Answer, Budget, Problem, linearizable};
use consistency_lab::history::{
    Action, Builder, Clock, Completion, History, Invocation, Outcome, Told, ValueId,
};

const PROCESSES: usize = 50;
const KEYS: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let wanted = arguments.iter().position(|argument| argument == "--ops");
    let most = wanted.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(1_000_000);
    let mut operations = most / 100;
    while operations <= most {
        for values in [None, Some(5)] {
            for stale in [false, true] {
                measure(operations, values, stale);
            }
        }
        operations *= 10;
    }
}

fn measure(operations: usize, values: Option<usize>, stale: bool) {
    let history = record(operations, values, stale);
    let spec = Spec::find("register").unwrap_or(&consistency_lab::check::spec::SPECS[0]);
    let (initial, budget) = (ValueId::NIL, Budget::unlimited());
    let problem = Problem { history: &history, spec, initial, budget };
    let mut best = Duration::MAX;
    let mut answer = String::new();
    for _ in 0..3 {
        let start = Instant::now();
        let found = linearizable::check(&problem);
        best = best.min(start.elapsed());
        answer = match found {
            Answer::Violation(core) => format!("a violation of {} operations", core.len()),
            other => format!("{other:?}"),
        };
    }
    let kind = values.map_or("unique values".to_owned(), |values| format!("{values} values"));
    println!("{operations:>9} operations, {kind:<13}: {:>9.3} ms, {answer}", millis(best));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A repeatable stream of numbers (splitmix64).
struct Stream(u64);

impl Stream {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % bound
    }
}

/// What a correct store would have done: each operation takes effect at some moment while it is open.
fn record(operations: usize, values: Option<usize>, stale: bool) -> History {
    let mut stream = Stream(1);
    let mut builder = Builder::new(Clock::Steps);
    let keys: Vec<_> = (0..KEYS).map(|key| builder.key(&format!("k{key}"))).collect();
    let mut held = vec![ValueId::NIL; KEYS];
    let processes: Vec<String> = (0..PROCESSES).map(|process| format!("p{process}")).collect();
    let mut open: Vec<Option<(usize, Action, bool)>> = vec![None; PROCESSES];
    let mut begun = 0;
    while begun < operations || open.iter().any(Option::is_some) {
        let process = stream.below(PROCESSES);
        let name = &processes[process];
        match open[process] {
            None if begun < operations => {
                let key = stream.below(KEYS);
                let action = if stream.below(2) == 0 {
                    Action::Read(ValueId::NIL)
                } else {
                    let value = values.map_or(begun, |values| stream.below(values));
                    Action::Write(builder.value(Some(&format!("v{value}"))))
                };
                begun += 1;
                invoke(&mut builder, name, keys[key], action);
                open[process] = Some((key, action, false));
            }
            None => {}
            Some((key, action, false)) => {
                let action = match action {
                    Action::Write(value) => {
                        held[key] = value;
                        action
                    }
                    _ => Action::Read(held[key]),
                };
                open[process] = Some((key, action, true));
            }
            Some((_, action, true)) => {
                complete(&mut builder, name, action);
                open[process] = None;
            }
        }
    }
    if stale {
        for (at, value) in ["old", "new"].iter().enumerate() {
            let action = Action::Write(builder.value(Some(value)));
            invoke(&mut builder, &processes[at], keys[KEYS - 1], action);
            complete(&mut builder, &processes[at], action);
        }
        let action = Action::Read(builder.value(Some("old")));
        invoke(&mut builder, &processes[0], keys[KEYS - 1], action);
        complete(&mut builder, &processes[0], action);
    }
    builder.finish()
}

fn invoke(
    builder: &mut Builder,
    process: &str,
    key: consistency_lab::history::KeyId,
    action: Action,
) {
    let invocation = Invocation { process, key, action, replica: None, at: None };
    assert!(builder.invoke(invocation).is_ok(), "nothing of {process} is open");
}

fn complete(builder: &mut Builder, process: &str, action: Action) {
    let told = match action {
        Action::Read(value) => Told::Value(value),
        _ => Told::Nothing,
    };
    let completion = Completion { process, outcome: Outcome::Ok, told, at: None };
    assert!(builder.complete(completion).is_ok(), "{process} has an open operation");
}
