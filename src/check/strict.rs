//! Strict serializability: every command, of however many keys, seems to take effect at one moment between its
//! invocation and its completion (Papadimitriou, *The Serializability of Concurrent Database Updates*, JACM
//! 1979, with real time; Herlihy and Wing's linearizability, TOPLAS 1990, of the store as one object).
//!
//! Linearizability is local: it can be judged key by key ([`super::linearizable`]). A deletion of several keys at
//! once ties keys together, and then it is not: each key may be fine by itself and no order fits all. So
//! here the state is the whole store.
//!
//! The search is Wing and Gong's with Lowe's memory, as in [`super::linearizable`]: depth first over the commands that may
//! come next (invoked before the first end of one that is not placed yet), and no configuration (which
//! commands are placed, what the keys hold) is entered twice. Three things make it short:
//!
//! - What only reads and is legal is taken at once; nothing is lost by that.
//! - Hints. Whoever recorded the history may say in which order commands probably took effect; they are
//!   tried in that order. A right hint makes the search straight: `O(n · overlap)`. A wrong one costs time
//!   and is never trusted.
//! - A value that somebody still has to find and nobody can write any more must not be overwritten.
//! - A command of unknown outcome is tried only where it could help: what it writes has still to be found, or
//!   it removes something, or makes something there that was not.
//!
//! Cost: exponential in the worst case (deciding it is NP-complete even for one key), in how many commands
//! overlap and how many have unknown outcomes. Configurations are told apart by 128 bits of hash: two of a million
//! are taken for one with a probability of about 10⁻²⁷. The search ends at a bound of configurations, or when
//! the budget is spent.

use foldhash::quality::FixedState;
use hashbrown::{HashMap, HashSet};

use super::commands::{Command, commands};
use super::{Answer, BUDGET_SPENT, Problem};
use crate::history::{Action, Clock, KeyId, NEVER, OpId, ValueId};

/// How many configurations are remembered at most (16 bytes each, and as much again for the table).
const MOST_CONFIGURATIONS: usize = 4_000_000;

/// How many steps pass between two looks at the budget.
const STEPS_BETWEEN_POLLS: u64 = 256;

/// When a command probably took effect: smaller is earlier. `None` where there is no hint.
pub type Hint<'a> = dyn Fn(OpId) -> Option<u64> + 'a;

/// Whether one order of all commands respects real time.
pub fn check(problem: &Problem<'_>) -> Answer {
    check_with(problem, &|_| None)
}

/// The same with hints, by the first operation of a command.
pub fn check_with(problem: &Problem<'_>, hint: &Hint<'_>) -> Answer {
    if problem.history.clock == Clock::ProcessOrder {
        return Answer::Unknown("the history has no real-time order between processes".to_owned());
    }
    let commands = match commands(problem) {
        Ok(commands) => commands,
        Err(why) => return Answer::Unknown(why),
    };
    let mut search = Search::new(problem, &commands, hint);
    match search.run(problem) {
        End::Found => Answer::Valid,
        End::Exhausted => Answer::Violation(core(problem, &commands, hint)),
        End::Spent => Answer::Unknown(BUDGET_SPENT.to_owned()),
        End::Full => Answer::Unknown(format!(
            "more than {MOST_CONFIGURATIONS} configurations would have to be remembered"
        )),
    }
}

/// The operations of a part of the commands that no order fits either, found by halving.
fn core(problem: &Problem<'_>, commands: &[Command], hint: &Hint<'_>) -> Vec<OpId> {
    let fits_none = |first: usize| {
        matches!(
            Search::new(problem, &part(problem, commands, first), hint).run(problem),
            End::Exhausted
        )
    };
    let (mut fits, mut fits_not) = (0, commands.len());
    while fits + 1 < fits_not {
        let middle = usize::midpoint(fits, fits_not);
        *if fits_none(middle) { &mut fits_not } else { &mut fits } = middle;
    }
    let mut ids: Vec<OpId> = part(problem, commands, fits_not)
        .iter()
        .flat_map(|command| command.operations.iter().copied())
        .collect();
    ids.sort_unstable();
    ids
}

