//! Every protocol that is wrong on purpose is found, soon, and what is found can be made small.
//!
//! All of them, with the seed that finds each: `cargo test --release --test sim_mutants -- --nocapture`.

use consistency_lab::sim::{
    Config, Detail, MUTANTS, Mutant, Plan, SweepOptions, no_checker, run, shrink, sweep,
};

fn config(mutant: &Mutant, mode: &str) -> Config {
    Config { mutant: Some(mutant.name.to_owned()), ..Config::new(mode) }
}

#[test]
fn every_mutant_is_found() {
    let mut escaped = Vec::new();
    for mutant in MUTANTS {
        for mode in mutant.modes {
            let options = SweepOptions { threads: 2, keep_going: false, keep: 1 };
            let found = sweep(&config(mutant, mode), 0..5_000, options, &no_checker, &|_| ())
                .expect("a plan");
            match found.failures.first() {
                Some(failure) => {
                    println!("{} {mode}: seed {}: {}", mutant.name, failure.seed, failure.verdict);
                }
                None => escaped.push(format!("{} ({mode})", mutant.name)),
            }
        }
    }
    assert!(escaped.is_empty(), "not found within 5,000 seeds: {}", escaped.join(", "));
}

#[test]
fn a_shrunk_run_still_fails_and_nothing_can_be_left_out() {
    for (name, mode) in [("forgets-pending", "eventual"), ("hasty-read", "sequential")] {
        let mutant = MUTANTS.iter().find(|mutant| mutant.name == name).expect("it is listed");
        let config = config(mutant, mode);
        let options = SweepOptions { threads: 2, keep_going: false, keep: 1 };
        let found = sweep(&config, 0..5_000, options, &no_checker, &|_| ()).expect("a plan");
        let failure = found.failures.first().expect("it is found");
        let plan = Plan::generate(failure.seed, &config).expect("a plan");
        let small = shrink(&plan, &no_checker, 20_000).expect("a plan").expect("it fails");
        println!(
            "{name}: {} operations and {} faults in {} runs: {}",
            small.plan.operations(),
            small.plan.faults.len(),
            small.runs,
            small.verdict
        );
        assert!(small.minimal, "{} runs were not enough", small.runs);
        assert!(small.plan.operations() < 12, "{} operations are left", small.plan.operations());
        let fails = |plan: &Plan| {
            let verdict = run(plan, Detail::History, &no_checker).map(|outcome| outcome.verdict);
            verdict.is_ok_and(|verdict| verdict.kind() == small.verdict.kind())
        };
        assert!(fails(&small.plan));
        for fault in 0..small.plan.faults.len() {
            let mut less = small.plan.clone();
            less.faults.remove(fault);
            assert!(!fails(&less), "fault {fault} can be left out");
        }
        for client in 0..small.plan.clients.len() {
            for step in 0..small.plan.clients[client].steps.len() {
                let mut less = small.plan.clone();
                less.clients[client].steps.remove(step);
                assert!(!fails(&less), "step {step} of client {client} can be left out");
            }
        }
    }
}
