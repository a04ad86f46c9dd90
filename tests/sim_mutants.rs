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
