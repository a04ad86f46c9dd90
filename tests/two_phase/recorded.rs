//! What clients of real processes saw, recorded and judged: one order of all commands explains it, and nobody saw half
//! a deletion.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use consistency_lab::check::spec::SPECS;
use consistency_lab::check::{Answer, Budget, Problem, atomic, strict};
use consistency_lab::history::{
    Action, Builder, Clock, Completion, History, Invocation, OpId, Outcome, Together, Told, ValueId,
};

use super::processes::Dice;
use crate::process_support::two_phase::{Kv, Lab};
use crate::process_support::{LONG, eventually};

const CLIENTS: usize = 6;
const KEYS: usize = 4;
/// How many commands each client gives.
const COMMANDS: usize = 300;

/// A client's command and what it is to be recorded as: an operation a key.
struct Asked {
    words: Vec<String>,
    operations: Vec<(usize, Action)>,
}

/// Writes down what clients ask and are told, in the order in which they do.
struct Recorder {
    builder: Mutex<Builder>,
    done: AtomicUsize,
}

impl Recorder {
    fn new() -> Self {
        Self { builder: Mutex::new(Builder::new(Clock::Steps)), done: AtomicUsize::new(0) }
    }

    /// A client's next command. Each value is written once.
    fn choose(&self, dice: &mut Dice, client: usize, number: usize) -> Asked {
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        let key = dice.throw(KEYS);
        let value = format!("{client}-{number}");
        match dice.throw(8) {
            0..3 => Asked {
                operations: vec![(key, Action::Write(builder.value(Some(&value))))],
                words: vec!["SET".to_owned(), name(key), value],
            },
            3 => {
                let both = [key, (key + 1 + dice.throw(KEYS - 1)) % KEYS];
                Asked {
                    operations: both.map(|key| (key, Action::Write(ValueId::NIL))).to_vec(),
                    words: ["DEL".to_owned()].into_iter().chain(both.map(name)).collect(),
                }
            }
            _ => Asked {
                operations: vec![(key, Action::Read(ValueId::NIL))],
                words: vec!["GET".to_owned(), name(key)],
            },
        }
    }

    fn invoked(&self, client: usize, asked: &Asked) {
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        let mut invoke = |(lane, (key, action)): (usize, &(usize, Action))| {
            let (process, key, action) = (lane_of(client, lane), builder.key(&name(*key)), *action);
            let invocation = Invocation { process: &process, key, action, replica: None, at: None };
            builder.invoke(invocation).expect("one command at a time")
        };
        let operations: Vec<OpId> = asked.operations.iter().enumerate().map(&mut invoke).collect();
        if operations.len() > 1 {
            builder.history_mut().together.push(Together { operations, found: None });
        }
    }

