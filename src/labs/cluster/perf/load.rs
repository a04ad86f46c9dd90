//! The phases of load: insert, lookup, scan, remove; each client on its own keys, all from a common start.
//!
//! Every answer is checked against what the client has written, so a figure never counts a wrong answer.
//! A phase ends for a client when it has done its operations or when the phase's time is over; what was
//! not inserted for want of time is not looked up or removed either. What is left of the keys behind the
//! last phase is removed without being measured.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::bench::{BenchError, Clock, Meter, MonotonicClock, together};
use crate::report::{ProcessorTime, Tally};

/// Why an operation did not come about; in the words of the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TableError(pub String);

/// What the load goes to: a cluster, or a table in memory in a test.
pub trait Table: Send {
    /// Stores a value.
    ///
    /// # Errors
    /// As the client says.
    fn insert(&mut self, key: &str, value: &RawValue) -> Result<(), TableError>;
    /// Whether the key has this value; `None` where there is no such key.
    ///
    /// # Errors
    /// As the client says.
    fn lookup(&mut self, key: &str, value: &RawValue) -> Result<Option<bool>, TableError>;
    /// How many keys match.
    ///
    /// # Errors
    /// As the client says.
    fn scan(&mut self, regex: &str) -> Result<usize, TableError>;
    /// Whether the key was there; it is gone now.
    ///
    /// # Errors
    /// As the client says.
    fn remove(&mut self, key: &str) -> Result<bool, TableError>;
    /// The number of the server that the key belongs to.
    fn primary(&self, key: &str) -> usize;
}

/// The phases, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// New keys.
    Insert,
    /// Keys that are there.
    Lookup,
    /// A regular expression that matches at most ten keys.
    Scan,
    /// The keys of the first phase.
    Remove,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 4] = [Phase::Insert, Phase::Lookup, Phase::Scan, Phase::Remove];

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Lookup => "lookup",
            Self::Scan => "scan",
            Self::Remove => "remove",
        }
    }
}

/// What each client does.
#[derive(Clone, Debug)]
pub struct Load {
    /// Inserts of a client; as many removes.
    pub ops: u64,
    /// Lookups of a client.
    pub lookups: u64,
    /// Scans of a client: each looks at all keys of all servers.
    pub scans: u64,
    /// The longest that a phase takes.
    pub limit: Duration,
    /// The length of a value as JSON, in bytes; at least 2.
    pub value_size: usize,
    /// What the keys begin with: its own for each run, so that runs side by side do not meet.
    pub prefix: String,
    /// Whether each operation is kept, not only counted.
    pub keep_samples: bool,
}

impl Load {
    /// How many operations a client does at most in a phase.
    pub fn count(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Insert | Phase::Remove => self.ops,
            Phase::Lookup => self.lookups,
            Phase::Scan => self.scans,
        }
    }

    fn key(&self, out: &mut String, client: usize, number: u64) {
        out.clear();
        // Writing to a string cannot fail, here and below.
        let _ = write!(out, "{}-{client}-{number:07}", self.prefix);
    }

    /// Matches the ten keys around `number`, or those of them that there are.
    fn regex(&self, out: &mut String, client: usize, number: u64) {
        out.clear();
        let _ = write!(out, "^{}-{client}-{:06}\\d$", self.prefix, number / 10);
    }

    /// A key and a value as a client writes them.
    ///
    /// # Errors
    /// No JSON can be made of the value, which does not happen.
    pub fn example(&self) -> Result<(String, Box<RawValue>), serde_json::Error> {
        let mut key = String::new();
        self.key(&mut key, 0, 0);
        Ok((key, self.value(0)?))
    }

    fn value(&self, client: usize) -> Result<Box<RawValue>, serde_json::Error> {
        let inner = self.value_size.saturating_sub(2);
        let mut text = format!("value of client {client} ");
        while text.len() < inner {
            text.push_str("abcdefghijklmnopqrstuvwxyz");
        }
        text.truncate(inner);
        RawValue::from_string(format!("\"{text}\""))
    }
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it began, since the run began.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// The primary of its key; `None` for a scan, which asks all servers.
    pub primary: Option<u16>,
}