/// The `first` commands, and whatever else may have come before one of them in an order: so if all commands fit an
/// order, this part fits it too. What the others found there is not asked, because they may have found what is not
/// in here.
fn part(problem: &Problem<'_>, commands: &[Command], first: usize) -> Vec<Command> {
    let (first, others) = commands.split_at(first);
    let ends = first.iter().filter(|command| !command.optional).map(|command| command.completed);
    let end = ends.max().unwrap_or(0);
    let may_matter = |other: &&Command| other.invoked < end && !other.only_reads(problem);
    let others = others.iter().filter(may_matter);
    let unasked = others.map(|other| Command { found: None, ..other.clone() });
    first.iter().cloned().chain(unasked).collect()
}

enum End {
    Found,
    Exhausted,
    Spent,
    Full,
}

/// What a command does to one key: it puts a value, or finds it.
#[derive(Clone, Copy, Debug)]
struct Part {
    puts: bool,
    key: u32,
    value: ValueId,
    /// The number of this key with this value.
    pair: u32,
}

/// Keys with values, numbered, and who is still to write or to find them.
#[derive(Debug, Default)]
struct Pairs {
    numbers: HashMap<(u32, ValueId), u32, FixedState>,
    writers: Vec<u32>,
    readers: Vec<u32>,
}

impl Pairs {
    fn number(&mut self, key: u32, value: ValueId) -> u32 {
        *self.numbers.entry((key, value)).or_insert_with(|| {
            self.writers.push(0);
            self.readers.push(0);
            self.writers.len() as u32 - 1
        })
    }

    /// Those who are still to write (or to find) this.
    fn of(&mut self, part: Part) -> &mut u32 {
        let all = if part.puts { &mut self.writers } else { &mut self.readers };
        &mut all[part.pair as usize]
    }

    /// Whether it must stay, because it has to be found and cannot come again.
    fn must_stay(&self, pair: u32) -> bool {
        self.readers[pair as usize] > 0 && self.writers[pair as usize] == 0
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    value: ValueId,
    pair: u32,
}

#[derive(Debug)]
struct Item {
    invoked: u32,
    completed: u32,
    parts: Vec<Part>,
    reads: bool,
    found: Option<u32>,
    /// Where it is tried among those that may come next.
    hint: u64,
    print: u128,
}

/// A configuration whose continuations are being tried.
struct Frame {
    /// Required and optional items that may come next, in the order in which they are tried.
    choices: Vec<u32>,
    cursor: usize,
    /// How long the trails are in it.
    placed: usize,
    changed: usize,
}

struct Search {
    /// Required ones by invocation, then optional ones by invocation.
    items: Vec<Item>,
    /// How many are required.
    required: usize,
    placed: Vec<bool>,
    /// All required items below this one are placed.
    low: usize,
    left: usize,
    store: Vec<Held>,
    pairs: Pairs,
    /// What was placed, in order, and what keys held before it changed them.
    trail: Vec<u32>,
    changes: Vec<(u32, Held)>,
    print: u128,
    seen: HashSet<u128, FixedState>,
    frames: Vec<Frame>,
}

/// Mixes two numbers into 128 bits, always the same.
fn mix(a: u64, b: u64) -> u128 {
    let scramble = |seed: u64| {
        let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_add(b.rotate_left(32));
        for _ in 0..2 {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
        }
        z
    };
    u128::from(scramble(1)) << 64 | u128::from(scramble(0x5851_f42d_4c95_7f2d))
}

fn holds(key: u32, value: ValueId) -> u128 {
    mix(u64::from(key) << 1 | 1, u64::from(value.0))
}

impl Search {
    fn new(problem: &Problem<'_>, commands: &[Command], hint: &Hint<'_>) -> Self {
        let mut dense: HashMap<KeyId, u32, FixedState> = HashMap::default();
        let mut store: Vec<Held> = Vec::new();
        let mut pairs = Pairs::default();
        let mut item = |command: &Command| {
            let part = |id: &OpId| {
                let operation = problem.history.operation(*id);
                let key = *dense.entry(operation.key).or_insert_with(|| {
                    let (key, value) = (store.len() as u32, problem.initial(operation.key));
                    store.push(Held { value, pair: pairs.number(key, value) });
                    key
                });
                let (puts, value) = match operation.action {
                    Action::Write(value) => (true, value),
                    _ => (false, operation.read()?),
                };
                let part = Part { puts, key, value, pair: pairs.number(key, value) };
                *pairs.of(part) += 1;
                Some(part)
            };
            let first = command.operations.first().copied();
            Item {
                invoked: command.invoked,
                completed: if command.optional { NEVER } else { command.completed },
                parts: command.operations.iter().filter_map(part).collect(),
                reads: command.only_reads(problem),
                found: command.found,
                hint: first.and_then(hint).unwrap_or(u64::MAX),
                print: 0,
            }
        };
        let mut items: Vec<Item> =
            commands.iter().filter(|command| !command.optional).map(&mut item).collect();
        let required = items.len();
        items.extend(commands.iter().filter(|command| command.optional).map(item));
        for (at, item) in items.iter_mut().enumerate() {
            item.print = mix((at as u64) << 1, 0);
        }
        let print = (0..).zip(&store).fold(0, |print, (key, held)| print ^ holds(key, held.value));
        Self {
            placed: vec![false; items.len()],
            items,
            required,
            low: 0,
            left: required,
            store,
            pairs,
            trail: Vec::new(),
            changes: Vec::new(),
            print,
            seen: HashSet::default(),
            frames: Vec::new(),
        }
    }

