use proptest::prelude::*;

use super::*;
use crate::check::Budget;
use crate::check::spec::Spec;
use crate::history::{
    Action, Builder, Completion, History, Invocation, NEVER, Operation, Outcome, Told, ValueId,
};

fn problem<'a>(history: &'a History, spec: &str, initial: ValueId) -> Problem<'a> {
    let spec = Spec::find(spec).expect("a specification of this name");
    Problem { history, spec, initial, budget: Budget::unlimited() }
}

/// Reads a history: a line an event, `process action`, where an action is `r`, `w1`, `c1>2`, `a1` at first and
/// `ok`, `ok1` (what was read), `no` (not swapped), `fail` or `?` at the end. Keys come as `y:w1`.
fn parse(text: &str) -> History {
    let mut builder = Builder::new(Clock::Steps);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (process, what) = line.split_once(' ').expect("process and action");
        let (key, what) = what.split_once(':').unwrap_or(("x", what));
        let key = builder.key(key);
        let (kind, rest) = what.split_at(1);
        let mut value =
            |text: &str| builder.value((text != "nil" && !text.is_empty()).then_some(text));
        let action = match kind {
            "r" => Some(Action::Read(ValueId::NIL)),
            "w" => Some(Action::Write(value(rest))),
            "a" => Some(Action::Append(value(rest))),
            "c" => {
                let (from, to) = rest.split_once('>').expect("from and to");
                Some(Action::Cas { from: value(from), to: value(to), swapped: true })
            }
            _ => None,
        };
        if let Some(action) = action {
            let invocation = Invocation { process, key, action, replica: None, at: None };
            builder.invoke(invocation).expect("nothing is open");
            continue;
        }
        let (outcome, told) = match what {
            "ok" => (Outcome::Ok, Told::Nothing),
            "no" => (Outcome::Ok, Told::Swapped(false)),
            "fail" => (Outcome::Fail, Told::Nothing),
            "?" => (Outcome::Unknown, Told::Nothing),
            found => (Outcome::Ok, Told::Value(value(found.strip_prefix("ok").expect("ok")))),
        };
        let completion = Completion { process, outcome, told, at: None };
        builder.complete(completion).expect("it is open");
    }
    builder.finish()
}

fn answer(text: &str, spec: &str) -> Answer {
    check(&problem(&parse(text), spec, ValueId::NIL))
}

fn core(text: &str, spec: &str) -> Vec<u32> {
    match answer(text, spec) {
        Answer::Violation(core) => core.into_iter().map(|id| id.0).collect(),
        other => panic!("expected a violation, found {other:?}"),
    }
}

#[test]
fn a_read_may_see_either_side_of_a_write_that_overlaps_it() {
    for found in ["ok1", "oknil"] {
        let text = format!("a w1\n b r\n b {found}\n a ok");
        assert_eq!(answer(&text, "register"), Answer::Valid, "{found}");
    }
    assert_eq!(answer("a w1\n a ok\n b r\n b ok1", "register"), Answer::Valid);
}

#[test]
fn a_stale_read_is_a_violation_by_the_writes_and_the_read() {
    let text = "a w1\n a ok\n a w2\n a ok\n b r\n b ok1\n c r\n c ok2";
    assert_eq!(core(text, "register"), [0, 1, 2, 3]);
    assert_eq!(core("a w1\n a ok\n b r\n b oknil", "register"), [0, 1]);
}

#[test]
fn reads_must_not_go_back() {
    // A write of unknown outcome: seen, then not seen.
    let text = "a w1\n a ?\n b r\n b ok1\n c r\n c oknil";
    assert_eq!(core(text, "register"), [0, 1, 2]);
    assert_eq!(answer("a w1\n a ?\n b r\n b oknil\n c r\n c ok1", "register"), Answer::Valid);
    assert_eq!(answer("a w1\n a fail\n b r\n b oknil", "register"), Answer::Valid);
}

#[test]
fn a_value_out_of_thin_air_is_a_violation_by_its_read_alone() {
    assert_eq!(core("a w1\n a ok\n b r\n b ok7", "register"), [1]);
    // Repeated values, so the search decides; and a failed write has not written.
    let text = "a w1\n a ok\n a w1\n a ok\n a w7\n a fail\n c r\n c ok1\n b r\n b ok7";
    assert_eq!(core(text, "register"), [4]);
    assert_eq!(core("a c5>1\n a ok", "cas-register"), [0]);
}

#[test]
fn a_read_from_the_future_is_a_violation_with_its_write() {
    assert_eq!(core("b r\n b ok1\n a w1\n a ok", "register"), [0, 1]);
    let text = "b r\n b ok1\n a w1\n a ok\n a w1\n a ok";
    assert_eq!(core(text, "register"), [0, 1]);
}

