//! Histories of the textbooks.

use super::*;

/// One word an operation: process, kind, key and value, as in `0wx1`; `?` behind it for an unknown outcome.
fn lines(words: &str) -> Vec<Line> {
    let line = |word: &str| {
        let mut letters = word.chars();
        let mut next = || letters.next().expect("a letter");
        let process = next().to_digit(10).expect("a process");
        let (kind, key) = (next(), next() as u32 - u32::from('x'));
        let rest: String = letters.collect();
        let outcome = if rest.ends_with('?') { Outcome::Unknown } else { Outcome::Ok };
        let value = rest.trim_end_matches('?').parse().expect("a value");
        Line { process, key, kind, value, from: 0, outcome }
    };
    words.split_whitespace().map(line).collect()
}

fn answer(words: &str) -> Answer {
    let history = history(&lines(words));
    let answer = check(&problem(&history, "register"));
    if let Answer::Violation(core) = &answer {
        assert_proof(&history, "register", core);
    }
    answer
}

fn all(words: &str) -> Answer {
    Answer::Violation((0..words.split_whitespace().count() as u32).map(OpId).collect())
}

#[test]
fn an_empty_history_is_in_order() {
    assert_eq!(answer(""), Answer::Valid);
}

#[test]
fn store_buffering_is_forbidden() {
    // Dekker: each process writes its own flag and does not see the other's.
    let words = "0wx1 1wy1 0ry0 1rx0";
    assert_eq!(answer(words), all(words));
    assert_eq!(answer("0wx1 1wy1 0ry0 1rx1"), Answer::Valid);
}

#[test]
fn independent_reads_of_independent_writes_agree() {
    let words = "0wx1 1wy1 2rx1 2ry0 3ry1 3rx0";
    assert_eq!(answer(words), all(words));
    assert_eq!(answer("0wx1 1wy1 2rx1 2ry0 3rx0 3ry1"), answer("0wx1"), "one of them is late");
}

#[test]
fn a_message_is_not_seen_before_what_it_tells_of() {
    let words = "0wx1 0wy1 1ry1 1rx0";
    assert_eq!(answer(words), all(words));
}

#[test]
fn old_values_may_be_read_as_long_as_the_world_moves_on() {
    // Not linearizable: all writes are done when the second process begins.
    assert_eq!(answer("0wx1 0wx2 0wx3 1rx1 1rx2 2rx0 2rx3 1rx3"), Answer::Valid);
    let words = "0wx1 0wx2 1rx2 1rx1";
    assert_eq!(answer(words), all(words));
}

#[test]
fn a_write_may_be_read_by_one_that_ended_before_it_began() {
    assert_eq!(answer("1rx1 0wx1"), Answer::Valid);
}

#[test]
fn it_is_not_local() {
    // Herlihy and Wing's two queues, with registers: each key alone is in order, and not both together.
    let (x, y) = ("0wx1 1wx2 0rx2", "1wy1 0wy2 1ry2");
    assert_eq!(answer(x), Answer::Valid);
    assert_eq!(answer(y), Answer::Valid);
    let words = "0wx1 1wy1 0wy2 1wx2 0rx2 1ry2";
    assert_eq!(answer(words), Answer::Valid, "here the processes take turns");
    // Each key by itself puts one process' write last; program order puts them into a circle.
    let words = "0wx1 0wy1 1wy2 1wx2 0rx1 1ry2 2rx2 2rx1 3ry1 3ry2";
    let key = |key: char| {
        let of_key = words.split_whitespace().filter(|word| word.contains(key));
        answer(&of_key.collect::<Vec<_>>().join(" "))
    };
    assert_eq!((key('x'), key('y')), (Answer::Valid, Answer::Valid));
    assert!(matches!(answer(words), Answer::Violation(_)));
}

#[test]
fn thin_air_is_refuted_by_the_read_alone() {
    assert_eq!(answer("0wx1 1rx7 0wx2"), Answer::Violation(vec![OpId(1)]));
}

#[test]
fn an_operation_of_unknown_outcome_may_happen_late_or_never() {
    assert_eq!(
        answer("0wx1? 0rx0 1rx0 1rx1 0rx0"),
        Answer::Valid,
        "after what its process did next"
    );
    assert_eq!(answer("0wx1? 0rx0 1rx0"), Answer::Valid);
    let words = "1rx1 1ry0 0wy1 0wx1?";
    assert_eq!(answer(words), all(words), "not before what its process did before");
}

#[test]
fn what_was_not_decided_by_real_time_is_decided_by_trying() {
    // The order of 1 and 2 is open in x and in y; one choice of each fails.
    assert_eq!(answer("0wx1 1wx2 2wy1 3wy2 0ry2 1ry1 4rx2 4ry2"), {
        let history = history(&lines("0wx1 1wx2 2wy1 3wy2 0ry2 1ry1 4rx2 4ry2"));
        match brute::is_valid(&problem(&history, "register")) {
            true => Answer::Valid,
            false => panic!("it is in order"),
        }
    });
}

#[test]
fn a_spent_budget_is_an_unknown() {
    let lines = lines("0wx1 1wx1 0rx2 1wx2 0wx3 1rx3 0rx1");
    let history = history(&lines);
    let spent = || true;
    let problem = Problem { budget: Budget::new(&spent), ..problem(&history, "register") };
    // Little work is done without asking; what it finds is an answer nevertheless.
    assert!(!matches!(check(&problem), Answer::Violation(core) if core.is_empty()));
}

#[test]
fn an_action_that_the_specification_does_not_know_is_an_unknown() {
    let history = history(&lines("0ax1"));
    assert!(matches!(check(&problem(&history, "register")), Answer::Unknown(_)));
}