    fn completed(&self, client: usize, asked: &Asked, outcome: Outcome, reply: &str) {
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        let told = match asked.operations[0].1 {
            Action::Read(_) if reply == "nil" => Told::Value(ValueId::NIL),
            Action::Read(_) => Told::Value(builder.value(Some(reply))),
            _ => Told::Nothing,
        };
        let mut first = None;
        for lane in 0..asked.operations.len() {
            let process = lane_of(client, lane);
            let completion = Completion { process: &process, outcome, told, at: None };
            let id = builder.complete(completion).expect("it is open");
            first = first.or(Some(id));
        }
        let found = reply.strip_prefix(':').map(|count| count.parse().expect("a count"));
        let together = &mut builder.history_mut().together;
        let own = |command: &&mut Together| command.operations.first().copied() == first;
        if let Some(command) = together.iter_mut().rfind(own) {
            command.found = found;
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives commands, whatever becomes of them.
    fn work(&self, mut kv: Kv, client: usize) {
        let mut dice = Dice(client as u64 + 1);
        for number in 0..COMMANDS {
            let asked = self.choose(&mut dice, client, number);
            let words: Vec<&str> = asked.words.iter().map(String::as_str).collect();
            self.invoked(client, &asked);
            let result = kv.try_ask(&words);
            let reads = matches!(asked.operations[0].1, Action::Read(_));
            let (outcome, reply) = match &result {
                Ok(reply) if reply != "-ERROR" => (Outcome::Ok, reply.as_str()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => (Outcome::Fail, ""),
                _ if reads => (Outcome::Fail, ""),
                _ => (Outcome::Unknown, ""),
            };
            self.completed(client, &asked, outcome, reply);
            if outcome != Outcome::Ok {
                // Goes on when it is served again: what may or may not have happened is hard to judge, in numbers.
                kv.insist(&["GET", &name(0)]);
            }
        }
    }

    /// Waits until the clients have given so many more commands, or are through.
    fn get_on(&self, more: usize) {
        let wanted = (self.done.load(Ordering::Relaxed) + more).min(CLIENTS * COMMANDS);
        eventually("the clients get on", LONG, || {
            (self.done.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    fn are_through(&self) -> bool {
        self.done.load(Ordering::Relaxed) == CLIENTS * COMMANDS
    }

    fn finish(self) -> History {
        self.builder.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

fn name(key: usize) -> String {
    format!("k{key}")
}

fn lane_of(client: usize, lane: usize) -> String {
    if lane == 0 { format!("c{client}") } else { format!("c{client}+{lane}") }
}

fn judge(history: &History) {
    let budget = Budget::unlimited();
    let problem = Problem { history, spec: &SPECS[0], initial: ValueId::NIL, budget };
    // A command has probably taken effect before those that ended later.
    let hint = |id: OpId| Some(u64::from(history.operation(id).completed));
    let answer = strict::check_with(&problem, &hint);
    if let Answer::Violation(core) = &answer {
        for id in core {
            println!("{:?}", history.operation(*id));
        }
    }
    assert!(answer == Answer::Valid, "no order of all commands explains what clients saw");
    match atomic::find(&problem) {
        atomic::Found::Whole(commands) => assert!(commands > 100, "only {commands} deletions"),
        other => panic!("{other:?}"),
    }
    let served = |outcome| history.operations.iter().filter(|one| one.outcome == outcome).count();
    println!("{} served, {} unknown", served(Outcome::Ok), served(Outcome::Unknown));
    assert!(served(Outcome::Ok) > CLIENTS * COMMANDS * 3 / 4, "hardly anything was served");
}

/// Has clients work while faults come, one after every few commands, then judges what they saw.
fn record(lab: &mut Lab, mut fault: impl FnMut(&mut Lab, &mut Dice)) {
    let recorder = Recorder::new();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (kv, recorder) = (lab.retrying(), &recorder);
            scope.spawn(move || recorder.work(kv, client));
        }
        let mut dice = Dice(7);
        let mut faults = 0;
        while !recorder.are_through() {
            recorder.get_on(20 + dice.throw(60));
            fault(lab, &mut dice);
            faults += 1;
        }
        assert!(faults > 10, "only {faults} faults");
    });
    judge(&recorder.finish());
}

#[test]
fn what_clients_see_has_one_order_whoever_is_killed() {
    let mut lab = Lab::start(3);
    record(&mut lab, |lab, dice| match dice.throw(5) {
        0..2 => {
            lab.kill_coordinator();
            lab.start_coordinator();
        }
        // One at a time: without a log, the data is gone when all have died.
        _ => {
            let p = dice.throw(3);
            lab.members("{0, 1, 2}");
            lab.kill_participant(p);
            lab.start_participant(p);
        }
    });
    lab.stop();
}

#[test]
fn what_clients_see_has_one_order_whichever_links_are_cut() {
    let mut lab = Lab::start_with(3, false, true);
    let mut cut = [false; 3];
    record(&mut lab, |lab, dice| {
        let p = dice.throw(3);
        if cut[p] || cut.iter().any(|cut| *cut) {
            (0..3).for_each(|p| lab.heal(p));
            cut = [false; 3];
        } else {
            lab.cut(p);
            cut[p] = true;
        }
    });
    (0..3).for_each(|p| lab.heal(p));
    lab.stop();
}