/// What one client did in one phase.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// What is counted.
    pub tally: Tally,
    /// From the common start to its last answer.
    pub elapsed: Duration,
    /// Each operation, if they are kept.
    pub samples: Vec<Sample>,
    /// The first thing that went wrong.
    pub trouble: Option<String>,
}

impl Part {
    /// Operations a second.
    pub fn throughput(&self) -> f64 {
        match self.elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => self.tally.succeeded() as f64 / seconds,
        }
    }
}

/// What all clients did in one phase.
#[derive(Clone, Debug)]
pub struct PhaseResult {
    /// Which.
    pub phase: Phase,
    /// When it began, since the run began.
    pub begun: Duration,
    /// How long the slowest client took.
    pub elapsed: Duration,
    /// Each client's operations a second, and its p50, p99 and slowest in microseconds.
    pub clients: Vec<ClientFigures>,
    /// All clients together.
    pub total: Tally,
    /// Each operation, if they are kept.
    pub samples: Vec<Sample>,
    /// What went wrong first, a line a client.
    pub troubles: Vec<String>,
    /// The share of the time in which the machine's processors worked, for whomever; from 0 to 1.
    pub busy: Option<f64>,
}

/// One client in one phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientFigures {
    /// Operations that succeeded.
    pub ops: u64,
    /// The same a second.
    pub throughput: f64,
    /// The median in microseconds.
    pub p50_us: f64,
    /// The 99th percentile in microseconds.
    pub p99_us: f64,
    /// The slowest in microseconds.
    pub max_us: f64,
}

impl PhaseResult {
    /// The sum of the clients' throughputs.
    pub fn throughput(&self) -> f64 {
        self.clients.iter().map(|client| client.throughput).sum()
    }

    fn of(phase: Phase, begun: Duration, parts: Vec<Option<Part>>) -> Self {
        let mut result = Self {
            phase,
            begun,
            elapsed: Duration::ZERO,
            clients: Vec::with_capacity(parts.len()),
            total: Tally::default(),
            samples: Vec::new(),
            troubles: Vec::new(),
            busy: None,
        };
        for (client, part) in parts.into_iter().enumerate() {
            let missing = || Part { trouble: Some("panicked".to_owned()), ..Part::default() };
            let part = part.unwrap_or_else(missing);
            result.clients.push(ClientFigures {
                ops: part.tally.succeeded(),
                throughput: part.throughput(),
                p50_us: part.tally.percentile_us(50.0),
                p99_us: part.tally.percentile_us(99.0),
                max_us: part.tally.percentile_us(100.0),
            });
            result.elapsed = result.elapsed.max(part.elapsed);
            result.total.merge(&part.tally);
            result.samples.extend(part.samples);
            let trouble =
                part.trouble.map(|why| format!("{} client {client}: {why}", phase.name()));
            result.troubles.extend(trouble);
        }
        result
    }
}

/// Runs all phases with these tables, one a client. `run` is when the run began.
///
/// # Errors
/// The system has no threads for so many clients.
pub fn run_load<T: Table>(
    tables: &mut [T],
    load: &Load,
    run: Instant,
    stop: &AtomicBool,
    meter: &Meter,
) -> Result<Vec<PhaseResult>, BenchError> {
    run_phases(tables, load, &Phase::ALL, run, stop, meter, &mut || ())
}

