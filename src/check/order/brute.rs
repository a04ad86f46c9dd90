//! The models by their definitions, by trying all serializations; for the tests alone.

use super::generate::{Seed, problem, small};
use super::{INITIAL, NONE, Trace};
use crate::check::{Answer, causal, pram, session};
use crate::history::History;
use proptest::prelude::*;

/// A relation between places.
type Order = Vec<Vec<bool>>;

fn relation(trace: &Trace, holds: impl Fn(u32, u32) -> bool) -> Order {
    let all = 0..trace.len() as u32;
    all.clone().map(|a| all.clone().map(|b| a != b && holds(a, b)).collect()).collect()
}

fn closed(mut order: Order) -> Order {
    for middle in 0..order.len() {
        for a in 0..order.len() {
            for b in 0..order.len() {
                order[a][b] |= order[a][middle] && order[middle][b];
            }
        }
    }
    order
}

fn program(trace: &Trace, a: u32, b: u32) -> bool {
    let same = trace.process[a as usize] == trace.process[b as usize];
    same && a < b && !trace.is_loose(a)
}

/// Whether these operations have an order that respects `order` and in which those of `checked` that read
/// return the last write.
fn serializable(trace: &Trace, operations: &[u32], order: &Order, checked: &[u32]) -> bool {
    let mut state = vec![INITIAL; trace.keys];
    place_next(trace, &mut operations.to_vec(), order, checked, &mut state)
}

fn place_next(
    trace: &Trace,
    left: &mut Vec<u32>,
    order: &Order,
    checked: &[u32],
    state: &mut Vec<u32>,
) -> bool {
    if left.is_empty() {
        return true;
    }
    for at in 0..left.len() {
        let next = left[at];
        let key = trace.key[next as usize] as usize;
        let ready = !left.iter().any(|other| order[*other as usize][next as usize]);
        let wrong = checked.contains(&next)
            && trace.reads(next)
            && state[key] != trace.source[next as usize];
        if !ready || wrong {
            continue;
        }
        left.swap_remove(at);
        let held = state[key];
        if trace.writes(next) {
            state[key] = next;
        }
        let found = place_next(trace, left, order, checked, state);
        state[key] = held;
        left.push(next);
        let last = left.len() - 1;
        left.swap(at, last);
        if found {
            return true;
        }
    }
    false
}

/// Whether each process has a serialization of all writes and some of its operations.
fn for_each_process(
    trace: &Trace,
    own: impl Fn(u32) -> bool,
    order: impl Fn(u32, u32, u32) -> bool,
) -> bool {
    (0..trace.processes() as u32).all(|p| {
        let is_own = |op: u32| trace.process[op as usize] == p;
        let all = 0..trace.len() as u32;
        let operations: Vec<u32> =
            all.filter(|op| trace.writes(*op) || (is_own(*op) && own(*op))).collect();
        let checked: Vec<u32> = operations.iter().copied().filter(|op| is_own(*op)).collect();
        let order = relation(trace, |a, b| order(p, a, b));
        serializable(trace, &operations, &order, &checked)
    })
}

fn pram(trace: &Trace) -> bool {
    for_each_process(trace, |_| true, |_, a, b| program(trace, a, b))
}

/// The order of p's reads.
fn reads_of(trace: &Trace, p: u32, a: u32, b: u32) -> bool {
    trace.process[a as usize] == p && program(trace, a, b) && trace.reads(a) && trace.reads(b)
}

fn both_write(trace: &Trace, a: u32, b: u32) -> bool {
    program(trace, a, b) && trace.writes(a) && trace.writes(b)
}

fn read_your_writes(trace: &Trace) -> bool {
    let order = |p: u32, a: u32, b: u32| {
        trace.process[a as usize] == p && program(trace, a, b) && trace.writes(a)
    };
    for_each_process(trace, |op| trace.reads(op), order)
}

fn monotonic_reads(trace: &Trace) -> bool {
    let same_key = |a: u32, b: u32| trace.key[a as usize] == trace.key[b as usize];
    let order = |p, a, b| reads_of(trace, p, a, b) || (both_write(trace, a, b) && same_key(a, b));
    for_each_process(trace, |op| trace.reads(op), order)
}

fn monotonic_writes(trace: &Trace) -> bool {
    let order = |p, a, b| reads_of(trace, p, a, b) || both_write(trace, a, b);
    for_each_process(trace, |op| trace.reads(op), order)
}

fn writes_follow_reads(trace: &Trace) -> bool {
    let follows = |v: u32, w: u32| {
        (0..trace.len() as u32).any(|read| {
            let first = read == w || program(trace, read, w);
            trace.source[read as usize] == v && first && trace.writes(w)
        })
    };
    if (0..trace.len() as u32).any(|w| follows(w, w)) {
        return false;
    }
    let order = |p, a, b| reads_of(trace, p, a, b) || follows(a, b);
    for_each_process(trace, |op| trace.reads(op), order)
}

fn causal_order(trace: &Trace) -> Order {
    closed(relation(trace, |a, b| program(trace, a, b) || trace.source[b as usize] == a))
}

fn is_cyclic(order: &Order) -> bool {
    (0..order.len()).any(|op| order[op][op])
}

fn past(order: &Order, op: u32) -> Vec<u32> {
    let before = (0..order.len() as u32).filter(|other| order[*other as usize][op as usize]);
    before.chain([op]).collect()
}