    fn run(&mut self, problem: &Problem<'_>) -> End {
        self.settle();
        self.push();
        let mut steps = 0_u64;
        while let Some(frame) = self.frames.last_mut() {
            if self.left == 0 {
                return End::Found;
            }
            steps += 1;
            if steps.is_multiple_of(STEPS_BETWEEN_POLLS) && problem.budget.is_spent() {
                return End::Spent;
            }
            let (placed, changed) = (frame.placed, frame.changed);
            let Some(choice) = frame.choices.get(frame.cursor).copied() else {
                self.frames.pop();
                if let Some(frame) = self.frames.last() {
                    let (placed, changed) = (frame.placed, frame.changed);
                    self.undo(placed, changed);
                }
                continue;
            };
            frame.cursor += 1;
            if !self.is_legal(choice) || !self.is_worth(choice) {
                continue;
            }
            self.place(choice);
            self.settle();
            if self.seen.len() >= MOST_CONFIGURATIONS {
                return End::Full;
            }
            if self.seen.insert(self.print) {
                self.push();
            } else {
                self.undo(placed, changed);
            }
        }
        End::Exhausted
    }

    fn is_legal(&self, at: u32) -> bool {
        let item = &self.items[at as usize];
        let held = |part: &Part| self.store[part.key as usize];
        let may = |part: &Part| match part.puts {
            false => held(part).value == part.value,
            true => held(part).value == part.value || !self.pairs.must_stay(held(part).pair),
        };
        let there = || {
            let there = |part: &&Part| part.puts && held(part).value != ValueId::NIL;
            item.parts.iter().filter(there).count() as u32
        };
        item.parts.iter().all(may) && item.found.is_none_or(|told| told == there())
    }

    /// Whether an optional item could help: see the header.
    fn is_worth(&self, at: u32) -> bool {
        let helps = |part: &Part| {
            let held = self.store[part.key as usize].value;
            let wanted = self.pairs.readers[part.pair as usize] > 0;
            part.puts
                && held != part.value
                && (wanted || part.value == ValueId::NIL || held == ValueId::NIL)
        };
        (at as usize) < self.required || self.items[at as usize].parts.iter().any(helps)
    }

    fn place(&mut self, at: u32) {
        let index = at as usize;
        self.placed[index] = true;
        self.trail.push(at);
        self.print ^= self.items[index].print;
        for part in &self.items[index].parts {
            *self.pairs.of(*part) -= 1;
            if part.puts {
                let new = Held { value: part.value, pair: part.pair };
                let held = std::mem::replace(&mut self.store[part.key as usize], new);
                self.changes.push((part.key, held));
                self.print ^= holds(part.key, held.value) ^ holds(part.key, part.value);
            }
        }
        if index < self.required {
            self.left -= 1;
            while self.low < self.required && self.placed[self.low] {
                self.low += 1;
            }
        }
    }

