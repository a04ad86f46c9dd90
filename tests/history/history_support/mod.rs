//! Random histories, and what is to be compared of two.

use consistency_lab::base::ReplicaId;
use consistency_lab::history::{
    Action, Builder, Clock, Completion, Fault, History, Invocation, Message, Outcome, Told, ValueId,
};
use proptest::prelude::*;

const PROCESSES: [&str; 4] = ["c0", "7", "a b", "ü\"\\"];
const KEYS: [&str; 3] = ["x", "", "k:\t1"];
const VALUES: [&str; 12] =
    ["1", "2", "-3", "007", "nil", "\"nil\"", "null", "", "a b\n", "\\x00", "é\u{0}", ":key"];

/// One step: whose, and what to do next; numbers are taken modulo what there is.
type Step = (usize, usize, usize, usize, u64);

fn value(builder: &mut Builder, choice: usize) -> ValueId {
    match choice % (VALUES.len() + 1) {
        0 => builder.value(None),
        choice => builder.value(Some(VALUES[choice - 1])),
    }
}

fn action(builder: &mut Builder, (_, what, one, two, _): Step) -> Action {
    match what % 6 {
        0 | 1 => Action::Read(ValueId::NIL),
        2 => Action::Write(value(builder, one)),
        3 => {
            let (from, to) = (value(builder, one), value(builder, two));
            Action::Cas { from, to, swapped: true }
        }
        4 => Action::Append(builder.value(Some(VALUES[one % VALUES.len()]))),
        _ => Action::Other(builder.value(Some("incr"))),
    }
}

fn build(clock: Clock, steps: &[Step]) -> History {
    let mut builder = Builder::new(clock);
    let mut now = 0;
    for step in steps {
        let (process, what, one, two, passed) = *step;
        now += passed;
        let at = (clock == Clock::Nanoseconds).then_some(now);
        let name = PROCESSES[process % PROCESSES.len()];
        let at_least = at.unwrap_or(u64::from(builder.events()));
        let replica = ReplicaId((one % 3) as u16);
        match (what % 10, builder.open_operation(name).copied()) {
            (8, _) => {
                let (key, value) = (builder.key(KEYS[one % KEYS.len()]), value(&mut builder, two));
                builder.deliver(replica, key, value, at_least);
            }
            (9, _) => {
                let received = (two % 3 > 0).then_some(at_least + two as u64 % 7);
                let (to, label) =
                    (ReplicaId((two % 3) as u16), VALUES[two % VALUES.len()].to_owned());
                let message = Message { from: replica, to, sent: at_least, received, label };
                builder.history_mut().messages.push(message);
            }
            (_, None) => {
                let key = builder.key(KEYS[two % KEYS.len()]);
                let action = action(&mut builder, *step);
                let replica = (one % 2 == 0).then_some(replica);
                let invocation = Invocation { process: name, key, action, replica, at };
                builder.invoke(invocation).expect("nothing is open");
            }
            (_, Some(open)) => {
                let outcome = [Outcome::Ok, Outcome::Ok, Outcome::Fail, Outcome::Unknown][one % 4];
                let told = match (outcome, open.action) {
                    (Outcome::Ok, Action::Read(_)) => Told::Value(value(&mut builder, two)),
                    (Outcome::Ok, Action::Cas { .. }) => Told::Swapped(two % 2 == 0),
                    _ => Told::Nothing,
                };
                let completion = Completion { process: name, outcome, told, at };
                builder.complete(completion).expect("it is open");
            }
        }
    }
    builder.finish()
}

/// Random histories with all there is.
pub fn histories() -> impl Strategy<Value = History> {
    any::<bool>().prop_flat_map(|nanoseconds| histories_of(nanoseconds, 0))
}

/// The same with nanoseconds, where no two events happen at the same time.
pub fn timed_histories() -> impl Strategy<Value = History> {
    histories_of(true, 1)
}

fn histories_of(nanoseconds: bool, least: u64) -> impl Strategy<Value = History> {
    let passed = least..least + 3;
    let step = (any::<usize>(), any::<usize>(), any::<usize>(), any::<usize>(), passed);
    let steps = proptest::collection::vec(step, 1..60);
    (steps, proptest::option::of("[a-z]{1,9}"), 0..4_usize).prop_map(
        move |(steps, claim, faults)| {
            let clock = if nanoseconds { Clock::Nanoseconds } else { Clock::Steps };
            let mut history = build(clock, &steps);
            history.claim = claim;
            for number in 0..faults as u64 {
                let (name, replicas) = (format!("fault {number}"), vec![ReplicaId(number as u16)]);
                let until = (number % 2 == 0).then_some(number * 3 + 2);
                history.faults.push(Fault { name, replicas, from: number * 3, until });
            }
            let keys = history.keys.len() as u32;
            let initial = (0..keys).filter(|key| key % 2 == 0);
            history.initial = initial
                .map(|key| (consistency_lab::history::KeyId(key), ValueId(key % 3)))
                .filter(|(_, value)| (value.0 as usize) < history.values.len())
                .collect();
            history
        },
    )
}

/// How much of a history is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Everything.
    All,
    /// Operations and their times; a compare-and-set that found another value has failed.
    Operations,
}

/// A history in words, the same for two that are the same.
pub fn picture(history: &History, kept: Kept) -> Vec<String> {
    let text = |value| history.stored_text(value);
    let mut lines: Vec<String> = history
        .operations
        .iter()
        .map(|operation| {
            let mut outcome = operation.outcome;
            let action = match operation.action {
                Action::Read(value) => format!("read {:?}", text(value)),
                Action::Write(value) => format!("write {:?}", text(value)),
                Action::Cas { from, to, swapped } => {
                    let swapped = swapped || kept == Kept::Operations;
                    if !swapped || operation.action == (Action::Cas { from, to, swapped: false }) {
                        outcome = match (kept, outcome) {
                            (Kept::Operations, Outcome::Ok) => Outcome::Fail,
                            (_, outcome) => outcome,
                        };
                    }
                    format!("cas {:?} {:?} {swapped}", text(from), text(to))
                }
                Action::Append(value) => format!("append {:?}", text(value)),
                Action::Other(name) => format!("other {:?}", text(name)),
            };
            format!(
                "{:?} {:?} {action} {outcome:?} {:?} {}..{} {}..{:?}",
                history.process(operation.process),
                history.key(operation.key),
                operation.replica,
                operation.invoked,
                operation.completed,
                operation.invoked_at,
                operation.completed_at,
            )
        })
        .collect();
    lines.push(format!("{:?}", history.clock));
    if kept == Kept::All {
        let key = |key| history.key(key);
        lines.push(format!("claim {:?}", history.claim));
        for (name, value) in &history.initial {
            lines.push(format!("initial {:?} {:?}", key(*name), text(*value)));
        }
        for delivery in &history.deliveries {
            let (key, value) = (key(delivery.key), text(delivery.value));
            let (replica, at, operation) = (delivery.replica, delivery.at, delivery.operation);
            lines.push(format!("deliver {replica} {key:?} {value:?} {at} {operation:?}"));
        }
        lines.extend(history.faults.iter().map(|fault| format!("{fault:?}")));
        lines.extend(history.messages.iter().map(|message| format!("{message:?}")));
    }
    lines
}
