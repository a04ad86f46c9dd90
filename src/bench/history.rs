//! Beginning the history of a bench: who the servers are, and what the keys hold.
//!
//! A history has to account for every value that is read. So each key is read at each server before the first
//! write, and what is there becomes the initial value; the servers must agree on it, and nobody else may
//! write meanwhile. And each value must be written once: it is made of the number of the run, the
//! client and a counter. The number of the run is one more than the greatest found in the initial values, so
//! that runs one after the other do not write the same values either.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{Answer, BenchError, Config, Meter, Operation, Target, workload::key_name};
use crate::{
    base::ReplicaId,
    client::Client,
    history::{
        Clock,
        jsonl::{Header, Order},
        text_of,
    },
    report::Kind,
    runtime::{Deliveries, Recorder},
};

/// How many keys may be looked at before the start.
pub const MAX_KEYS: u64 = 1_000_000;

/// How many of them may hold something.
const MAX_INITIAL: usize = 10_000;

const TOO_MANY: &str = "it names what the keys hold at its beginning, at most 10,000 of them; start the \
                        servers with an empty --data folder, or use fewer --keys";

/// How many reads travel together.
const BATCH: u64 = 256;

/// How long servers may take to agree.
const SETTLE: Duration = Duration::from_secs(3);

/// The digits of a client's counter where the number of operations is not given; it lasts for hours.
const COUNTER_DIGITS: usize = 10;

/// What the keys hold, by key.
type Contents = BTreeMap<u64, Vec<u8>>;

/// A history that has begun.
pub(super) struct Begun {
    /// Where it is recorded.
    pub recorder: Recorder,
    /// The number of the run.
    pub run: u64,
    /// The replica behind each server, where it says so.
    pub replicas: Vec<Option<ReplicaId>>,
}

/// Looks at the servers, one client each, and begins the history in this file.
pub(super) fn begin(
    path: &Path,
    clients: &mut [Client],
    config: &Config,
    meter: &Meter,
) -> Result<Begun, BenchError> {
    if config.keys > MAX_KEYS {
        let why = format!("--history looks at each key first: expected at most {MAX_KEYS} --keys");
        return Err(BenchError::Config(why));
    }
    let servers = config.to.len().min(clients.len());
    let servers = &mut clients[..servers];
    let (claim, replicas) = ask(servers)?;
    meter.begin("look");
    let initial = agreed(servers, config, meter)?;
    let run = 1 + initial.values().filter_map(|value| run_of(value)).max().unwrap_or(0);
    let needed = needed_size(config, run);
    if config.value_size < needed {
        let why = format!(
            "--history needs values that are written once: expected --value-size of at least {needed}"
        );
        return Err(BenchError::Config(why));
    }
    let text = |bytes: &[u8]| text_of(bytes).into_owned();
    let header = Header {
        claim,
        clock: Clock::Nanoseconds,
        order: Order::Time,
        initial: initial.iter().map(|(k, v)| (text(&key_name(*k)), Some(text(v)))).collect(),
    };
    let recorder = Recorder::open(path, Deliveries::default())?;
    recorder.begin(&header)?;
    Ok(Begun { recorder, run, replicas })
}

/// The mode that all servers state, if they do, and the number of each.
fn ask(servers: &mut [Client]) -> Result<(Option<String>, Vec<Option<ReplicaId>>), BenchError> {
    let mut modes = Vec::new();
    let mut replicas = Vec::new();
    for server in servers {
        let stats = match server.stats() {
            Ok(stats) => stats,
            Err(error) if error.ends_connection() => return Err(error.into()),
            // A server without statistics: it claims nothing.
            Err(_) => Vec::new(),
        };
        let find = |wanted| stats.iter().find(|(name, _)| name == wanted).map(|(_, text)| text);
        modes.push(find("consistency").cloned());
        replicas.push(find("replica").and_then(|text| text.parse().ok()).map(ReplicaId));
    }
    let same = modes.windows(2).all(|pair| pair[0] == pair[1]);
    Ok((modes.pop().flatten().filter(|_| same), replicas))
}

