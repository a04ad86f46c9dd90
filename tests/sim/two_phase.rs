//! Two-phase commit under random faults in virtual time: nothing is found in the protocol, and every protocol that
//! is wrong on purpose is found.
//!
//! A longer search: `RUNS=100000 cargo test --release --test sim_two_phase`. All mutants, with the seed that finds
//! each: `cargo test --release --test sim_two_phase every_mutant -- --nocapture`.

use consistency_lab::sim::two_phase::{Config, MUTANTS, Plan, run, shrink, sweep};
use consistency_lab::sim::{Detail, SweepOptions};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn nothing_is_found(participants: u16, durable: bool, seeds: u64) {
    let config = Config { participants, durable, ..Config::default() };
    let options = SweepOptions { threads: 2, keep_going: true, keep: 10 };
    let swept = sweep(&config, 0..number("RUNS", seeds), options, &|_| ()).expect("a plan");
    let failures: Vec<String> = swept
        .failures
        .iter()
        .map(|failure| format!("seed {}: {}", failure.seed, failure.verdict))
        .collect();
    assert!(failures.is_empty(), "{participants}, durable {durable}: {failures:#?}");
    assert_eq!(swept.first_undecided, None, "{participants}, durable {durable}");
}

#[test]
fn three_participants_agree() {
    nothing_is_found(3, false, 1500);
}

#[test]
fn three_participants_with_logs_agree() {
    nothing_is_found(3, true, 1500);
}

#[test]
fn other_numbers_of_participants_agree() {
    for participants in [1, 2, 5] {
        for durable in [false, true] {
            nothing_is_found(participants, durable, 200);
        }
    }
}

#[test]
fn every_mutant_is_found() {
    let options = SweepOptions { threads: 2, keep_going: false, keep: 1 };
    let mut escaped = Vec::new();
    for mutant in MUTANTS {
        let config = Config { mutant: Some(mutant.name.to_owned()), ..Config::default() };
        let found = sweep(&config, 0..5_000, options, &|_| ()).expect("a plan");
        match found.failures.first() {
            Some(failure) => {
                println!("{}: seed {}: {}", mutant.name, failure.seed, failure.verdict)
            }
            None => escaped.push(mutant.name),
        }
    }
    assert!(escaped.is_empty(), "not found within 5,000 seeds: {}", escaped.join(", "));
}

#[test]
fn a_shrunk_run_still_fails_and_nothing_can_be_left_out() {
    let config = Config { mutant: Some("serves-too-early".to_owned()), ..Config::default() };
    let options = SweepOptions { threads: 2, keep_going: false, keep: 1 };
    let found = sweep(&config, 0..5_000, options, &|_| ()).expect("a plan");
    let failure = found.failures.first().expect("it is found");
    let plan = Plan::generate(failure.seed, &config).expect("a plan");
    let small = shrink(&plan, 20_000).expect("a plan").expect("it fails");
    assert!(small.minimal, "{} runs were not enough", small.runs);
    assert!(small.plan.operations() < 8, "{} commands are left", small.plan.operations());
    let fails = |plan: &Plan| {
        let verdict = run(plan, Detail::History).map(|outcome| outcome.verdict);
        verdict.is_ok_and(|verdict| verdict.kind() == small.verdict.kind())
    };
    for fault in 0..small.plan.faults.len() {
        let mut less = small.plan.clone();
        less.faults.remove(fault);
        assert!(!fails(&less), "fault {fault} can be left out");
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes_also_from_a_file() {
    for durable in [false, true] {
        let config = Config { durable, ..Config::default() };
        for seed in 0..10 {
            let plan = Plan::generate(seed, &config).expect("a plan");
            let text = serde_json::to_string(&plan).expect("data");
            let read: Plan = serde_json::from_str(&text).expect("data");
            assert_eq!(read, plan);
            let [one, other] =
                [&plan, &read].map(|plan| run(plan, Detail::Everything).expect("a run"));
            assert_eq!(one.trace, other.trace);
            assert_eq!(one.history.operations, other.history.operations);
        }
    }
}

/// Runs that showed mistakes of the protocol while it was made, by what they show. The seeds are of those days'
/// generator, so the plans are kept.
#[test]
fn what_was_found_stays_mended() {
    for name in ["joined-without-a-source", "two-joining", "two-starts-of-one-number"] {
        let path = format!("{}/tests/plans_2pc/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("it is there");
        let plan: Plan = serde_json::from_str(&text).expect("a plan");
        let outcome = run(&plan, Detail::History).expect("a plan that can be run");
        assert!(outcome.verdict.kind().is_none(), "{name}: {}", outcome.verdict);
    }
}
