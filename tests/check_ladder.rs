//! Every checker against brute force, and the models against each other, on random small histories.
//!
//! A longer search: `RUNS=1000000 cargo test --release --test check_ladder`; another beginning: `SEED=…`.

mod brute;

use consistency_lab::check::ladder::Ladder;
use consistency_lab::check::witness::Witness;
use consistency_lab::check::{Answer, Budget, MODELS, Model, Problem, spec};
use consistency_lab::history::{
    Action, Builder, Clock, Completion, History, Invocation, Operation, Outcome, Told, ValueId,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A history of up to six operations of two or three processes on one or two keys.
fn history(seed: u64) -> History {
    let mut rng = Random(ChaCha8Rng::seed_from_u64(seed));
    let mut builder = Builder::new(Clock::Steps);
    let keys = [builder.key("x"), builder.key("y")];
    let keys = &keys[..1 + rng.below(2)];
    let processes = &["a", "b", "c"][..2 + rng.below(2)];
    let repeats = rng.one_in(5);
    let cas = rng.one_in(4);
    let mut open = vec![false; processes.len()];
    let (mut left, mut value) = (3 + rng.below(4), 0);
    while left > 0 || open.contains(&true) {
        let p = rng.below(processes.len());
        let process = processes[p];
        if open[p] {
            open[p] = false;
            let outcome = match rng.below(12) {
                0 => Outcome::Unknown,
                1 => Outcome::Fail,
                _ => Outcome::Ok,
            };
            let told = match builder.open_operation(process).expect("it is open").action {
                Action::Cas { .. } => Told::Swapped(rng.below(3) > 0),
                _ => Told::Nothing,
            };
            builder.complete(Completion { process, outcome, told, at: None }).expect("well-formed");
        } else if left > 0 {
            (open[p], left) = (true, left - 1);
            value += 1;
            let fresh = if repeats { 1 + rng.below(2) } else { value };
            let key = keys[rng.below(keys.len())];
            let seen = match rng.below(value) {
                0 => ValueId::NIL,
                v => builder.value(Some(&v.to_string())),
            };
            let fresh = builder.value(Some(&fresh.to_string()));
            let action = match rng.below(if cas { 7 } else { 6 }) {
                0..3 => Action::Read(seen),
                3..6 => Action::Write(fresh),
                _ => Action::Cas { from: seen, to: fresh, swapped: true },
            };
            let invocation = Invocation { process, key, action, replica: None, at: None };
            builder.invoke(invocation).expect("well-formed");
        }
    }
    let mut history = builder.finish();
    mend(&mut history, &mut rng);
    history
}

/// Turns most reads of values that nobody wrote to their key into something that can be true.
fn mend(history: &mut History, rng: &mut Random) {
    for i in 0..history.operations.len() {
        let key = history.operations[i].key;
        let mut written: Vec<ValueId> = vec![ValueId::NIL];
        written.extend(history.operations.iter().filter(|op| op.key == key).filter_map(|op| {
            match op.action {
                Action::Write(value) | Action::Cas { to: value, .. } => Some(value),
                _ => None,
            }
        }));
        let value = written[rng.below(written.len())];
        let thin_air = rng.one_in(40);
        match &mut history.operations[i].action {
            Action::Read(found) if !thin_air => *found = value,
            Action::Cas { from, .. } if !thin_air => *from = value,
            _ => {}
        }
    }
}

fn problem(history: &History) -> Problem<'_> {
    let spec = spec::Spec::find("cas-register").expect("a specification of the list");
    Problem { history, spec, initial: ValueId::NIL, budget: Budget::unlimited() }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn ordered_models() -> impl Iterator<Item = &'static Model> {
    MODELS.iter().filter(|model| model.name != "convergent")
}

