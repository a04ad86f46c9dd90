//! Histories to look at, the same ones each time.

use consistency_lab::base::ReplicaId;
use consistency_lab::history::{
    Action, Builder, Clock, Completion, Fault, History, Invocation, Message, OpId, Outcome, Told,
};

/// An operation as a sample says it. Times in microseconds.
struct Step {
    process: String,
    key: String,
    deed: Deed,
    replica: u16,
    from: u64,
    until: Option<u64>,
    outcome: Outcome,
}

enum Deed {
    Read(Option<String>),
    Write(String),
    Cas(String, String, bool),
    Append(String),
}

/// Builds a history out of operations in any order. Deliveries: (replica, key, value, time).
fn build(mut steps: Vec<Step>, deliveries: &[(u16, String, String, u64)]) -> History {
    let mut builder = Builder::new(Clock::Nanoseconds);
    steps.sort_by_key(|step| step.from);
    let starts = steps.iter().enumerate().map(|(at, step)| (step.from, 1, at));
    let ends = steps.iter().enumerate().filter_map(|(at, step)| Some((step.until?, 0, at)));
    let mut events: Vec<(u64, u8, usize)> = starts.chain(ends).collect();
    events.sort_unstable();
    for (at, kind, index) in events {
        let step = &steps[index];
        let at = Some(at * 1_000);
        if kind == 1 {
            let key = builder.key(&step.key);
            let action = match &step.deed {
                Deed::Read(value) => Action::Read(builder.value(value.as_deref())),
                Deed::Write(value) => Action::Write(builder.value(Some(value))),
                Deed::Append(value) => Action::Append(builder.value(Some(value))),
                Deed::Cas(from, to, swapped) => Action::Cas {
                    from: builder.value(Some(from)),
                    to: builder.value(Some(to)),
                    swapped: *swapped,
                },
            };
            let replica = Some(ReplicaId(step.replica));
            let invocation = Invocation { process: &step.process, key, action, replica, at };
            builder.invoke(invocation).expect("a process does one thing at a time");
        } else {
            let completion = Completion {
                process: &step.process,
                outcome: step.outcome,
                told: Told::Nothing,
                at,
            };
            builder.complete(completion).expect("it was invoked");
        }
    }
    for (replica, key, value, at) in deliveries {
        let (key, value) = (builder.key(key), builder.value(Some(value)));
        builder.deliver(ReplicaId(*replica), key, value, at * 1_000);
    }
    builder.finish()
}

fn message(from: u16, to: u16, sent: u64, received: Option<u64>, label: &str) -> Message {
    Message {
        from: ReplicaId(from),
        to: ReplicaId(to),
        sent: sent * 1_000,
        received: received.map(|at| at * 1_000),
        label: label.to_owned(),
    }
}

fn fault(name: &str, replicas: &[u16], from: u64, until: u64) -> Fault {
    Fault {
        name: name.to_owned(),
        replicas: replicas.iter().copied().map(ReplicaId).collect(),
        from: from * 1_000,
        until: Some(until * 1_000),
    }
}

