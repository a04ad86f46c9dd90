//! The correct modes in the simulator: nothing may be found.
//!
//! A longer search: `RUNS=100000 cargo test --release --test sim_modes`; one seed: `SEED=17 RUNS=1 …`.

use consistency_lab::sim::{Config, Detail, Plan, SweepOptions, no_checker, run, sweep};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn clean(config: &Config) {
    let first = number("SEED", 0);
    let seeds = first..first + number("RUNS", 150);
    let options = SweepOptions { threads: 2, keep_going: true, keep: 5 };
    let began = std::time::Instant::now();
    let done = sweep(config, seeds, options, &no_checker, &|_| ()).expect("a plan");
    let took = began.elapsed();
    println!(
        "{} x{}: {} runs, {} events, {} operations in {took:?}",
        config.mode, config.replicas, done.runs, done.events, done.operations
    );
    for failure in &done.failures {
        if std::env::var_os("TRACE").is_some() {
            let plan = Plan::generate(failure.seed, config).expect("a plan");
            let outcome = run(&plan, Detail::Everything, &no_checker).expect("a run");
            println!("{}\n{}", toml::to_string(&plan).expect("data"), outcome.trace);
        }
        println!("{} seed {}: {}", config.mode, failure.seed, failure.verdict);
    }
    assert_eq!(done.failed, 0, "{} of {} seeds failed", done.failed, done.runs);
}

#[test]
fn sequential_holds() {
    clean(&Config::new("sequential"));
}

#[test]
fn eventual_holds() {
    clean(&Config::new("eventual"));
}

#[cfg(feature = "raft")]
#[test]
fn linearizable_holds() {
    clean(&Config::new("linearizable"));
}

#[cfg(feature = "raft")]
#[test]
fn linearizable_holds_with_other_numbers_of_replicas() {
    for replicas in [1, 2, 4, 5] {
        clean(&Config { replicas, operations: 100, ..Config::new("linearizable") });
    }
}

#[test]
fn other_numbers_of_replicas_hold() {
    for mode in ["sequential", "eventual"] {
        for replicas in [1, 2, 5] {
            clean(&Config { replicas, operations: 100, ..Config::new(mode) });
        }
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    for seed in 0..20 {
        let plan = Plan::generate(seed, &Config::new("sequential")).expect("a plan");
        let saved = toml::to_string(&plan).expect("it can be written");
        let again: Plan = toml::from_str(&saved).expect("it can be read");
        assert_eq!(again, plan);
        let one = run(&plan, Detail::Everything, &no_checker).expect("a run");
        let other = run(&again, Detail::Everything, &no_checker).expect("a run");
        assert_eq!(one.trace, other.trace);
        assert_eq!(one.history.operations, other.history.operations);
        let bare = run(&plan, Detail::History, &no_checker).expect("a run");
        assert_eq!(one.history.operations, bare.history.operations, "watching changes nothing");
        assert!(!one.trace.is_empty() && bare.trace.is_empty());
    }
}