#[test]
fn keys_are_judged_by_themselves_and_the_first_one_is_named() {
    let text = "a x:w1\n a ok\n a y:w2\n a ok\n b y:r\n b oknil\n b x:r\n b ok1\n b z:r\n b ok3";
    assert_eq!(core(text, "register"), [1, 2]);
}

#[test]
fn swaps_find_what_the_last_one_left() {
    let text = "a w1\n a ok\n a c1>2\n b c1>3\n a ok\n b no\n c r\n c ok2";
    assert_eq!(answer(text, "cas-register"), Answer::Valid);
    let both = "a w1\n a ok\n a c1>2\n b c1>3\n a ok\n b ok\n c r\n c ok2";
    assert_eq!(core(both, "cas-register"), [0, 1, 2]);
    let unknown = "a w1\n a ok\n a c1>2\n a ?\n c r\n c ok2\n d c2>4\n d ok\n b r\n b ok4";
    assert_eq!(answer(unknown, "cas-register"), Answer::Valid);
}

#[test]
fn what_comes_behind_the_end_that_cannot_be_passed_is_cut_off() {
    let text = "a w1\n a ok\n a w2\n a ok\n c r\n b r\n b ok1\n c ok2\n a w1\n a ok\n a w2\n a ok";
    assert_eq!(core(text, "register"), [0, 1, 3]);
}

#[test]
fn strings_grow_in_the_order_that_is_read() {
    let text = "a ap\n b aq\n a ok\n b ok\n c r\n c okqp\n d r\n d okqp";
    assert_eq!(answer(text, "append"), Answer::Valid);
    let turned = "a ap\n b aq\n a ok\n b ok\n c r\n c okqp\n d r\n d okpq";
    assert_eq!(core(turned, "append").len(), 4);
}

#[test]
fn without_real_time_there_is_no_answer() {
    let mut history = parse("a w1\n a ok");
    history.clock = Clock::ProcessOrder;
    let problem = problem(&history, "register", ValueId::NIL);
    assert!(matches!(check(&problem), Answer::Unknown(reason) if reason.contains("real-time")));
}

#[test]
fn a_spent_budget_is_an_honest_unknown() {
    let history = parse("a w1\n a ok");
    let budget = Budget::new(&|| true);
    let problem = Problem { budget, ..problem(&history, "register", ValueId::NIL) };
    assert_eq!(check(&problem), Answer::Unknown(BUDGET_SPENT.to_owned()));
}

#[test]
fn many_writes_of_unknown_outcome_do_not_blow_the_search_up() {
    let mut text = String::from("a w0\n a ok\n");
    for at in 0..200 {
        text += &format!("u{at} w{}\n", at % 4);
        text += &format!("v{at} c{}>{}\n", at % 5, (at + 1) % 4);
    }
    for at in 0..40 {
        text += &format!("b r\n b ok{}\n", at % 3);
    }
    assert_eq!(answer(&text, "cas-register"), Answer::Valid);
    text += "b w5\n b ok\n b w5\n b ok\n b r\n b ok9\n a w9\n a ok\n";
    assert!(matches!(answer(&text, "cas-register"), Answer::Violation(_)));
}

#[test]
fn a_hundred_operations_may_overlap() {
    let mut text = String::new();
    for at in 0..100 {
        text += &format!("p{at} w{}\n", at % 60);
    }
    text += "b r\n b ok3\n b r\n b ok17\n b r\n b ok3\n b r\n b ok17\n";
    for at in 0..100 {
        text += &format!("p{at} ok\n");
    }
    text += "b r\n b ok59";
    assert_eq!(answer(&text, "register"), Answer::Valid);
}

/// What a naive checker keeps of an operation.
type Naive = (Operation, bool);

/// Whether some order is right: tries them all, with a meaning of operations of its own.
fn naive(history: &History, left: &mut Vec<Naive>, held: &str, nil_is_silent: bool) -> bool {
    if left.iter().all(|(operation, _)| operation.completed == NEVER) {
        return true;
    }
    for at in 0..left.len() {
        let (operation, unknown) = left[at];
        if left.iter().any(|(other, _)| other.completed < operation.invoked) {
            continue;
        }
        let text = |value| if value == ValueId::NIL { "" } else { history.value(value) };
        let next = match operation.action {
            Action::Read(value) if unknown || text(value) == held => Some(held.to_owned()),
            Action::Read(value) if nil_is_silent && text(value).is_empty() => Some(held.to_owned()),
            Action::Read(_) => None,
            Action::Write(value) => Some(text(value).to_owned()),
            Action::Append(value) => Some(format!("{held}{}", text(value))),
            Action::Cas { from, to, .. } if unknown => {
                Some(if text(from) == held { text(to) } else { held }.to_owned())
            }
            Action::Cas { from, to, swapped: true } => {
                (text(from) == held).then(|| text(to).to_owned())
            }
            Action::Cas { from, .. } => (text(from) != held).then(|| held.to_owned()),
            Action::Other(_) => None,
        };
        let Some(next) = next else { continue };
        let operation = left.remove(at);
        let found = naive(history, left, &next, nil_is_silent);
        left.insert(at, operation);
        if found {
            return true;
        }
    }
    false
}