    fn undo(&mut self, placed: usize, changed: usize) {
        for (key, held) in self.changes.drain(changed..).rev() {
            let undone = std::mem::replace(&mut self.store[key as usize], held);
            self.print ^= holds(key, held.value) ^ holds(key, undone.value);
        }
        for at in self.trail.drain(placed..) {
            let index = at as usize;
            self.placed[index] = false;
            self.print ^= self.items[index].print;
            self.items[index].parts.iter().for_each(|part| *self.pairs.of(*part) += 1);
            if index < self.required {
                self.left += 1;
                self.low = self.low.min(index);
            }
        }
    }

    /// The required items that may come next, and the first end among those that are not placed.
    fn next(&self) -> (Vec<u32>, u32) {
        let (mut next, mut bound) = (Vec::new(), NEVER);
        for at in self.low..self.required {
            let item = &self.items[at];
            if item.invoked > bound {
                break;
            }
            if !self.placed[at] {
                next.push(at as u32);
                bound = bound.min(item.completed);
            }
        }
        next.retain(|at| self.items[*at as usize].invoked < bound);
        (next, bound)
    }

    /// Takes whatever only reads and is legal.
    fn settle(&mut self) {
        loop {
            let (next, _) = self.next();
            let legal = |at: &&u32| self.items[**at as usize].reads && self.is_legal(**at);
            let takes: Vec<u32> = next.iter().filter(legal).copied().collect();
            if takes.is_empty() {
                return;
            }
            takes.into_iter().for_each(|at| self.place(at));
        }
    }

    fn push(&mut self) {
        let (mut choices, bound) = self.next();
        // What only reads was taken wherever it is legal.
        choices.retain(|at| !self.items[*at as usize].reads);
        let optional = self.required..self.items.len();
        let may = |at: &usize| !self.placed[*at] && self.items[*at].invoked < bound;
        choices.extend(optional.filter(may).map(|at| at as u32));
        // Stable: without hints by invocation, and the optional ones last.
        choices.sort_by_key(|at| self.items[*at as usize].hint);
        let (placed, changed) = (self.trail.len(), self.changes.len());
        self.frames.push(Frame { choices, cursor: 0, placed, changed });
    }
}

#[cfg(test)]
mod tests {
    use super::super::atomic::{self, Found};
    use super::super::order::generate::problem;
    use super::*;
    use crate::history::{
        Builder, Completion, History, Invocation, Outcome, Together, Told, events,
    };