/// All verdicts on one history; the counts show that no verdict is rare.
fn compare(seed: u64, counts: &mut [[u64; 3]]) {
    let history = history(seed);
    let problem = problem(&history);
    let missed = |op: &Operation| matches!(op.action, Action::Cas { swapped: false, .. });
    let plain = !history.operations.iter().any(|op| op.outcome == Outcome::Ok && missed(op));
    let decidable = plain && brute::unique(&history, ValueId::NIL);
    for (model, count) in ordered_models().zip(counts) {
        let answer = model.check(&problem);
        let truth = brute::holds(&history, ValueId::NIL, model.name);
        let complete = decidable || matches!(model.name, "linearizable" | "sequential");
        let verdict = match &answer {
            Answer::Valid => 0,
            Answer::Violation(_) => 1,
            Answer::Unknown(_) => 2,
        };
        count[verdict] += 1;
        let right = match answer {
            Answer::Valid => truth,
            Answer::Violation(_) => !truth,
            Answer::Unknown(_) => !complete,
        };
        assert!(right, "{}: {answer:?}, brute force: {truth}\n{}", model.name, show(&history));
    }
    let ladder = Ladder::climb(&problem, &ordered_models().collect::<Vec<_>>(), &|_| ());
    for strong in &ladder.rungs {
        for weak in ladder.rungs.iter().filter(|weak| strong.model.implies(weak.model)) {
            let contradict = strong.answer == Answer::Valid && weak.answer != Answer::Valid;
            assert!(!contradict, "{:?} ⇒ {:?}\n{}", strong.model, weak.model, show(&history));
        }
    }
}

/// The truth about the models themselves: what implies what, by brute force alone.
fn implications(seed: u64) {
    let history = history(seed);
    if !brute::unique(&history, ValueId::NIL) {
        return;
    }
    let truths: Vec<(&Model, bool)> = ordered_models()
        .map(|model| (model, brute::holds(&history, ValueId::NIL, model.name)))
        .collect();
    for (strong, _) in truths.iter().filter(|(_, holds)| *holds) {
        for (weak, holds) in &truths {
            let broken = strong.implies(weak) && !holds;
            assert!(!broken, "{strong:?} ⇒ {weak:?} is not so\n{}", show(&history));
        }
    }
}

/// Every witness breaks the model on its own, and no longer without any one of its operations.
fn witnesses(seed: u64) {
    let history = history(seed);
    let problem = problem(&history);
    for model in ordered_models() {
        let Answer::Violation(core) = model.check(&problem) else { continue };
        let witness = Witness::find(&problem, model, &core);
        let small = history.restricted(&witness.operations);
        let broken = |history: &History| !brute::holds(history, ValueId::NIL, model.name);
        assert!(broken(&small), "{model:?}: {witness:?}\n{}", show(&history));
        assert!(!witness.why.is_empty());
        for gone in small.ids() {
            let smaller = small.restricted(&brute::without(&small, gone));
            let name = model.name;
            assert!(!broken(&smaller), "{name}: {gone:?} is not needed\n{}", show(&small));
        }
    }
}

fn show(history: &History) -> String {
    let line = |op: &Operation| {
        let what = consistency_lab::check::witness::describe(history, op);
        let process = history.process(op.process);
        format!("  {process} {what}  {:?} {}..{}\n", op.outcome, op.invoked, op.completed)
    };
    history.operations.iter().map(line).collect()
}

fn each_seed(default: u64, test: impl Fn(u64)) {
    let first = number("SEED", 0);
    for seed in first..first + number("RUNS", default) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed)));
        if let Err(panic) = result {
            eprintln!("replay with SEED={seed} RUNS=1");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_models_imply_each_other_as_the_ladder_says() {
    each_seed(100_000, implications);
}

#[test]
fn every_checker_agrees_with_brute_force() {
    let counts = std::cell::RefCell::new(vec![[0; 3]; MODELS.len()]);
    each_seed(100_000, |seed| compare(seed, &mut counts.borrow_mut()));
    if number("RUNS", 100_000) >= 100_000 {
        for (model, [valid, violation, _]) in ordered_models().zip(counts.into_inner()) {
            assert!(valid > 1000 && violation > 1000, "{model:?}: {valid} valid, {violation} not");
        }
    }
}

#[test]
fn witnesses_are_violations_and_minimal() {
    each_seed(5_000, witnesses);
}