/// What all servers hold.
fn agreed(servers: &mut [Client], config: &Config, meter: &Meter) -> Result<Contents, BenchError> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let mut all = Vec::new();
        for server in servers.iter_mut() {
            all.push(contents(server, config, meter)?);
        }
        if all.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(all.pop().unwrap_or_default());
        }
        if Instant::now() > deadline {
            let why =
                "--history: the servers do not hold the same values; wait until nobody writes";
            return Err(BenchError::Config(why.to_owned()));
        }
        // Writes from before are still on their way.
        thread::sleep(Duration::from_millis(20));
    }
}

fn contents(server: &mut Client, config: &Config, meter: &Meter) -> Result<Contents, BenchError> {
    let mut found = Contents::new();
    let mut next = 0;
    while next < config.keys {
        let batch = next..config.keys.min(next + BATCH);
        for key in batch.clone() {
            let key = key_name(key);
            Target::queue(server, &Operation { kind: Kind::Read, key: &key, value: b"" });
        }
        Target::send(server)?;
        for key in batch.clone() {
            if let Answer::Value(value) = Target::receive(server, Kind::Read)? {
                found.insert(key, value.to_owned());
            }
            if found.len() > MAX_INITIAL {
                return Err(BenchError::NoHistory(TOO_MANY));
            }
        }
        meter.add(batch.end - next);
        next = batch.end;
    }
    Ok(found)
}

/// Digits enough for each client's counter.
fn needed_size(config: &Config, run: u64) -> usize {
    let digits = |number: u64| itoa::Buffer::new().format(number).len();
    let counter = match (config.ops, config.duration) {
        // Any one client may have them all, but for the warm-up.
        (Some(ops), _) => digits(ops.saturating_add(config.warmup)),
        (None, _) => COUNTER_DIGITS,
    };
    let preload = digits(config.keys);
    let client = digits(config.clients as u64);
    digits(run) + 1 + client + 1 + counter.max(preload)
}

/// Makes values that are written once: `RUN:CLIENT:COUNTER`, filled up with dots.
#[derive(Debug)]
pub(super) struct UniqueValues {
    prefix: Vec<u8>,
    counter: u64,
    size: usize,
    value: Vec<u8>,
}

impl UniqueValues {
    /// The values of one client of a run.
    pub(super) fn new(run: u64, client: usize, size: usize) -> Self {
        let mut values = Self {
            prefix: format!("{run}:{client}:").into_bytes(),
            counter: 0,
            size,
            value: Vec::with_capacity(size),
        };
        values.advance();
        values
    }

    /// Goes on to the next value.
    pub(super) fn advance(&mut self) {
        self.value.clear();
        self.value.extend_from_slice(&self.prefix);
        self.value.extend_from_slice(itoa::Buffer::new().format(self.counter).as_bytes());
        self.value.resize(self.value.len().max(self.size), b'.');
        self.counter += 1;
    }

    /// The present value.
    pub(super) fn value(&self) -> &[u8] {
        &self.value
    }
}

/// The number of the run that wrote a value.
fn run_of(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.trim_end_matches('.').split(':');
    let run = parts.next()?.parse().ok()?;
    let numbers = |part: &str| part.parse::<u64>().is_ok();
    (parts.next().is_some_and(numbers) && parts.next().is_some_and(numbers)).then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unique_and_tell_their_run() {
        let mut values = UniqueValues::new(3, 12, 10);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            assert!(values.value().len() >= 10);
            assert_eq!(run_of(values.value()), Some(3));
            assert!(seen.insert(values.value().to_owned()));
            values.advance();
        }
        for other in [&b"3:12"[..], b"", b"x:1:2", b"1:x:2", b"\xff:1:1"] {
            assert_eq!(run_of(other), None);
        }
    }

    #[test]
    fn the_size_that_is_asked_for_holds_every_value() {
        let config = Config { ops: Some(5000), clients: 50, warmup: 10, ..Config::default() };
        let needed = needed_size(&config, 9);
        assert_eq!(needed, "9:50:5010".len());
        let mut values = UniqueValues::new(9, 49, needed);
        for _ in 0..5010 {
            assert_eq!(values.value().len(), needed);
            values.advance();
        }
    }
}