/// The same with some of the phases; `behind` is called behind each of them.
///
/// # Errors
/// The system has no threads for so many clients.
pub fn run_phases<T: Table>(
    tables: &mut [T],
    load: &Load,
    phases: &[Phase],
    run: Instant,
    stop: &AtomicBool,
    meter: &Meter,
    behind: &mut dyn FnMut(),
) -> Result<Vec<PhaseResult>, BenchError> {
    let mut workers: Vec<Worker<'_, T>> = tables
        .iter_mut()
        .enumerate()
        .map(|(client, table)| Worker { table, load, client, inserted: 0, removed: 0 })
        .collect();
    let mut results = Vec::new();
    for phase in phases.iter().copied() {
        meter.begin(phase.name());
        let begun = run.elapsed();
        let work = |_: usize, worker: &mut Worker<'_, T>, clock| {
            worker.run(phase, clock, begun, stop, meter)
        };
        let before = ProcessorTime::look();
        let parts = together(workers.iter_mut(), work)?;
        let mut result = PhaseResult::of(phase, begun, parts);
        let after = ProcessorTime::look();
        result.busy = before.zip(after).and_then(|(before, after)| after.busy_since(before));
        results.push(result);
        behind();
    }
    meter.begin("tidy up");
    together(workers.iter_mut(), |_, worker, _| worker.tidy_up(stop))?;
    Ok(results)
}

/// One client: keys `removed..inserted` are its own and in the table.
struct Worker<'a, T> {
    table: &'a mut T,
    load: &'a Load,
    client: usize,
    inserted: u64,
    removed: u64,
}