fn naive_check(history: &History, initial: ValueId, nil_is_silent: bool) -> bool {
    let held = if initial == ValueId::NIL { "" } else { history.value(initial) };
    let matter = history.operations.iter().filter(|operation| operation.matters());
    let mut left: Vec<_> =
        matter.map(|operation| (*operation, operation.outcome == Outcome::Unknown)).collect();
    naive(history, &mut left, held, nil_is_silent)
}

/// One turn of a process: it invokes something, or its open operation ends.
#[derive(Clone, Copy, Debug)]
struct Turn {
    process: u8,
    kind: u8,
    one: u8,
    two: u8,
    outcome: u8,
    /// Whether a read is told the truth (of a store that writes at once).
    honest: bool,
}

fn turn(processes: u8) -> impl Strategy<Value = Turn> {
    let parts = (0..processes, 0_u8..4, 0_u8..3, 0_u8..3, 0_u8..8, any::<bool>());
    parts.prop_map(|(process, kind, one, two, outcome, honest)| Turn {
        process,
        kind,
        one,
        two,
        outcome,
        honest,
    })
}

/// Plays the turns on one key; `most` operations at the most. The store is a plain variable that a write changes
/// when it is invoked or when it ends, so that many histories are nearly linearizable.
fn play(turns: &[Turn], spec: &str, unique: bool, most: usize) -> History {
    let mut builder = Builder::new(Clock::Steps);
    let key = builder.key("x");
    let mut held = String::new();
    let mut open = [None; 8];
    let mut written = 0_usize;
    let mut count = 0;
    for turn in turns {
        let process = format!("p{}", turn.process);
        let slot = &mut open[turn.process as usize];
        if let Some((action, late)) = slot.take() {
            let outcome = match turn.outcome {
                0 => Outcome::Unknown,
                1 => Outcome::Fail,
                _ => Outcome::Ok,
            };
            let told = told(&mut builder, spec, unique.then_some(written), turn, action, &held);
            if late {
                effect(&mut builder, action, &mut held);
            }
            let completion = Completion { process: &process, outcome, told, at: None };
            builder.complete(completion).expect("it is open");
            continue;
        }
        if count == most {
            continue;
        }
        count += 1;
        let mut name = |at: u8| {
            if unique {
                written += 1;
                return unique_name(written);
            }
            NAMES[at as usize].to_owned()
        };
        let action = match (turn.kind, spec) {
            (0 | 1, _) => Action::Read(ValueId::NIL),
            (2, "cas-register") => {
                let from = value(&mut builder, NAMES[turn.one as usize]);
                let to = value(&mut builder, NAMES[turn.two as usize]);
                Action::Cas { from, to, swapped: true }
            }
            (_, "append") if turn.kind == 2 || turn.one != 0 => {
                Action::Append(value(&mut builder, &name(turn.two)))
            }
            _ => {
                let name = name(turn.two);
                Action::Write(value(&mut builder, &name))
            }
        };
        let late = turn.outcome % 2 == 0;
        if !late {
            effect(&mut builder, action, &mut held);
        }
        *slot = Some((action, late));
        let process = process.as_str();
        let invocation = Invocation { process, key, action, replica: None, at: None };
        builder.invoke(invocation).expect("nothing is open");
    }
    builder.finish()
}

/// What the end of an operation tells; with unique values, `written` says how many there are.
fn told(
    builder: &mut Builder,
    spec: &str,
    written: Option<usize>,
    turn: &Turn,
    action: Action,
    held: &str,
) -> Told {
    let found = match (action, written) {
        (Action::Cas { .. }, _) => return Told::Swapped(turn.one != 0),
        (Action::Read(_), _) if turn.honest => held.to_owned(),
        (Action::Read(_), Some(written)) => {
            unique_name((turn.one as usize * 3 + turn.two as usize) % (written + 1))
        }
        (Action::Read(_), None) if spec == "append" => {
            format!("{}{}", NAMES[turn.one as usize], NAMES[turn.two as usize])
        }
        (Action::Read(_), None) => NAMES[turn.one as usize].to_owned(),
        _ => return Told::Nothing,
    };
    Told::Value(value(builder, &found))
}

/// The values of the plays, where they are not unique.
const NAMES: [&str; 3] = ["", "a", "b"];