    /// Random numbers, always the same.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            (self.0 >> 33) % bound
        }
    }

    const LANES: [[&str; 2]; 3] = [["a", "a+1"], ["b", "b+1"], ["c", "c+1"]];

    /// What a client has under way: its operations, each with whether it has taken effect.
    #[derive(Default)]
    struct Open {
        lanes: Vec<(usize, Action, bool)>,
        found: u32,
    }

    /// A small history of three clients of a store that tears deletions of both keys apart, and now and then
    /// answers with nonsense. In every other one both keys are there, one deletion takes its time, and the others
    /// read: otherwise hardly anybody sees one half done.
    fn random(draw: &mut Draw) -> History {
        let mut builder = Builder::new(Clock::Steps);
        let keys = ["x", "y"].map(|key| builder.key(key));
        let mut open: [Open; 3] = Default::default();
        let mut store = [ValueId::NIL; 2];
        let set_up = draw.below(2) == 0;
        let (mut begun, most) = (0, if set_up { 5 } else { 3 } + draw.below(3) as usize);
        while begun < most || open.iter().any(|open| !open.lanes.is_empty()) {
            let client = match open[0].lanes.is_empty() {
                true if set_up && begun < 2 => 0,
                false if set_up && begun <= 2 => 0,
                _ => draw.below(3) as usize,
            };
            if open[client].lanes.is_empty() {
                if begun < most {
                    begun += 1;
                    let value = builder.value(Some(&begun.to_string()));
                    let (kind, key) = (draw.below(8), draw.below(2) as usize);
                    let delete = |key| (key, Action::Write(ValueId::NIL), false);
                    open[client].lanes = match (set_up, begun, kind) {
                        (true, 1 | 2, _) => vec![(begun - 1, Action::Write(value), false)],
                        (true, 3, _) | (false, _, 0..2) => vec![delete(0), delete(1)],
                        (false, _, 2..4) => vec![(key, Action::Write(value), false)],
                        _ => vec![(key, Action::Read(ValueId::NIL), false)],
                    };
                    begin(&mut builder, keys, client, &open[client]);
                }
                continue;
            }
            let several = open[client].lanes.len() > 1;
            if several && draw.below(2) == 0 {
                continue;
            }
            let at = draw.below(open[client].lanes.len() as u64 + 1) as usize;
            let Open { lanes, found } = &mut open[client];
            match lanes.get_mut(at) {
                Some((_, _, true)) => {}
                Some((key, Action::Read(value), done)) => (*value, *done) = (store[*key], true),
                Some((key, Action::Write(value), done)) => {
                    *found += u32::from(store[*key] != ValueId::NIL);
                    (store[*key], *done) = (*value, true);
                }
                _ => {
                    let unknown = draw.below(6) == 0;
                    if unknown || lanes.iter().all(|(.., done)| *done) {
                        end(
                            &mut builder,
                            draw,
                            client,
                            &std::mem::take(&mut open[client]),
                            unknown,
                        );
                    }
                }
            }
        }
        builder.finish()
    }

    fn begin(builder: &mut Builder, keys: [KeyId; 2], client: usize, open: &Open) {
        let ids = open.lanes.iter().zip(LANES[client]).map(|((key, action, _), process)| {
            let (key, action) = (keys[*key], *action);
            let invocation = Invocation { process, key, action, replica: None, at: None };
            builder.invoke(invocation).expect("it is free")
        });
        let operations: Vec<OpId> = ids.collect();
        if operations.len() > 1 {
            builder.history_mut().together.push(Together { operations, found: None });
        }
    }

    fn end(builder: &mut Builder, draw: &mut Draw, client: usize, open: &Open, unknown: bool) {
        let outcome = if unknown { Outcome::Unknown } else { Outcome::Ok };
        for ((_, action, _), process) in open.lanes.iter().zip(LANES[client]) {
            let nonsense = ValueId(draw.below(3) as u32);
            let told = match action {
                Action::Read(_) if draw.below(12) == 0 => Told::Value(nonsense),
                Action::Read(value) => Told::Value(*value),
                _ => Told::Nothing,
            };
            builder.complete(Completion { process, outcome, told, at: None }).expect("it is open");
        }
        let first = builder.history().processes.find(LANES[client][0]);
        let tells = open.lanes.len() > 1 && !unknown && draw.below(2) == 0;
        let history = builder.history_mut();
        let own = |command: &&mut Together| {
            Some(history.operations[command.operations[0].index()].process.0) == first
        };
        if let Some(command) = history.together.iter_mut().rfind(own).filter(|_| tells) {
            command.found = Some(open.found);
        }
    }

    /// Tries every order.
    fn by_trying(history: &History) -> bool {
        let problem = problem(history);
        let commands = commands(&problem).expect("reads and writes");
        let mut store = vec![ValueId::NIL; history.keys.len()];
        try_from(history, &commands, &mut vec![false; commands.len()], &mut store)
    }

    fn try_from(
        history: &History,
        commands: &[Command],
        placed: &mut [bool],
        store: &mut Vec<ValueId>,
    ) -> bool {
        let left = |at: usize| !placed[at] && !commands[at].optional;
        if !(0..commands.len()).any(left) {
            return true;
        }
        for at in 0..commands.len() {
            let command = &commands[at];
            let waits = (0..commands.len())
                .any(|other| left(other) && commands[other].completed < command.invoked);
            if placed[at] || waits {
                continue;
            }
            let (before, mut there, mut legal) = (store.clone(), 0, true);
            for id in &command.operations {
                let operation = history.operation(*id);
                let held = &mut store[operation.key.0 as usize];
                match operation.action {
                    Action::Read(value) => legal &= *held == value,
                    Action::Write(value) => {
                        there += u32::from(*held != ValueId::NIL);
                        *held = value;
                    }
                    _ => legal = false,
                }
            }
            legal &= command.found.is_none_or(|found| found == there);
            let mut tried = placed.to_vec();
            tried[at] = true;
            if legal && try_from(history, commands, &mut tried, store) {
                return true;
            }
            *store = before;
        }
        false
    }

    /// Whether the command of this number, alone, was seen half, by trying every order.
    fn half_by_trying(history: &History, number: usize) -> bool {
        let mut one = history.clone();
        let mut command = one.together.swap_remove(number);
        command.found = None;
        one.together.clear();
        let split = by_trying(&one);
        one.together.push(command);
        split && !by_trying(&one)
    }

    #[test]
    fn it_finds_what_trying_every_order_finds() {
        let mut draw = Draw(1);
        let (mut valid, mut violations, mut halves, mut beyond, mut smaller) = (0, 0, 0, 0, 0);
        for _ in 0..10_000 {
            let history = random(&mut draw);
            let problem = problem(&history);
            let expected = by_trying(&history);
            let answer = check(&problem);
            assert_eq!(answer == Answer::Valid, expected, "{:?}", history.operations);
            // A wrong hint changes nothing.
            let misled = check_with(&problem, &|id| Some(u64::from(u32::MAX - id.0)));
            assert_eq!(misled == Answer::Valid, expected);
            if let Answer::Violation(core) = &answer {
                smaller += u32::from(core.len() < history.operations.len());
                let core = history.restricted(core);
                assert!(!by_trying(&core), "the core is one by itself");
            }
            let half = (0..history.together.len()).any(|number| half_by_trying(&history, number));
            match atomic::find(&problem) {
                Found::Whole(_) => assert!(!half, "{:?}", history.operations),
                Found::Half(found) => {
                    assert!(half && !expected, "{:?}", history.operations);
                    let shown = history.restricted(&found.operations);
                    assert!(!by_trying(&shown), "what is shown is one by itself: {found:?}");
                }
                Found::Unknown(why) => panic!("{why}"),
            }
            valid += u32::from(expected);
            violations += u32::from(!expected);
            halves += u32::from(half);
            beyond += u32::from(!expected && !half);
        }
        let counts = [valid, violations, halves, beyond, smaller];
        assert!(counts.iter().all(|count| *count > 50), "too few of a kind: {counts:?}");
    }

    #[test]
    fn half_a_deletion_is_told_in_words() {
        let mut builder = Builder::new(Clock::Steps);
        let keys = ["x", "y"].map(|key| builder.key(key));
        let (one, two) = (builder.value(Some("1")), builder.value(Some("2")));
        let script: [(&str, usize, Action); 6] = [
            ("a", 0, Action::Write(one)),
            ("a", 1, Action::Write(two)),
            ("d", 0, Action::Write(ValueId::NIL)),
            ("d+1", 1, Action::Write(ValueId::NIL)),
            ("b", 0, Action::Read(ValueId::NIL)),
            ("b", 1, Action::Read(two)),
        ];
        let mut together = Vec::new();
        for (process, key, action) in script {
            let key = keys[key];
            let invocation = Invocation { process, key, action, replica: None, at: None };
            let id = builder.invoke(invocation).expect("it is free");
            if process.starts_with('d') {
                together.push(id);
                continue;
            }
            let (outcome, told) = (Outcome::Ok, Told::Nothing);
            builder.complete(Completion { process, outcome, told, at: None }).expect("open");
        }
        builder.history_mut().together.push(Together { operations: together, found: None });
        let history = builder.finish();
        let problem = problem(&history);
        assert!(matches!(check(&problem), Answer::Violation(_)));
        let Found::Half(half) = atomic::find(&problem) else { panic!("it was seen half") };
        assert_eq!(
            half.why,
            [
                "The write of x and y by d was seen half:",
                "on x it can only have taken effect before “b reads x = nil” ended;",
                "on y it can only have taken effect after “b reads y = 2” began, or never;",
                "no moment fits all of its keys."
            ]
        );
        assert_eq!(events::events(&history).len(), 10);
    }
}
