//! Histories for the tests: written down, random small ones, and long ones of correct stores.

use crate::base::ReplicaId;
use crate::check::spec::SPECS;
use crate::check::{Budget, Problem};
use crate::history::{
    Action, Builder, Clock, Completion, History, Invocation, Outcome, Told, ValueId,
};

/// The problem that a history poses; keys begin with `0`, or absent where the history has no `0`.
pub fn problem(history: &History) -> Problem<'_> {
    let initial = history.values.find("0").map_or(ValueId::NIL, ValueId);
    Problem { history, spec: &SPECS[0], initial, budget: Budget::unlimited() }
}

/// Adds an operation that ends before the next one begins.
pub fn operation(builder: &mut Builder, process: &str, key: &str, action: Action, end: Outcome) {
    let key = builder.key(key);
    let replica = process.parse().ok().map(ReplicaId);
    let invocation = Invocation { process, key, action, replica, at: None };
    builder.invoke(invocation).expect("one operation after the other");
    let completion = Completion { process, outcome: end, told: Told::Nothing, at: None };
    builder.complete(completion).expect("it is open");
}

/// A history from lines like `a: w(x,1) r(y,0) c(x,1,2) u(x,3)`, each of one process: writes, reads,
/// compare-and-sets that swapped, and writes of unknown outcome. Lines follow each other in real time.
pub fn history(text: &str) -> History {
    let mut builder = Builder::new(Clock::Steps);
    builder.value(Some("0"));
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (process, operations) = line.split_once(':').expect("a process and its operations");
        for word in operations.split_whitespace() {
            let (kind, rest) = word.split_once('(').expect("kind(key,value)");
            let parts: Vec<&str> = rest.trim_end_matches(')').split(',').collect();
            let mut value = |at: usize| builder.value(Some(parts[at]));
            let (action, end) = match kind {
                "r" => (Action::Read(value(1)), Outcome::Ok),
                "w" => (Action::Write(value(1)), Outcome::Ok),
                "u" => (Action::Write(value(1)), Outcome::Unknown),
                "c" => {
                    let (from, to) = (value(1), value(2));
                    (Action::Cas { from, to, swapped: true }, Outcome::Ok)
                }
                _ => panic!("unknown kind {kind}"),
            };
            operation(&mut builder, process, parts[0], action, end);
        }
    }
    builder.finish()
}

/// A random operation: process, key, kind, and which value it observes.
pub type Seed = (u8, u8, u8, u8);

/// A small history out of random operations, with values that are written once.
pub fn small(seeds: &[Seed], keys: u8) -> History {
    let mut builder = Builder::new(Clock::Steps);
    let mut written = vec![vec!["0".to_owned()]; usize::from(keys)];
    let kinds: Vec<(bool, bool, bool)> = seeds
        .iter()
        .map(|(_, _, kind, _)| match kind % 16 {
            0..=6 => (true, false, false),
            7 | 8 => (true, true, false),
            9 => (false, true, true),
            _ => (false, true, false),
        })
        .collect();
    for (at, ((_, key, ..), (_, writes, _))) in seeds.iter().zip(&kinds).enumerate() {
        if *writes {
            written[usize::from(key % keys)].push((at + 1).to_string());
        }
    }
    builder.value(Some("0"));
    for (at, ((process, key, _, pick), (reads, writes, loose))) in
        seeds.iter().zip(&kinds).enumerate()
    {
        let choices = &written[usize::from(key % keys)];
        let mut observed = &choices[usize::from(*pick) % choices.len()];
        let own = (at + 1).to_string();
        if *writes && *observed == own {
            observed = &choices[0];
        }
        let (from, to) = (builder.value(Some(observed)), builder.value(Some(&own)));
        let action = match (reads, writes) {
            (true, true) => Action::Cas { from, to, swapped: true },
            (true, false) => Action::Read(from),
            (false, _) => Action::Write(to),
        };
        let end = if *loose { Outcome::Unknown } else { Outcome::Ok };
        let key = (key % keys).to_string();
        operation(&mut builder, &process.to_string(), &key, action, end);
    }
    builder.finish()
}
