use proptest::prelude::*;

use super::*;
use crate::check::Budget;
use crate::history::{Builder, Clock, Completion, Invocation, Outcome, Told, ValueId};

fn problem<'a>(history: &'a History, spec: &str, initial: ValueId) -> Problem<'a> {
    let spec = Spec::find(spec).expect("a specification of this name");
    Problem { history, spec, initial, budget: Budget::unlimited() }
}

/// One operation after the other, by one process, on one key.
fn sequence(make: impl FnOnce(&mut Builder) -> Vec<(Action, Outcome)>) -> History {
    let mut builder = Builder::new(Clock::Steps);
    let key = builder.key("x");
    for (at, (action, outcome)) in make(&mut builder).into_iter().enumerate() {
        let process = &format!("p{at}");
        let invocation = Invocation { process, key, action, replica: None, at: None };
        builder.invoke(invocation).expect("a new process");
        let completion = Completion { process, outcome, told: Told::Nothing, at: None };
        builder.complete(completion).expect("it is open");
    }
    builder.finish()
}

/// Whether the steps are legal one after the other.
fn runs(history: &History, spec: &str, initial: ValueId) -> bool {
    let problem = problem(history, spec, initial);
    let machine = Machine::of(&problem).expect("it describes all of them");
    let mut state = Some(machine.initial(KeyId(0)));
    for id in history.ids() {
        state = state.and_then(|state| machine.apply(state, machine.step(id)));
    }
    state.is_some()
}

#[test]
fn a_register_returns_the_last_write() {
    let history = sequence(|names| {
        let one = names.value(Some("1"));
        vec![
            (Action::Read(ValueId::NIL), Outcome::Ok),
            (Action::Write(one), Outcome::Ok),
            (Action::Read(one), Outcome::Ok),
        ]
    });
    assert!(runs(&history, "register", ValueId::NIL));
    assert!(!runs(&history, "register", ValueId(1)), "it would hold 1 at first");
}

#[test]
fn a_compare_and_set_finds_what_it_says() {
    let cas = |from, to, swapped| Action::Cas { from, to, swapped };
    let with = |actions: &[(Action, Outcome)]| {
        let history = sequence(|names| {
            names.value(Some("1"));
            names.value(Some("2"));
            actions.to_vec()
        });
        runs(&history, "cas-register", ValueId::NIL)
    };
    let (nil, one, two) = (ValueId::NIL, ValueId(1), ValueId(2));
    let read = |value| (Action::Read(value), Outcome::Ok);
    assert!(with(&[(cas(nil, one, true), Outcome::Ok), read(one)]));
    assert!(!with(&[(cas(two, one, true), Outcome::Ok)]));
    assert!(with(&[(cas(two, one, false), Outcome::Ok), read(nil)]));
    assert!(!with(&[(cas(nil, one, false), Outcome::Ok)]), "nil is what it holds");
    assert!(with(&[(cas(nil, one, false), Outcome::Unknown), read(one)]));
    assert!(with(&[(cas(two, one, false), Outcome::Unknown), read(nil)]));
    assert!(with(&[(cas(nil, one, false), Outcome::Fail), read(nil)]), "it has not happened");
}

#[test]
fn a_read_of_nil_tells_nothing_where_keys_begin_with_a_value() {
    let history = sequence(|names| {
        let zero = names.value(Some("0"));
        vec![(Action::Read(ValueId::NIL), Outcome::Ok), (Action::Read(zero), Outcome::Ok)]
    });
    assert!(runs(&history, "cas-register", ValueId(1)));
    assert!(!runs(&history, "register", ValueId(1)));
}

#[test]
fn what_is_not_described_is_named_with_who_describes_it() {
    let history = sequence(|names| {
        let queue = names.value(Some("enqueue"));
        let text = names.value(Some("1"));
        vec![(Action::Other(queue), Outcome::Fail), (Action::Append(text), Outcome::Unknown)]
    });
    let refused = Machine::of(&problem(&history, "register", ValueId::NIL));
    let reason = refused.err().unwrap_or_default();
    assert!(reason.contains("`append`") && reason.contains("operation 1"), "{reason}");
    assert!(reason.ends_with("try --spec append"), "{reason}");
}

proptest! {
    /// Against strings that are really joined.
    #[test]
    fn appends_do_what_joining_does(
        parts in prop::collection::vec((0_usize..4, "[ab]{0,2}"), 1..10),
        also_read in prop::collection::vec("[ab]{0,8}", 0..4),
    ) {
        let mut held = String::new();
        let history = sequence(|names| {
            let mut actions = Vec::new();
            for text in &also_read {
                // These only say which strings there are to be told apart.
                actions.push((Action::Read(names.value(Some(text))), Outcome::Ok));
            }
            for (what, text) in &parts {
                let value = names.value(Some(text));
                actions.push(match what {
                    0 => { held.clone_from(text); (Action::Write(value), Outcome::Ok) }
                    1 => (Action::Read(names.value(Some(&held))), Outcome::Ok),
                    _ => { held.push_str(text); (Action::Append(value), Outcome::Ok) }
                });
            }
            actions.push((Action::Read(names.value(Some(&held))), Outcome::Ok));
            actions
        });
        let problem = problem(&history, "append", ValueId::NIL);
        let machine = Machine::of(&problem).expect("append describes them");
        let mut state = machine.initial(KeyId(0));
        let mut held = String::new();
        let ids: Vec<_> = history.ids().collect();
        let (observers, operations) = ids.split_at(also_read.len());
        let finds = |state, held: &str| observers.iter().zip(&also_read).all(|(id, text)| {
            machine.apply(state, machine.step(*id)).is_some() == (text == held)
        });
        for id in operations {
            prop_assert!(finds(state, &held));
            match history.operation(*id).action {
                Action::Append(value) => held.push_str(history.value(value)),
                Action::Write(value) => held = history.value(value).to_owned(),
                _ => {}
            }
            let next = machine.apply(state, machine.step(*id));
            prop_assert!(next.is_some(), "every read here returns what is held");
            state = next.unwrap_or(state);
        }
    }
}
