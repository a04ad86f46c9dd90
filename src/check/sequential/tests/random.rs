//! Random small histories: every stage agrees with brute force.

use proptest::prelude::*;

use super::*;
use crate::base::ReplicaId;
use crate::history::Delivery;

/// How many cases by default; `PROPTEST_CASES` asks for more.
const CASES: u32 = 400;

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(CASES),
        failure_persistence: None,
        ..Default::default()
    }
}

/// Up to `most` operations; `unique` makes written values unique.
fn lines(kinds: &'static str, unique: bool, most: usize) -> impl Strategy<Value = Vec<Line>> {
    let kinds: Vec<char> = kinds.chars().collect();
    let outcome = prop_oneof![
        8 => Just(Outcome::Ok),
        2 => Just(Outcome::Unknown),
        1 => Just(Outcome::Fail),
    ];
    let line = (0..3_u32, 0..2_u32, prop::sample::select(kinds), 0..4_u32, 0..4_u32, outcome);
    let line = line.prop_map(|(process, key, kind, value, from, outcome)| Line {
        process,
        key,
        kind,
        value,
        from,
        outcome,
    });
    prop::collection::vec(line, 1..=most).prop_map(move |mut lines| {
        if unique {
            for (number, line) in lines.iter_mut().enumerate().filter(|(_, line)| line.kind != 'r')
            {
                line.value = number as u32 + 1;
            }
            let written: Vec<_> = lines.iter().filter(|line| line.kind != 'r').cloned().collect();
            let some = |key: u32, number: u32| {
                let of_key = written.iter().filter(|line| line.key == key).map(|line| line.value);
                std::iter::once(0).chain(of_key).cycle().nth(number as usize).unwrap_or(0)
            };
            for line in &mut lines {
                line.from = some(line.key, line.from);
                if line.kind == 'r' {
                    line.value = some(line.key, line.value);
                }
            }
        }
        lines
    })
}

/// Strings that grow: reads return some sequence of what was appended.
fn strings() -> impl Strategy<Value = Vec<Line>> {
    let lines = lines("raarw", false, 6);
    (lines, prop::collection::vec(0..60_usize, 6)).prop_map(|(mut lines, picks)| {
        const READ: [u32; 15] = [0, 1, 2, 3, 12, 21, 11, 123, 13, 31, 22, 112, 122, 121, 211];
        for (line, pick) in lines.iter_mut().zip(picks) {
            if line.kind == 'r' {
                line.value = READ[pick % READ.len()];
            } else if line.kind == 'w' && pick % 3 > 0 {
                line.kind = 'a';
            }
        }
        lines
    })
}

/// Strings whose pieces are unique: what they show can be told without a search.
fn unique_strings() -> impl Strategy<Value = Vec<Line>> {
    let picks = prop::collection::vec(prop::collection::vec(0..4_usize, 0..4), 7);
    (lines("raa", true, 7), picks).prop_map(|(mut lines, picks)| {
        let written: Vec<_> = lines
            .iter()
            .filter(|line| line.kind == 'a')
            .map(|line| (line.key, line.value))
            .collect();
        for (line, picks) in lines.iter_mut().zip(picks).filter(|(line, _)| line.kind == 'r') {
            let of_key: Vec<_> = written.iter().filter(|(key, _)| *key == line.key).collect();
            let mut pieces: Vec<u32> = picks
                .iter()
                .filter_map(|pick| of_key.get(*pick))
                .map(|(_, value)| *value)
                .collect();
            pieces.dedup();
            line.value = pieces.iter().fold(0, |text, piece| text * 10 + piece);
        }
        lines
    })
}

/// What the search alone says, from the beginning and with nothing inferred.
fn by_search_alone(problem: &Problem<'_>) -> bool {
    let machine = Machine::of(problem).expect("actions of the specification");
    let program = Program::of(problem, &machine);
    let ranks: Vec<u32> = program.numbers().collect();
    match search::search(&program, &[], &ranks, &program.loose) {
        Found::Order(order) => {
            assert!(verify::is_legal(problem, &machine, &order), "not legal: {order:?}");
            true
        }
        Found::Nothing => false,
        Found::Spent => panic!("there is no bound"),
    }
}