/// A stale read that a newcomer can follow: three clients, three replicas, one of them cut off for a while. The
/// witness is returned with its culprit last.
pub fn stale_read() -> (History, Vec<OpId>) {
    let step = |process: &str, key: &str, deed, replica, from, until, outcome| Step {
        process: process.to_owned(),
        key: key.to_owned(),
        deed,
        replica,
        from,
        until,
        outcome,
    };
    let read = |value: &str| Deed::Read(Some(value.to_owned()));
    let write = |value: &str| Deed::Write(value.to_owned());
    let (ok, fail, unknown) = (Outcome::Ok, Outcome::Fail, Outcome::Unknown);
    let swap = Deed::Cas("7".to_owned(), "8".to_owned(), true);
    let missed = Deed::Cas("1".to_owned(), "2".to_owned(), false);
    let steps = vec![
        step("alice", "x", write("42"), 0, 1_000, Some(2_100), ok),
        step("bob", "x", read("42"), 1, 3_500, Some(4_150), ok),
        step("carol", "x", read("0"), 2, 4_700, Some(5_350), ok),
        step("carol", "y", Deed::Read(None), 2, 400, Some(1_300), ok),
        step("alice", "y", write("7"), 0, 2_700, Some(4_000), ok),
        step("bob", "z", write("late"), 1, 4_600, Some(6_600), unknown),
        step("alice", "y", swap, 0, 5_000, Some(6_400), ok),
        step("carol", "log", Deed::Append("c1".to_owned()), 2, 6_000, Some(6_900), fail),
        step("bob", "y", missed, 1, 7_300, Some(8_200), ok),
        step("carol", "x", read("42"), 2, 8_900, Some(9_700), ok),
        step("alice", "log", Deed::Append("a1".to_owned()), 0, 7_600, Some(9_000), ok),
        step("bob", "x", read("42"), 1, 9_000, None, unknown),
    ];
    let delivery =
        |replica, key: &str, value: &str, at| (replica, key.to_owned(), value.to_owned(), at);
    let deliveries = [
        delivery(0, "x", "42", 1_500),
        delivery(1, "x", "42", 2_600),
        delivery(2, "x", "42", 8_300),
        delivery(0, "y", "7", 3_200),
        delivery(1, "y", "7", 4_300),
        delivery(2, "y", "7", 8_600),
        delivery(0, "y", "8", 5_600),
        delivery(1, "y", "8", 6_500),
        delivery(2, "y", "8", 9_200),
    ];
    let mut history = build(steps, &deliveries);
    history.claim = Some("eventual".to_owned());
    history.messages = vec![
        message(0, 1, 1_500, Some(2_600), "write x=42 at (1, r0)"),
        message(0, 2, 1_500, None, "write x=42 at (1, r0)"),
        message(1, 0, 2_650, Some(3_500), "ack of (1, r0), clock 2"),
        message(0, 1, 3_200, Some(4_300), "write y=7 at (3, r0)"),
        message(0, 2, 3_200, None, "write y=7 at (3, r0)"),
        message(0, 1, 5_600, Some(6_500), "write y=8 at (5, r0)"),
        message(0, 2, 7_400, Some(8_300), "write x=42 at (1, r0), again"),
        message(0, 2, 7_700, Some(8_600), "write y=7 at (3, r0), again"),
        message(2, 0, 8_350, Some(9_300), "ack of (1, r0), clock 6"),
    ];
    history.faults =
        vec![fault("partition", &[2], 1_900, 7_200), fault("slow disk", &[1], 6_900, 8_700)];
    let id = |process: &str, from: u64| {
        let found = history.ids().find(|id| {
            let operation = history.operation(*id);
            history.process(operation.process) == process && operation.invoked_at == from * 1_000
        });
        found.expect("the sample holds it")
    };
    let witness = vec![id("alice", 1_000), id("bob", 3_500), id("carol", 4_700)];
    (history, witness)
}