fn causal(trace: &Trace, own_past: bool) -> bool {
    let order = causal_order(trace);
    let explained = |op: u32| {
        let past = past(&order, op);
        let is_checked = |other: &u32| *other == op || (own_past && program(trace, *other, op));
        let checked: Vec<u32> = past.iter().copied().filter(is_checked).collect();
        serializable(trace, &past, &order, &checked)
    };
    !is_cyclic(&order) && (0..trace.len() as u32).all(explained)
}

fn cc(trace: &Trace) -> bool {
    causal(trace, false)
}

fn cm(trace: &Trace) -> bool {
    causal(trace, true)
}

fn ccv(trace: &Trace) -> bool {
    let order = causal_order(trace);
    if is_cyclic(&order) {
        return false;
    }
    let mut left: Vec<u32> = (0..trace.len() as u32).collect();
    arbitrated(trace, &order, &mut left, &mut Vec::new())
}

fn arbitrated(trace: &Trace, order: &Order, left: &mut Vec<u32>, done: &mut Vec<u32>) -> bool {
    if left.is_empty() {
        return true;
    }
    for at in 0..left.len() {
        let next = left[at];
        if left.iter().any(|other| order[*other as usize][next as usize]) {
            continue;
        }
        let visible = |other: &&u32| {
            let same_key = trace.key[**other as usize] == trace.key[next as usize];
            same_key && trace.writes(**other) && order[**other as usize][next as usize]
        };
        let last = done.iter().rev().find(visible).copied().unwrap_or(INITIAL);
        let source = trace.source[next as usize];
        if source != NONE && source != last {
            continue;
        }
        left.swap_remove(at);
        done.push(next);
        let found = arbitrated(trace, order, left, done);
        done.pop();
        left.push(next);
        let last = left.len() - 1;
        left.swap(at, last);
        if found {
            return true;
        }
    }
    false
}

type Check = fn(&crate::check::Problem<'_>) -> Answer;
type Definition = fn(&Trace) -> bool;

/// Each model, its checker and its definition.
pub const MODELS: [(&str, Check, Definition); 8] = [
    ("cc", causal::check_cc, cc),
    ("ccv", causal::check_ccv, ccv),
    ("cm", causal::check_cm, cm),
    ("pram", pram::check, pram),
    ("ryw", session::check_read_your_writes, read_your_writes),
    ("mr", session::check_monotonic_reads, monotonic_reads),
    ("mw", session::check_monotonic_writes, monotonic_writes),
    ("wfr", session::check_writes_follow_reads, writes_follow_reads),
];

/// Pairs of models of which the first implies the second, by their places in [`MODELS`].
const IMPLIES: [(usize, usize); 8] =
    [(1, 0), (2, 0), (2, 3), (2, 7), (3, 4), (3, 5), (3, 6), (6, 5)];

fn shown(history: &History) -> String {
    let line = |op: &crate::history::Operation| {
        let values = |v: crate::history::ValueId| history.value(v).to_owned();
        let what = match op.action {
            crate::history::Action::Read(v) => format!("r({}", values(v)),
            crate::history::Action::Write(v) => format!("w({}", values(v)),
            crate::history::Action::Cas { from, to, .. } => {
                format!("c({},{}", values(from), values(to))
            }
            _ => "?".to_owned(),
        };
        format!("{}: {what}) key {} {:?}", op.process.0, history.key(op.key), op.outcome)
    };
    history.operations.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Every checker against its definition, its core against itself, and the implications.
fn agree(history: &History) -> Result<(), TestCaseError> {
    let trace = Trace::of(&problem(history)).expect("values are unique and read ones are written");
    let mut valid = Vec::new();
    for (name, check, definition) in MODELS {
        let answer = check(&problem(history));
        let expected = definition(&trace);
        prop_assert_eq!(
            answer == Answer::Valid,
            expected,
            "{}: {:?} for\n{}",
            name,
            answer,
            shown(history)
        );
        valid.push(expected);
        if let Answer::Violation(core) = answer {
            let small = history.restricted(&core);
            let again = check(&problem(&small));
            prop_assert!(
                matches!(again, Answer::Violation(_)),
                "{name}: {core:?} is {again:?} alone, of\n{}",
                shown(history)
            );
            let trace = Trace::of(&problem(&small));
            prop_assert!(trace.is_ok(), "{name}: not closed under reads-from: {core:?}");
        }
    }
    for (strong, weak) in IMPLIES {
        let (a, b) = (MODELS[strong].0, MODELS[weak].0);
        prop_assert!(!valid[strong] || valid[weak], "{a} but not {b}:\n{}", shown(history));
    }
    Ok(())
}

fn seeds(longest: usize) -> impl Strategy<Value = Vec<Seed>> {
    prop::collection::vec((0..3u8, any::<u8>(), any::<u8>(), any::<u8>()), 1..=longest)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn checkers_agree_with_their_definitions(seeds in seeds(7), keys in 1..3u8) {
        agree(&small(&seeds, keys))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30_000, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "takes minutes; run it by hand"]
    fn checkers_agree_with_their_definitions_at_length(seeds in seeds(8), keys in 1..3u8) {
        agree(&small(&seeds, keys))?;
    }
}