/// What saturation and decisions say without hint, guess and search; `None` where they leave it open.
fn by_relation_alone(problem: &Problem<'_>) -> Option<bool> {
    let machine = Machine::of(problem).expect("actions of the specification");
    let mut program = Program::of(problem, &machine);
    growth::unfold(&mut program);
    let sources = Sources::of(&program).ok()?;
    let mut relation = Relation::of(&program, &sources).expect("it is small");
    // A time that misleads, so that decisions have to be taken back.
    let times: Vec<u32> = program.numbers().map(|number| number.wrapping_mul(7) % 5).collect();
    match by_relation(&program, &sources, &mut relation, &times)? {
        Answer::Valid => Some(true),
        Answer::Violation(core) => {
            assert_proof(problem.history, problem.spec.name, &core);
            Some(false)
        }
        Answer::Unknown(_) => None,
    }
}

fn agree(lines: &[Line], spec: &str, always_by_relation: bool) {
    let history = history(lines);
    let problem = problem(&history, spec);
    let expected = brute::is_valid(&problem);
    match check(&problem) {
        Answer::Valid => assert!(expected, "brute force finds a violation"),
        Answer::Violation(core) => {
            assert!(!expected, "brute force finds an order");
            assert_proof(&history, spec, &core);
        }
        Answer::Unknown(why) => panic!("there is no bound: {why}"),
    }
    assert_eq!(by_search_alone(&problem), expected, "the search alone");
    match by_relation_alone(&problem) {
        Some(found) => assert_eq!(found, expected, "saturation and decisions alone"),
        None => {
            let machine = Machine::of(&problem).expect("actions of the specification");
            let thin_air = Sources::of(&Program::of(&problem, &machine)).is_err();
            assert!(thin_air || !always_by_relation, "values are unique: nothing is left open");
        }
    }
}

/// How many of the histories of a kind are valid; a test of the test.
fn spread(lines: impl Strategy<Value = Vec<Line>>, spec: &str) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let valid = (0..200).filter(|_| {
        let tree = lines.new_tree(&mut runner).expect("nothing is rejected");
        let history = history(&proptest::strategy::ValueTree::current(&tree));
        brute::is_valid(&problem(&history, spec))
    });
    let valid = valid.count();
    assert!((20..180).contains(&valid), "{valid} of 200 histories are valid: too uneven");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn unique_values_agree_with_brute_force(lines in lines("rrw", true, 8)) {
        agree(&lines, "register", true);
    }

    #[test]
    fn unique_values_with_cas_agree_with_brute_force(lines in lines("rrwcc", true, 7)) {
        agree(&lines, "cas-register", true);
    }

    #[test]
    fn repeated_values_agree_with_brute_force(lines in lines("rw", false, 7)) {
        agree(&lines, "register", false);
    }

    #[test]
    fn repeated_values_with_cas_agree_with_brute_force(lines in lines("rwcm", false, 7)) {
        agree(&lines, "cas-register", false);
    }

    #[test]
    fn unique_values_with_missed_cas_agree_with_brute_force(lines in lines("rwcm", true, 7)) {
        agree(&lines, "cas-register", false);
    }

    #[test]
    fn strings_agree_with_brute_force(lines in strings()) {
        agree(&lines, "append", false);
    }

    #[test]
    fn strings_of_unique_pieces_agree_with_brute_force(lines in unique_strings()) {
        agree(&lines, "append", false);
    }

    #[test]
    fn a_wrong_hint_changes_no_verdict(
        lines in lines("rrwc", true, 7),
        hints in prop::collection::vec((0..3_u16, 0..9_u32), 0..12),
    ) {
        let mut history = history(&lines);
        let expected = brute::is_valid(&problem(&history, "cas-register"));
        for (replica, op) in hints {
            let operation = OpId(op % history.operations.len() as u32);
            let value = match history.operation(operation).action {
                Action::Cas { to, .. } => to,
                Action::Write(value) | Action::Read(value) => value,
                _ => ValueId::NIL,
            };
            let key = history.operation(operation).key;
            let replica = ReplicaId(replica);
            let operation = Some(operation);
            history.deliveries.push(Delivery { replica, operation, key, value, at: 0 });
        }
        prop_assert_eq!(check(&problem(&history, "cas-register")) == Answer::Valid, expected);
    }
}

#[test]
fn the_random_histories_are_of_both_kinds() {
    spread(lines("rrw", true, 8), "register");
    spread(lines("rrwcc", true, 7), "cas-register");
    spread(lines("rw", false, 7), "register");
    spread(lines("rwcm", false, 7), "cas-register");
    spread(strings(), "append");
    spread(unique_strings(), "append");
}