/// A small generator of numbers, the same ones each time (Knuth's constants for a linear congruence).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A long run of this many operations by eight clients on three replicas, and a witness in its middle.
pub fn long_run(operations: usize) -> (History, Vec<OpId>) {
    const CLIENTS: u64 = 8;
    let mut numbers = Numbers(1);
    let mut free = [0u64; CLIENTS as usize];
    let (mut steps, mut deliveries, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..operations {
        let client = numbers.below(CLIENTS);
        let replica = (client % 3) as u16;
        let from = free[client as usize] + 20 + numbers.below(400);
        let until = from + 100 + numbers.below(700);
        free[client as usize] = until + 1;
        let key = format!("k{}", numbers.below(12));
        let outcome = match numbers.below(100) {
            0 => Outcome::Fail,
            1 => Outcome::Unknown,
            _ => Outcome::Ok,
        };
        let deed = if numbers.below(2) == 0 {
            let value = number.to_string();
            for to in 0..3 {
                let at = if to == replica { from + 60 } else { from + 150 + numbers.below(500) };
                let label = format!("write {key}={value} at ({number}, r{replica})");
                let lost = numbers.below(50) == 0;
                if to != replica {
                    messages.push(message(replica, to, from + 50, (!lost).then_some(at), &label));
                }
                deliveries.push((to, key.clone(), value.clone(), at + u64::from(lost) * 2_000));
            }
            Deed::Write(value)
        } else {
            Deed::Read(Some((number / 2).to_string()))
        };
        let process = format!("client {client}");
        steps.push(Step { process, key, deed, replica, from, until: Some(until), outcome });
    }
    deliveries.sort_by_key(|delivery| delivery.3);
    let mut history = build(steps, &deliveries);
    history.messages = messages;
    let end = free.iter().max().copied().unwrap_or(0);
    history.faults = vec![
        fault("partition", &[2], end / 5, end / 4),
        fault("crash", &[1], end / 2, end / 2 + end / 60),
        fault("slow network", &[], end * 3 / 4, end * 4 / 5),
    ];
    let middle = operations / 2;
    let witness = [0, 5, 9].map(|after| OpId((middle + after) as u32)).to_vec();
    (history, witness)
}

/// Texts that a careless page would break on: markup, quotes, both directions of writing, nothing at all, very long.
const ODD_TEXTS: &[&str] = &[
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title = 'broken'\">",
    "שלום",
    "مفتاح",
    "\u{202e}gnp.exe",
    "",
    "a\tb\nc\0d",
    "👩‍👩‍👧‍👦 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "'\"&amp;{{data}}${1}",
];

/// Sixty processes and nine replicas with odd names, without times: `clock` says what holds instead.
pub fn odd(clock: Clock) -> (History, Vec<OpId>) {
    let mut builder = Builder::new(clock);
    let long = "long ".repeat(2_000);
    let texts: Vec<&str> = ODD_TEXTS.iter().copied().chain([long.as_str()]).collect();
    let names: Vec<String> =
        (0..60).map(|number| format!("{} {number}", texts[number % texts.len()])).collect();
    for round in 0..4 {
        for (number, process) in names.iter().enumerate() {
            let text = texts[(number + round) % texts.len()];
            let key = builder.key(text);
            let value = builder.value(Some(text));
            let action = match round {
                0 => Action::Write(value),
                1 => Action::Read(value),
                2 => Action::Other(value),
                _ => Action::Cas { from: value, to: value, swapped: false },
            };
            let replica = Some(ReplicaId((number % 9) as u16));
            let invocation = Invocation { process, key, action, replica, at: None };
            builder.invoke(invocation).expect("a process does one thing at a time");
        }
        for (number, process) in names.iter().enumerate() {
            let outcome = [Outcome::Ok, Outcome::Fail, Outcome::Unknown][(number + round) % 3];
            let completion = Completion { process, outcome, told: Told::Nothing, at: None };
            builder.complete(completion).expect("it was invoked");
        }
    }
    for number in 0..9 {
        let (key, value) = (builder.key(texts[2]), builder.value(Some(texts[2])));
        builder.deliver(ReplicaId(number), key, value, 70 + 3 * u64::from(number));
    }
    let mut history = builder.finish();
    history.messages = (1..9)
        .map(|to| Message {
            from: ReplicaId(0),
            to: ReplicaId(to),
            sent: 60,
            received: (to != 4).then_some(70 + 3 * u64::from(to)),
            label: texts[usize::from(to)].to_owned(),
        })
        .collect();
    history.faults = vec![Fault {
        name: texts[0].to_owned(),
        replicas: vec![ReplicaId(3), ReplicaId(4)],
        from: 100,
        until: None,
    }];
    (history, vec![OpId(2), OpId(63), OpId(125)])
}