fn unique_name(number: usize) -> String {
    if number == 0 { String::new() } else { format!("v{number}") }
}

fn value(builder: &mut Builder, text: &str) -> ValueId {
    builder.value((!text.is_empty()).then_some(text))
}

fn effect(builder: &mut Builder, action: Action, held: &mut String) {
    let text = |builder: &mut Builder, value: ValueId| {
        if value == ValueId::NIL {
            String::new()
        } else {
            builder.history_mut().value(value).into()
        }
    };
    match action {
        Action::Write(value) => *held = text(builder, value),
        Action::Append(value) => *held += &text(builder, value),
        Action::Cas { from, to, .. } if text(builder, from) == *held => *held = text(builder, to),
        _ => {}
    }
}

/// The answer is the naive one; what is called a violation is one by itself, and closed.
fn agree(history: &History, spec: &str, initial: ValueId) -> Result<(), TestCaseError> {
    let problem = problem(history, spec, initial);
    let silent = spec == "cas-register" && initial != ValueId::NIL;
    let expected = naive_check(history, initial, silent);
    match check(&problem) {
        Answer::Valid => prop_assert!(expected, "valid, but it is not"),
        Answer::Violation(core) => {
            prop_assert!(!expected, "a violation, but it is linearizable");
            prop_assert!(core.is_sorted());
            let alone = history.restricted(&core);
            prop_assert!(!naive_check(&alone, initial, silent), "{core:?} is none by itself");
        }
        Answer::Unknown(reason) => prop_assert!(false, "{reason}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn registers_are_judged_as_by_trying_all_orders(
        turns in prop::collection::vec(turn(4), 0..14), from in 0_u32..2,
    ) {
        let history = play(&turns, "register", false, 6);
        let from = if history.values.len() > 1 { from } else { 0 };
        agree(&history, "register", ValueId(from))?;
    }

    #[test]
    fn cas_registers_are_judged_as_by_trying_all_orders(
        turns in prop::collection::vec(turn(4), 0..14), from in 0_u32..2,
    ) {
        let history = play(&turns, "cas-register", false, 6);
        let from = if history.values.len() > 1 { from } else { 0 };
        agree(&history, "cas-register", ValueId(from))?;
    }

    #[test]
    fn strings_are_judged_as_by_trying_all_orders(
        turns in prop::collection::vec(turn(4), 0..14),
    ) {
        agree(&play(&turns, "append", false, 6), "append", ValueId::NIL)?;
    }

    /// Most writes have an unknown outcome, and there are few different ones.
    #[test]
    fn unknown_outcomes_are_judged_as_by_trying_all_orders(
        turns in prop::collection::vec(turn(6), 4..20), unknown in any::<u16>(),
    ) {
        let mut history = play(&turns, "cas-register", false, 8);
        for (at, operation) in history.operations.iter_mut().enumerate() {
            if unknown & (1 << at) != 0 && !matches!(operation.action, Action::Read(_)) {
                operation.outcome = Outcome::Unknown;
                operation.completed = NEVER;
            }
        }
        agree(&history, "cas-register", ValueId::NIL)?;
    }

    /// So a window that is a violation is one because the whole is.
    #[test]
    fn all_windows_of_a_linearizable_history_are(turns in prop::collection::vec(turn(5), 8..40)) {
        let history = play(&turns, "cas-register", false, 16);
        let problem = problem(&history, "cas-register", ValueId::NIL);
        let machine = Machine::of(&problem).expect("it describes them");
        for part in Keys::of(&problem).parts(&problem, &machine) {
            if wgl::check(&part, None, &|| false) != Verdict::Valid {
                continue;
            }
            let plan = plan::Plan::of(&part);
            for rank in 0..plan.by_end.len() {
                for size in 1..5 {
                    let ids = witness::window(&plan, rank, size).expect("values tell");
                    let inner = Part { ids: &ids, ..part };
                    prop_assert_eq!(wgl::check(&inner, None, &|| false), Verdict::Valid, "{:?}", ids);
                }
            }
        }
    }

    #[test]
    fn zones_and_the_search_agree(turns in prop::collection::vec(turn(5), 0..30)) {
        let history = play(&turns, "register", true, 12);
        let problem = problem(&history, "register", ValueId::NIL);
        let machine = Machine::of(&problem).expect("reads and writes");
        for part in Keys::of(&problem).parts(&problem, &machine) {
            let zones = unique::check(&part);
            let search = wgl::check(&part, None, &|| false);
            match zones.expect("values are unique") {
                Verdict::Violation(core) => {
                    prop_assert!(matches!(search, Verdict::Violation(_)), "{search:?}");
                    prop_assert!(!naive_check(&history.restricted(&core), ValueId::NIL, false));
                }
                verdict => prop_assert_eq!(verdict, search),
            }
        }
    }
}