impl<T: Table> Worker<'_, T> {
    fn run(
        &mut self,
        phase: Phase,
        clock: MonotonicClock,
        phase_begun: Duration,
        stop: &AtomicBool,
        meter: &Meter,
    ) -> Part {
        let mut part = Part::default();
        let value = match self.load.value(self.client) {
            Ok(value) => value,
            Err(error) => return Part { trouble: Some(error.to_string()), ..part },
        };
        let most = match phase {
            Phase::Insert => self.load.count(phase),
            _ if self.inserted == 0 => 0,
            Phase::Remove => self.inserted,
            _ => self.load.count(phase),
        };
        let mut text = String::new();
        for number in 0..most {
            let now = clock.now();
            if now >= self.load.limit || stop.load(Ordering::Relaxed) {
                break;
            }
            let primary = self.name(phase, number, &mut text);
            let begun = clock.now();
            let answer = self.call(phase, &text, number, &value);
            let took = clock.now().saturating_sub(begun);
            match answer {
                Ok(true) => part.tally.record(took),
                Ok(false) => {
                    part.tally.errors += 1;
                    let wrong =
                        || format!("{text} was answered with something else than was written");
                    part.trouble.get_or_insert_with(wrong);
                }
                Err(error) => {
                    part.tally.unknown += 1;
                    part.trouble.get_or_insert(error.0);
                }
            }
            if self.load.keep_samples {
                part.samples.push(Sample { begun: phase_begun + begun, took, primary });
            }
            meter.add(1);
        }
        part.elapsed = clock.now();
        part
    }

    /// Writes the key or the expression, and gives the key's primary where it is wanted.
    fn name(&self, phase: Phase, number: u64, text: &mut String) -> Option<u16> {
        // A stride, so that neighbours in time are no neighbours in the table.
        let scattered = number.wrapping_mul(7919) % self.inserted.max(1);
        match phase {
            Phase::Insert | Phase::Remove => self.load.key(text, self.client, number),
            Phase::Lookup => self.load.key(text, self.client, scattered),
            Phase::Scan => {
                self.load.regex(text, self.client, scattered);
                return None;
            }
        }
        let wanted = self.load.keep_samples;
        wanted.then(|| u16::try_from(self.table.primary(text)).unwrap_or(u16::MAX))
    }

    /// Whether the answer is right.
    fn call(
        &mut self,
        phase: Phase,
        text: &str,
        number: u64,
        value: &RawValue,
    ) -> Result<bool, TableError> {
        match phase {
            Phase::Insert => {
                // Also after a failure, where it is not known whether it is there.
                self.inserted = number + 1;
                self.table.insert(text, value).map(|()| true)
            }
            Phase::Lookup => self.table.lookup(text, value).map(|right| right == Some(true)),
            Phase::Scan => {
                let scattered = number.wrapping_mul(7919) % self.inserted.max(1);
                let first = scattered / 10 * 10;
                let expected = (self.inserted - first).min(10) as usize;
                self.table.scan(text).map(|found| found == expected)
            }
            Phase::Remove => {
                self.removed = number + 1;
                self.table.remove(text)
            }
        }
    }

    fn tidy_up(&mut self, stop: &AtomicBool) {
        let mut key = String::new();
        for number in self.removed..self.inserted {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            self.load.key(&mut key, self.client, number);
            // What cannot be removed stays; nothing is measured any more.
            let _ = self.table.remove(&key);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A table in memory, shared by its clients.
    #[derive(Clone, Default)]
    pub struct Memory(Arc<Mutex<BTreeMap<String, String>>>);

    impl Memory {
        pub fn len(&self) -> usize {
            self.0.lock().expect("no panic").len()
        }
    }

    impl Table for Memory {
        fn insert(&mut self, key: &str, value: &RawValue) -> Result<(), TableError> {
            self.0.lock().expect("no panic").insert(key.to_owned(), value.get().to_owned());
            Ok(())
        }

        fn lookup(&mut self, key: &str, value: &RawValue) -> Result<Option<bool>, TableError> {
            let table = self.0.lock().expect("no panic");
            Ok(table.get(key).map(|found| found == value.get()))
        }

        fn scan(&mut self, regex: &str) -> Result<usize, TableError> {
            let regex = regex::Regex::new(regex).map_err(|error| TableError(error.to_string()))?;
            Ok(self.0.lock().expect("no panic").keys().filter(|key| regex.is_match(key)).count())
        }

        fn remove(&mut self, key: &str) -> Result<bool, TableError> {
            Ok(self.0.lock().expect("no panic").remove(key).is_some())
        }

        fn primary(&self, key: &str) -> usize {
            key.len() % 3
        }
    }

    pub fn small_load() -> Load {
        Load {
            ops: 25,
            lookups: 30,
            scans: 5,
            limit: Duration::from_secs(60),
            value_size: 16,
            prefix: "perf-t".to_owned(),
            keep_samples: true,
        }
    }

    #[test]
    fn every_phase_of_every_client_is_counted_and_nothing_is_left() {
        let memory = Memory::default();
        let mut tables = vec![memory.clone(); 3];
        let (stop, meter) = (AtomicBool::new(false), Meter::default());
        let load = small_load();
        let run = Instant::now();
        let results = run_load(&mut tables, &load, run, &stop, &meter).expect("threads");
        let counts: Vec<u64> = results.iter().map(|result| result.total.succeeded()).collect();
        assert_eq!(counts, [75, 90, 15, 75]);
        for result in &results {
            assert_eq!(result.troubles, Vec::<String>::new());
            assert_eq!(result.clients.len(), 3);
            assert_eq!(result.samples.len() as u64, result.total.succeeded());
            let primaries = result.samples.iter().all(|s| s.primary.is_some());
            assert_eq!(primaries, result.phase != Phase::Scan);
        }
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn wrong_answers_are_errors_and_a_stop_is_heard() {
        let mut tables = vec![Memory::default()];
        // A key of somebody else that the scans find too.
        let other = RawValue::from_string("1".to_owned()).expect("JSON");
        tables[0].insert("perf-t-0-0000000", &other).expect("in memory");
        let (stop, meter) = (AtomicBool::new(false), Meter::default());
        let load = Load { ops: 1, scans: 1, ..small_load() };
        let mut twice = tables.clone();
        tables[0].insert("perf-t-0-0000001", &other).expect("in memory");
        let results = run_load(&mut twice, &load, Instant::now(), &stop, &meter).expect("threads");
        assert_eq!(results[2].total.errors, 1, "two keys match where one was inserted");
        stop.store(true, Ordering::Relaxed);
        let results = run_load(&mut twice, &load, Instant::now(), &stop, &meter).expect("threads");
        assert!(results.iter().all(|result| result.total.tried() == 0));
    }
}
